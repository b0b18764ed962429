"""make_app(settings) -> the Faust app of a worker, put together; the only place that names Faust's settings.

::

    registry --Serving--> Scorer <--agent-- transport <-- flows
                            |
                          Outbox --> anomalies, dead letters

Services start in this order and stop in reverse: producer, web server, access check, what serves
models, outbox, consumer, agents. So the probes answer while the worker waits for a model, and the outbox
still delivers while the consumer drains.
"""

import asyncio
import os
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

import faust
import structlog
from confluent_kafka import KafkaError
from faust.app.base import BootStrategy
from faust.types import TP
from mode import Service
from mode.types import ServiceT

from anoean_stream.agents import Outbox, add_detector
from anoean_stream.delivery.at_least_once import AtLeastOnce
from anoean_stream.delivery.exactly_once import ExactlyOnce
from anoean_stream.kafka.access import AccessCheck
from anoean_stream.kafka.consumer import Consumer
from anoean_stream.kafka.faults import is_unknown_topic
from anoean_stream.kafka.positions import Jump
from anoean_stream.kafka.producer import Producer
from anoean_stream.kafka.wire import Gates, Wire, WireListener
from anoean_stream.observe.health import Health
from anoean_stream.observe.metrics import Metrics
from anoean_stream.observe.web import WebServer
from anoean_stream.overload.episode import Overload
from anoean_stream.records.deadlimit import DeadLimit
from anoean_stream.registry.registry import Registry
from anoean_stream.serving.scorer import Scorer
from anoean_stream.serving.service import Serving
from anoean_stream.settings import Settings

log = structlog.get_logger("anoean.app")

FAUST_SETTINGS: Final[Mapping[str, Any]] = {
    "broker": "rdkafka://",  # addresses, group and timeouts are in the wire
    # No tables, no leader election, no topics of Faust's own: the model is all the state.
    "store": "memory://",
    "table_standby_replicas": 0,
    "topic_allow_declare": False,
    "topic_disable_leader": True,
    "key_serializer": "raw",
    "value_serializer": "raw",
    # The bound is consumer.chunks_in_flight, kept by the transport: a full queue here would only
    # block Faust's drain.
    "stream_buffer_maxsize": 4096,
    "stream_wait_empty": True,
    "cython_optimizations": True,
    "agent_supervisor": "mode.CrashingSupervisor",
    "web_enabled": False,
    "worker_redirect_stdouts": False,
}
"""What our transport and our agent need of Faust; the same for every worker."""


_LAST_NOTICE_SHARE: Final = 0.83
"""Until which part of worker.shutdown_deadline_s the last notice may take: between leaving the
group (0.8) and the last deliveries (0.85)."""


class _Boot(BootStrategy):
    """Faust's start order, with our services where Faust has its web server: before the consumer."""

    def web_server(self) -> Iterable[ServiceT]:
        app = self.app
        assert isinstance(app, WorkerApp)
        return app.own_services


class WorkerApp(faust.App):
    """A Faust app that carries what the transport and our services share.

    Use `make_app`; it sets what a plain constructor cannot (Faust copies its arguments).
    """

    BootStrategy = _Boot

    wire: Wire
    settings: Settings
    scorer: Scorer
    health: Health
    metrics: Metrics
    own_services: tuple[ServiceT, ...] = ()

    def _create_directories(self) -> None:
        """Create none: Faust's data directory is for tables, and we keep no state."""


class _Listener(WireListener):
    """Turns what the transport reports into health and metrics."""

    def __init__(self, health: Health, metrics: Metrics, overload: Overload) -> None:
        self._overload = overload
        self._health = health
        self._metrics = metrics
        self._assigned: set[TP] = set()

    def on_assigned(self, tps: frozenset[TP]) -> None:
        self._assigned |= tps
        self._health.joined(time.monotonic())
        self._metrics.rebalances.inc()
        self._report()
        log.info("partitions_assigned", new=_named(tps), n=len(self._assigned))

    def on_revoked(self, tps: frozenset[TP]) -> None:
        self._assigned -= tps
        self._overload.forget(tps)
        for tp in tps:
            self._metrics.lag.remove(tp.topic, str(tp.partition))
        self._report()
        log.info("partitions_revoked", gone=_named(tps), n=len(self._assigned))

    def on_lost(self, tps: frozenset[TP]) -> None:
        self.on_revoked(tps)
        log.warning("partitions_lost", gone=_named(tps), note="another worker may repeat records")

    def on_poll(self, monotonic_s: float) -> None:
        self._health.polled(monotonic_s)

    def on_joining(self) -> None:
        self._health.joining(time.monotonic())

    def on_acknowledged(self, tp: TP) -> None:
        del tp
        self._health.acknowledged(time.monotonic())

    def on_sending(self) -> None:
        self._health.sending(time.monotonic())

    def on_sent(self) -> None:
        self._health.sent()

    def on_answer(self) -> None:
        self._health.answered(time.monotonic())

    def on_statistics(self, *, n_connected: int, is_joined: bool, n_waiting: int) -> None:
        now = time.monotonic()
        if is_joined:
            self._health.joined(now)
            if self._health.n_partitions is None:  # a spare: KIP-848 announces no empty assignment
                self._health.n_partitions = 0
        else:
            self._health.joining(now)
        self._health.brokers(n_connected, now)
        self._health.waiting(n_waiting, now)

    def on_broker_error(self, error: KafkaError) -> None:
        self._metrics.broker_errors.inc()  # the transport logs it, rate-limited
        if is_unknown_topic(error):
            self._health.topic_missing(time.monotonic())

    def on_commit(self, offsets: Mapping[TP, int]) -> None:
        self._metrics.commits.inc()
        log.debug("committed", offsets={_name(tp): offset for tp, offset in offsets.items()})

    def on_jump(self, jump: Jump) -> None:
        if jump.n_lost:
            self._metrics.lost.labels(jump.tp.topic, str(jump.tp.partition)).inc(jump.n_lost)

    def on_lag(self, tp: TP, high_watermark: int, next_offset: int) -> None:
        if high_watermark >= 0:
            gauge = self._metrics.lag.labels(tp.topic, str(tp.partition))
            gauge.set(max(high_watermark - next_offset, 0))
            self._overload.on_lag(tp, max(high_watermark - next_offset, 0))

    def _report(self) -> None:
        self._health.n_partitions = len(self._assigned)
        self._metrics.partitions.set(len(self._assigned))


class LastNotice(Service):
    """Says, when the worker stops while it samples, what was dropped since the last notice."""

    def __init__(self, app: WorkerApp, overload: Overload, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._app = app
        self._overload = overload

    async def on_stop(self) -> None:
        """Send it, within the stop's deadline; the notice before it named an open range."""
        notice = self._overload.close()
        if notice is None:
            return
        item = (self._app.settings.topics.alerts, notice.key, notice.value, notice.headers)
        limit_s = self._app.wire.stop_clock.left_s(_LAST_NOTICE_SHARE)
        try:
            failures = await asyncio.wait_for(_producer(self._app).send_batch([item]), limit_s)
        except TimeoutError:
            log.warning("last_notice_not_delivered", reason=f"no answer within {limit_s:.1f} s")
        else:
            for failure in failures:
                log.warning("last_notice_not_delivered", reason=str(failure))


def make_app(settings: Settings) -> WorkerApp:
    """Return the Faust app of one worker; nothing is connected yet.

    Parameters
    ----------
    settings : Settings
        All of them.

    Raises
    ------
    ConfigError
        When the settings cannot work together.
    """
    own = settings.worker
    health = Health(
        liveness_timeout_s=own.liveness_timeout_s,
        stall_timeout_s=own.stall_timeout_s,
        rebalance_timeout_s=own.rebalance_timeout_s,
    )
    metrics = Metrics()
    scorer = Scorer(health=health, metrics=metrics)
    app = WorkerApp(settings.consumer.group_id, **FAUST_SETTINGS)
    app.settings, app.health, app.metrics, app.scorer = settings, health, metrics, scorer
    overload = Overload(settings.overload, worker_id=worker_id(settings))
    listener = _Listener(health, metrics, overload)
    granted, loaded = asyncio.Event(), asyncio.Event()
    app.wire = Wire(settings=settings, gate=Gates(granted, loaded), listener=listener)
    serving = Serving(
        settings,
        Registry.from_settings(settings.registry),
        scorer=scorer,
        health=health,
        metrics=metrics,
        worker_id=worker_id(settings),
        loaded=loaded,
        stop_clock=app.wire.stop_clock,
    )
    delivery = _delivery(app)
    outbox = Outbox(
        delivery,
        metrics=metrics,
        dead_limit=DeadLimit(
            ratio=settings.scoring.dead_ratio_limit,
            window=settings.scoring.dead_ratio_window,
            run=settings.scoring.dead_run_limit,
        ),
    )
    web = WebServer(settings.web, health=health, metrics=metrics)
    last_notice, access = LastNotice(app, overload), AccessCheck(settings, granted)
    pages = (web,) if settings.web.enabled else ()
    transactions = (delivery,) if isinstance(delivery, ExactlyOnce) else ()
    app.own_services = (*pages, access, *transactions, *serving.services, last_notice, outbox)
    add_detector(app, topic=settings.topics.input, scorer=scorer, outbox=outbox, overload=overload)
    return app


def worker_id(settings: Settings) -> str:
    """Return the worker's name in alerts: the setting, or host:process."""
    return settings.worker.id or f"{socket.gethostname()}:{os.getpid()}"


def _name(tp: TP) -> str:
    return f"{tp.topic}/{tp.partition}"


def _named(tps: Iterable[TP]) -> list[str]:
    return sorted(map(_name, tps))


def _delivery(app: WorkerApp) -> AtLeastOnce | ExactlyOnce:
    if app.settings.producer.delivery == "exactly_once":
        return ExactlyOnce(lambda: _consumer(app), wire=app.wire, metrics=app.metrics)
    return AtLeastOnce(
        lambda: _producer(app),
        topics=app.settings.topics,
        metrics=app.metrics,
        message_max_bytes=app.settings.producer.message_max_bytes,
    )


def _consumer(app: WorkerApp) -> Consumer:
    assert isinstance(app.consumer, Consumer)
    return app.consumer


def _producer(app: WorkerApp) -> Producer:
    assert isinstance(app.producer, Producer)
    return app.producer
