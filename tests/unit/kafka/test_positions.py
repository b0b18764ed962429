"""Where reading goes on when an offset does not exist: never forward past a record that is there."""

import pytest
from confluent_kafka import TopicPartition
from faust.types import TP

from anoean_stream.kafka.positions import Jump, jump, look_up

P = TP("flows", 2)


@pytest.mark.parametrize(
    ("wanted", "from_end", "is_new_group", "why", "offset", "n_lost"),
    [
        (None, False, True, "new_group", 100, 0),
        (None, True, True, "new_group", 500, 0),
        (None, True, False, "new_partition", 100, 0),
        (30, True, True, "retention", 100, 70),
        (30, False, True, "retention", 100, 70),
        (900, True, True, "truncated", 100, 0),
        (100, True, True, "available", 100, 0),
        (500, False, True, "available", 500, 0),
    ],
)
def test_decision(
    wanted: int | None, *, from_end: bool, is_new_group: bool, why: str, offset: int, n_lost: int
) -> None:
    found = jump(P, wanted, low=100, high=500, from_end=from_end, is_new_group=is_new_group)

    assert (found.why, found.offset, found.n_lost) == (why, offset, n_lost)


def test_a_loss_is_said_with_its_offsets_and_what_to_do() -> None:
    sentence = str(Jump(P, "retention", 30, 100))

    assert "70 records of flows[2], offsets 30 to 99" in sentence
    assert "retention.ms" in sentence


class Offsets:
    """Bounds of every partition, and what is committed."""

    def __init__(self, committed: dict[int, int]) -> None:
        self._committed = committed

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]:
        return 100, 500

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [
            TopicPartition(p.topic, p.partition, self._committed.get(p.partition, -1001))
            for p in partitions
        ]


def test_a_partition_added_to_a_topic_in_use_is_read_from_its_beginning_even_with_latest() -> None:
    assert look_up(Offsets({0: 40}), P, None, from_end=True).offset == 100
    assert look_up(Offsets({}), P, None, from_end=True).offset == 500
