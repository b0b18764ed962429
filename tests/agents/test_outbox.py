"""Delivery before acknowledgement, whatever the brokers say. The faults come from a double."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import KafkaError

from anoean_stream.agents import Outbox
from anoean_stream.delivery.at_least_once import AtLeastOnce
from anoean_stream.delivery.parcels import Parcel
from anoean_stream.detector.bundle import ServedModel, read_bundle_folder
from anoean_stream.errors import BrokerError, DeadLetterLimitError
from anoean_stream.kafka.batch import BatchItem, Undelivered
from anoean_stream.observe.health import Health
from anoean_stream.observe.metrics import Metrics
from anoean_stream.pipeline import Pipeline, Verdict
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.deadlimit import DeadLimit
from anoean_stream.serving.scorer import Scorer
from anoean_stream.settings import AlertSettings, ScoringSettings, TopicSettings
from tests.support.models import attack_row, make_bundle, make_rows

RETRIABLE = KafkaError._MSG_TIMED_OUT  # the public name of a local code
TOO_LARGE = KafkaError.MSG_SIZE_TOO_LARGE
HOPELESS = KafkaError.INVALID_RECORD


class FaultyProducer:
    """Takes batches; refuses what `refuse` says, and remembers every try."""

    def __init__(self, refuse: Callable[[int, BatchItem], int | None]) -> None:
        self._refuse = refuse
        self.tries: list[list[BatchItem]] = []
        self.delivered: list[BatchItem] = []

    async def send_batch(self, items: Sequence[BatchItem]) -> Sequence[Undelivered]:
        self.tries.append(list(items))
        failures = []
        for index, item in enumerate(items):
            code = self._refuse(len(self.tries), item)
            if code is None:
                self.delivered.append(item)
            else:
                failures.append(Undelivered(index, KafkaError(code)))
        return failures


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    folder: Path = tmp_path_factory.mktemp("bundle")
    make_bundle(folder)
    return ServedModel(name="edge", version="7", bundle=read_bundle_folder(folder))


def make_verdict(model: ServedModel, values: list[bytes | None], *, offset: int = 0) -> Verdict:
    pipeline = Pipeline(
        model,
        scoring=ScoringSettings(false_positive_rate=1.0),
        alerts=AlertSettings(),
        worker_id="w",
    )
    n = len(values)
    chunk = Chunk("flows", 0, values, [None] * n, list(range(offset, offset + n)), [-1] * n)
    return pipeline.score_chunk(chunk)


def make_delivery(producer: FaultyProducer, metrics: Metrics) -> AtLeastOnce:
    return AtLeastOnce(
        lambda: producer,
        topics=TopicSettings(),
        metrics=metrics,
        message_max_bytes=1_000_000,
    )


def make_outbox(
    producer: FaultyProducer, metrics: Metrics, *, dead_limit: DeadLimit | None = None
) -> Outbox:
    return Outbox(make_delivery(producer, metrics), metrics=metrics, dead_limit=dead_limit)


def deliver(producer: FaultyProducer, verdict: Verdict, metrics: Metrics | None = None) -> None:
    async def acknowledge() -> None:
        raise AssertionError

    async def scenario() -> None:
        parcel = Parcel(verdict, verdict.chunk, acknowledge)
        assert await make_delivery(producer, metrics or Metrics()).deliver([parcel]) == [parcel]

    run(scenario())


def value_of(metrics: Metrics, name: str) -> float:
    return metrics.registry.get_sample_value(name) or 0.0


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 20))


def test_what_was_refused_in_time_is_sent_again_and_nothing_else(model: ServedModel) -> None:
    metrics = Metrics()
    verdict = make_verdict(model, [msgspec.json.encode(row) for row in make_rows(5)])
    third = verdict.alerts[2].value
    producer = FaultyProducer(
        lambda attempt, item: RETRIABLE if attempt == 1 and item[2] == third else None
    )

    deliver(producer, verdict, metrics)

    assert [len(batch) for batch in producer.tries] == [5, 1]
    assert {item[2] for item in producer.delivered} == {alert.value for alert in verdict.alerts}
    assert value_of(metrics, "anoean_delivery_retries_total") == 1


def test_alert_too_large_for_the_broker_goes_without_its_original(model: ServedModel) -> None:
    big = attack_row() | {"note": "x" * 20_000}
    verdict = make_verdict(model, [msgspec.json.encode(big)])
    producer = FaultyProducer(lambda _, item: TOO_LARGE if len(item[2] or b"") > 10_000 else None)

    deliver(producer, verdict)

    (sent,) = producer.delivered
    alert = msgspec.json.decode(sent[2] or b"")
    assert alert["original"] is None
    assert alert["alert_id"] == msgspec.json.decode(verdict.alerts[0].value or b"")["alert_id"]
    assert alert["source"]["offset"] == 0


def test_dead_letter_too_large_is_cut_until_it_fits_and_says_what_it_was(
    model: ServedModel,
) -> None:
    poison = b"[" + b"7" * 30_000
    verdict = make_verdict(model, [poison])
    producer = FaultyProducer(lambda _, item: TOO_LARGE if len(item[2] or b"") > 10_000 else None)

    deliver(producer, verdict)

    (sent,) = producer.delivered
    headers = dict(sent[3])
    assert poison.startswith(sent[2] or b"-")
    assert headers["anoean-original-bytes"] == b"30001"
    assert len(headers["anoean-original-sha256"]) == 64


def test_dead_letter_with_too_long_a_key_is_cut_too(model: ServedModel) -> None:
    verdict = make_verdict(model, [b"["])
    (letter,) = verdict.dead_letters
    verdict = replace(verdict, dead_letters=(replace(letter, key=b"k" * 30_000),))
    producer = FaultyProducer(lambda _, item: TOO_LARGE if len(item[1] or b"") > 10_000 else None)

    deliver(producer, verdict)

    (sent,) = producer.delivered
    assert 0 < len(sent[1] or b"") <= 10_000
    assert dict(sent[3])["anoean-original-key-bytes"] == b"30000"


def test_record_the_broker_will_never_take_ends_the_worker_with_its_topic(
    model: ServedModel,
) -> None:
    verdict = make_verdict(model, [b"{"])
    producer = FaultyProducer(lambda _, __: HOPELESS)

    with pytest.raises(BrokerError, match=r"anomalies\.dlq will never take this record"):
        deliver(producer, verdict)


def test_chunks_are_acknowledged_in_order_and_only_after_their_delivery(
    model: ServedModel,
) -> None:
    verdicts = [make_verdict(model, [b"{", b"[]"], offset=2 * i) for i in range(4)]
    metrics = Metrics()
    producer = FaultyProducer(lambda attempt, _: RETRIABLE if attempt == 1 else None)
    seen: list[tuple[int, int]] = []

    async def scenario() -> None:
        outbox = make_outbox(producer, metrics)
        await outbox.start()
        done = asyncio.Event()
        for number, verdict in enumerate(verdicts):

            async def acknowledge(number: int = number) -> None:
                seen.append((number, len(producer.delivered)))
                if number == len(verdicts) - 1:
                    done.set()

            await outbox.put(verdict, acknowledge)
        await done.wait()
        await outbox.stop()

    run(scenario())

    # The n-th acknowledgement comes when the two dead letters of each chunk so far are delivered.
    assert seen == [(0, 2), (1, 4), (2, 6), (3, 8)]
    assert value_of(metrics, "anoean_records_total") == 8
    assert metrics.registry.get_sample_value(
        "anoean_dead_letters_total", {"reason": "not_json"}
    ) == len(verdicts)


def test_dead_limit_ends_the_outbox_when_its_chunk_is_delivered_and_acknowledged(
    model: ServedModel,
) -> None:
    verdicts = [make_verdict(model, [b"{", b"[]"], offset=2 * i) for i in range(3)]
    producer = FaultyProducer(lambda _, __: None)
    outbox = make_outbox(producer, Metrics(), dead_limit=DeadLimit(ratio=None, window=1000, run=4))
    acknowledged: list[int] = []

    async def scenario() -> None:
        await outbox.start()
        for verdict in verdicts:

            async def acknowledge(first: int = verdict.chunk.offsets[0]) -> None:
                acknowledged.append(first)

            await outbox.put(verdict, acknowledge)
        await outbox._crashed.wait()  # mode has no public way to wait for it
        await outbox.stop()

    run(scenario())

    assert isinstance(outbox.crash_reason, DeadLetterLimitError)
    assert acknowledged == [0, 2]
    assert len(producer.delivered) == 4


def test_third_verdict_waits_while_two_are_undelivered(model: ServedModel) -> None:
    verdict = make_verdict(model, [b"{"])

    async def scenario() -> None:
        outbox = make_outbox(
            FaultyProducer(lambda _, __: None), Metrics()
        )  # not started: delivers none

        async def acknowledge() -> None:
            raise AssertionError

        await outbox.put(verdict, acknowledge)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(outbox.put(verdict, acknowledge), 0.2)

    run(scenario())


def test_scorer_swaps_between_two_chunks_and_refuses_to_score_without_a_model(
    model: ServedModel, tmp_path: Path
) -> None:
    make_bundle(tmp_path, seed=5)
    other = ServedModel(name="edge", version="8", bundle=read_bundle_folder(tmp_path))
    chunk = Chunk("flows", 0, [msgspec.json.encode(attack_row())], [None], [0], [-1])

    def pipeline(served: ServedModel) -> Pipeline:
        return Pipeline(served, scoring=ScoringSettings(), alerts=AlertSettings(), worker_id="w")

    async def scenario() -> None:
        scorer = Scorer(health=Health(liveness_timeout_s=30), metrics=Metrics())
        with pytest.raises(RuntimeError, match="before any model"):
            await scorer.run(chunk)
        scorer.swap(pipeline(model))
        first = asyncio.create_task(scorer.run(chunk))
        await asyncio.sleep(0)  # the first chunk is on its way to the thread
        scorer.swap(pipeline(other))
        second = await scorer.run(chunk)
        assert ((await first).model.version, second.model.version) == ("7", "8")
        scorer.close()

    run(scenario())


def test_a_size_that_was_refused_once_is_not_tried_again(model: ServedModel) -> None:
    verdict = make_verdict(model, [msgspec.json.encode(row) for row in make_rows(1)])
    limit = len(verdict.alerts[0].value or b"") - 1
    producer = FaultyProducer(lambda _, item: TOO_LARGE if len(item[2] or b"") > limit else None)
    delivery = make_delivery(producer, Metrics())

    async def acknowledge() -> None:
        raise AssertionError

    async def scenario() -> None:
        for _ in range(2):
            await delivery.deliver([Parcel(verdict, verdict.chunk, acknowledge)])

    run(scenario())

    # Refused, shortened; and the second time short at once, so in its place among its neighbours.
    assert [len(tried) for tried in producer.tries] == [1, 1, 1]
    assert len(producer.delivered) == 2
