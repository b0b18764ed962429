"""What the gate found, as a table for a person and as an object for a machine."""

from typing import Any

import msgspec
from rich.markup import escape
from rich.table import Table

from anoean_stream.cli.console import out
from anoean_stream.cli.promotion import Promotion
from anoean_stream.gate.rules import number_text
from anoean_stream.registry import CHAMPION


def promotion_document(promotion: Promotion) -> dict[str, Any]:
    """Return a promotion as JSON; ``to`` is the version that was asked for."""
    return {
        "name": promotion.name,
        "alias": CHAMPION,
        "from": promotion.champion_before,
        "to": promotion.version,
        "outcome": promotion.outcome,
        "alias_removed": promotion.alias_removed,
        "rules": msgspec.to_builtins(promotion.results),
    }


def print_rules(promotion: Promotion) -> None:
    """Print every rule with what was seen, and what it means; nothing when none was asked.

    What the broken rules of a refusal mean is left to the error that follows.
    """
    if not promotion.results:
        return
    table = Table("rule")
    table.add_column("seen", justify="right")
    table.add_column("bound", justify="right")
    table.add_column("")
    for result in promotion.results:
        bound = f"{result.bound_is} {number_text(result.bound)}"
        verdict = "kept" if result.passed else "[red]broken[/]"
        table.add_row(result.rule, number_text(result.value), bound, verdict)
    out.print(table)
    for result in promotion.results:
        if result.passed or promotion.outcome != "refused":
            out.print(f"{result.rule}: {escape(result.sentence)}")
