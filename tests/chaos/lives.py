"""A worker that dies of injected exceptions and lives again, many lives in one process.

The child (``python -m tests.chaos.lives``) reads one plan a line from stdin: settings, and which call
of which step fails. It runs the real worker (`run_worker`) again and again until SIGTERM ends a
life in order, then says ``done`` and takes the next plan. Starting Python for each of some hundred
crashes would take an hour.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from tests.support.lifetime import die_with_parent
from tests.support.waiting import wait_until

Step = Literal[
    "decode", "features", "encode", "deliver alert", "deliver dead letter", "acknowledge", "commit"
]
When = Literal["before", "after", "exit"]

STEPS: Final[tuple[Step, ...]] = (
    "decode",
    "features",
    "encode",
    "deliver alert",
    "deliver dead letter",
    "acknowledge",
    "commit",
)
EXIT_CODE: Final = 86
_REPOSITORY: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Fault:
    """One call fails.

    Parameters
    ----------
    step : str
        Of the agent.
    call : int
        Which call of it, from 1, over all lives of the plan.
    when : {"before", "after", "exit"}
        An exception before or after the real call; or the process ends there, without a goodbye.
    """

    step: Step
    call: int
    when: When


class InjectedError(Exception):
    """Raised where the plan says."""


class _Injector:
    """Counts calls and strikes; the wrapped functions ask it."""

    def __init__(self) -> None:
        self._faults: dict[tuple[str, int], str] = {}
        self._calls: Counter[str] = Counter()
        self._lock = threading.Lock()  # the scorer has a thread of its own
        self.n_struck = 0

    def arm(self, faults: Sequence[Mapping[str, Any]]) -> None:
        """Begin a plan."""
        self._faults = {(fault["step"], fault["call"]): fault["when"] for fault in faults}
        self._calls.clear()
        self.n_struck = 0

    def begin(self, step: str) -> str | None:
        """Count a call; strike before it, or return what shall happen after it."""
        with self._lock:
            self._calls[step] += 1
            when = self._faults.pop((step, self._calls[step]), None)
        if when is None:
            return None
        self.n_struck += 1
        say("struck", step=step, when=when)
        if when == "exit":
            os._exit(EXIT_CODE)
        if when == "before":
            raise InjectedError(f"before {step}")
        return when

    def wrap(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its strikes."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            after = self.begin(step)
            result = function(*args, **kwargs)
            if after is not None:
                raise InjectedError(f"after {step}")
            return result

        return wrapped


def say(event: str, **fields: Any) -> None:
    """Write a line for the parent; os.write, so that it is whole whatever happens next."""
    os.write(1, json.dumps({"event": event, **fields}).encode() + b"\n")


def _patch(injector: _Injector) -> None:
    from anoean_stream.cli.stopping import StopGuard
    from anoean_stream.detector.detector import Detector
    from anoean_stream.features.contract import FeatureContract
    from anoean_stream.kafka.consumer import Consumer
    from anoean_stream.kafka.producer import Producer
    from anoean_stream.records.decode import JsonDecoder

    def patch(owner: Any, name: str, step: Step) -> None:
        setattr(owner, name, injector.wrap(step, getattr(owner, name)))

    patch(JsonDecoder, "decode", "decode")
    patch(FeatureContract, "transform", "features")
    patch(Detector, "score", "encode")
    patch(Consumer, "ack", "acknowledge")
    send_batch = Producer.send_batch
    commit = Consumer.force_commit

    async def sending(self: Any, items: Sequence[Any]) -> Any:
        dead = self.app.settings.topics.dead_letters
        topics = {item[0] for item in items}
        after = []
        if topics - {dead}:
            after.append(injector.begin("deliver alert"))
        if dead in topics:
            after.append(injector.begin("deliver dead letter"))
        result = await send_batch(self, items)
        if any(after):
            raise InjectedError("after deliver")
        return result

    async def committing(self: Any, *args: Any, **kwargs: Any) -> bool:
        after = injector.begin("commit")
        done = await commit(self, *args, **kwargs)
        if after is not None:
            raise InjectedError("after commit")
        return done

    def outlive(guard: Any, code: int) -> None:
        """Let the process live on after an orderly stop: the next life begins in it."""
        del code
        guard._end_at = None
        guard._wake()

    StopGuard.finish = outlive  # type: ignore[assignment, method-assign]
    Producer.send_batch = sending  # type: ignore[method-assign]
    Consumer.force_commit = committing  # type: ignore[method-assign]


def main() -> None:
    """Take plans from stdin until it ends."""
    from anoean_stream.cli.serve import run_worker
    from anoean_stream.configfile import load_settings
    from anoean_stream.errors import AnoeanError
    from anoean_stream.observe.logs import configure_logging

    injector = _Injector()
    _patch(injector)
    stopped = threading.Event()
    for line in sys.stdin:
        plan = json.loads(line)
        words = [f"{name}={value}" for name, value in plan["settings"].items()]
        settings = load_settings(None, words)
        configure_logging(settings.logging)
        injector.arm(plan["faults"])
        stopped.clear()
        n_lives = 0
        while not stopped.is_set():
            n_lives += 1
            try:
                code = asyncio.run(run_worker(settings))
            except (AnoeanError, InjectedError) as error:
                say("died", reason=str(error))
            else:
                say("ended", code=code)
                if code == 0:
                    stopped.set()
        say("done", n_lives=n_lives, n_struck=injector.n_struck)


class Lives:
    """The child, and what it said; a worker for `Stage`.

    Parameters
    ----------
    bootstrap : str
        The brokers.
    registry : Path
        Folder of the registry.
    settings : mapping
        ``section.key`` to value.
    """

    def __init__(self, bootstrap: str, registry: Path, settings: Mapping[str, object]) -> None:
        self._settings = {
            "broker.bootstrap_servers": bootstrap,
            "registry.url": str(registry),
            "web.enabled": "false",
            "logging.level": "ERROR",
            **{name: str(value) for name, value in settings.items()},
        }
        self.faults: tuple[Fault, ...] = ()
        self.process: Any = None

    def start(self) -> "Lives":
        """Give the plan to the child; start the child if there is none."""
        self.process = _child()
        plan = {"settings": self._settings, "faults": [asdict(fault) for fault in self.faults]}
        self.process.give(plan)
        return self

    def n_struck(self) -> int:
        """Return how many faults struck so far in this plan."""
        return len(self.process.said("struck"))

    def metrics(self) -> dict[str, float]:
        """Return nothing: its web server is off."""
        return {}

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the current life in order, and so the plan."""
        self.process.send_signal(number)
        wait_until(
            lambda: self.process.said("done") or self.process.poll() is not None,
            what="the end of the plan",
            within_s=40,
            hint=self.tail,
        )
        return 0 if self.process.said("done") else int(self.process.returncode)

    def close(self) -> None:
        """Kill the child unless the plan is over."""
        if self.process is not None and not self.process.said("done"):
            self.process.kill()

    def tail(self) -> str:
        """Return what it said last."""
        return "" if self.process is None else self.process.tail()


class _Child:
    """The process, reused from plan to plan."""

    def __init__(self) -> None:
        self._lines: list[dict[str, Any]] = []
        self._log: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.lives"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=_REPOSITORY,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - it makes one system call
            env={name: value for name, value in os.environ.items() if "ANOEAN__" not in name},
        )
        self.pid = self._process.pid
        for read in (self._read_lines, self._read_log):
            threading.Thread(target=read, daemon=True).start()

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    def poll(self) -> int | None:
        return self._process.poll()

    def give(self, plan: Mapping[str, Any]) -> None:
        self._lines.clear()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(plan) + "\n")
        self._process.stdin.flush()

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def said(self, event: str) -> list[dict[str, Any]]:
        return [line for line in list(self._lines) if line["event"] == event]

    def tail(self) -> str:
        return f"{self._lines[-10:]}\n" + "".join(self._log[-20:])

    def _read_lines(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                self._lines.append(json.loads(line))

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._log.append(line)


_children: list[_Child] = []


def _child() -> _Child:
    if not _children or _children[-1].poll() is not None:
        _children.append(_Child())
    return _children[-1]


if __name__ == "__main__":
    main()
