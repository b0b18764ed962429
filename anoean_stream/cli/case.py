"""The case of a candidate: every rule of the gate, asked with what registry and topics hold.

What cannot be found out is a broken rule, not an exception: ``--force`` must work, and leave a record,
when the champion is damaged or no broker answers.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from anoean_stream.cli.console import err
from anoean_stream.cli.offline import open_pipeline
from anoean_stream.cli.shadow_reports import shadow_evidence, shadow_since
from anoean_stream.cli.times import try_utc
from anoean_stream.detector.bundle import ServedModel
from anoean_stream.errors import AnoeanError, ConflictError
from anoean_stream.gate import RuleResult, broken
from anoean_stream.gate.offline import no_evaluation_set, offline_rules
from anoean_stream.gate.online import no_reports, online_rules
from anoean_stream.gate.rules import cannot_tell
from anoean_stream.registry import AliasRecord, Registry
from anoean_stream.registry.evaluation import read_evaluation
from anoean_stream.settings import Settings

_OFFLINE_OFF: Final = "mend that, or leave the evaluation set out with --set gate.offline=false"


@dataclass(frozen=True, slots=True)
class Case:
    """A candidate against a champion.

    Parameters
    ----------
    settings : Settings
        Section ``gate``, and whatever a worker would be started with.
    registry : Registry
        Where both are.
    candidate : ServedModel
        Verified.
    champion : AliasRecord
        Of the alias that would move.
    """

    settings: Settings
    registry: Registry
    candidate: ServedModel
    champion: AliasRecord

    def ask(self, *, wait_s: float) -> list[RuleResult]:
        """Return the answer of every rule that the settings ask for; blocks for seconds, or longer.

        Parameters
        ----------
        wait_s : float
            Seconds to wait until shadow reports cover enough records; a version that has failed
            already is not waited for.

        Raises
        ------
        ConflictError
            When another version became champion meanwhile.
        """
        gate = self.settings.gate
        results = _held(self.champion, self.candidate.version)
        if gate.offline:
            results += self._offline()
        if gate.online:
            results += self._online(0.0 if broken(results) else wait_s)
        return results

    def _offline(self) -> list[RuleResult]:
        name = self.candidate.name
        try:
            evaluation = read_evaluation(self.registry, name)
            if evaluation is None:
                return [no_evaluation_set(name)]
            number = self.champion.version
            champion = ServedModel(name, number, self.registry.load(name, number))
            err.print(
                f"scoring {len(evaluation.values):,} records of evaluation set "
                f"{evaluation.info.number} with versions {self.candidate.version} and {number}"
            )
            return offline_rules(
                evaluation,
                candidate=open_pipeline(self.settings, self.candidate),
                champion=open_pipeline(self.settings, champion),
                gate=self.settings.gate,
            )
        except AnoeanError as error:
            problem = f"the two versions cannot be compared: {error}"
            return [
                cannot_tell(
                    "comparison", setting="gate.offline", problem=problem, next_step=_OFFLINE_OFF
                )
            ]

    def _online(self, wait_s: float) -> list[RuleResult]:
        try:
            evidence = shadow_evidence(
                self.settings,
                self.registry,
                self.candidate.name,
                champion=self.champion.version,
                candidate=self.candidate.version,
                wait_s=wait_s,
            )
            return online_rules(
                evidence,
                gate=self.settings.gate,
                latency_budget_us=self.settings.swap.latency_budget_us,
                how_to_compare=self._how_to_compare(),
            )
        except ConflictError:
            raise  # the whole question is another one now
        except AnoeanError as error:
            return [no_reports(str(error))]

    def _how_to_compare(self) -> str:
        name, version, alias = (
            self.candidate.name,
            self.candidate.version,
            self.settings.shadow.alias,
        )
        alone = "or judge it by the evaluation set alone with --set gate.online=false"
        if alias is None:
            return f"set shadow.alias, so that workers compare versions; {alone}"
        command = f"anoean models promote {name} {version}"
        if shadow_since(self.settings, self.registry, name, version) is not None:
            return f"wait for more with `{command} --wait 24h`; {alone}"
        return (
            f"let workers compare it with `{command} --alias {alias}`, then `{command} --wait 24h`; "
            f"{alone}"
        )


def _held(champion: AliasRecord, version: str) -> list[RuleResult]:
    """Return the broken rule of a version that was rolled back by itself a short while ago."""
    until = champion.held.get(version)
    if until is None:
        return []
    # Unreadable: held until a person forces it.
    moment = try_utc(until) or datetime.max.replace(tzinfo=UTC)
    left_s = (moment - datetime.now(tz=UTC)).total_seconds()
    if left_s <= 0:
        return []
    return [
        RuleResult(
            rule="hold_down_s",
            setting="swap.hold_down_s",
            value=round(left_s),
            bound=0,
            bound_is="at most",
            passed=False,
            sentence=(
                f"version {version} was rolled back automatically and is held back until {until}, "
                f"{left_s:.0f} s from now"
            ),
            next_step="see why it was rolled back with `anoean models history`, and wait",
            figures={"held_until": until},
        )
    ]
