"""What a worker may commit in a transaction: chunks that are still its own, next in their partition.

A claim is made in the event loop. What proves it to the broker is the group metadata, read in the
poll thread while the partitions were still ours: its generation (KIP-848: the member's epoch) is
the one in which no one else can own them, and the broker refuses it in any later one.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from faust.types import TP

from anoean_stream.records.chunk import Chunk

_MAGIC: Final = b"CGMDv2:"
_GENERATION: Final = struct.Struct("=i")
"""librdkafka's serialised metadata: the magic, the generation, then the names."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Chunks that may go into one transaction.

    Parameters
    ----------
    chunks : tuple of Chunk
        Those of the chunks asked for that are ours and next in their partitions.
    offsets : mapping of TP to int
        The next offset to read when they are done with.
    epochs : mapping of TP to int
        The assignment under which each partition was read.
    """

    chunks: tuple[Chunk, ...]
    offsets: Mapping[TP, int]
    epochs: Mapping[TP, int]


@dataclass(frozen=True, slots=True)
class Membership:
    """Group metadata, and which partitions were ours when it was read.

    Parameters
    ----------
    metadata : bytes
        What librdkafka gives, for `send_offsets_to_transaction`.
    epochs : mapping of TP to int
        The partitions that were ours.
    """

    metadata: bytes
    epochs: Mapping[TP, int]

    def covers(self, claim: Claim) -> bool:
        """Tell whether this proves a claim."""
        return all(self.epochs.get(tp) == epoch for tp, epoch in claim.epochs.items())


def is_member(metadata: bytes) -> bool:
    """Tell whether group metadata name a member in a generation.

    The broker does not fence offsets that come without one. librdkafka forgets the generation as
    soon as it hears that the group threw us out, before it tells us that the partitions are lost:
    metadata read in between would let a zombie commit.

    Raises
    ------
    ValueError
        The bytes are not what this version of librdkafka writes.
    """
    if not metadata.startswith(_MAGIC):
        raise ValueError(
            f"group metadata begin with {metadata[:16]!r}, expected {_MAGIC!r}; this librdkafka "
            "writes another format, use the pinned version of confluent-kafka"
        )
    (generation,) = _GENERATION.unpack_from(metadata, len(_MAGIC))
    return bool(generation > 0)
