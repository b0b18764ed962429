"""The dead letter's marks of earlier replays: carried on, and nothing else of the record's headers."""

import pytest

from anoean_stream.records.chunk import Chunk
from anoean_stream.records.deadletter import dead_letter
from anoean_stream.records.outgoing import Headers

ORIGIN = b"flows.dlq/0/17"


def letter_of(headers: Headers) -> dict[str, bytes]:
    """Return the headers of the dead letter of a record with these headers."""
    chunk = Chunk("flows", 3, [b"{", b"["], [None] * 2, [5, 6], [-1] * 2, lambda i: headers * i)
    letter = dead_letter(chunk, 1, reason="not_json", detail="", worker_id="w", model_version="7")
    return dict(letter.headers)


def test_a_replayed_record_that_fails_again_keeps_its_marks() -> None:
    headers = letter_of((("anoean-replay-count", b"2"), ("anoean-replayed-from", ORIGIN)))

    assert headers["anoean-replay-count"] == b"2"
    assert headers["anoean-replayed-from"] == ORIGIN
    assert headers["anoean-offset"] == b"6"


def test_no_other_header_of_the_record_is_carried_on() -> None:
    headers = letter_of((("anoean-offset", b"999"), ("anoean-label", b"1"), ("x", b"y" * 10_000)))

    assert headers["anoean-offset"] == b"6"
    assert not {"anoean-label", "x", "anoean-replay-count"} & headers.keys()


@pytest.mark.parametrize("count", [b"", b"-1", b"1.5", b"two", b"9" * 10, b"\xb2"])
def test_marks_that_no_replay_wrote_are_dropped(count: bytes) -> None:
    headers = letter_of((("anoean-replay-count", count), ("anoean-replayed-from", ORIGIN)))

    assert not {"anoean-replay-count", "anoean-replayed-from"} & headers.keys()


def test_a_mark_cannot_make_the_letter_too_large_for_its_topic() -> None:
    marks = (("anoean-replay-count", b"1"), ("anoean-replayed-from", b"x" * 1_000_000))

    assert len(letter_of(marks)["anoean-replayed-from"]) == 300
