"""Times as text: RFC 3339 in UTC, as everything that we publish writes them."""

from datetime import UTC, datetime
from typing import Literal


def rfc3339(
    moment: datetime, *, digits: Literal["seconds", "milliseconds", "microseconds"] = "milliseconds"
) -> str:
    """Return a moment as text that sorts as it does.

    Parameters
    ----------
    moment : datetime
        Aware.
    digits : str
        How exact.

    Examples
    --------
    >>> rfc3339(datetime(2026, 5, 1, 12, tzinfo=UTC))
    '2026-05-01T12:00:00.000Z'
    """
    return moment.astimezone(UTC).isoformat(timespec=digits).replace("+00:00", "Z")
