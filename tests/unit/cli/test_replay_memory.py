"""What a replay remembers: never the same letter twice, never a letter passed over."""

import random
from datetime import UTC, datetime

import pytest
from confluent_kafka import TopicPartition

from anoean_stream.cli.dead_letters import DeadLetter, Selection
from anoean_stream.cli.replay_memory import DoneSpan, ReplayMemory
from anoean_stream.errors import ConfigError

REASONS = ("not_json", "wrong_type", "empty")


def letter(
    offset: int, *, reason: str = "not_json", partition: int = 0, replay_count: int = 0
) -> DeadLetter:
    return DeadLetter(
        partition=0,
        offset=offset,
        written_at=datetime(2026, 1, 1, tzinfo=UTC),
        reason=reason,
        detail="",
        origin_topic="flows",
        origin_partition=partition,
        origin_offset=offset,
        worker="w",
        model_version="1",
        size_bytes=0,
        preview="",
        is_cut=False,
        replay_count=replay_count,
        replayed_from="",
    )


def after(
    memory: ReplayMemory,
    first: int,
    end: int,
    *,
    reason: str | None = None,
    partition: int | None = None,
    max_replays: int = 1,
    low: int = 0,
) -> ReplayMemory:
    """The memory after a replay, through the bytes of a commit."""
    selection = Selection(reason=reason, partition=partition)
    new = memory.with_replay(selection, first=first, end=end, max_replays=max_replays, low=low)
    return ReplayMemory.from_commit(new.to_commit("flows.dlq", 0, low=low))


def test_a_replay_is_remembered_for_what_it_was_restricted_to_and_no_more() -> None:
    memory = after(ReplayMemory(), 10, 20, reason="not_json", partition=3)

    assert memory.is_done(letter(10, partition=3))
    assert not memory.is_done(letter(20, partition=3))
    assert not memory.is_done(letter(9, partition=3))
    assert not memory.is_done(letter(10, partition=2))
    assert not memory.is_done(letter(10, partition=3, reason="empty"))
    assert not memory.is_done(letter(10, partition=3, replay_count=1))


def test_random_replays_send_each_letter_once() -> None:
    rng = random.Random(0)
    letters = [
        letter(
            n, reason=rng.choice(REASONS), partition=rng.randrange(3), replay_count=rng.randrange(2)
        )
        for n in range(200)
    ]
    memory, sent = ReplayMemory(), [0] * len(letters)
    for _ in range(30):
        first = rng.randrange(200)
        end = rng.randrange(first, 201)
        reason, partition = rng.choice([None, *REASONS]), rng.choice([None, 0, 1, 2])
        max_replays = rng.choice([1, 1, 2])
        wanted = Selection(reason=reason, partition=partition)
        for one in letters[first:end]:
            chosen = wanted.takes(one) and one.replay_count < max_replays
            sent[one.offset] += chosen and not memory.is_done(one)
            assert sent[one.offset] <= 1
        memory = after(
            memory, first, end, reason=reason, partition=partition, max_replays=max_replays
        )
    memory = after(memory, 0, 200, max_replays=2)

    assert len(memory.spans) == 1
    assert all(memory.is_done(one) for one in letters)
    assert 0 < sum(sent) <= len(letters)


def test_spans_that_touch_become_one_and_those_that_retention_removed_go() -> None:
    memory = after(after(after(ReplayMemory(), 0, 10), 10, 20), 30, 40)
    assert [(span.first, span.end) for span in memory.spans] == [(0, 20), (30, 40)]

    assert [(span.first, span.end) for span in after(memory, 40, 50, low=25).spans] == [(30, 50)]


def test_the_committed_offset_is_where_all_before_is_done() -> None:
    memory = ReplayMemory([DoneSpan(0, 20, 1, None, None), DoneSpan(0, 90, 1, "empty", None)])

    assert memory.to_commit("flows.dlq", 0, low=0).offset == 20
    assert memory.to_commit("flows.dlq", 0, low=50).offset == 50


def test_too_many_separate_replays_are_refused_before_they_are_forgotten() -> None:
    memory = ReplayMemory([DoneSpan(n, n + 1, 1, "empty", 1) for n in range(0, 1000, 2)])

    with pytest.raises(ConfigError, match="500 separate replays of partition 0"):
        memory.to_commit("flows.dlq", 0, low=0)


@pytest.mark.parametrize("metadata", ["", "{}", "[[1]]", "not json", '{"*": 3}'])
def test_metadata_of_somebody_else_is_no_memory(metadata: str) -> None:
    committed = TopicPartition("flows.dlq", 0, 7, metadata=metadata)

    assert ReplayMemory.from_commit(committed).spans == ()
