"""Times as a person reads them."""

from datetime import UTC, datetime

import pytest

from anoean_stream.cli.times import parse_utc, show_short_utc, show_span, show_utc, try_utc

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def test_moment_without_a_zone_is_utc() -> None:
    assert parse_utc("2026-05-01T12:00:00") == parse_utc("2026-05-01T14:00:00+02:00") == NOON


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z"])
def test_what_is_no_moment_is_shown_as_such(text: str) -> None:
    assert try_utc(text) is None
    assert show_utc(text) == "?"
    assert not show_short_utc(text, now=NOON)


def test_day_is_left_out_only_for_today() -> None:
    assert show_short_utc("2026-05-01T10:00:00Z", now=NOON) == "10:00:00"
    assert show_short_utc("2026-04-30T23:59:00Z", now=NOON) == "04-30 23:59"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (59, "59 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (3e5, "3 d")],
)
def test_span_is_in_its_largest_useful_unit(seconds: float, text: str) -> None:
    assert show_span(seconds) == text
