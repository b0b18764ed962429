"""The limit on dead records: what stops a worker, and what must not."""

import pytest

from anoean_stream.errors import DeadLetterLimitError
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.deadletter import Reason
from anoean_stream.records.deadlimit import DeadLimit
from anoean_stream.records.decode import Rejected


def feed(
    limit: DeadLimit, fates: str, *, reason: Reason = "not_json", chunk_records: int = 7
) -> int:
    """Show records to the limit, 'x' a dead one, in chunks; return how many until it raised."""
    for first in range(0, len(fates), chunk_records):
        part = fates[first : first + chunk_records]
        n = len(part)
        chunk = Chunk("flows", 3, [b""] * n, [None] * n, range(first, first + n), [-1] * n)
        rejected = [Rejected(i, reason, "") for i, fate in enumerate(part) if fate == "x"]
        try:
            limit.see(chunk, rejected)
        except DeadLetterLimitError:
            return first + n
    return 0


def test_ratio_over_the_window_stops() -> None:
    limit = DeadLimit(ratio=0.9, window=100, run=None)

    assert feed(limit, "xxxxxxxxx." * 20, chunk_records=10) == 100


def test_ratio_is_not_judged_before_the_window_is_full() -> None:
    limit = DeadLimit(ratio=0.5, window=100, run=None)

    assert feed(limit, "x" * 99) == 0


def test_ratio_below_the_limit_never_stops() -> None:
    limit = DeadLimit(ratio=0.9, window=100, run=None)

    assert feed(limit, "xxxxxxxx.." * 200, chunk_records=10) == 0


def test_the_window_forgets_what_was_good_long_ago() -> None:
    limit = DeadLimit(ratio=0.9, window=100, run=None)

    stopped_at = feed(limit, "." * 5000 + "x" * 200, chunk_records=10)

    assert stopped_at == 5090


def test_a_chunk_larger_than_the_window_is_judged_whole() -> None:
    limit = DeadLimit(ratio=0.9, window=100, run=None)

    assert feed(limit, "x" * 150 + "." * 850, chunk_records=1000) == 0
    assert feed(limit, "x" * 1000, chunk_records=1000) == 1000


@pytest.mark.parametrize("chunk_records", [1, 7, 50, 1000])
def test_run_of_dead_records_stops_across_chunks(chunk_records: int) -> None:
    limit = DeadLimit(ratio=None, window=10_000, run=50)

    assert feed(limit, ".." + "x" * 49 + "." * 20, chunk_records=chunk_records) == 0
    assert feed(limit, "." + "x" * 50 + "." * 20, chunk_records=chunk_records) >= 51


def test_one_good_record_ends_a_run_wherever_it_stands() -> None:
    limit = DeadLimit(ratio=None, window=10_000, run=50)

    assert feed(limit, ("x" * 49 + ".") * 40) == 0
    assert feed(limit, ("." + "x" * 49) * 40, chunk_records=50) == 0


@pytest.mark.parametrize("off", [None, 0])
def test_both_limits_can_be_off(off: int | None) -> None:
    limit = DeadLimit(ratio=off, window=1000, run=off)

    assert feed(limit, "x" * 20_000, chunk_records=1000) == 0


def test_the_error_names_figures_the_commonest_reason_and_an_example() -> None:
    limit = DeadLimit(ratio=None, window=1000, run=10)
    feed(limit, "xxx", reason="empty")

    with pytest.raises(DeadLetterLimitError) as caught:
        limit.see(
            Chunk("flows", 3, [b""] * 7, [None] * 7, range(100, 107), [-1] * 7),
            [Rejected(i, "wrong_type", "") for i in range(7)],
        )

    assert (caught.value.reason, caught.value.example) == ("wrong_type", "flows/3/106")
    said = str(caught.value)
    assert "10 records one after the other" in said
    assert "7 of them for 'wrong_type'" in said
    assert "scoring.dead_run_limit is 10" in said
    assert "anoean dlq show --origin flows/3/106" in said
