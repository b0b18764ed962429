"""A new model is judged by what it does in the first minutes, and by what the one before did."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from anoean_stream.detector.bundle import ServedModel, read_bundle_folder
from anoean_stream.pipeline import Pipeline, Verdict
from anoean_stream.records.chunk import Chunk
from anoean_stream.serving.watchrules import Rates, SwapRules
from anoean_stream.settings import AlertSettings, ScoringSettings, SwapSettings
from tests.support.models import make_bundle, make_rows

SETTINGS = SwapSettings(
    watch_min_records=1000, alert_rate_factor=10, contract_dead_share=0.05, latency_budget_us=100
)
QUICK_S = 1e-4


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder = tmp_path_factory.mktemp("bundle")
    make_bundle(folder)
    model = ServedModel("test-model", "1", read_bundle_folder(folder))
    return Pipeline(
        model,
        scoring=ScoringSettings(),
        alerts=AlertSettings(top_features=0),
        worker_id="w",
    )


def judge(pipeline: Pipeline, values: list[bytes | None]) -> Verdict:
    n = len(values)
    return pipeline.score_chunk(
        Chunk("t", 0, values=values, keys=[None] * n, offsets=range(n), timestamps_ms=[-1] * n)
    )


def good(n: int, *, seed: int = 0) -> list[bytes | None]:
    return [msgspec.json.encode(row) for row in make_rows(n, seed=seed)]


def verdict_of(pipeline: Pipeline, *, n: int, n_alerts: int) -> Verdict:
    """A real verdict in which so many records alert."""
    verdict = judge(pipeline, good(n))
    alert = judge(pipeline, [b'{"bytes_out": 1e15, "error_rate": 99}']).alerts
    return replace(verdict, alerts=alert * n_alerts)


def test_a_model_within_the_budget_stays(pipeline: Pipeline) -> None:
    rules = SwapRules(SETTINGS, budget=0.01, before=Rates())

    seen = [
        rules.see(verdict_of(pipeline, n=500, n_alerts=50), cpu_s=QUICK_S) for _ in range(6)
    ]  # 10 times the budget exactly

    assert seen == [None] * 6


def test_one_alert_more_than_the_factor_allows_is_too_many(pipeline: Pipeline) -> None:
    rules = SwapRules(SETTINGS, budget=0.01, before=Rates())

    assert rules.see(verdict_of(pipeline, n=500, n_alerts=50), cpu_s=QUICK_S) is None
    broken = rules.see(verdict_of(pipeline, n=500, n_alerts=51), cpu_s=QUICK_S)

    assert broken is not None
    assert broken.rule == "alert_rate"
    assert broken.value == 0.101
    assert broken.bound == pytest.approx(0.1)
    assert "swap.alert_rate_factor" in broken.sentence


def test_nothing_is_judged_on_fewer_records_than_asked_for(pipeline: Pipeline) -> None:
    rules = SwapRules(SETTINGS, budget=0.01, before=Rates())

    assert rules.see(verdict_of(pipeline, n=999, n_alerts=999), cpu_s=9.0) is None


def test_a_change_after_a_quiet_beginning_is_seen(pipeline: Pipeline) -> None:
    rules = SwapRules(SETTINGS, budget=0.01, before=Rates())
    for _ in range(50):
        assert rules.see(verdict_of(pipeline, n=1000, n_alerts=0), cpu_s=QUICK_S) is None

    broken = rules.see(verdict_of(pipeline, n=1000, n_alerts=500), cpu_s=QUICK_S)

    assert broken is not None
    assert broken.rule == "alert_rate"


def test_during_an_attack_that_the_model_before_saw_too_the_new_one_stays(
    pipeline: Pipeline,
) -> None:
    before = Rates()
    before.add(verdict_of(pipeline, n=1000, n_alerts=300), cpu_s=QUICK_S)
    rules = SwapRules(SETTINGS, budget=0.01, before=before)

    assert rules.see(verdict_of(pipeline, n=1000, n_alerts=400), cpu_s=QUICK_S) is None


def test_a_score_that_is_not_finite_is_enough(pipeline: Pipeline) -> None:
    rules = SwapRules(SETTINGS, budget=0.01, before=Rates())
    verdict = judge(pipeline, good(3))
    distances = verdict.distances_G.copy()
    distances[1] = np.nan

    broken = rules.see(replace(verdict, distances_G=distances), cpu_s=QUICK_S)

    assert broken is not None
    assert (broken.rule, broken.value) == ("scores_not_finite", 1)


def test_records_that_only_the_new_contract_does_not_fit_end_it(pipeline: Pipeline) -> None:
    wrong: list[bytes | None] = [b'{"duration": {}}'] * 60
    broken = SwapRules(SETTINGS, budget=0.01, before=Rates()).see(
        judge(pipeline, [*good(940), *wrong]), cpu_s=QUICK_S
    )
    was_so = Rates()
    was_so.add(judge(pipeline, [*good(900), *wrong * 2]), cpu_s=QUICK_S)
    not_its_fault = SwapRules(SETTINGS, budget=0.01, before=was_so).see(
        judge(pipeline, [*good(940), *wrong]), cpu_s=QUICK_S
    )
    no_contract = SwapRules(SETTINGS, budget=0.01, before=Rates()).see(
        judge(pipeline, [*good(500), *[b"{"] * 500]), cpu_s=QUICK_S
    )

    assert broken is not None
    assert (broken.rule, broken.value) == ("contract_dead", 0.06)
    assert not_its_fault is None
    assert no_contract is None


def test_a_slow_model_is_too_slow(pipeline: Pipeline) -> None:
    rules = SwapRules(SETTINGS, budget=0.01, before=Rates())

    broken = rules.see(verdict_of(pipeline, n=1000, n_alerts=0), cpu_s=0.101)

    assert broken is not None
    assert broken.rule == "latency"
    assert broken.value == pytest.approx(101)


def test_old_records_fade_from_the_rates(pipeline: Pipeline) -> None:
    rates = Rates()
    alerting, quiet = (verdict_of(pipeline, n=1000, n_alerts=n) for n in (100, 0))
    for _ in range(200):
        rates.add(alerting, cpu_s=0.1)
    for _ in range(600):
        rates.add(quiet, cpu_s=0.1)

    assert rates.alert_rate < 0.02
    assert rates.records <= 200_000
