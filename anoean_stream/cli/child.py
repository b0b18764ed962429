"""Our own commands as child processes: started, watched, and ended whatever happens."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from anoean_stream.errors import AnoeanError

T = TypeVar("T")

_TAIL_LINES: Final = 15
_LOOK_S: Final = 0.05
_STOP_S: Final = 15.0
"""Seconds that a child has to end in order before it is killed."""


class Child:
    """One ``anoean`` command running beside us; its output goes to files.

    It gets a session of its own, so that Ctrl-C reaches only us and we end it in order. Settings of
    the surroundings (environment, ./config.yaml) do not reach it.

    Parameters
    ----------
    name : str
        What to call it in messages.
    words : sequence of str
        The command, without ``anoean``.
    folder : Path
        Receives its output; its working directory.
    show_errors : bool
        Let its stderr through to ours, so that its progress bar is seen.
    """

    def __init__(
        self, name: str, words: Sequence[str], *, folder: Path, show_errors: bool = False
    ) -> None:
        self.name = name
        self._output = folder / f"{name}.out"
        self._errors = folder / f"{name}.log"
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "anoean_stream", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=None if show_errors else errors,
                cwd=folder,
                env={name: text for name, text in os.environ.items() if "ANOEAN" not in name},
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """Exit code; None while it runs."""
        return self._process.poll()

    def output(self) -> str:
        """Return what it has written to stdout."""
        return self._output.read_text(errors="replace")

    def log(self) -> str:
        """Return what it has written to stdout and stderr."""
        return self.output() + self._errors.read_text(errors="replace")

    def wait_for(self, condition: Callable[[], T | None], *, what: str, within_s: float) -> T:
        """Return the first true value of a condition on this child.

        Raises
        ------
        AnoeanError
            When the child ends first, or it takes too long; with its last lines.
        """
        deadline = time.monotonic() + within_s
        while not (value := condition()):
            if self.exit_code is not None:
                raise self.failure(f"ended with code {self.exit_code} before {what}")
            if time.monotonic() > deadline:
                raise self.failure(f"took more than {within_s:.0f} s for {what}")
            time.sleep(_LOOK_S)
        return value

    def finish(self, *, within_s: float) -> str:
        """Wait for a good end, and return what it wrote to stdout.

        Raises
        ------
        AnoeanError
            When it fails, or takes too long; with its last lines.
        """
        try:
            code = self._process.wait(within_s)
        except subprocess.TimeoutExpired as error:
            raise self.failure(f"was not done within {within_s:.0f} s") from error
        if code != 0:
            raise self.failure(f"ended with code {code}")
        return self.output()

    def require_alive(self) -> None:
        """Raise when it has ended.

        Raises
        ------
        AnoeanError
            With its last lines.
        """
        if self.exit_code is not None:
            raise self.failure(f"ended unexpectedly with code {self.exit_code}")

    def stop(self) -> int:
        """End it in order, by force when that takes too long; return the exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()

    def failure(self, what: str) -> AnoeanError:
        """Return an error about this child, with its last lines."""
        lines = "\n  ".join(self.log().splitlines()[-_TAIL_LINES:])
        said = f"; its last lines:\n  {lines}" if lines else ""
        return AnoeanError(f"the {self.name} {what}{said}")
