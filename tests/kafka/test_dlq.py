"""Dead letters on a real Kafka: listed, shown, sent again once, scored again, and never a loop."""

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_topics import committed
from tests.support.models import attack_row, make_rows
from tests.support.site import Site, make_site
from tests.support.topics import publish, read_all
from tests.support.waiting import wait_until
from tests.support.worker import WorkerProcess

BROKEN = (b"{", b"[1]", b'{"bytes_out": "many"}', b"\xff")
REASONS = {"not_json": 1, "not_an_object": 1, "wrong_type": 1, "not_utf8": 1}


@pytest.fixture
def site(kafka_broker: KafkaBroker, new_group: Callable[[str], str], tmp_path: Path) -> Site:
    return make_site(kafka_broker.bootstrap, new_group("site"), tmp_path)


@pytest.fixture
def worker(site: Site) -> Iterator[WorkerProcess]:
    with site.worker() as started:
        yield started.ready()


def test_letters_are_listed_by_reason_time_and_partition(site: Site, worker: WorkerProcess) -> None:
    publish(site.bootstrap, site.topic("input"), BROKEN, partitions=2)
    worker.wait_for_records(4)
    soon = (datetime.now(tz=UTC) + timedelta(minutes=1)).isoformat()

    listed = site.json("dlq", "list")
    typed = site.json("dlq", "list", "--reason", "wrong_type")
    first = site.json("dlq", "list", "--partition", "0")
    lately = site.json("dlq", "list", "--since", "5m", "--until", soon)
    before = site.json("dlq", "list", "--until", "5m")
    text = site.run("dlq", "list")

    assert listed["by_reason"] == lately["by_reason"] == REASONS
    assert (typed["total"], typed["letters"][0]["preview"]) == (1, '{"bytes_out": "many"}')
    assert {letter["origin_partition"] for letter in first["letters"]} == {0}
    assert first["total"] == 2
    assert before["total"] == 0
    assert all(reason in text for reason in REASONS)


def test_a_letter_is_shown_by_place_and_by_origin_with_its_bytes(
    site: Site, worker: WorkerProcess
) -> None:
    poison = b"\xff\x1b[31m" + bytes(range(256))
    publish(site.bootstrap, site.topic("input"), [b"{", poison], partitions=2)
    worker.wait_for_records(2)
    (listed,) = site.json("dlq", "list", "--reason", "not_utf8")["letters"]
    place = f"{listed['partition']}:{listed['offset']}"

    text = site.run("dlq", "show", place)
    whole = site.json("dlq", "show", "--origin", f"{site.topic('input')}/1/0")
    process = site.start("dlq", "show", "--origin", "1:0", "--raw")
    raw, _ = process.communicate(timeout=60)

    assert raw == poison
    assert base64.b64decode(whole["value"]) == poison
    assert whole["headers"]["anoean-reason"] == "not_utf8"
    assert "ff 1b 5b 33 31 6d" in text
    assert "\x1b" not in text
    assert "anoean-origin" not in text
    assert "anoean-timestamp-ms" in text
    assert "there is no dead letter at 0:99" in site.run("dlq", "show", "0:99", exit_code=2)
    assert "no dead letter of" in site.run("dlq", "show", "--origin", "0/99", exit_code=2)


def test_replay_is_dry_first_sends_once_and_leaves_out_what_failed_again(
    site: Site, worker: WorkerProcess
) -> None:
    publish(site.bootstrap, site.topic("input"), BROKEN, partitions=2)
    worker.wait_for_records(4)

    tried = site.json("dlq", "replay")
    typed = site.json("dlq", "replay", "--reason", "wrong_type", "--yes")
    worker.wait_for_records(5)
    rest = site.json("dlq", "replay", "--yes")
    worker.wait_for_records(8)
    again = site.json("dlq", "replay", "--yes")
    said = site.run("dlq", "replay")
    allowed = site.json("dlq", "replay", "--max-replays", "2", "--limit", "1", "--yes")
    worker.wait_for_records(9)

    assert (tried["dry_run"], tried["found"], tried["replayed"]) == (True, 4, 0)
    assert (typed["replayed"], typed["by_reason"]) == (1, {"wrong_type": 1})
    # What one reason's replay sent is remembered; its new letter carries the mark and stays.
    assert (rest["replayed"], rest["left_out"]["done"]) == (3, 1)
    assert rest["left_out"]["failed_again"] == 1
    assert (again["replayed"], again["left_out"]["failed_again"]) == (0, 4)
    assert "0 dead letters would be sent" in said
    assert allowed["replayed"] == 1
    inputs = read_all(site.bootstrap, site.topic("input"))
    counts = Counter(record.headers.get("anoean-replay-count", "-") for record in inputs)
    assert counts == {"-": 4, "1": 4, "2": 1}
    letters = read_all(site.bootstrap, site.topic("dead_letters"))
    assert Counter(letter.headers.get("anoean-replay-count", "-") for letter in letters) == counts
    for letter in letters:
        if "anoean-replay-count" in letter.headers:
            assert letter.headers["anoean-replayed-from"].startswith(site.topic("dead_letters"))


def test_replay_of_one_partition_or_time_leaves_the_rest_for_later(
    site: Site, worker: WorkerProcess
) -> None:
    publish(site.bootstrap, site.topic("input"), BROKEN, partitions=2)
    worker.wait_for_records(4)

    nothing = site.json("dlq", "replay", "--until", "5m", "--yes")
    half = site.json("dlq", "replay", "--partition", "1", "--yes")
    rest = site.json("dlq", "replay", "--since", "5m", "--yes")
    again = site.json("dlq", "replay", "--since", "5m", "--partition", "0", "--yes")

    assert [run["replayed"] for run in (nothing, half, rest, again)] == [0, 2, 2, 0]
    assert again["left_out"]["done"] == 2


def test_letters_go_straight_through_the_scorer_and_alerts_are_published_when_asked(
    site: Site,
) -> None:
    rows = [msgspec.json.encode(row | {"note": "x" * 300}) for row in (*make_rows(3), attack_row())]
    with site.worker(scoring__max_record_bytes=200) as worker:
        publish(site.bootstrap, site.topic("input"), [*rows, b"{"], partitions=2)
        worker.ready().wait_for_records(5)
        assert worker.stop() == 0

    now = site.json("dlq", "replay", "--through-scorer")
    dry = site.run("dlq", "replay", "--through-scorer", "--publish")
    assert not read_all(site.bootstrap, site.topic("alerts"))
    published = site.json("dlq", "replay", "--through-scorer", "--publish", "--yes")

    assert (now["letters"], now["scored"], now["still_dead"]) == (5, 4, {"not_json": 1})
    assert (now["above_threshold"], now["published"], published["published"]) == (1, 0, 1)
    assert "5 dead letters through anoean@1" in dry
    (alert,) = read_all(site.bootstrap, site.topic("alerts"))
    document = json.loads(alert.value or b"")
    source = document["source"]
    assert (source["topic"], source["partition"], source["offset"]) == (site.topic("input"), 1, 1)
    assert document["alert_id"] == now["alerts"][0]["alert_id"]
    assert alert.headers["anoean-replayed-from"].startswith(site.topic("dead_letters"))
    assert len(read_all(site.bootstrap, site.topic("input"))) == 5


def test_purge_is_refused_with_the_setting_that_does_it(site: Site) -> None:
    said = site.run("dlq", "purge", exit_code=2)

    assert "retention.ms" in said
    assert site.topic("dead_letters") in said


def test_worker_stops_when_nearly_everything_is_dead_and_nothing_is_lost(site: Site) -> None:
    good: list[bytes | None] = [msgspec.json.encode(row) for row in make_rows(200)]
    bad: list[bytes | None] = [b'{"bytes_out": "many %d"}' % number for number in range(6000)]
    n_records = publish(site.bootstrap, site.topic("input"), good + bad, partitions=2)

    def n_committed() -> int:
        return sum(committed(site.bootstrap, site.group, site.topic("input")))

    with site.worker(scoring__dead_ratio_window=1000, consumer__chunk_max_records=500) as first:
        wait_until(
            lambda: first.exit_code is not None,
            what="the end of the worker",
            within_s=60,
            hint=first.tail,
        )
        exit_code, said = first.exit_code, first.tail()
    stopped_at = n_committed()
    off = {"scoring__dead_ratio_limit": 0, "scoring__dead_run_limit": 0}
    with site.worker(**off) as second:
        second.ready().wait_for_records(n_records - stopped_at)
        assert second.stop() == 0

    assert exit_code == 5
    assert "scoring.dead_ratio_limit is 0.9" in said
    assert "for 'wrong_type'" in said
    (sentence,) = (line for line in said.splitlines() if line.startswith("error:"))
    assert "dlq show --origin" in sentence
    assert 1000 <= stopped_at < n_records
    assert n_committed() == n_records
    # Repeats are allowed (what was in flight when it stopped); a gap is not.
    letters = read_all(site.bootstrap, site.topic("dead_letters"))
    assert {letter.value for letter in letters} == set(bad)
