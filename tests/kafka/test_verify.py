"""`anoean verify` on a real Kafka: it adds up where it does, and says so where somebody tampered."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from anoean_stream.records.alert import alert_id
from tests.support.kafka_broker import KafkaBroker, free_port
from tests.support.models import attack_row, make_rows
from tests.support.site import Site, make_site
from tests.support.topics import publish, read_all
from tests.support.worker import WorkerProcess

BROKEN = (b"{", b"[1]", b'{"bytes_out": "many"}', None)


@pytest.fixture
def site(kafka_broker: KafkaBroker, new_group: Callable[[str], str], tmp_path: Path) -> Site:
    return make_site(kafka_broker.bootstrap, new_group("verify"), tmp_path)


def flows(n_good: int) -> list[bytes | None]:
    """Good rows, two attacks, four broken ones."""
    rows = [*make_rows(n_good - 2), attack_row(), attack_row(seed=1)]
    return [*(msgspec.json.encode(row) for row in rows), *BROKEN]


def produce(site: Site, use: str, value: bytes | None, headers: dict[str, str]) -> None:
    """Write one record by hand, as no worker would."""
    producer = Producer({"bootstrap.servers": site.bootstrap})
    pairs: Any = list(headers.items())
    producer.produce(site.topic(use), value, headers=pairs)
    assert producer.flush(30) == 0


def publish_in_transactions(site: Site, transactions: Sequence[tuple[list[bytes], bool]]) -> None:
    """Write values to partition 0, each list in one transaction, committed or not."""
    producer = Producer({"bootstrap.servers": site.bootstrap, "transactional.id": site.group})
    producer.init_transactions(30)
    for values, commits in transactions:
        producer.begin_transaction()
        for value in values:
            producer.produce(site.topic("input"), value, partition=0)
        producer.flush(30)
        (producer.commit_transaction if commits else producer.abort_transaction)(30)


def commit_by_hand(site: Site, partition: int, offset: int) -> None:
    """Move the group's committed offset; possible while no worker is in the group."""
    consumer = Consumer({"bootstrap.servers": site.bootstrap, "group.id": site.group})
    consumer.commit(
        offsets=[TopicPartition(site.topic("input"), partition, offset)], asynchronous=False
    )
    consumer.close()


def url_of(worker: WorkerProcess) -> str:
    return str(worker.wait_for_line("web_listening")["url"])


def kinds(document: dict[str, Any], weight: str) -> dict[str, int]:
    found = document["findings"]
    return {finding["kind"]: finding["n"] for finding in found if finding["weight"] == weight}


def test_a_sound_deployment_adds_up_with_counters_gaps_and_lag(site: Site) -> None:
    n_records = publish(site.bootstrap, site.topic("input"), flows(500), partitions=2)
    good = [value for value in flows(32)[:30] if value is not None]
    publish_in_transactions(site, [(good[:10], True), (good[10:20], False), (good[20:], True)])
    with site.worker() as worker:
        worker.ready().wait_for_records(n_records + 20)
        running = site.json("verify", "--since", "1h", "--metrics", url_of(worker))
        assert worker.stop() == 0
    publish(site.bootstrap, site.topic("input"), [good[0]] * 6, partitions=2)

    stopped = site.json("verify", "--since", "1h")
    text = site.run("verify")

    n_alerts = len(read_all(site.bootstrap, site.topic("alerts")))
    assert n_alerts >= 2
    (counters,) = running["workers"]
    assert (running["adds_up"], kinds(running, "problem")) == (True, {})
    assert "counters_not_compared" not in kinds(running, "unknown")
    assert running["records"] == counters["records"] == n_records + 20
    assert counters["scored"] + counters["dead"] == counters["records"]
    assert (stopped["adds_up"], stopped["done"], stopped["lag"]) == (True, n_records + 20, 6)
    assert (stopped["dead"], stopped["alerted"]) == (len(BROKEN), n_alerts)
    said = " ".join(text.split())
    assert "it adds up: 530 records = 524 behind the committed offsets + 6 lag" in said


def test_an_alert_about_a_record_that_does_not_exist_does_not_add_up(site: Site) -> None:
    n_records = publish(site.bootstrap, site.topic("input"), flows(100), partitions=2)
    good = [value for value in flows(12)[:10] if value is not None]
    publish_in_transactions(site, [(good, True)])
    with site.worker() as worker:
        worker.ready().wait_for_records(n_records + 10)
        assert worker.stop() == 0
    alert = json.loads(read_all(site.bootstrap, site.topic("alerts"))[0].value or b"")
    marker = n_records // 2 + 10  # offset of the transaction's end: no record
    for offset in (marker, 10**6):
        id_ = alert_id(site.topic("input"), 0, offset, alert["model"]["sha256"])
        source = alert["source"] | {"partition": 0, "offset": offset}
        forged = alert | {"alert_id": id_, "source": source}
        produce(site, "alerts", json.dumps(forged).encode(), {})
    produce(site, "alerts", json.dumps(alert | {"alert_id": "0" * 32}).encode(), {})

    document = site.json("verify", "--since", "1h", exit_code=1)

    assert not document["adds_up"]
    assert kinds(document, "problem") == {"no_source": 2, "wrong_id": 1}


def test_a_dead_letter_with_other_bytes_and_one_that_is_alerted_do_not_add_up(site: Site) -> None:
    n_records = publish(site.bootstrap, site.topic("input"), flows(100), partitions=2)
    with site.worker() as worker:
        worker.ready().wait_for_records(n_records)
        assert worker.stop() == 0
    letters = read_all(site.bootstrap, site.topic("dead_letters"))
    alert = json.loads(read_all(site.bootstrap, site.topic("alerts"))[0].value or b"")
    produce(site, "dead_letters", b"other", letters[0].headers)
    place = {
        "anoean-partition": str(alert["source"]["partition"]),
        "anoean-offset": str(alert["source"]["offset"]),
    }
    original = json.dumps(alert["original"], separators=(",", ":")).encode()
    produce(site, "dead_letters", original, letters[0].headers | place)

    process = site.start("verify", "--since", "1h")
    out, _ = process.communicate(timeout=60)

    assert process.returncode == 1
    assert b"records have a dead letter with other bytes" in out
    assert b"both an alert and a dead letter" in out
    assert b"it does not add up" in out


def test_offsets_moved_by_hand_are_seen_through_the_counters(site: Site) -> None:
    n_records = publish(site.bootstrap, site.topic("input"), flows(200), partitions=2)
    commit_by_hand(site, 1, 40)
    with site.worker() as worker:
        worker.ready().wait_for_records(n_records - 40)

        blind = site.json("verify", "--since", "1h")
        seeing = site.json("verify", "--since", "1h", "--metrics", url_of(worker), exit_code=1)
        assert worker.stop() == 0

    assert blind["adds_up"]
    assert any("leaves no trace" in sentence for sentence in blind["cannot_know"])
    assert kinds(seeing, "problem") == {"not_counted": 40}


def test_offsets_moved_beyond_the_end_do_not_add_up(site: Site) -> None:
    publish(site.bootstrap, site.topic("input"), flows(20), partitions=2)
    commit_by_hand(site, 0, 500)

    document = site.json("verify", exit_code=1)

    assert "committed_beyond_end" in kinds(document, "problem")


def test_replayed_letters_add_up(site: Site) -> None:
    n_records = publish(site.bootstrap, site.topic("input"), flows(100), partitions=2)
    with site.worker() as worker:
        worker.ready().wait_for_records(n_records)
        site.json("dlq", "replay", "--yes")
        worker.wait_for_records(n_records + len(BROKEN))
        document = site.json("verify", "--since", "1h", "--metrics", url_of(worker))
        assert worker.stop() == 0

    assert document["adds_up"]
    assert document["dead"] == 2 * len(BROKEN)


def test_no_broker_and_no_worker_are_named(site: Site) -> None:
    lost = Site(f"127.0.0.1:{free_port()}", site.settings | {"broker.request_timeout_s": 2})

    assert "check that Kafka runs there" in lost.run("verify", "--since", "2h", exit_code=4)
    nowhere = f"http://127.0.0.1:{free_port()}"
    assert "no worker's counters" in site.run("verify", "--metrics", nowhere, exit_code=2)
