"""`anoean models diff` on a file: counts of a brute-force computation, a page that needs no other file."""

import html.parser
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anoean_stream.cli import main
from anoean_stream.detector.threshold import ThresholdChoice
from anoean_stream.registry import Registry
from tests.support.models import attack_row, make_rows
from tests.support.registries import make_registry, write_jsonl
from tests.support.waiting import wait_until

Captured = pytest.CaptureFixture[str]
NASTY = '<script src="http://evil.example/x.js"></script>'


def rows_of(n_rows: int) -> list[dict[str, Any]]:
    """Return normal rows and attacks from hardly to hugely anomalous."""
    rows = make_rows(n_rows, seed=7)
    for number in range(n_rows // 4):
        attack = make_rows(1, seed=1000 + number)[0]
        rows.append(attack | {"duration": 2.0 * 1.3 ** (number % 60), "service": "backdoor"})
    # The most anomalous of all.
    return [*rows, attack_row() | {"bytes_in": 10**12, "id.orig_h": NASTY, "service": NASTY}]


ROWS = rows_of(800)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.chdir(tmp_path)
    write_jsonl(Path("flows.jsonl"), [*ROWS, "{broken", "[]"])
    return make_registry(tmp_path)


def scores(registry: Registry, version: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    detector = registry.load("edge", version).detector
    contract = detector.contract
    return detector.distances(contract.transform(contract.raw_from_rows(ROWS)))


def diffed(capsys: Captured, *words: str, exit_code: int = 0) -> dict[str, Any]:
    assert main(["models", "diff", *words, "--json"]) == exit_code
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


def refused(capsys: Captured, *words: str, exit_code: int) -> str:
    assert main(["models", "diff", *words]) == exit_code
    return " ".join(capsys.readouterr().err.split())


def test_counts_are_those_of_a_brute_force_computation(
    registry: Registry, capsys: Captured
) -> None:
    summary = diffed(capsys, "1", "2", "flows.jsonl", "--name", "edge", "--out", "report")

    document = json.loads(Path("report/diff.json").read_text())
    first, second = scores(registry, "1"), scores(registry, "2")
    alerts = first > registry.manifest("edge", "1").threshold
    other_alerts = second > registry.manifest("edge", "2").threshold
    for found in (summary, document):
        assert found["records"] == len(ROWS)
        assert found["records_read"] == len(ROWS) + 2
        assert found["champion_alerts"] == alerts.sum() > 10
        assert found["candidate_alerts"] == other_alerts.sum() > 10
        assert found["both_alerts"] == (alerts & other_alerts).sum() > 0
        assert found["champion_rejected"] == {"not_an_object": 1, "not_json": 1}
        assert (found["a"]["version"], found["b"]["version"]) == ("1", "2")
    assert "plots" not in summary
    rate = document["plots"]["alert_rate"]
    assert (rate["unit"], sum(rate["records"])) == ("row", len(ROWS))
    assert sum(rate["champion_alerts"]) == alerts.sum()
    assert sum(rate["candidate_alerts"]) == other_alerts.sum()
    assert sum(rate["both_alerts"]) == (alerts & other_alerts).sum()
    assert sum(document["plots"]["scatter"]["records"]) == len(ROWS)
    for scored in document["plots"]["scores"].values():
        assert sum(count for _, count in scored) == len(ROWS)
    overlap = document["plots"]["overlap"]
    for share, common in zip(overlap["alert_share"], overlap["in_common"], strict=True):
        size = round(share * len(ROWS))
        top, other_top = set(np.argsort(-first)[:size]), set(np.argsort(-second)[:size])
        assert common == pytest.approx(len(top & other_top) / size, abs=2 / size)


def test_flows_are_of_either_kind_with_both_explanations(
    registry: Registry, capsys: Captured
) -> None:
    diffed(capsys, "edge@1", "edge@2", "flows.jsonl", "--out", "report", "--flows", "3")

    examples = json.loads(Path("report/diff.json").read_text())["examples"]

    first, second = scores(registry, "1"), scores(registry, "2")
    for kind in ("only_champion", "only_candidate"):
        assert 1 <= len([one for one in examples if one["kind"] == kind]) <= 3
    for example in examples:
        row = example["offset"]
        assert example["champion"]["score"] == pytest.approx(first[row], rel=1e-5)
        assert example["candidate"]["score"] == pytest.approx(second[row], rel=1e-5)
        assert example["flow"]["proto"] == ROWS[row]["proto"]
        assert example["champion"]["explanation"] or example["candidate"]["explanation"]


class _Page(html.parser.HTMLParser):
    """Collects tags, and every attribute that a browser would follow."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [
            value or "" for name, value in attrs if name in {"src", "href", "xlink:href", "srcset"}
        ]


def test_page_stands_alone_and_escapes_what_comes_from_records(
    registry: Registry, capsys: Captured
) -> None:
    # Nothing alerts for one, and only the nasty record for the other.
    assert (scores(registry, "2") > 20).nonzero()[0].tolist() == [len(ROWS) - 1]
    registry.set_threshold(
        "edge", ThresholdChoice(kind="distance", value=0, distances={"1": 1e12, "2": 20.0})
    )
    diffed(capsys, "1", "2", "flows.jsonl", "--name", "edge", "--out", "report")

    text = Path("report/diff.html").read_text()

    page = _Page()
    page.feed(text)
    assert text.count("&lt;script src=") >= 2  # an address, and a value of a field
    assert "script" not in page.tags
    assert page.tags.count("svg") == 4
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert not re.search(r"@import|url\((?!#)", text)
    assert {"diff.html", "diff.json"} == {path.name for path in Path("report").iterdir()}
    assert "distance 0" in text  # where the threshold comes from


def test_the_registrys_threshold_holds_as_it_does_in_a_worker(
    registry: Registry, capsys: Captured
) -> None:
    registry.set_threshold(
        "edge", ThresholdChoice(kind="distance", value=5, distances={"1": 5.0, "2": 2.5})
    )

    summary = diffed(capsys, "1", "2", "flows.jsonl", "--name", "edge")

    assert summary["champion_alerts"] == (scores(registry, "1") > 5).sum()
    assert summary["candidate_alerts"] == (scores(registry, "2") > 2.5).sum()
    assert (summary["a"]["threshold"], summary["b"]["threshold"]) == (5, 2.5)
    assert summary["out"] == "diff-edge-1-2"


def test_aliases_are_versions_too_and_a_person_reads_a_sentence(
    registry: Registry, capsys: Captured
) -> None:
    registry.set_alias("edge", "shadow", "2")

    assert main(["models", "diff", "champion", "shadow", "flows.jsonl", "--name", "edge"]) == 0

    text = capsys.readouterr().out
    assert re.search(
        r"Version 2 raises .* alerts (than|as) version 1 \([\d,]+ against [\d,]+\)", text
    )
    assert "report: diff-edge-1-2/diff.html" in text


def test_a_report_is_replaced_and_nothing_else_is(registry: Registry, capsys: Captured) -> None:
    words = ("1", "2", "flows.jsonl", "--name", "edge", "--out", "report")
    diffed(capsys, *words)
    Path("report/diff.html").write_text("old")
    diffed(capsys, *words)

    assert "<!doctype html>" in Path("report/diff.html").read_text()
    Path("report/notes.txt").write_text("mine")
    assert "is no report" in refused(capsys, *words, exit_code=2)
    assert Path("report/notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "exit_code", "expected"),
    [
        (("1", "champion", "flows.jsonl"), 2, "1 and champion are the same version 1"),
        (("1", "9", "flows.jsonl"), 3, "no version '9' of model 'edge'"),
        (("1", "shadow", "flows.jsonl"), 3, "no alias 'shadow'"),
        (("1", "core@2", "flows.jsonl"), 2, "core@2 is of model 'core', but --name says 'edge'"),
        (("1", "2", "absent.jsonl"), 2, "no such file: absent.jsonl"),
        (("1", "2", "empty.jsonl"), 2, "has no records"),
        (("1", "2", "broken.jsonl"), 2, "could be scored by both models"),
        (("1", "2", "flows.jsonl", "--topic", "flows"), 2, "--topic is for a topic"),
        (("1", "2", "--from", "offset:-1"), 2, "is no offset"),
        (("1", "2", "--from", "yesterday"), 2, "is no time"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(
    registry: Registry, capsys: Captured, words: tuple[str, ...], exit_code: int, expected: str
) -> None:
    write_jsonl(Path("empty.jsonl"), [])
    write_jsonl(Path("broken.jsonl"), ["{", "[]"])
    before = set(Path().iterdir())

    said = refused(capsys, *words, "--name", "edge", exit_code=exit_code)

    assert expected in re.sub(r"\s*│\s*", " ", said)
    assert set(Path().iterdir()) == before


def test_interrupted_it_leaves_nothing_half_written(registry: Registry, tmp_path: Path) -> None:
    # Seconds of replay, of which none are waited for.
    Path("long.jsonl").write_text(400 * Path("flows.jsonl").read_text())
    words = ["models", "diff", "edge@1", "edge@2", "long.jsonl", "--out", "report"]
    process = subprocess.Popen(
        [sys.executable, "-m", "anoean_stream", *words], stderr=subprocess.PIPE
    )
    wait_until(lambda: any(tmp_path.glob(".report-*")), within_s=30, what="a folder to write into")

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)

    assert process.returncode == 130, said.decode()
    assert not Path("report").exists()
    assert not list(tmp_path.glob(".report-*"))
