"""Whether a fleet agrees, with the clock in the test's hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from anoean_stream.cli.fleet import Judgement, judge
from anoean_stream.cli.worker_reports import SeenWorker, live_reports
from anoean_stream.records.workerreport import WorkerReport
from anoean_stream.registry import AliasRecord
from tests.support.reporting import make_report, rfc3339

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LIMIT_S = 60.0


def report(worker: str, **changes: Any) -> WorkerReport:
    return make_report(worker, now=NOW, **changes)


def moved(version: str, *, ago_s: float, **changes: Any) -> dict[str, AliasRecord]:
    at = rfc3339(NOW - timedelta(seconds=ago_s))
    return {"champion": AliasRecord(version, at, "ann@desk", **changes)}


def judged(
    live: list[WorkerReport], aliases: dict[str, AliasRecord] | None, *, limit_s: float = LIMIT_S
) -> Judgement:
    return judge(live, aliases, model="edge", now=NOW, limit_s=limit_s)


def test_all_that_serve_what_the_alias_names_agree() -> None:
    found = judged([report("a"), report("b")], moved("1", ago_s=9))

    assert (found.state, found.sentence) == ("agreed", "all 2 workers serve version 1")


def test_nobody_alive_is_no_disagreement() -> None:
    assert judged([], moved("1", ago_s=900)).state == "no_workers"


@pytest.mark.parametrize(("ago_s", "state"), [(59.0, "swapping"), (61.0, "disagree")])
def test_worker_behind_the_alias_is_a_problem_after_the_limit(ago_s: float, state: str) -> None:
    live = [report("a", version="2", serving_s=ago_s), report("b")]

    found = judged(live, moved("2", ago_s=ago_s))

    assert found.state == state
    assert [one.worker for one in found.differences] == ["b"]
    assert (found.differences[0].version, found.differences[0].wanted) == ("1", "2")


def test_worker_that_began_a_moment_ago_has_its_time_too() -> None:
    loading = report("a", version=None, serving_s=5)

    assert judged([loading], moved("2", ago_s=9000)).state == "swapping"


def test_worker_that_went_back_by_itself_a_moment_ago_has_its_time_too() -> None:
    back = report("a", version="1", serving_s=5)

    assert judged([back], moved("2", ago_s=9000)).state == "swapping"


def test_sentence_has_the_workers_own_reason_and_the_next_step() -> None:
    refusing = report("b", problem="weights.safetensors was changed")

    sentence = judged([refusing], moved("2", ago_s=600)).sentence

    assert sentence.startswith("worker b serves version 1, expected version 2 for 10 min")
    assert "weights.safetensors was changed" in sentence
    assert "anoean models verify edge 2" in sentence


def test_worker_that_sees_another_registry_is_told_from_one_that_refuses() -> None:
    assert (
        "when it looked last, champion was version 1"
        in judged([report("a", wanted_version="1")], moved("2", ago_s=600)).sentence
    )


@pytest.mark.parametrize(("serving_s", "state"), [(30.0, "swapping"), (90.0, "disagree")])
def test_without_a_registry_workers_are_held_against_each_other(
    serving_s: float, state: str
) -> None:
    found = judged([report("a", version="2", serving_s=serving_s), report("b")], None)

    assert found.state == state
    assert [one.worker for one in found.differences] == ["b"]


def test_alias_that_moves_all_the_time_does_not_hide_two_that_differ() -> None:
    live = [report("a", version="2", serving_s=90), report("b")]

    assert judged(live, moved("3", ago_s=1)).state == "disagree"


def test_same_version_with_other_content_is_a_disagreement() -> None:
    live = [report("a"), report("b", sha256="f" * 64)]

    found = judged(live, moved("1", ago_s=900))

    assert found.state == "disagree"
    assert "registry.url" in found.sentence


def test_workers_that_follow_different_aliases_may_differ() -> None:
    aliases = moved("1", ago_s=900) | {"canary": AliasRecord("2", rfc3339(NOW))}
    live = [report("a"), report("b", version="2", alias="canary")]

    found = judged(live, aliases)

    assert found.state == "agreed"
    assert "1 serve version 1" in found.sentence


@pytest.mark.parametrize(
    ("ago_s", "stopped_at", "state"),
    [(29, None, "live"), (31, None, "gone"), (1, NOW, "stopped")],
)
def test_worker_is_gone_after_three_silent_intervals(
    ago_s: float, stopped_at: datetime | None, state: str
) -> None:
    worker = SeenWorker(report("a", ago_s=ago_s), stopped_at)

    assert worker.state(NOW) == state
    assert len(live_reports([worker], now=NOW)) == (state == "live")
    assert not live_reports([worker], now=NOW, group="another")


def test_alias_file_that_was_edited_by_hand_is_no_crash() -> None:
    assert judged([report("a")], {"champion": AliasRecord("2", "yesterday")}).state == "disagree"
