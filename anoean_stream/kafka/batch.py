"""A batch of outgoing records: what is in it, and what became of each record."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaError

_HOPELESS: Final = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError._INVALID_ARG,  # noqa: SLF001 - the public name of a local error code
    }
)
"""Errors of the record itself: sending it again cannot succeed."""

Headers = Sequence[tuple[str, bytes]]
BatchItem = tuple[str, bytes | None, bytes | None, Headers]
"""Topic, key, value, headers."""


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A record of a batch that no broker acknowledged.

    Parameters
    ----------
    index : int
        Its place in the batch.
    error : KafkaError
        What librdkafka says.
    """

    index: int
    error: KafkaError

    @property
    def is_too_large(self) -> bool:
        """Whether the record is larger than the client or the topic allows."""
        return bool(self.error.code() == KafkaError.MSG_SIZE_TOO_LARGE)

    @property
    def is_retriable(self) -> bool:
        """Whether sending it again may succeed (it may also write it twice, after a time-out)."""
        return self.error.code() not in _HOPELESS

    def __str__(self) -> str:
        return f"{self.error.name()}: {self.error.str()}"


class Batch:
    """Counts what became of the records of one batch; each counter has one writing thread.

    Parameters
    ----------
    n_items : int
        Records in it.
    future : asyncio.Future
        Gets the failures, by index, when all records are reported.
    """

    __slots__ = ("failures", "future", "n_items", "n_refused", "n_reported")

    def __init__(self, n_items: int, future: "asyncio.Future[tuple[Undelivered, ...]]") -> None:
        self.n_items = n_items
        self.n_reported = 0  # poll thread: acknowledged or failed on the way
        self.n_refused = 0  # event loop: did not get into the queue
        self.failures: list[Undelivered] = []
        self.future = future

    @property
    def is_complete(self) -> bool:
        """Whether nothing is outstanding."""
        return self.n_reported + self.n_refused == self.n_items

    def resolve(self) -> None:
        """Hand the failures to whoever waits. Event loop."""
        if not self.future.done():
            self.future.set_result(tuple(sorted(self.failures, key=lambda one: one.index)))
