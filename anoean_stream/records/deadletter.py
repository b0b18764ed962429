"""The record that could not be scored: its original bytes, why, and where it came from."""

import hashlib
from typing import Final, Literal, get_args

from anoean_stream.records.chunk import Chunk
from anoean_stream.records.outgoing import Headers, OutRecord

Reason = Literal[
    "tombstone",  # null value: a deletion marker of a compacted topic
    "empty",  # no bytes, or blanks only
    "too_large",  # more than scoring.max_record_bytes
    "not_utf8",  # bytes that are no UTF-8
    "not_json",  # text that is no JSON
    "too_deep",  # nested deeper than the decoder follows
    "not_an_object",  # JSON, but a list, text, number, true, false or null
    "wrong_type",  # a field of the feature contract holds what it cannot hold
]
"""Every reason there is; docs/records.md tells what to do about each."""

REASONS: Final[tuple[Reason, ...]] = get_args(Reason)

REPLAY_COUNT_HEADER: Final = "anoean-replay-count"
"""How many times a record has been sent again. On the record that was sent, and, when it could not
be scored then either, on the new dead letter: a replay leaves out what has failed often enough."""

REPLAYED_FROM_HEADER: Final = "anoean-replayed-from"
"""topic/partition/offset of the dead letter that was sent again; carried on in the same way."""

_REPLAY_COUNT_DIGITS: Final = 9
_REPLAYED_FROM_MAX_BYTES: Final = 300
"""A topic's name has at most 249 characters. Whoever writes to the input can write these headers:
longer ones could make a dead letter that no topic takes."""

_DETAIL_MAX_CHARS: Final = 500
"""Shorter loses the field's name, longer copies payload into headers."""


def dead_letter(
    chunk: Chunk, index: int, *, reason: Reason, detail: str, worker_id: str, model_version: str
) -> OutRecord:
    """Return the dead letter of one record of a chunk.

    Value and key are the original bytes, unchanged; everything else is in the headers, so that
    ``anoean dlq replay`` can put the very same message back. A record that was replayed before
    keeps the headers that say so; of its other headers none is carried on.

    Parameters
    ----------
    chunk : Chunk
        Where the record was read.
    index : int
        Its place in the chunk, from 0.
    reason : Reason
        Why it could not be scored.
    detail : str
        What was seen and what was expected; shortened to 500 characters.
    worker_id, model_version : str
        Who judged it, with which model.
    """
    return OutRecord(
        key=chunk.keys[index],
        value=chunk.values[index],
        headers=(
            ("anoean-reason", reason.encode()),
            ("anoean-detail", detail[:_DETAIL_MAX_CHARS].encode(errors="replace")),
            ("anoean-topic", chunk.topic.encode()),
            ("anoean-partition", str(chunk.partition).encode()),
            ("anoean-offset", str(chunk.offsets[index]).encode()),
            ("anoean-timestamp-ms", str(chunk.timestamps_ms[index]).encode()),
            ("anoean-worker", worker_id.encode()),
            ("anoean-model-version", model_version.encode()),
            *_replay_marks(chunk.headers_of(index)),
        ),
    )


def _replay_marks(headers: Headers) -> Headers:
    marks = dict(headers)
    count = marks.get(REPLAY_COUNT_HEADER, b"")
    if not count.isdigit() or len(count) > _REPLAY_COUNT_DIGITS:
        return ()
    came_from = marks.get(REPLAYED_FROM_HEADER, b"")[:_REPLAYED_FROM_MAX_BYTES]
    return ((REPLAY_COUNT_HEADER, count), (REPLAYED_FROM_HEADER, came_from))


def truncated(record: OutRecord, max_bytes: int) -> OutRecord:
    """Return a dead letter with no more than `max_bytes` of value and key, and what was cut.

    For what the dead-letter topic takes no longer: headers ``anoean-original-bytes`` and
    ``anoean-original-sha256`` tell what the whole value was, topic and offset where it still is.
    The value is cut first; a key is cut only when it alone is too long.
    """
    value = record.value or b""
    key = record.key
    headers = record.headers
    if not any(name == "anoean-original-bytes" for name, _ in headers):
        headers = (
            *headers,
            ("anoean-original-bytes", str(len(value)).encode()),
            ("anoean-original-sha256", hashlib.sha256(value).hexdigest().encode()),
        )
    if key is not None and len(key) > max_bytes:
        if not any(name == "anoean-original-key-bytes" for name, _ in headers):
            headers = (*headers, ("anoean-original-key-bytes", str(len(key)).encode()))
        key = key[:max_bytes]
    room = max_bytes - len(key or b"")
    return OutRecord(key=key, value=None if record.value is None else value[:room], headers=headers)
