"""Moments on the command line: so long ago, or ISO 8601."""

from datetime import UTC, datetime, timedelta

import pytest

from anoean_stream.cli.moments import parse_duration, parse_moment

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("1.5h", timedelta(minutes=90)),
        ("2d", timedelta(days=2)),
    ],
)
def test_so_long_ago(text: str, ago: timedelta) -> None:
    assert parse_moment(text, now=NOW) == NOW - ago


@pytest.mark.parametrize(
    "text", ["2026-05-01T10:30", "2026-05-01T10:30Z", "2026-05-01 12:30+02:00", "20260501T1030"]
)
def test_iso_8601_is_utc_without_a_zone(text: str) -> None:
    assert parse_moment(text, now=NOW) == datetime(2026, 5, 1, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "2", "2 h", "-2h", "h", "yesterday", "999999999d", "2026-13-01"]
)
def test_anything_else_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="give 90s, 15m, 2h, 1d"):
        parse_moment(text, now=NOW)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90.0), ("15m", 900.0), ("1.5h", 5400.0), ("2d", 172_800.0)]
)
def test_a_length_of_time_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "-2h", "soon", "2026-05-01"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"give 90s, 15m, 2h or 1\.5d"):
        parse_duration(text)
