"""Which offsets may be committed: those before the first chunk that is not yet acknowledged.

Chunks of one partition are delivered in order and acknowledged in any order. The ledger is exact
where arithmetic on offsets is not: compaction and transactions leave gaps between offsets, so "the
next number is missing" says nothing; "the chunk delivered next is missing" does.

Pure: knows neither Faust nor Kafka. Not thread-safe; the event loop owns it.
"""

from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class _Delivery:
    """One chunk that was handed out, by its first offset."""

    first: int
    next_offset: int
    acknowledged: bool = False


@dataclass(slots=True)
class _Partition:
    """The chunks of one partition that are not yet past the mark, in order of delivery."""

    pending: deque[_Delivery] = field(default_factory=deque)
    by_first: dict[int, _Delivery] = field(default_factory=dict)
    n_open: int = 0  # delivered, not acknowledged
    ready: int = -1  # every chunk before this offset is acknowledged; -1: none yet
    committed: int = -1  # what the broker has; -1: unknown


class OffsetLedger(Generic[K]):
    """What was delivered, what was acknowledged, what may be committed; K names a partition.

    Every operation is O(1) amortised over the chunks.

    Examples
    --------
    >>> ledger = OffsetLedger[str]()
    >>> ledger.delivered("p0", first=0, next_offset=10)
    >>> ledger.delivered("p0", first=10, next_offset=25)
    >>> ledger.acknowledge("p0", 10)
    True
    >>> ledger.committable()
    {}
    >>> ledger.acknowledge("p0", 0)
    True
    >>> ledger.committable()
    {'p0': 25}
    """

    def __init__(self) -> None:
        self._partitions: dict[K, _Partition] = {}

    def delivered(self, key: K, *, first: int, next_offset: int) -> None:
        """Note a chunk that is handed out.

        Parameters
        ----------
        key : K
            Its partition.
        first, next_offset : int
            Its first offset, and the one after its last; gaps inside and before it are fine.

        Raises
        ------
        ValueError
            The chunk is empty or overlaps the one before it.
        """
        own = self._partitions.setdefault(key, _Partition())
        floor = own.pending[-1].next_offset if own.pending else own.ready
        if first >= next_offset or first < floor:
            raise ValueError(
                f"chunk [{first}, {next_offset}) of {key} does not follow offset {floor}; chunks are "
                "delivered in order, and `forget` comes before a partition is read again"
            )
        delivery = _Delivery(first, next_offset)
        own.pending.append(delivery)
        own.by_first[first] = delivery
        own.n_open += 1

    def skipped(self, key: K, *, next_offset: int) -> None:
        """Note that reading goes on at another offset; it may be committed when all before is done.

        Parameters
        ----------
        key : K
            Its partition.
        next_offset : int
            Where reading goes on. Behind what was delivered (a topic that was recreated), all that
            is known of the partition is forgotten first.
        """
        own = self._partitions.setdefault(key, _Partition())
        floor = own.pending[-1].next_offset if own.pending else own.ready
        if next_offset < floor:
            self.forget([key])
            own = self._partitions.setdefault(key, _Partition())
        if own.pending:
            own.pending.append(_Delivery(next_offset, next_offset, acknowledged=True))
        else:
            own.ready = next_offset

    def acknowledge(self, key: K, first: int) -> bool:
        """Note that all that came out of a chunk is delivered.

        Returns
        -------
        bool
            False when no such chunk is open: acknowledged before, or its partition was forgotten.
        """
        own = self._partitions.get(key)
        delivery = own.by_first.pop(first, None) if own is not None else None
        if own is None or delivery is None:
            return False
        delivery.acknowledged = True
        own.n_open -= 1
        while own.pending and own.pending[0].acknowledged:
            own.ready = own.pending.popleft().next_offset
        return True

    def is_next(self, key: K, first: int, *, after: int = 0) -> bool:
        """Tell whether a chunk is open, and so are the `after` chunks before it and no other.

        Parameters
        ----------
        key : K
            Its partition.
        first : int
            Its first offset.
        after : int
            Chunks that may be before it, because they are committed together with it.
        """
        own = self._partitions.get(key)
        if own is None or len(own.pending) <= after:
            return False
        delivery = own.pending[after]
        return delivery.first == first and not delivery.acknowledged

    def committable(self, keys: Iterable[K] | None = None) -> dict[K, int]:
        """Return the next offset to read for each partition where it moved since `committed`.

        Parameters
        ----------
        keys : iterable of K, optional
            Only these partitions; None takes all.
        """
        chosen = self._partitions.keys() if keys is None else keys
        found = ((key, self._partitions.get(key)) for key in chosen)
        return {
            key: own.ready for key, own in found if own is not None and own.ready > own.committed
        }

    def committed(self, offsets: Mapping[K, int]) -> None:
        """Note what the broker confirmed; a commit that failed is simply not noted, and comes again."""
        for key, offset in offsets.items():
            own = self._partitions.get(key)
            if own is not None:
                own.committed = max(own.committed, offset)

    def n_open(self, keys: Iterable[K] | None = None) -> int:
        """Count chunks that are delivered and not acknowledged, of some partitions or of all."""
        chosen = self._partitions.keys() if keys is None else keys
        return sum(own.n_open for key in chosen if (own := self._partitions.get(key)) is not None)

    def forget(self, keys: Iterable[K]) -> None:
        """Drop all that is known of partitions that are given up; later acknowledgements are ignored."""
        for key in keys:
            self._partitions.pop(key, None)
