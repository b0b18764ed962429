"""``python -m tests.chaos``: play scenarios on real Kafka, print the table, write build/chaos.json."""

import argparse
import json
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Final

import confluent_kafka

from tests.chaos import catalogue
from tests.chaos.lanes import Lanes, Row, Task
from tests.chaos.scenarios import SCENARIOS

COLUMNS: Final = (
    "records", "scored", "dead", "missing", "unaccounted", "repeated", "out_of_order", "stall_s",
)  # fmt: skip


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
    return parser


# ---------------------------------------------------------------------- playing


def _play(tasks: Sequence[Task], wanted: argparse.Namespace) -> list[Row]:
    """Play the tasks in lanes, show progress, return the rows in the order of the tasks."""
    began = time.monotonic()
    lanes = Lanes(tasks, quick=wanted.quick, against=wanted.against)
    n_done = count(1)

    def tell(row: Row) -> None:
        n, seconds = next(n_done), time.monotonic() - began
        left_min = seconds / n * (len(tasks) - n) / 60
        verdict = "ok" if row["good"] else "NOT GOOD"
        print(
            f"[{n:3}/{len(tasks)}] {row['scenario']:32} seed {row['seed']:<4} {verdict:8} "
            f"{row['seconds']:6.1f} s; about {left_min:.0f} min left",
            file=sys.stderr,
            flush=True,
        )

    try:
        return lanes.play(tell)
    except KeyboardInterrupt:
        print("\nstopped.", file=sys.stderr)
        return []
    finally:
        lanes.close()


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
