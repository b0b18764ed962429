"""What one rule of the gate found, and how a refusal says it."""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from anoean_stream.errors import GateError


class RuleResult(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of one rule.

    Parameters
    ----------
    rule : str
        Its name; that of its setting where it has one for itself.
    setting : str
        The setting that bounds it, or switches it off.
    value : float or None
        What was seen; None when there was nothing to see.
    bound : float
        What it is compared with.
    bound_is : {"at least", "at most"}
        How: at the bound itself the rule is kept.
    passed : bool
        Whether the rule is kept.
    sentence : str
        What was found, for a person, without a full stop.
    next_step : str
        What to do; empty when the rule is kept.
    figures : dict of str to float, int, str or None
        What else was seen.
    """

    rule: str
    setting: str
    value: float | None
    bound: float
    bound_is: Literal["at least", "at most"]
    passed: bool
    sentence: str
    next_step: str = ""
    figures: dict[str, float | int | str | None] = {}


def cannot_tell(rule: str, *, setting: str, problem: str, next_step: str) -> RuleResult:
    """Return a rule that is broken because what it needs is not there; the problem says what."""
    return RuleResult(
        rule=rule,
        setting=setting,
        value=None,
        bound=1,
        bound_is="at least",
        passed=False,
        sentence=problem,
        next_step=next_step,
    )


def broken(results: Iterable[RuleResult]) -> tuple[RuleResult, ...]:
    """Return those that are not kept."""
    return tuple(result for result in results if not result.passed)


def refusal(
    name: str, version: str, champion: str | None, results: Sequence[RuleResult]
) -> GateError:
    """Return the error that names each broken rule, its value and bound, and what to do.

    Parameters
    ----------
    name, version : str
        What is not promoted.
    champion : str or None
        The version that stays; None when it could not be told.
    results : sequence of RuleResult
        At least one is broken.
    """
    found = broken(results)
    assert found, "a refusal has a reason"
    stays = "the champion stays as it is" if champion is None else f"champion stays {champion}"
    lines = [f"version {version} of model {name!r} is not promoted, {stays}:"]
    for result in found:
        step = f"; {result.next_step}" if result.next_step else ""
        lines.append(f"- {result.rule}: {result.sentence} ({_seen(result)}){step}")
    lines.append("To promote it all the same: --force --reason TEXT")
    return GateError("\n".join(lines), rules=tuple(result.rule for result in found))


def in_one_line(results: Iterable[RuleResult]) -> str:
    """Return what the broken rules found, on one line; empty when all are kept."""
    return "; ".join(f"{result.rule}: {result.sentence}" for result in broken(results))


def number_text(value: float | None) -> str:
    """Return a value or a bound as a person reads it.

    Examples
    --------
    >>> number_text(56520), number_text(0.236559), number_text(None)
    ('56,520', '0.2366', '-')
    """
    if value is None:
        return "-"
    if isinstance(value, int) or value.is_integer():
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _seen(result: RuleResult) -> str:
    if result.value is None:
        return result.setting
    seen, bound = number_text(result.value), number_text(result.bound)
    return f"{seen}, expected {result.bound_is} {bound}: {result.setting}"
