# ruff: noqa: ARG002 - the signatures are Faust's
"""The part of Faust's consumer interface that only tables, transactions and seeking use: refused.

A worker keeps no state in Faust (docs/decisions), so these methods are never reached; whoever adds
a table learns it from the sentence and not from a wrong offset.
"""

from collections.abc import Mapping
from typing import Any, NoReturn

from faust.transport.consumer import Consumer as FaustConsumer
from faust.types import TP, ConsumerMessage


def _refuse(what: str) -> NoReturn:
    raise NotImplementedError(
        f"the rdkafka:// transport has no {what}: Faust tables, seeking and Faust's exactly_once are "
        "not supported; keep state outside Faust"
    )


class StatelessConsumer(FaustConsumer):
    """Faust's consumer without what tables need."""

    async def position(self, tp: TP) -> int | None:
        """Refuse: only table recovery asks."""
        _refuse("position()")

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Refuse: positions are librdkafka's."""
        _refuse("seek_to_committed()")

    async def perform_seek(self) -> None:
        """Do nothing: an assigned partition begins at its committed offset by itself."""

    async def _seek(self, partition: TP, offset: int) -> None:
        _refuse("seek()")

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Refuse: only table recovery asks."""
        _refuse("seek_wait()")

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Refuse: only table recovery asks."""
        _refuse("earliest_offsets()")

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Refuse: only table recovery asks; `highwater` is there."""
        _refuse("highwaters()")

    def topic_partitions(self, topic: str) -> int | None:
        """Return None: the number of partitions is not known beforehand."""
        return None

    def key_partition(
        self, topic: str, key: bytes | None, partition: int | None = None
    ) -> int | None:
        """Return the partition given: librdkafka's partitioner chooses otherwise."""
        return partition

    async def create_topic(self, topic: str, *args: Any, **kwargs: Any) -> None:
        """Do nothing: topics are created by deployment, or with `anoean topics create`."""

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:
        _refuse("_getmany()")

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        _refuse("_to_message()")

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Do nothing: Faust's look at stalled partitions reads fields that we do not fill."""

    def close(self) -> None:
        """Do nothing: `on_stop` leaves the group."""
