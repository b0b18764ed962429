"""``anoean serve``: the worker process, from start to orderly stop."""

import asyncio
import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, Final, NoReturn

import structlog
import typer

from anoean_stream.cli.options import (
    ConfigOption,
    DebugOption,
    LogFormatOption,
    SetOption,
    load,
)
from anoean_stream.errors import AnoeanError
from anoean_stream.observe.logs import configure_logging

if TYPE_CHECKING:
    from anoean_stream.app import WorkerApp
    from anoean_stream.settings import Settings

log = structlog.get_logger("anoean.serve")

_GRACE_S: Final = 5.0
"""Seconds beyond worker.shutdown_deadline_s: the transport keeps that deadline itself, this one is
for what hangs outside of it. Below one second it would cut off a stop that succeeds."""

_GC_YOUNG_OBJECTS: Final = 100_000
"""New objects before Python looks for cycles among them. A chunk of 2,000 records makes thousands
of tuples that have none: at the default of 700 the search takes a tenth of the scoring time; above
a million a real cycle would keep its memory for long."""

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
    one into use between two chunks. SIGTERM or Ctrl-C finishes what was begun, commits, and leaves.

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

    app = make_app(settings)
    gc.freeze()  # what is imported by now stays; no need to search it again and again
    gc.set_threshold(_GC_YOUNG_OBJECTS)
    stop_asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _ask_stop, stop_asked, number, settings)
    log.info(
        "worker_starting",
        input=settings.topics.input,
        alerts=settings.topics.alerts,
        group=settings.consumer.group_id,
        brokers=settings.broker.bootstrap_servers,
        model=f"{settings.model.name}@{settings.model.alias}",
    )
    reason = await _until_asked_or_crashed(app, stop_asked)
    if reason is not None:
        app.health.crashed = str(reason) or type(reason).__name__
    await _stop(app, settings)
    if reason is None:
        log.info("worker_stopped")
        return 0
    if isinstance(reason, AnoeanError):
        raise reason
    log.error("worker_crashed", exc_info=reason)
    return AnoeanError.exit_code


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


async def _stop(app: "WorkerApp", settings: "Settings") -> None:
    """Stop in order; end the process by force when that hangs."""
    app.wire.stop_clock.start()
    stopping = asyncio.create_task(app.stop())
    # Not wait_for: Faust swallows the cancellation that it would send.
    done, _ = await asyncio.wait({stopping}, timeout=settings.worker.shutdown_deadline_s + _GRACE_S)
    if not done:
        log.error(
            "worker_killed",
            note="no orderly stop within worker.shutdown_deadline_s; uncommitted chunks are read again",
        )
        _end_now()
    app.scorer.close()
    stopping.result()


def _ask_stop(stop_asked: asyncio.Event, number: int, settings: "Settings") -> None:
    if stop_asked.is_set():
        log.warning("worker_killed", note="asked twice: ending without the last commit")
        _end_now()
    log.info(
        "worker_stopping",
        signal=signal.Signals(number).name,
        deadline_s=settings.worker.shutdown_deadline_s,
    )
    stop_asked.set()


def _end_now() -> NoReturn:
    # sys.exit would wait for threads that hang.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(AnoeanError.exit_code)
