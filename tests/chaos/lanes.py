"""Several scenarios at a time, each lane in a process of its own with its own brokers.

A lane (``python -m tests.chaos.lanes``) takes tasks from stdin, one a line, and answers each with a
row. They wait more than they compute, so two on two cores take little longer than one.
"""

import argparse
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from tests.chaos import catalogue
from tests.chaos.naive import NaiveWorker
from tests.chaos.scenarios import SCENARIOS, Needs, run
from tests.chaos.stage import Stage
from tests.support.kafka_jars import KafkaUnavailableError
from tests.support.lifetime import die_with_parent

Row = dict[str, Any]
Task = tuple[str, int]
"""Scenario and seed."""

N_LANES: Final = 2
_REPOSITORY: Final = Path(__file__).resolve().parents[2]


class LaneEndedError(RuntimeError):
    """A lane ended before it answered; what it said is on stderr."""


class Lanes:
    """Shares tasks out; every task has a future for its row.

    Parameters
    ----------
    tasks : sequence of (str, int)
        Scenario and seed.
    quick : bool
        Fewer records, shorter outages.
    against : {"anoean", "naive"}
        Which worker plays.
    """

    def __init__(self, tasks: Sequence[Task], *, quick: bool, against: str = "anoean") -> None:
        self.rows: dict[Task, Future[Row]] = {task: Future() for task in tasks}
        self._waiting: SimpleQueue[Task] = SimpleQueue()
        for task in tasks:
            self._waiting.put(task)
        command = [sys.executable, "-m", "tests.chaos.lanes", "--against", against]
        self._processes = [
            subprocess.Popen(
                [*command, "--quick"] if quick else command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=_REPOSITORY,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - it makes one system call
            )
            for _ in range(min(N_LANES, len(tasks)))
        ]
        for process in self._processes:
            threading.Thread(target=self._tend, args=(process,), daemon=True).start()

    def play(self, tell: Callable[[Row], None]) -> list[Row]:
        """Wait for all rows; `tell` hears of each when it is there. Those of ended lanes are left out."""
        for future in self.rows.values():
            future.add_done_callback(lambda done: None if done.exception() else tell(done.result()))
        return [future.result() for future in self.rows.values() if future.exception() is None]

    def close(self) -> None:
        """End the lanes, and with them their brokers."""
        for process in self._processes:
            process.terminate()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def _tend(self, lane: "subprocess.Popen[str]") -> None:
        assert lane.stdin is not None
        assert lane.stdout is not None
        while True:
            try:
                task = self._waiting.get_nowait()
            except Empty:
                lane.stdin.close()
                return
            try:
                lane.stdin.write(json.dumps(task) + "\n")
                lane.stdin.flush()
                answer = next((line for line in lane.stdout if line.startswith("{")), None)
            except OSError:
                answer = None
            if answer is None:
                self.rows[task].set_exception(LaneEndedError(f"the lane that played {task} ended"))
            else:
                self.rows[task].set_result(json.loads(answer))


def main() -> int:
    """Play the tasks that come on stdin, one at a time, on brokers that are started when needed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--against", default="anoean")
    parser.add_argument("--quick", action="store_true")
    wanted = parser.parse_args()
    make_worker = NaiveWorker if wanted.against == "naive" else None
    brokers: dict[Needs, Any] = {}
    try:
        for line in sys.stdin:
            name, seed = json.loads(line)
            chosen = SCENARIOS[name]
            if chosen.needs not in brokers:
                brokers[chosen.needs] = catalogue.start_brokers(chosen.needs)
            stage = Stage(
                brokers[chosen.needs], seed=seed, quick=wanted.quick, make_worker=make_worker
            )
            outcome = run(chosen, stage)
            print(json.dumps(outcome.as_document()), flush=True)
    except KafkaUnavailableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    finally:
        for broker in brokers.values():
            broker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
