"""When an episode begins and ends, what its notices say, and that the counts add up."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from anoean_stream.overload.episode import Overload, Thinned
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.notice import notice_schema
from anoean_stream.records.outgoing import OutRecord
from anoean_stream.settings import OverloadSettings
from tests.support.schemas import NOTICE_SCHEMA_FILE

START = datetime(2026, 1, 1, tzinfo=UTC)
A, B = ("flows", 0), ("flows", 1)


class Scene:
    """An overload policy, a clock, and chunks that follow one another."""

    def __init__(self, **settings: Any) -> None:
        self.now = START
        own = OverloadSettings.model_validate(
            {"policy": "sample", "max_lag_records": 1000, "sample_share": 0.25, **settings}
        )
        self.overload = Overload(own, worker_id="w", now=lambda: self.now)
        self._next = {A: 0, B: 0}

    def chunk(
        self, *, lag: int, place: tuple[str, int] = A, n: int = 400, age_s: float = 0
    ) -> Thinned:
        first = self._next[place]
        self._next[place] += n
        stamp = round((self.now.timestamp() - age_s) * 1000)
        self.overload.on_lag(place, lag)
        return self.overload.thin(
            Chunk(*place, [b"{}"] * n, [None] * n, list(range(first, first + n)), [stamp] * n)
        )


def read(*records: OutRecord) -> list[dict[str, Any]]:
    notices = [json.loads(record.value or b"") for record in records]
    for notice in notices:
        jsonschema.validate(notice, notice_schema())
    return notices


def states(thinned: Thinned) -> list[str]:
    return [notice["state"] for notice in read(*thinned.notices)]


def test_policy_wait_keeps_everything_whatever_the_lag() -> None:
    scene = Scene(policy="wait")

    thinned = scene.chunk(lag=10**9, age_s=10**6)

    assert (thinned.chunk.n_records, thinned.n_dropped, thinned.notices) == (400, 0, ())


def test_nothing_is_dropped_below_the_limit() -> None:
    thinned = Scene().chunk(lag=1000)

    assert (thinned.n_dropped, thinned.notices) == (0, ())


def test_first_dropped_record_is_announced_before_with_an_open_range() -> None:
    scene = Scene()
    scene.chunk(lag=10)

    thinned = scene.chunk(lag=1001)
    (notice,) = read(*thinned.notices)

    assert 0 < thinned.n_dropped < 400
    assert thinned.chunk.n_records + thinned.n_dropped == 400
    assert (notice["state"], notice["dropped"]) == ("started", 0)
    assert notice["gaps"] == [
        {
            "topic": "flows",
            "partition": 0,
            "first_offset": 400,
            "last_offset": None,
            "records": 0,
            "dropped": 0,
        }
    ]
    assert "1001 records behind, overload.max_lag_records is 1000" in notice["reason"]


def test_each_partition_is_announced_once() -> None:
    scene = Scene()

    assert states(scene.chunk(lag=2000)) == ["started"]
    assert states(scene.chunk(lag=2000)) == []
    assert states(scene.chunk(lag=2000, place=B)) == ["started"]
    assert states(scene.chunk(lag=2000, place=B)) == []


def test_lags_of_all_partitions_count_together_and_those_given_up_do_not() -> None:
    scene = Scene()
    scene.chunk(lag=600)
    assert scene.chunk(lag=600, place=B).n_dropped > 0

    scene.overload.forget([A])

    assert scene.chunk(lag=400, place=B).n_dropped == 0


def test_an_episode_goes_on_until_half_of_the_limit() -> None:
    scene = Scene()
    scene.chunk(lag=2000)

    assert scene.chunk(lag=501).n_dropped > 0
    calm = scene.chunk(lag=500)

    assert (calm.n_dropped, states(calm)) == (0, ["ended"])
    assert scene.chunk(lag=900).n_dropped == 0


def test_age_is_a_limit_of_its_own() -> None:
    scene = Scene(max_lag_records=None, max_age_s=60)

    assert scene.chunk(lag=10**9, age_s=59).n_dropped == 0
    assert scene.chunk(lag=0, age_s=61).n_dropped > 0
    assert scene.chunk(lag=0, age_s=31).n_dropped > 0
    assert states(scene.chunk(lag=0, age_s=29)) == ["ended"]


def test_a_notice_comes_every_minute_and_the_counts_add_up_exactly() -> None:
    scene = Scene()
    notices: list[dict[str, Any]] = []
    n_dropped = 0
    for second in range(0, 150, 10):
        scene.now = START + timedelta(seconds=second)
        thinned = scene.chunk(lag=5000, place=A if second % 20 else B)
        n_dropped += thinned.n_dropped
        notices += read(*thinned.notices)
    still = scene.chunk(lag=0, place=A)  # B is behind: this one is sampled, too
    calm = scene.chunk(lag=0, place=B)
    n_dropped += still.n_dropped
    notices += read(*still.notices, *calm.notices)

    told = [notice["state"] for notice in notices]
    assert told == ["started", "started", "continues", "continues", "ended"]
    assert sum(notice["dropped"] for notice in notices) == n_dropped
    assert notices[-1]["dropped_in_episode"] == n_dropped
    gaps = [gap for notice in notices for gap in notice["gaps"] if gap["last_offset"] is not None]
    assert sum(gap["dropped"] for gap in gaps) == n_dropped
    assert sum(gap["records"] for gap in gaps) == 16 * 400
    for partition in (0, 1):
        ranges = [
            (g["first_offset"], g["last_offset"]) for g in gaps if g["partition"] == partition
        ]
        assert all(end + 1 == begin for (_, end), (begin, _) in pairwise(ranges))


def test_a_stop_ends_the_episode_with_what_was_not_told_yet() -> None:
    scene = Scene()
    n_dropped = scene.chunk(lag=5000).n_dropped

    last = scene.overload.close()

    assert last is not None
    (notice,) = read(last)
    assert (notice["state"], notice["dropped"], notice["reason"]) == (
        "ended",
        n_dropped,
        "the worker stops",
    )
    assert scene.overload.close() is None


def test_a_notice_is_told_from_an_alert_by_header_and_field() -> None:
    (record,) = Scene().chunk(lag=5000).notices

    assert ("event-kind", b"notice") in record.headers
    assert read(record)[0]["event_kind"] == "notice"


def test_sampling_without_a_limit_is_refused() -> None:
    with pytest.raises(ValidationError, match="needs max_lag_records or max_age_s"):
        OverloadSettings(policy="sample", max_lag_records=None)


def test_published_schema_is_the_code() -> None:
    assert json.loads(NOTICE_SCHEMA_FILE.read_text()) == notice_schema()
