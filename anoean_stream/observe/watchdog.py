"""A thread that ends a worker that stands still, even when nothing else turns any more.

It asks the event loop for a sign of life, looks at the facts in `Health`, says what stands still
with the stack of the thread at fault, and after the grace period ends the process. An orchestrator
starts it again, and the group reads on at the last commit.

What holds the interpreter's lock for ever (a bug in C code) stops this thread too; then /live does
not answer, and the orchestrator must kill.
"""

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from anoean_stream.errors import EXIT_STALLED
from anoean_stream.observe.health import Health, Stall
from anoean_stream.observe.lastwords import end_process, say_aside

log = structlog.get_logger("anoean.watchdog")

LOOK_S: Final = 0.5
"""Seconds between looks: a small part of the shortest limit, and nothing beside a worker's load."""

FROZEN_S: Final = 5.0
"""A look that comes so many seconds late was not late by itself: the whole process stood still
(SIGSTOP, a frozen machine), so nothing in it is to blame. Below 1 a busy machine would excuse all."""


class Watchdog:
    """Looks at the health of a worker from a thread of its own.

    Parameters
    ----------
    health : Health
        The facts.
    grace_s : float
        Seconds between /live answering 503 and the end of the process.
    end : callable
        Ends the process: takes the exit code and what to log before; given by tests.
    """

    def __init__(
        self,
        health: Health,
        *,
        grace_s: float,
        end: Callable[[int, Callable[[], None]], object] = end_process,
    ) -> None:
        self._health = health
        self._grace_s = grace_s
        self._end = end
        self._halted = threading.Event()
        self._looked_at: float | None = None
        self._known: tuple[str, ...] = ()
        self._thread = threading.Thread(target=self._run, name="anoean-watchdog", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._has_answered = True

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to look; the loop must turn from now on."""
        self._loop = loop
        self._thread.start()

    def halt(self) -> None:
        """Look no more: the worker stops, and the stop has a deadline of its own."""
        self._halted.set()

    def _run(self) -> None:
        while not self._halted.wait(LOOK_S):
            now = time.monotonic()
            self._ask_loop(now)
            self.look(now)

    def _ask_loop(self, now: float) -> None:
        """Have the loop note a turn; one question at a time."""
        assert self._loop is not None
        if not self._has_answered:
            return
        self._has_answered = False
        if self._looked_at is None:
            self._health.turned(now)

        def answer() -> None:
            self._has_answered = True
            self._health.turned(time.monotonic())

        try:
            self._loop.call_soon_threadsafe(answer)
        except RuntimeError:  # the loop is closed: the worker is at its end
            self._halted.set()

    def look(self, now: float) -> None:
        """Say what has begun or ceased to stand still; end the process when it is over the grace.

        Parameters
        ----------
        now : float
            Monotonic seconds.
        """
        if self._looked_at is not None and now - self._looked_at > FROZEN_S + LOOK_S:
            frozen_s = round(now - self._looked_at, 1)
            say_aside(partial(log.warning, "worker_was_frozen", seconds=frozen_s))
            self._health.resumed(now)
        self._looked_at = now
        stalls = self._health.stalls(now)
        fatal = [stall for stall in stalls if stall.over_s > self._grace_s]
        if fatal:
            self._end(EXIT_STALLED, lambda: self._last_words(fatal[0]))
            return
        kinds = tuple(stall.problem.split(" for ")[0] for stall in stalls)
        if kinds != self._known:
            self._known = kinds
            if stalls:
                problems = [stall.problem for stall in stalls]
                facts = {"problems": problems, "ends_in_s": self._grace_s}
                say_aside(partial(log.error, "worker_stalled", **facts))
            else:
                say_aside(partial(log.warning, "worker_moves_again"))

    def _last_words(self, stall: Stall) -> None:
        log.critical(
            "worker_ended_by_watchdog",
            reason=stall.problem,
            exit_code=EXIT_STALLED,
            note="what was not committed is read again after the restart",
            stack=stack_of(stall.thread),
        )


def stack_of(thread_name: str) -> str:
    """Return where the thread with this name, or this beginning of a name, is now."""
    frames = sys._current_frames()  # noqa: SLF001 - the documented way to another thread's stack
    for thread in threading.enumerate():
        if thread.name.startswith(thread_name) and thread.ident in frames:
            return "".join(traceback.format_stack(frames[thread.ident]))
    return f"no thread {thread_name} any more"
