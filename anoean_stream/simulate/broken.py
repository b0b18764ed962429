"""Records that no detector can score: what a topic holds sooner or later."""

from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np

Breakage = Callable[[bytes], bytes | None]


def _wrong_type(value: bytes) -> bytes:
    record = msgspec.json.decode(value)
    return msgspec.json.encode({**record, "bytes_fwd": {"total": record.get("bytes_fwd")}})


BREAKAGES: Final[dict[str, Breakage]] = {
    "truncated": lambda value: value[: len(value) // 2],
    "not an object": lambda value: b"[" + value + b"]",
    "wrong type": _wrong_type,
    "no text": lambda value: b"\xff\xfe" + value[:40],
    "empty": lambda _: b"",
    "tombstone": lambda _: None,
}
"""Ways to break a record, by name."""


def break_value(value: bytes, *, rng: np.random.Generator) -> bytes | None:
    """Return the record broken in one of the ways of `BREAKAGES`; None is a tombstone."""
    breakages = list(BREAKAGES.values())
    return breakages[int(rng.integers(len(breakages)))](value)
