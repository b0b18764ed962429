"""What our transport relies on in Faust 0.15.3 and mode 0.7.1.

Everything here is a private name, a signature we override, or a behaviour nobody promised. When an
upgrade of Faust breaks one of these tests, the sentence names the thing; look at it in
anoean_stream/kafka before the version in pyproject.toml is raised.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any, cast

import faust
import pytest
from faust.app.base import App, BootStrategy
from faust.events import Event
from faust.tables.recovery import Recovery
from faust.transport import base
from faust.transport.conductor import Conductor
from faust.transport.consumer import Consumer as FaustConsumer
from faust.transport.consumer import Fetcher
from faust.transport.producer import Producer as FaustProducer
from faust.types import TP
from mode import Service
from mode.supervisors import CrashingSupervisor
from mode.utils.queues import FlowControlEvent

from anoean_stream.kafka.chunking import Fetched
from anoean_stream.kafka.consumer import Consumer
from anoean_stream.kafka.inflight import GENERATION, STALE, ChunkMessage, Place
from anoean_stream.kafka.producer import Producer
from anoean_stream.kafka.transport import Transport
from anoean_stream.kafka.wire import WireListener
from anoean_stream.records.chunk import Chunk
from anoean_stream.settings import Settings
from tests.support.chunk_worker import make_app

FLOWS = TP("flows", 0)

SIGNATURES: list[tuple[type, str, list[str] | None]] = [
    (FaustConsumer, "subscribe", None),
    (FaustConsumer, "ack", ["message"]),
    (FaustConsumer, "wait_empty", []),
    (FaustConsumer, "on_stop", []),
    (FaustConsumer, "commit", ["topics", "start_new_transaction"]),
    (FaustConsumer, "force_commit", ["topics", "start_new_transaction"]),
    (FaustConsumer, "_commit", ["offsets"]),
    (FaustConsumer, "_drain_messages", ["fetcher"]),
    (FaustConsumer, "_getmany", ["active_partitions", "timeout"]),
    (FaustConsumer, "_to_message", ["tp", "record"]),
    (FaustConsumer, "_new_topicpartition", ["topic", "partition"]),
    (FaustConsumer, "_seek", ["partition", "offset"]),
    (FaustConsumer, "seek_to_committed", []),
    (FaustConsumer, "perform_seek", []),
    (FaustConsumer, "stop_flow", []),
    (FaustConsumer, "resume_flow", []),
    (FaustConsumer, "pause_partitions", ["tps"]),
    (FaustConsumer, "resume_partitions", ["tps"]),
    (FaustConsumer, "on_buffer_full", ["tp"]),
    (FaustConsumer, "on_buffer_drop", ["tp"]),
    (FaustConsumer, "verify_event_path", ["now", "tp"]),
    (FaustConsumer, "on_partitions_assigned", ["assigned", "generation_id"]),
    (FaustConsumer, "_wait_for_ack", ["timeout"]),
    (FaustConsumer, "_clean_unacked_messages", []),
    (FaustConsumer, "close", []),
    (
        FaustProducer,
        "send",
        ["topic", "key", "value", "partition", "timestamp", "headers", "transactional_id"],
    ),
    (
        FaustProducer,
        "send_and_wait",
        ["topic", "key", "value", "partition", "timestamp", "headers", "transactional_id"],
    ),
    (FaustProducer, "flush", []),
    (FaustProducer, "on_start", []),
    (FaustProducer, "on_stop", []),
    (FaustProducer, "key_partition", ["topic", "key"]),
    (FaustProducer, "supports_headers", []),
    (Conductor, "_update_tp_index", ["assigned"]),
    (Conductor, "_update_callback_map", []),
    (App, "on_rebalance_start", []),
    (FlowControlEvent, "resume", []),
    (Service, "crash", ["reason"]),
    (Service, "add_future", ["coro"]),
    (base.Transport, "create_consumer", ["callback", "kwargs"]),
    (base.Transport, "create_producer", ["kwargs"]),
    (BootStrategy, "server", []),
]
"""Methods we override or call, with their parameters; None: abstract, its signature is ours."""


def _parameters(function: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def test_the_versions_are_those_that_were_read() -> None:
    assert (version("faust-streaming"), version("mode-streaming")) == ("0.15.3", "0.7.1"), (
        "another Faust or mode: read faust/transport/consumer.py, conductor.py, tables/recovery.py and "
        "_cython/streams.pyx against docs/transport.md, then change the versions here"
    )


@pytest.mark.parametrize(("owner", "name", "expected"), SIGNATURES)
def test_a_method_we_override_or_call_has_its_signature(
    owner: type, name: str, expected: list[str] | None
) -> None:
    function = getattr(owner, name, None)

    if expected is None:
        assert name in getattr(owner, "__abstractmethods__", ()), (
            f"{owner.__name__}.{name} is no longer abstract in Faust"
        )
        return
    assert function is not None, f"{owner.__module__}.{owner.__name__}.{name} is gone"
    assert _parameters(function) == expected, (
        f"{owner.__module__}.{owner.__name__}.{name} takes {_parameters(function)} now; "
        f"anoean_stream/kafka was written for {expected}"
    )


def test_nothing_of_fausts_consumer_and_producer_is_left_abstract() -> None:
    assert not getattr(Consumer, "__abstractmethods__", None)
    assert not getattr(Producer, "__abstractmethods__", None)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (Fetcher._fetcher, "_drain_messages(self)"),
        (FaustConsumer.commit, "self.force_commit("),
        (FaustConsumer.ack, "notify(self._waiting_for_ack)"),
        (FaustConsumer.track_message, "self._unacked_messages.add"),
        (FaustConsumer._commit_handler, "self.commit_interval"),
        (App._stop_consumer, "_consumer_wait_empty"),
        (App._on_partitions_assigned, "maybe_wait_for_subscriptions"),
        (Recovery._resume_streams, "consumer_generation_id != generation_id"),
        (Recovery._resume_streams, "flow_control.resume()"),
        (Recovery._restart_recovery, "if not self.tables"),
        (Conductor._subscriber, "self.app.consumer.subscribe("),
    ],
)
def test_a_way_faust_goes_is_still_gone(function: Any, text: str) -> None:
    source = inspect.getsource(getattr(function, "fun", function))

    assert text in source, f"{function} does no longer contain {text!r}; see docs/transport.md"


def test_the_entry_point_gives_our_transport() -> None:
    assert faust.transport.drivers.by_url("rdkafka://") is Transport


def test_a_crashing_supervisor_is_found_by_its_name() -> None:
    app = make_app(Settings(), listener=WireListener())

    assert cast("Any", app.conf).agent_supervisor is CrashingSupervisor


def _chunk_message(first: int, released: list[int]) -> ChunkMessage:
    chunk = Chunk("flows", 0, [b"a", b"b"], [None, None], [first, first + 1], [1, 2])
    return ChunkMessage(Fetched(FLOWS, 7, chunk, 100), Place(1, lambda: released.append(first)))


async def _with_stream(
    act: Callable[[Consumer, Any], Awaitable[None]], messages: list[ChunkMessage]
) -> None:
    """Let a ``noack().events()`` stream of a topic meet some messages, without any broker."""
    app = make_app(Settings(), listener=WireListener())
    app.loop = asyncio.get_running_loop()
    app.consumer_generation_id = GENERATION
    app.flow_control.resume()
    topic = app.topic("flows", key_serializer="raw", value_serializer="raw")
    consumer = cast("Consumer", app.consumer)
    consumer._epochs[FLOWS] = 7
    conductor = cast("Any", app.topics)
    conductor.add(topic)
    conductor._acking_topics.add("flows")
    stream = cast("Any", topic.stream()).noack()
    for message in messages:
        consumer._ledger.delivered(
            FLOWS, first=message.fetched.first, next_offset=message.fetched.next_offset
        )
        consumer._handed_over.setdefault(FLOWS, {})[message.fetched.first] = message
        message.incref(1)
        event = Event(app, None, message.value, None, message)
        await cast("Any", stream.channel).put(event)
    await act(consumer, stream)
    await stream.stop()


def test_a_noack_stream_hands_the_chunk_through_and_acknowledges_nothing() -> None:
    released: list[int] = []
    messages = [_chunk_message(10, released), _chunk_message(20, released)]

    async def act(consumer: Consumer, stream: Any) -> None:
        seen = []
        async for event in stream.events():
            assert isinstance(event.value, Chunk), "the raw serializer changes the value now"
            seen.append(event)
            if len(seen) == 2:
                break
        assert [event.value for event in seen] == [m.fetched.chunk for m in messages]
        assert not any(m.acked for m in messages), "noack() acknowledges by itself now"
        assert set(consumer.unacked) == set(messages), "streams no longer track what they take"
        assert consumer._ledger.committable() == {}

        await stream.ack(seen[1])
        assert consumer._ledger.committable() == {}
        await stream.ack(seen[0])
        assert consumer._ledger.committable() == {FLOWS: 22}
        assert released == [20, 10]
        assert not consumer.unacked

    asyncio.run(_with_stream(act, messages))


def test_a_stream_skips_a_chunk_of_another_generation_without_tracking_it() -> None:
    released: list[int] = []
    stale, good = _chunk_message(10, released), _chunk_message(20, released)
    stale.generation_id = STALE

    async def act(consumer: Consumer, stream: Any) -> None:
        async for event in stream.events():
            if event is None or not isinstance(event.value, Chunk):
                continue
            assert event.message is good, "a stream no longer looks at generation_id"
            break
        assert set(consumer.unacked) == {good}

    asyncio.run(_with_stream(act, [stale, good]))


def test_acknowledging_a_chunk_of_a_partition_that_was_taken_away_commits_nothing() -> None:
    released: list[int] = []
    message = _chunk_message(10, released)

    async def act(consumer: Consumer, stream: Any) -> None:
        async for event in stream.events():
            consumer.on_lost(frozenset({FLOWS}))
            assert released == [10]
            await stream.ack(event)
            break
        assert released == [10]
        assert consumer._ledger.committable() == {}
        assert consumer.assignment() == set()

    asyncio.run(_with_stream(act, [message]))
