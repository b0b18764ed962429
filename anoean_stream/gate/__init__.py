"""The gate: what a version must show before it becomes champion.

`rules` is the form of an answer, `figures` and `bootstrap` are the arithmetic, `offline` asks the
evaluation set and `online` the shadow reports. The gate decides nothing: the command does
(`anoean_stream.cli.promotion`).
"""

from anoean_stream.gate.rules import RuleResult, broken, refusal

__all__ = ["RuleResult", "broken", "refusal"]
