"""What became of a transaction, and of each record in it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import KafkaError, Message

from anoean_stream.kafka.batch import BatchItem, Undelivered

_GROUP_MOVED_ON: Final = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.REBALANCE_IN_PROGRESS,
    }
)
"""What the group's coordinator says to the offsets of a member that is not up to date."""

CONSEQUENCES: Final = frozenset(
    {
        KafkaError._PURGE_QUEUE,  # noqa: SLF001 - the public name of a local error code
        KafkaError._PURGE_INFLIGHT,  # noqa: SLF001 - the same
        KafkaError._STATE,  # noqa: SLF001 - the same
    }
)
"""Errors of records that only follow from the end of their transaction."""


class HaltedError(Exception):
    """The producer was closed while the transaction was open; whether it was committed is unknown."""


class StuckError(Exception):
    """A call of librdkafka did not return; go on with a new producer, which fences this one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a transaction.

    Parameters
    ----------
    error : KafkaError, optional
        Why it was aborted; None: it is committed.
    failures : tuple of Undelivered
        The records at fault, by index; empty when it was aborted for another reason.
    """

    error: KafkaError | None = None
    failures: tuple[Undelivered, ...] = ()

    @property
    def is_committed(self) -> bool:
        """Whether records and offsets are visible."""
        return self.error is None

    @property
    def is_too_large(self) -> bool:
        """Whether nothing but the size of records was at fault."""
        return bool(self.failures) and all(one.is_too_large for one in self.failures)

    @property
    def has_group_moved_on(self) -> bool:
        """Whether the group refused the offsets: newer metadata is needed, or the partition is lost."""
        return self.error is not None and self.error.code() in _GROUP_MOVED_ON

    def __str__(self) -> str:
        return "committed" if self.error is None else f"{self.error.name()}: {self.error.str()}"


@dataclass(slots=True)
class Records:
    """The records of one transaction, and those that a broker or librdkafka refused."""

    items: Sequence[BatchItem]
    alone: frozenset[int]
    failures: list[Undelivered] = field(default_factory=list)

    def report(self, index: int, error: KafkaError | None, _: Message | None = None) -> None:
        """Note a failure, unless it only follows from another."""
        if error is not None and error.code() not in CONSEQUENCES:
            self.failures.append(Undelivered(index, error))

    @property
    def topic_at_fault(self) -> str | None:
        """Topic of the first record that failed."""
        return self.items[self.failures[0].index][0] if self.failures else None

    def outcome(self, error: KafkaError) -> Outcome:
        """Return why it was aborted: the records' own errors say more than the transaction's."""
        failures = sorted(self.failures, key=lambda one: one.index)
        return Outcome(failures[0].error if failures else error, tuple(failures))
