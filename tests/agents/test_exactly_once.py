"""Which chunks go into a transaction, and what follows when it is refused. The broker is a double."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from confluent_kafka import KafkaError
from faust.types import TP

from anoean_stream.delivery.exactly_once import ExactlyOnce
from anoean_stream.delivery.parcels import Parcel
from anoean_stream.detector.bundle import ServedModel, read_bundle_folder
from anoean_stream.errors import BrokerError
from anoean_stream.kafka.batch import BatchItem, Undelivered
from anoean_stream.kafka.claims import Claim, Membership
from anoean_stream.kafka.outcome import Outcome
from anoean_stream.kafka.transactions import TransactionalProducer
from anoean_stream.kafka.wire import Wire
from anoean_stream.observe.metrics import Metrics
from anoean_stream.pipeline import Pipeline
from anoean_stream.records.chunk import Chunk
from anoean_stream.settings import AlertSettings, ScoringSettings, Settings
from tests.support.models import make_bundle, make_rows

TOO_LARGE = KafkaError.MSG_SIZE_TOO_LARGE
Answer = Callable[[Sequence[BatchItem], frozenset[int]], Outcome]


class Group:
    """A consumer whose partitions a test takes away."""

    def __init__(self) -> None:
        self.epochs: dict[TP, int] = {TP("flows", 0): 1, TP("flows", 1): 1}
        self.n_read = 0
        self.committed: dict[TP, int] = {}

    def claim(self, chunks: Sequence[Chunk]) -> Claim:
        ours = tuple(c for c in chunks if TP(c.topic, c.partition) in self.epochs)
        offsets = {TP(c.topic, c.partition): c.offsets[-1] + 1 for c in ours}
        return Claim(ours, offsets, {tp: self.epochs[tp] for tp in offsets})

    async def membership(self) -> Membership | None:
        self.n_read += 1
        return Membership(b"metadata %d" % self.n_read, dict(self.epochs))

    def committed_with(self, claim: Claim) -> None:
        self.committed.update(claim.offsets)


class Producer:
    """Answers a transaction as the test says, and remembers it."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.tries: list[tuple[list[BatchItem], dict[TP, int], bytes, frozenset[int]]] = []

    async def transact(
        self,
        items: Sequence[BatchItem],
        *,
        offsets: Mapping[TP, int],
        group_metadata: bytes,
        alone: frozenset[int],
    ) -> Outcome:
        self.tries.append((list(items), dict(offsets), group_metadata, alone))
        return self._answer(items, alone)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    folder: Path = tmp_path_factory.mktemp("bundle")
    make_bundle(folder)
    return ServedModel(name="edge", version="7", bundle=read_bundle_folder(folder))


def make_parcel(
    model: ServedModel, values: list[bytes | None], *, partition: int = 0, offset: int = 0
) -> Parcel:
    pipeline = Pipeline(
        model,
        scoring=ScoringSettings(false_positive_rate=1.0),
        alerts=AlertSettings(),
        worker_id="w",
    )
    n = len(values)
    offsets = list(range(offset, offset + n))
    chunk = Chunk("flows", partition, values, [None] * n, offsets, [-1] * n)

    async def acknowledge() -> None:
        raise AssertionError

    return Parcel(pipeline.score_chunk(chunk), chunk, acknowledge)


def deliver(group: Group, producer: Producer, parcels: list[Parcel]) -> Sequence[Parcel]:
    async def scenario() -> Sequence[Parcel]:
        wire = Wire(settings=Settings(), gate=asyncio.Event())
        delivery = ExactlyOnce(lambda: group, wire=wire, metrics=Metrics())
        cast("Any", delivery)._producer = cast("TransactionalProducer", producer)
        return await asyncio.wait_for(delivery.deliver(parcels), 20)

    return asyncio.run(scenario())


def good(n: int) -> list[bytes | None]:
    return [msgspec.json.encode(row) for row in make_rows(n)]


def test_chunks_that_wait_go_into_one_transaction_with_their_offsets(model: ServedModel) -> None:
    group, producer = Group(), Producer(lambda *_: Outcome())
    parcels = [
        make_parcel(model, good(3)),
        make_parcel(model, [*good(2), b"{"], partition=1, offset=50),
        make_parcel(model, good(1), offset=3),
    ]

    assert list(deliver(group, producer, parcels)) == parcels

    ((items, offsets, _, _),) = producer.tries
    assert [item[0] for item in items] == ["anomalies"] * 5 + ["anomalies.dlq", "anomalies"]
    assert offsets == {TP("flows", 0): 4, TP("flows", 1): 53} == group.committed


def test_a_partition_lost_meanwhile_is_left_out_with_its_records(model: ServedModel) -> None:
    group = Group()

    def refuse_once(items: Sequence[BatchItem], _: frozenset[int]) -> Outcome:
        if len(items) == 1:
            return Outcome()
        group.epochs = {TP("flows", 1): 1}
        return Outcome(KafkaError(KafkaError.ILLEGAL_GENERATION))

    producer = Producer(refuse_once)
    parcels = [make_parcel(model, good(2)), make_parcel(model, [b"{"], partition=1)]

    assert list(deliver(group, producer, parcels)) == parcels[1:]

    (first, second) = producer.tries
    assert (len(first[0]), len(second[0])) == (3, 1)
    assert second[1] == {TP("flows", 1): 1} == group.committed
    assert first[2] != second[2]  # newer metadata than the group refused


def test_nothing_is_sent_for_chunks_of_another_worker(model: ServedModel) -> None:
    group, producer = Group(), Producer(lambda *_: Outcome())
    group.epochs = {}

    assert list(deliver(group, producer, [make_parcel(model, good(2))])) == []
    assert producer.tries == []


def test_of_a_refused_request_only_what_is_too_large_is_shortened(model: ServedModel) -> None:
    limit = 4000

    def answer(items: Sequence[BatchItem], alone: frozenset[int]) -> Outcome:
        large = [at for at, item in enumerate(items) if len(item[2] or b"") > limit]
        if not large:
            return Outcome()
        # As a broker does: a request fails as a whole, unless each record has one of its own.
        failing = [large[0]] if alone else list(range(len(items)))
        error = KafkaError(TOO_LARGE)
        return Outcome(error, tuple(Undelivered(at, error) for at in failing))

    rows = [
        row | ({"note": "x" * (5000 + number)} if number % 10 == 0 else {})
        for number, row in enumerate(make_rows(100))
    ]
    group, producer = Group(), Producer(answer)

    deliver(group, producer, [make_parcel(model, [msgspec.json.encode(row) for row in rows])])

    last = [msgspec.json.decode(item[2] or b"") for item in producer.tries[-1][0]]
    assert [alert["original"] is None for alert in last] == ["note" in row for row in rows]
    assert len({alert["source"]["offset"] for alert in last}) == len(rows)
    # Not one transaction for each of the ten: what is at least as large goes with the first.
    assert len(producer.tries) <= 12


def test_record_the_broker_will_never_take_ends_the_worker_with_its_topic(
    model: ServedModel,
) -> None:
    error = KafkaError(KafkaError.INVALID_RECORD)
    producer = Producer(lambda *_: Outcome(error, (Undelivered(0, error),)))

    with pytest.raises(BrokerError, match=r"anomalies\.dlq will never take this record"):
        deliver(Group(), producer, [make_parcel(model, [b"{"])])
