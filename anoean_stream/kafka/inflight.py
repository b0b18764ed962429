"""Chunks on their way through Faust, and the places in flight that they hold."""

from collections.abc import Callable
from typing import Final, cast

from faust.types import ConsumerMessage

from anoean_stream.kafka.chunking import Fetched

GENERATION: Final = 1
"""Faust drops messages whose generation is not the app's. Ours never changes: a chunk of a partition
that was taken away is marked with `STALE` instead."""
STALE: Final = -1


class Place:
    """One batch's place in flight; free again when each of its chunks is done with."""

    __slots__ = ("_left", "_release")

    def __init__(self, n_chunks: int, release: Callable[[], None]) -> None:
        self._left = n_chunks
        self._release = release

    def give_back(self) -> None:
        """Note that one chunk is done with."""
        self._left -= 1
        if not self._left:
            self._release()


class ChunkMessage(ConsumerMessage):
    """Faust's message around one chunk; its offset is the chunk's last."""

    __slots__ = ("fetched", "place")

    def __init__(self, fetched: Fetched, place: Place) -> None:
        tp, chunk = fetched.tp, fetched.chunk
        super().__init__(
            topic=tp.topic,
            partition=tp.partition,
            offset=chunk.offsets[-1],
            timestamp=chunk.timestamps_ms[-1] / 1000.0,
            timestamp_type=0,
            headers=None,
            key=None,
            value=cast("bytes", chunk),  # the topic's serializer is "raw", which hands it through
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            tp=tp,
            generation_id=GENERATION,
        )
        self.fetched = fetched
        self.place: Place | None = place

    def leave(self) -> None:
        """Give the place in flight back, once."""
        if self.place is not None:
            self.place.give_back()
            self.place = None
