"""What a comparison can bring to light, and whether it makes the verdict."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Weight = Literal["problem", "note", "unknown"]
"""A problem makes the verdict; a note is within the guarantee; an unknown cannot be decided."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that the comparison brought to light.

    Parameters
    ----------
    weight : Weight
        Whether it makes the verdict.
    kind : str
        A name for machines.
    n : int
        How many.
    text : str
        A sentence for people, which follows the number.
    example : str
        topic/partition/offset of one of them, or an address; empty when there is none.
    """

    weight: Weight
    kind: str
    n: int
    text: str
    example: str = ""


KINDS: Final[Mapping[str, tuple[Weight, str]]] = {
    "no_source": (
        "problem",
        (
            "alerts or dead letters are about records that do not exist: somebody else wrote them, or "
            "the input was made anew"
        ),
    ),
    "wrong_id": (
        "problem",
        "alerts have an id that does not follow from their record and model: not written by a worker",
    ),
    "two_ids": (
        "problem",
        (
            "records have alerts with different ids: judged by two models (offsets were reset, or a "
            "crash came with a change of model)"
        ),
    ),
    "dead_and_alerted": (
        "problem",
        "records have both an alert and a dead letter: it must be one of them",
    ),
    "letter_differs": (
        "problem",
        "records have a dead letter with other bytes than their own",
    ),
    "committed_beyond_end": (
        "problem",
        (
            "offsets are committed beyond the end of the input: it was made anew, or somebody moved "
            "the offsets; new records there will be skipped"
        ),
    ),
    "lost": (
        "problem",
        "offsets after the committed one were removed by retention before a worker read them",
    ),
    "repeats": (
        "note",
        (
            "alerts and dead letters say again what another one says, with the same id: in flight at a "
            "crash or rebalance"
        ),
    ),
    "rescored": ("note", "alerts were published by `anoean dlq replay --through-scorer`"),
    "in_flight": (
        "note",
        "records after the committed offset have an alert or a dead letter already: in flight",
    ),
    "before_span": (
        "note",
        "alerts and dead letters are about records before the span: not looked at",
    ),
    "after_span": (
        "note",
        "alerts and dead letters are about records after the span: not looked at",
    ),
    "foreign": ("note", "alerts and dead letters are about another input topic: not looked at"),
    "unreadable": (
        "note",
        "records of the output topics are neither alerts nor dead letters of a worker",
    ),
    "nothing_committed": (
        "note",
        "partitions have records and no committed offset: all of it is lag",
    ),
    "source_gone": (
        "unknown",
        (
            "alerts or dead letters are about records that retention or compaction has removed: they "
            "cannot be looked up"
        ),
    ),
}
"""What can be found: its weight, and a sentence that follows the number. Problems stand first."""
