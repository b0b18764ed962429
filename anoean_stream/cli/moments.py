"""Moments on the command line: ``2h`` ago, or an ISO 8601 time; and lengths of time: ``2h``."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

_AGO: Final = re.compile(r"^(\d{1,9}(?:\.\d{1,6})?)([smhd])$")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_moment(text: str, *, now: datetime) -> datetime:
    """Return the moment that a word means.

    Parameters
    ----------
    text : str
        ``90s``, ``15m``, ``2h``, ``1.5d``: so long ago. Or ISO 8601; without a zone it is UTC.
    now : datetime
        The present, aware.

    Raises
    ------
    ValueError
        When it is neither, or lies outside of what a calendar holds.

    Examples
    --------
    >>> parse_moment("2h", now=datetime(2026, 5, 1, 12, tzinfo=UTC)).isoformat()
    '2026-05-01T10:00:00+00:00'
    >>> parse_moment("2026-05-01T10:30", now=datetime(2026, 5, 1, tzinfo=UTC)).isoformat()
    '2026-05-01T10:30:00+00:00'
    """
    try:
        if _AGO.match(text):
            return now - timedelta(seconds=parse_duration(text))
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        message = f"{text!r} is no time; give 90s, 15m, 2h, 1d (ago), or 2026-05-01T10:30 (UTC)"
        raise ValueError(message) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_duration(text: str) -> float:
    """Return the seconds that a word means: ``90s``, ``15m``, ``2h``, ``1.5d``.

    Raises
    ------
    ValueError
        When it is none of these.

    Examples
    --------
    >>> parse_duration("1.5h")
    5400.0
    """
    if found := _AGO.match(text):
        return float(found[1]) * _SECONDS[found[2]]
    message = f"{text!r} is no length of time; give 90s, 15m, 2h or 1.5d"
    raise ValueError(message)


def _parsed(text: str) -> datetime:
    try:
        return parse_moment(text, now=datetime.now(tz=UTC))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


SinceOption = Annotated[
    datetime | None,
    typer.Option(
        "--since",
        parser=_parsed,
        metavar="TIME",
        help="From then on: 90s, 15m, 2h, 1d ago, or ISO 8601 (UTC without a zone).",
        show_default=False,
    ),
]
UntilOption = Annotated[
    datetime | None,
    typer.Option(
        "--until",
        parser=_parsed,
        metavar="TIME",
        help="Before then; else up to now.",
        show_default=False,
    ),
]
