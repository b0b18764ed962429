"""Where text goes: results to stdout, everything else to stderr.

A script that pipes ``anoean ... --json`` reads exactly one JSON object a line and nothing else;
progress, tables of what is going on and complaints never mix with it. Both consoles drop colours
when ``NO_COLOR`` is set or the stream is not a terminal.
"""

import sys

import msgspec
from rich.console import Console

out = Console(highlight=False)
"""stdout: what the user asked for."""

err = Console(stderr=True, highlight=False)
"""stderr: progress, notes and errors."""


def print_json(document: object) -> None:
    """Write one JSON object as one line on stdout, flushed, so that a reader sees it at once.

    Parameters
    ----------
    document : object
        Anything msgspec can encode: dict, dataclass, Struct, datetime, ... NaN becomes null.
        Numpy scalars are refused (TypeError): turn them into Python numbers where they are made.

    Raises
    ------
    TypeError
        For an object that has no JSON form.
    """
    sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
    sys.stdout.flush()
