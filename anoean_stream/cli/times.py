"""Times as a person reads them: a moment in UTC, a span in one unit."""

from datetime import UTC, datetime
from typing import Final

_MINUTE_S: Final = 60.0
_HOUR_S: Final = 3600.0
_DAY_S: Final = 86_400.0
_UNITS: Final = ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min"))

_FROM: Final = 2.0
"""Of a larger unit that many at the least: 90 s is said as 90 s."""


def parse_utc(text: str) -> datetime:
    """Return the moment of an RFC 3339 text; without a zone it is UTC.

    Raises
    ------
    ValueError
        When it is none.
    """
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def try_utc(text: str) -> datetime | None:
    """Return the moment of an RFC 3339 text, or None: a file that was edited by hand may hold anything."""
    try:
        return parse_utc(text)
    except ValueError:
        return None


def show_utc(moment: datetime | str | None) -> str:
    """Return a moment to the second, in UTC; a text that is no moment, or none, becomes ``?``.

    Examples
    --------
    >>> show_utc("2026-05-01T12:00:00.250+02:00")
    '2026-05-01 10:00:00'
    """
    at = try_utc(moment) if isinstance(moment, str) else moment
    return "?" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def show_short_utc(text: str | None, *, now: datetime) -> str:
    """Return a moment in few letters: the time if it was today, else the day too; nothing for none.

    Examples
    --------
    >>> now = datetime(2026, 5, 2, tzinfo=UTC)
    >>> (
    ...     show_short_utc("2026-05-02T10:00:00Z", now=now),
    ...     show_short_utc("2026-05-01T10:00:00Z", now=now),
    ... )
    ('10:00:00', '05-01 10:00')
    """
    at = None if text is None else try_utc(text)
    if at is None:
        return ""
    is_today = at.astimezone(UTC).date() == now.astimezone(UTC).date()
    return f"{at.astimezone(UTC):{'%H:%M:%S' if is_today else '%m-%d %H:%M'}}"


def show_span(seconds: float) -> str:
    """Return a span of time in its largest useful unit.

    Examples
    --------
    >>> [show_span(seconds) for seconds in (0.42, 12.3, 90, 600, 7200, 300_000)]
    ['0.4 s', '12 s', '90 s', '10 min', '2 h', '3 d']
    """
    for unit_s, word in _UNITS:
        if seconds >= _FROM * unit_s:
            return f"{seconds / unit_s:.0f} {word}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004  two digits
