"""``anoean serve``: the worker process, from start to orderly stop."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
import typer

from anoean_stream.cli.options import (
    ConfigOption,
    DebugOption,
    LogFormatOption,
    SetOption,
    load,
)
from anoean_stream.cli.stopping import StopGuard
from anoean_stream.errors import AnoeanError
from anoean_stream.observe.lastwords import say_aside
from anoean_stream.observe.logs import configure_logging
from anoean_stream.observe.watchdog import Watchdog

if TYPE_CHECKING:
    from anoean_stream.app import WorkerApp
    from anoean_stream.settings import Settings

log = structlog.get_logger("anoean.serve")

_GC_YOUNG_OBJECTS: Final = 100_000
"""New objects before Python looks for cycles among them. A chunk of 2,000 records makes thousands
of tuples that have none: at the default of 700 the search takes a tenth of the scoring time; above
a million a real cycle would keep its memory for long."""

_SWITCH_S: Final = 0.001
"""Seconds after which a thread hands Python's lock to one that waits. The event loop asks for it several
times for each chunk; at the default of 0.005 it waits for the scoring thread, and while a model loads for
two threads, long enough for scoring to stand still. Below 0.0005 switching costs more than it saves."""

_BLAS_VARIABLES: Final = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def serve(
    *,
    config: ConfigOption = None,
    overrides: SetOption = None,
    log_format: LogFormatOption = None,
    debug: DebugOption = False,
) -> None:
    """Score records of the input topic and publish alerts, until stopped.

    Waits for a model when the registry has none (/ready answers 503 meanwhile), and takes a newer
    one into use between two chunks. SIGTERM or Ctrl-C finishes what was begun, commits, and leaves;
    a second one ends it at once. Exit codes are in docs/operations.md.

    Examples
    --------
      anoean serve

      anoean serve --config /etc/anoean/config.yaml

      anoean serve --set broker.bootstrap_servers=kafka1:9092,kafka2:9092 --set topics.input=flows

      anoean serve --set scoring.false_positive_rate=0.0001 --set web.port=0
    """
    settings = load(config, overrides, log_format=log_format, debug=debug)
    configure_logging(settings.logging)
    for variable in _BLAS_VARIABLES:  # read when numpy is imported, which is below
        os.environ[variable] = str(settings.scoring.blas_threads)
    raise typer.Exit(asyncio.run(run_worker(settings)))


async def run_worker(settings: "Settings") -> int:
    """Run one worker until a signal or a crash; return the exit code.

    Raises
    ------
    AnoeanError
        When the worker ended for a reason that a person can mend.
    """
    from anoean_stream.app import make_app  # numpy reads the BLAS variables now

    guard = StopGuard(settings.worker.shutdown_deadline_s)
    app = make_app(settings)
    gc.freeze()  # what is imported by now stays; no need to search it again and again
    gc.set_threshold(_GC_YOUNG_OBJECTS)
    sys.setswitchinterval(_SWITCH_S)
    loop = asyncio.get_running_loop()
    stop_asked = asyncio.Event()
    watchdog = Watchdog(app.health, grace_s=settings.worker.stall_grace_s)

    def ask_stop(number: signal.Signals) -> None:
        watchdog.halt()
        app.wire.stop_clock.start()
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has stopped already
            loop.call_soon_threadsafe(stop_asked.set)
        deadline_s = settings.worker.shutdown_deadline_s
        say_aside(partial(log.info, "worker_stopping", signal=number.name, deadline_s=deadline_s))

    guard.start(ask_stop)
    watchdog.start(loop)
    log.info(
        "worker_starting",
        input=settings.topics.input,
        alerts=settings.topics.alerts,
        group=settings.consumer.group_id,
        brokers=settings.broker.bootstrap_servers,
        model=f"{settings.model.name}@{settings.model.alias}",
    )
    reason = await _until_asked_or_crashed(app, stop_asked)
    watchdog.halt()
    if reason is None:
        guard.begin()
    else:
        app.health.crashed = str(reason) or type(reason).__name__
        guard.begin(_code_of(reason), app.health.crashed)
    app.wire.stop_clock.start()
    await app.stop()
    app.scorer.close()
    if reason is None:
        log.info("worker_stopped")
        guard.finish(0)
        return 0
    if not isinstance(reason, AnoeanError):
        log.error("worker_crashed", exc_info=reason)
    guard.finish(_code_of(reason))
    if isinstance(reason, AnoeanError):
        raise reason
    return _code_of(reason)


def _code_of(reason: BaseException) -> int:
    return reason.exit_code if isinstance(reason, AnoeanError) else AnoeanError.exit_code


async def _until_asked_or_crashed(
    app: "WorkerApp", stop_asked: asyncio.Event
) -> BaseException | None:
    """Start the app; return why it crashed, or None when it was asked to stop."""
    # Starting lasts until partitions are assigned, so for as long as there is no model.
    starting = asyncio.create_task(app.start())
    ended = asyncio.create_task(app.wait_first(stop_asked.wait()))
    await asyncio.wait({starting, ended}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done() and (failure := starting.exception()) is not None:
        ended.cancel()
        return failure
    await ended
    starting.cancel()
    return app.crash_reason
