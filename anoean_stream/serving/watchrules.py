"""Is the new model fit to stay? Rules over the chunks that follow a swap. Pure; the event loop owns it."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from anoean_stream.pipeline import Verdict
from anoean_stream.settings import SwapSettings

Rule = Literal["alert_rate", "scores_not_finite", "latency", "contract_dead"]

_CONTRACT_REASON: Final = "wrong_type"
"""The reason of dead letters that the feature contract causes; all others no model would read."""

_MEMORY: Final = 200_000
"""Records after which counts are halved: a rate is that of the last hundred thousand or so."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that a model broke.

    Parameters
    ----------
    rule : str
        Its name.
    value, bound : float
        What was seen, and the most that is allowed.
    sentence : str
        Both in words, with the setting.
    """

    rule: Rule
    value: float
    bound: float
    sentence: str


@dataclass(slots=True)
class Rates:
    """How often a model alerts, and how often its contract does not fit; the last 100,000 records."""

    records: float = 0.0
    alerts: float = 0.0
    contract_dead: float = 0.0
    cpu_s: float = 0.0

    def add(self, verdict: Verdict, *, cpu_s: float) -> None:
        """Count a chunk."""
        self.records += verdict.n_scored + len(verdict.rejected)
        self.alerts += len(verdict.alerts) - verdict.n_notices
        self.contract_dead += verdict.rejected_by_reason[_CONTRACT_REASON]
        self.cpu_s += cpu_s
        if self.records > _MEMORY:
            for name in ("records", "alerts", "contract_dead", "cpu_s"):
                setattr(self, name, getattr(self, name) / 2)

    @property
    def alert_rate(self) -> float:
        """Alerts, as a share of records."""
        return self.alerts / max(self.records, 1.0)

    @property
    def contract_dead_rate(self) -> float:
        """Records that do not fit the contract, as a share of records."""
        return self.contract_dead / max(self.records, 1.0)


class SwapRules:
    """Watches one model from its first chunk on.

    Rates are judged on blocks of ``swap.watch_min_records`` records, so that a change after nine quiet
    minutes is seen as well.

    Parameters
    ----------
    settings : SwapSettings
        Bounds.
    budget : float
        Share of records that are expected to alert, (0, 1].
    before : Rates
        Of the model before.
    """

    def __init__(self, settings: SwapSettings, *, budget: float, before: Rates) -> None:
        self._settings = settings
        self._alert_bound = settings.alert_rate_factor * max(budget, before.alert_rate)
        self._budget = budget
        self._before = before
        self._block = Rates()

    def see(self, verdict: Verdict, *, cpu_s: float) -> Broken | None:
        """Count a chunk; return the rule that the model broke, if it did."""
        if not np.isfinite(verdict.distances_G).all():
            n_bad = int((~np.isfinite(verdict.distances_G)).sum())
            return Broken(
                "scores_not_finite",
                n_bad,
                0,
                f"{n_bad} scores of a chunk are not finite, expected none",
            )
        self._block.add(verdict, cpu_s=cpu_s)
        if self._block.records < self._settings.watch_min_records:
            return None
        block, self._block = self._block, Rates()
        return self._judge(block)

    def _judge(self, block: Rates) -> Broken | None:
        own = self._settings
        if block.alert_rate > self._alert_bound:
            return Broken(
                "alert_rate",
                block.alert_rate,
                self._alert_bound,
                f"{block.alert_rate:.3g} of {block.records:.0f} records alert, the bound is "
                f"{self._alert_bound:.3g}: {own.alert_rate_factor:g} times (swap.alert_rate_factor) the "
                f"larger of the budget {self._budget:.3g} and what the model before had, "
                f"{self._before.alert_rate:.3g}",
            )
        share = block.contract_dead_rate
        if share > own.contract_dead_share and self._before.contract_dead_rate <= (
            own.contract_dead_share
        ):
            return Broken(
                "contract_dead",
                share,
                own.contract_dead_share,
                f"{share:.3g} of {block.records:.0f} records do not fit the feature contract, the bound "
                f"is {own.contract_dead_share:g} (swap.contract_dead_share); with the model before it "
                f"was {self._before.contract_dead_rate:.3g}",
            )
        seen_us = block.cpu_s / block.records * 1e6
        if seen_us > own.latency_budget_us:
            return Broken(
                "latency",
                seen_us,
                own.latency_budget_us,
                f"a record takes {seen_us:.1f} us, the budget is {own.latency_budget_us:g} us "
                "(swap.latency_budget_us)",
            )
        return None
