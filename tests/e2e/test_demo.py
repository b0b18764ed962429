"""`anoean demo` as a newcomer runs it: it counts right, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.lifetime import die_with_parent
from tests.support.waiting import wait_until

COMMAND = [sys.executable, "-m", "anoean_stream", "demo"]


def children_of(pid: int) -> list[int]:
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


@pytest.mark.timeout(180)
def test_demo_loses_nothing_swaps_the_model_and_prints_one_object() -> None:
    done = subprocess.run(
        [*COMMAND, "--json", "--seconds", "10", "--rate", "600"],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["lost"] == 0
    assert summary["records_in"] == summary["scored"] + summary["dead_letters"] > 5000
    assert summary["dead_letters"] > 0
    assert summary["swapped"]
    assert set(summary["versions"]) == {"1", "2"}
    assert sum(summary["versions"].values()) == summary["alerts"]
    assert summary["precision"] > 0.8
    assert summary["recall"] > 0.5
    assert summary["recall_unseen"] > 0.5
    assert 0 < summary["latency_p50_ms"] <= summary["latency_p99_ms"] < 5000
    assert summary["unseen_kind"] not in summary["attacks_in_training"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_demo_ends_every_process_it_started(
    number: signal.Signals, tmp_path: Path
) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    demo = subprocess.Popen(
        [*COMMAND, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        preexec_fn=die_with_parent,  # noqa: PLW1509  # two calls of the C library
    )
    assert demo.stderr is not None
    seen = b""
    while b"3/6" not in seen:
        line = demo.stderr.readline()
        assert line, seen
        seen += line
    wait_until(lambda: len(children_of(demo.pid)) == 2, within_s=20, what="broker and training")
    children = children_of(demo.pid)

    demo.send_signal(number)
    out, rest = demo.communicate(timeout=60)

    assert demo.returncode == 130
    assert out == b""
    assert b"Traceback" not in rest
    wait_until(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in children),
        within_s=20,
        what="the end of broker and training",
    )
    assert list(tmp_path.glob("anoean-demo-*")) == []
