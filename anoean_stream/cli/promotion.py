"""A version becomes champion: the gate is asked, the alias moves, and the audit topic is told.

`anoean models promote` and `anoean train --promote` both go through `promote_through_gate`; there is
no other way to move the champion than this, a roll back, and the registry's own interface.
"""

from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from rich.markup import escape

from anoean_stream.cli.case import Case
from anoean_stream.cli.console import err
from anoean_stream.cli.trail import tell
from anoean_stream.detector.bundle import ServedModel
from anoean_stream.errors import ModelNotFoundError, RegistryError
from anoean_stream.gate import RuleResult, broken, refusal
from anoean_stream.gate.rules import cannot_tell, in_one_line
from anoean_stream.pipeline import verify_bundle
from anoean_stream.records.audit import AuditRecord
from anoean_stream.registry import CHAMPION, AliasRecord, Registry
from anoean_stream.registry.registry import who_am_i
from anoean_stream.settings import Settings

Outcome = Literal["promoted", "forced", "refused", "unchanged"]


@dataclass(frozen=True, slots=True)
class Promotion:
    """What became of a version that was to be champion.

    Parameters
    ----------
    name, version : str
        Which.
    champion_before : str or None
        The champion against which it was judged; None without one.
    outcome : {"promoted", "forced", "refused", "unchanged"}
        Whether the alias moved, and how; unchanged: it was champion already.
    results : tuple of RuleResult
        Every rule that was asked; none for the first champion.
    alias_removed : str or None
        The alias of the shadow, which ended with it.
    """

    name: str
    version: str
    champion_before: str | None
    outcome: Outcome
    results: tuple[RuleResult, ...] = ()
    alias_removed: str | None = None

    def raise_if_refused(self) -> None:
        """Raise GateError, with the rules that are broken, if it was refused."""
        if self.outcome == "refused":
            raise refusal(self.name, self.version, self.champion_before, self.results)


def promote_through_gate(
    settings: Settings,
    registry: Registry,
    name: str,
    version: str,
    *,
    force: bool = False,
    reason: str = "",
    wait_s: float = 0.0,
) -> Promotion:
    """Let `CHAMPION` name a version, if it is sound and the gate has no objection.

    The first champion of a model needs no gate. The champion that the rules were checked against is
    still champion when the alias moves. A refusal changes nothing; it is told to the audit topic as a
    promotion is. A shadow that becomes champion is shadow no more.

    Parameters
    ----------
    settings : Settings
        Section ``gate``, and whatever a worker would be started with.
    registry : Registry
        Where the model is.
    name, version : str
        Which; the number of a version.
    force : bool
        Move the alias whatever the rules say. They are asked all the same, for the record.
    reason : str
        Why, in one line; for the record.
    wait_s : float
        Seconds to wait until shadow reports cover enough records.

    Returns
    -------
    Promotion
        Its outcome is ``refused`` when a rule is broken: nothing is raised for that.

    Raises
    ------
    BundleError
        When workers would refuse the version.
    ConflictError
        When somebody else moved the champion meanwhile.
    RegistryError
        When there is no such version, or the store cannot be read or written.
    """
    bundle = registry.load(name, version)
    verify_bundle(bundle)
    champion, problem = _champion(registry, name)
    before = None if champion is None else champion.version
    if before == version:
        return Promotion(name, version, before, "unchanged")
    results: list[RuleResult] = []
    if problem is not None:
        results.append(
            cannot_tell("champion", setting="registry.url", problem=problem, next_step="mend that")
        )
    if champion is not None:
        case = Case(settings, registry, ServedModel(name, version, bundle), champion)
        results += case.ask(wait_s=wait_s)
    outcome: Outcome = "promoted"
    if broken(results):
        outcome = "forced" if force else "refused"
    promotion = Promotion(name, version, before, outcome, tuple(results))
    if outcome != "refused":
        registry.set_alias(name, CHAMPION, version, reason=reason, if_version=before)
        removed = _end_shadow(settings, registry, name, version)
        promotion = Promotion(name, version, before, outcome, tuple(results), removed)
    _tell(settings, promotion, reason=reason)
    return promotion


def _champion(registry: Registry, name: str) -> tuple[AliasRecord | None, str | None]:
    """Return the champion, and why it cannot be told, if there may be one."""
    try:
        return registry.alias_record(name, CHAMPION), None
    except ModelNotFoundError:
        return None, None
    except RegistryError as error:
        return None, f"who is champion cannot be told: {error}"


def _end_shadow(settings: Settings, registry: Registry, name: str, version: str) -> str | None:
    """Remove the alias of the shadow if it names the new champion; return the alias if it did."""
    alias = settings.shadow.alias
    if alias is None or alias == CHAMPION:
        return None
    try:
        if registry.alias_version(name, alias) != version:
            return None
        registry.remove_alias(name, alias)
    except ModelNotFoundError:
        return None
    except RegistryError as error:
        # The champion has moved: that was asked for. A shadow that stays costs time, nothing else.
        err.print(f"[yellow]note:[/] the alias {alias} stays: {escape(str(error))}", soft_wrap=True)
        return None
    return alias


def _tell(settings: Settings, promotion: Promotion, *, reason: str) -> None:
    is_refused = promotion.outcome == "refused"
    record = AuditRecord.of(
        "forced" if promotion.outcome == "forced" else "refused" if is_refused else "promoted",
        model=promotion.name,
        alias=CHAMPION,
        from_version=promotion.champion_before,
        to_version=promotion.version,
        who=who_am_i(),
        who_kind="user",
        reason=in_one_line(promotion.results) if is_refused else reason,
        detail=_detail(promotion, settings),
    )
    tell(settings, record, wake=not is_refused)


def _detail(promotion: Promotion, settings: Settings) -> dict[str, Any]:
    return {
        "rules": msgspec.to_builtins(promotion.results),
        "alias_removed": promotion.alias_removed,
        "gate": {"offline": settings.gate.offline, "online": settings.gate.online},
    }
