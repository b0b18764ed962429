"""``python -m tests.chaos``: play scenarios on real Kafka, print the table, write build/chaos.json."""

import argparse
import json
import platform
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

import confluent_kafka

from tests.chaos import catalogue
from tests.chaos.naive import NaiveWorker
from tests.chaos.scenarios import SCENARIOS, Needs, run
from tests.chaos.stage import Stage
from tests.support.kafka_jars import KafkaUnavailableError
from tests.support.lifetime import die_with_parent

REPOSITORY: Final = Path(__file__).resolve().parents[2]
LANES: Final = 2
"""Scenarios at a time: they wait more than they compute, but their stalls are measured."""

COLUMNS: Final = (
    "records", "scored", "dead", "missing", "unaccounted", "repeated", "out_of_order", "stall_s",
)  # fmt: skip

Row = dict[str, Any]
Task = tuple[str, int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for; 0 when every row is good, 1 when one is not, 4 without Kafka."""
    wanted = _arguments().parse_args(argv)
    unknown = [name for name in wanted.scenario or () if name not in SCENARIOS]
    if unknown:
        known = "\n  ".join(SCENARIOS)
        print(f"error: no scenario {unknown[0]!r}; there are:\n  {known}", file=sys.stderr)
        return 2
    if wanted.list:
        for found in SCENARIOS.values():
            print(f"{found.name:32}{found.needs:9}{found.what}")
        return 0
    if wanted.lane:
        return _lane(quick=wanted.quick, against=wanted.against)
    names = wanted.scenario or list(SCENARIOS)
    tasks = [
        (name, seed)
        for name in names
        for seed in range(wanted.seed, wanted.seed + _n_seeds(name, wanted))
    ]
    began = time.monotonic()
    rows = _play(tasks, wanted)
    if len(rows) < len(tasks):
        return 4
    print(table(rows))
    wanted.json.parent.mkdir(parents=True, exist_ok=True)
    wanted.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    bad = [row for row in rows if not row["good"]]
    for row in bad:
        print(f"\n{row['scenario']} --seed {row['seed']}: {row['schedule']}")
        print("\n".join(f"  {note}" for note in row["notes"]))
    minutes = (time.monotonic() - began) / 60
    print(f"\n{len(rows)} runs in {minutes:.1f} min, {len(bad)} not good; rows in {wanted.json}")
    if wanted.report:
        wanted.report.write_text(report(rows, minutes), encoding="utf-8")
    return 1 if bad else 0


def _n_seeds(name: str, wanted: argparse.Namespace) -> int:
    return int(wanted.seeds) if name in catalogue.BY_SCHEDULE or wanted.scenario else 1


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        epilog="examples: --list | --scenario worker-sigkill --seeds 5 | "
        "--scenario exceptions-at-random --seed 17 --seeds 1 | --against naive --quick",
    )
    parser.add_argument("--list", action="store_true", help="name the scenarios, and stop")
    parser.add_argument("--scenario", action="append", help="only this one; may be repeated")
    parser.add_argument(
        "--seeds", type=int, default=catalogue.N_SCHEDULES, help="random schedules (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--quick", action="store_true", help="fewer records, shorter outages")
    parser.add_argument(
        "--against", choices=("anoean", "naive"), default="anoean", help="which worker plays"
    )
    parser.add_argument("--json", type=Path, default=Path("build/chaos.json"))
    parser.add_argument("--report", type=Path, help="write the table as Markdown, too")
    parser.add_argument("--lane", action="store_true", help=argparse.SUPPRESS)
    return parser


# ---------------------------------------------------------------------- lanes


def _play(tasks: Sequence[Task], wanted: argparse.Namespace) -> list[Row]:
    """Share the tasks out to lanes, show progress, return the rows in the order of the tasks."""
    waiting: SimpleQueue[Task] = SimpleQueue()
    for task in tasks:
        waiting.put(task)
    done: dict[Task, Row] = {}
    words = [word for word in ("--quick",) if wanted.quick]
    command = [
        sys.executable, "-m", "tests.chaos", "--lane", "--against", wanted.against, *words,
    ]  # fmt: skip
    began = time.monotonic()

    def tend(lane: "subprocess.Popen[str]") -> None:
        assert lane.stdin is not None
        assert lane.stdout is not None
        while True:
            try:
                task = waiting.get_nowait()
            except Empty:
                lane.stdin.close()
                return
            lane.stdin.write(json.dumps(task) + "\n")
            lane.stdin.flush()
            answer = next((line for line in lane.stdout if line.startswith("{")), None)
            if answer is None:
                print(f"the lane that played {task} ended", file=sys.stderr)
                return
            done[task] = json.loads(answer)
            _progress(done[task], len(done), len(tasks), time.monotonic() - began)

    lanes = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - it makes one system call
        )
        for _ in range(min(LANES, len(tasks)))
    ]
    tenders = [threading.Thread(target=tend, args=(lane,), daemon=True) for lane in lanes]
    try:
        for tender in tenders:
            tender.start()
        for tender in tenders:
            tender.join()
    except KeyboardInterrupt:
        print("\nstopped.", file=sys.stderr)
    finally:
        for lane in lanes:
            lane.terminate()
            lane.wait()
    return [done[task] for task in tasks if task in done]


def _progress(row: Row, n_done: int, n_all: int, seconds: float) -> None:
    left_min = seconds / n_done * (n_all - n_done) / 60
    verdict = "ok" if row["good"] else "NOT GOOD"
    print(
        f"[{n_done:3}/{n_all}] {row['scenario']:32} seed {row['seed']:<4} {verdict:8} "
        f"{row['seconds']:6.1f} s; about {left_min:.0f} min left",
        file=sys.stderr,
        flush=True,
    )


def _lane(*, quick: bool, against: str) -> int:
    """Play the tasks that come on stdin, one at a time, on brokers that are started when needed."""
    make_worker = NaiveWorker if against == "naive" else None
    brokers: dict[Needs, Any] = {}
    try:
        for line in sys.stdin:
            name, seed = json.loads(line)
            chosen = SCENARIOS[name]
            if chosen.needs not in brokers:
                brokers[chosen.needs] = catalogue.start_brokers(chosen.needs)
            stage = Stage(brokers[chosen.needs], seed=seed, quick=quick, make_worker=make_worker)
            outcome = run(chosen, stage)
            print(json.dumps(outcome.as_document()), flush=True)
    except KafkaUnavailableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    finally:
        for broker in brokers.values():
            broker.close()
    return 0


# ---------------------------------------------------------------------- tables


def summed(rows: Sequence[Row]) -> list[Row]:
    """Return one row for each scenario: counts added over its seeds, the longest stall."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["scenario"]].append(row)
    return [
        {
            "scenario": name,
            "runs": len(group),
            **{column: sum(row[column] for row in group) for column in COLUMNS[:-1]},
            "stall_s": max(row["stall_s"] for row in group),
            "repeats_allowed": sum(row["repeats_allowed"] for row in group),
            "good": all(row["good"] for row in group),
        }
        for name, group in groups.items()
    ]


def table(rows: Sequence[Row]) -> str:
    """Return the table for a terminal."""
    head = f"{'scenario':32}{'runs':>5}" + "".join(f"{name:>13}" for name in COLUMNS)
    lines = [
        f"{row['scenario']:32}{row['runs']:>5}"
        + "".join(f"{row[name]:>13}" for name in COLUMNS)
        + ("" if row["good"] else "   NOT GOOD")
        for row in summed(rows)
    ]
    return "\n".join([head, *lines])


def report(rows: Sequence[Row], minutes: float) -> str:
    """Return docs/delivery-results.md."""
    head = "| scenario | runs | " + " | ".join(COLUMNS) + " | repeats allowed |"
    rule = "|---|" + "--:|" * (len(COLUMNS) + 2)
    body = [
        f"| `{row['scenario']}` | {row['runs']} | "
        + " | ".join(f"{row[name]:,}" for name in COLUMNS)
        + f" | {row['repeats_allowed']:,} |"
        for row in summed(rows)
    ]
    version, librdkafka = confluent_kafka.__version__, confluent_kafka.libversion()[0]
    acts = [f"* `{found.name}`: {found.what}" for found in SCENARIOS.values()]
    return "\n".join(
        [
            "# What the fault suite found",
            "",
            (
                f"`make chaos`, {time.strftime('%Y-%m-%d', time.gmtime())}: {len(rows)} runs in "
                f"{minutes:.0f} minutes, {sum(not row['good'] for row in rows)} not good. Apache Kafka "
                f"4.3.0, confluent-kafka {version} (librdkafka {librdkafka}), Python "
                f"{platform.python_version()}, {platform.system()}, two runs at a time. Counts are added "
                "over the runs of a scenario; the stall is the longest of them. What the columns mean, "
                "and what is promised, is in [delivery.md](delivery.md)."
            ),
            "",
            head,
            rule,
            *body,
            "",
            "## The scenarios",
            "",
            *acts,
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
