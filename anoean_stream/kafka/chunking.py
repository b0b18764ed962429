"""From fetched messages to chunks: one for each partition, built without a Python loop over records.

The cost for a record is six calls of C functions through `map`, about 0.25 us.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from confluent_kafka import Message
from faust.types import TP

from anoean_stream.records.chunk import Chunk
from anoean_stream.records.outgoing import Headers


@dataclass(frozen=True, slots=True)
class Fetched:
    """A chunk on its way to an agent.

    Parameters
    ----------
    tp : TP
        Its partition.
    epoch : int
        The assignment of the partition to this worker under which it was fetched.
    chunk : Chunk
        The records.
    high_watermark : int
        End of the partition when it was fetched; negative when unknown.
    """

    tp: TP
    epoch: int
    chunk: Chunk
    high_watermark: int

    @property
    def first(self) -> int:
        """First offset."""
        return self.chunk.offsets[0]

    @property
    def next_offset(self) -> int:
        """The offset after the last one."""
        return self.chunk.offsets[-1] + 1


def chunks_of(
    messages: list[Message], epochs: Mapping[TP, int], high_watermark: Callable[[TP], int]
) -> list[Fetched]:
    """Group messages by partition and turn each group into a chunk; order within one is kept.

    Parameters
    ----------
    messages : list of Message
        Fetched records without errors; at least one.
    epochs : mapping of TP to int
        The current epoch of each partition.
    high_watermark : callable
        Gives the end of a partition, negative when unknown.
    """
    fetched = []
    for tp, group in _by_partition(messages):
        chunk = Chunk(
            topic=tp.topic,
            partition=tp.partition,
            values=list(map(Message.value, group)),
            keys=list(map(Message.key, group)),
            offsets=cast("Sequence[int]", list(map(Message.offset, group))),
            timestamps_ms=[stamp for _, stamp in map(Message.timestamp, group)],
            headers_of=_HeadersOf(group),
        )
        fetched.append(Fetched(tp, epochs[tp], chunk, high_watermark(tp)))
    return fetched


class _HeadersOf:
    """Headers by place in the chunk; keeps the messages, which hold them undecoded, until then.

    The messages share their values and keys with the chunk, so what they cost is about 100 bytes
    each for as long as the chunk is in flight.
    """

    __slots__ = ("_messages",)

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages

    def __call__(self, index: int) -> Headers:
        pairs = cast("list[tuple[str, bytes | None]]", self._messages[index].headers() or [])
        return tuple((name, value or b"") for name, value in pairs)


def tp_of(message: Message) -> TP:
    """Return the partition a fetched message is of."""
    return TP(cast("str", message.topic()), cast("int", message.partition()))


def _by_partition(messages: list[Message]) -> list[tuple[TP, list[Message]]]:
    topics = list(map(Message.topic, messages))
    partitions = list(map(Message.partition, messages))
    # The common case: a full batch of one partition.
    if partitions.count(partitions[0]) == len(messages) == topics.count(topics[0]):
        return [(tp_of(messages[0]), messages)]
    groups: dict[tuple[str | None, int | None], list[Message]] = {}
    for key, message in zip(zip(topics, partitions, strict=True), messages, strict=True):
        groups.setdefault(key, []).append(message)
    return [(tp_of(group[0]), group) for group in groups.values()]
