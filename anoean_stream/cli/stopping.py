"""Ends the worker in time: signals and the stop's deadline, in a thread that nothing can hold up.

An asyncio signal handler does not run while the event loop is blocked, and a Python one not while
the main thread is in C code. Python's wake-up file descriptor is written by the operating system's
handler itself, so a thread that reads its other end hears of every signal.

======================================  ====================================
what happened                           the process ends with
======================================  ====================================
orderly stop, then a thread that hangs  the stop's own code (`StopGuard.finish`)
no orderly stop within the deadline     `EXIT_LATE`, or the crash's code that led to the stop
a second signal                         128 + its number, at once
======================================  ====================================
"""

import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from anoean_stream.errors import EXIT_LATE
from anoean_stream.observe.health import LOOP_THREAD, SCORE_THREAD
from anoean_stream.observe.lastwords import LAST_WORDS_S, end_process
from anoean_stream.observe.watchdog import stack_of

log = structlog.get_logger("anoean.stop")

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

FORCE_SHARE: Final = 0.97
"""Part of the deadline after which force is used: an orderly stop is over by 0.9 (deliveries end at
0.85), and the last words must fit in before 1."""

FORCED_WORDS_S: Final = 0.1
"""Seconds for the last words when there is hardly any time left, or somebody has asked twice."""

EXIT_S: Final = 1.0
"""Seconds for the interpreter to end after an orderly stop: it waits for threads, and one may hang."""


class StopGuard:
    """Hears signals and keeps the deadline of the stop.

    Parameters
    ----------
    deadline_s : float
        Seconds from the first signal (or from `begin`) to the end of the process, by force if need
        be.
    """

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._end_at: float | None = None
        self._code = EXIT_LATE
        self._sentence = ""
        self._is_orderly = False
        self._n_signals = 0
        self._on_signal: Callable[[signal.Signals], None] | None = None
        self._thread = threading.Thread(target=self._run, name="anoean-signals", daemon=True)

    def start(self, on_signal: Callable[[signal.Signals], None]) -> None:
        """Take over the signals; call it in the main thread.

        Parameters
        ----------
        on_signal : callable
            Asks the worker to stop. Called once, in the guard's thread; must not block.
        """
        self._on_signal = on_signal
        for number in SIGNALS:
            # Python must have a handler of its own, or the operating system's would end us.
            signal.signal(number, _heard)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._thread.start()

    def begin(self, code: int = EXIT_LATE, sentence: str = "") -> None:
        """Start the deadline if it is not yet running; from any thread.

        Parameters
        ----------
        code : int
            What the process ends with when the stop hangs.
        sentence : str
            What the user must learn even then: why the worker stops.
        """
        self._code, self._sentence = code, sentence
        if self._end_at is None:
            self._end_at = time.monotonic() + FORCE_SHARE * self._deadline_s
            self._wake()

    def finish(self, code: int) -> None:
        """Say that the stop was orderly: what hangs from now on ends with this code, and soon."""
        self._is_orderly = True
        self._code = code
        soon = time.monotonic() + EXIT_S
        self._end_at = soon if self._end_at is None else min(self._end_at, soon)
        self._wake()

    def _wake(self) -> None:
        self._writer.send(b"\0")  # no signal has this number

    def _run(self) -> None:
        while True:
            left_s = None if self._end_at is None else max(0.0, self._end_at - time.monotonic())
            readable, _, _ = select.select([self._reader], [], [], left_s)
            if not readable:
                self._force()
            for number in self._reader.recv(4096):
                if number in SIGNALS:
                    self._take(signal.Signals(number))

    def _take(self, number: signal.Signals) -> None:
        self._n_signals += 1
        if self._n_signals > 1:
            end_process(
                128 + number,
                lambda: log.warning(
                    "worker_killed",
                    signal=number.name,
                    note="asked twice: ending without the last commit",
                ),
                within_s=FORCED_WORDS_S,
            )
        self.begin()
        assert self._on_signal is not None
        self._on_signal(number)

    def _force(self) -> None:
        code = self._code
        if self._is_orderly:
            end_process(code, self._say_sentence, within_s=FORCED_WORDS_S)
        end_process(
            code,
            lambda: log.error(
                "worker_killed",
                note="no orderly stop within worker.shutdown_deadline_s; what was not committed is "
                "read again",
                exit_code=code,
                reason=self._sentence or None,
                stack=stack_of(LOOP_THREAD),
                scoring=stack_of(SCORE_THREAD),
            ),
            within_s=min(LAST_WORDS_S, (1 - FORCE_SHARE) * self._deadline_s),
        )

    def _say_sentence(self) -> None:
        """Say why it stopped, which the command would have said, had no thread hung."""
        if self._sentence:
            log.error("worker_ended", reason=self._sentence, exit_code=self._code)


def _heard(number: int, frame: object) -> None:
    """Do nothing: the guard's thread reads the signal's number from the file descriptor."""
