"""Values of a topic as rows of a table."""

import json
from typing import Final

import msgspec

from anoean_stream.records.bounds import whole_text

_SHOWN: Final = 5
"""Columns named in a note."""


class RowReader:
    """Turns values into rows; what is nested in them is no column."""

    def __init__(self) -> None:
        self._nested: dict[str, None] = {}

    def read(self, value: bytes) -> dict[str, object] | None:
        """Return the row of a value, None when it is no JSON object."""
        row = object_in(value)
        if row is None:
            return None
        nested = [name for name, cell in row.items() if isinstance(cell, dict | list)]
        for name in nested:
            self._nested[name] = None
            del row[name]
        return row

    def notes(self) -> list[str]:
        """Return a sentence when fields were left out."""
        if not self._nested:
            return []
        shown = ", ".join(list(self._nested)[:_SHOWN])
        return [f"{len(self._nested)} fields hold lists or objects, which are not read ({shown})"]


def object_in(value: bytes) -> dict[str, object] | None:
    """Return a JSON object as the worker's decoder would take it, None when it is none."""
    try:
        row = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:  # NaN and Infinity, a byte order mark
            row = json.loads(value.decode("utf-8-sig", errors="replace"))
        except (ValueError, RecursionError):
            return None
        if isinstance(row, dict):
            row = {
                whole_text(name): whole_text(cell) if isinstance(cell, str) else cell
                for name, cell in row.items()
            }
    return row if isinstance(row, dict) else None
