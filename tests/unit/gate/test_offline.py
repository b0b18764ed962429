"""The offline rules, each at its bound, and scores as the worker would give them."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from anoean_stream.cli.offline import open_pipeline
from anoean_stream.detector.bundle import ServedModel, read_bundle_folder
from anoean_stream.detector.threshold import ThresholdChoice
from anoean_stream.gate.offline import (
    Scored,
    compare,
    enough_labels,
    no_evaluation_set,
    offline_rules,
    score_set,
)
from anoean_stream.pipeline import Pipeline
from anoean_stream.records.decode import Rejected
from anoean_stream.registry import Registry
from anoean_stream.registry.evaluation import EvaluationInfo, EvaluationSet
from anoean_stream.settings import GateSettings, RegistrySettings, Settings
from tests.support.models import attack_row, make_bundle, make_rows

GATE = GateSettings(min_anomalies=10, bootstrap_samples=500)


def make_set(values: list[bytes], is_anomaly_N: NDArray[np.bool_]) -> EvaluationSet:
    info = EvaluationInfo(
        number=4,
        sha256="0" * 64,
        records=len(values),
        anomalies=int(is_anomaly_N.sum()),
        source="test",
        created_at="2026-11-26T09:00:00Z",
        created_by="ann@desk",
    )
    return EvaluationSet(info, tuple(values), is_anomaly_N)


@pytest.fixture(scope="module")
def evaluation() -> EvaluationSet:
    rows = [*make_rows(2500, seed=11), *(attack_row(seed=seed) for seed in range(40))]
    is_anomaly_N = np.arange(len(rows)) >= 2500
    return make_set([msgspec.json.encode(row) for row in rows], is_anomaly_N)


def pipeline(
    folder: Path, *, seed: int = 0, rate: float = 0.01, choice: ThresholdChoice | None = None
) -> Pipeline:
    make_bundle(folder / str(seed), seed=seed, false_positive_rate=rate)
    model = ServedModel("edge", str(seed + 1), read_bundle_folder(folder / str(seed)))
    settings = Settings(registry=RegistrySettings(url=str(folder / "models")))
    Registry(settings.registry.url).set_threshold("edge", choice)
    return open_pipeline(settings, model)


def scored(scores_N: NDArray[np.float64], *, version: str = "1", budget: float = 0.1) -> Scored:
    return Scored(version, budget, scores_N, ())


@pytest.fixture(scope="module", name="is_anomaly_N")
def labels() -> NDArray[np.bool_]:
    return np.asarray(np.arange(1000) % 4 == 0)


@pytest.fixture(scope="module")
def good(is_anomaly_N: NDArray[np.bool_]) -> NDArray[np.float64]:
    noise_N = np.random.default_rng(0).normal(size=len(is_anomaly_N))
    return np.asarray(noise_N + 3.0 * is_anomaly_N)


def test_scores_are_those_of_the_detector(tmp_path: Path, evaluation: EvaluationSet) -> None:
    edge = pipeline(tmp_path)

    found = score_set(edge, evaluation)

    detector = edge.model.bundle.detector
    rows = [msgspec.json.decode(value) for value in evaluation.values]
    expected = detector.distances(
        detector.contract.transform(detector.contract.raw_from_rows(rows))
    )
    assert found.scores_N == pytest.approx(expected)
    assert (found.version, found.budget, found.undecoded) == ("1", 0.01, ())


def test_the_budget_is_the_one_that_a_worker_would_serve_with(
    tmp_path: Path, evaluation: EvaluationSet
) -> None:
    choice = ThresholdChoice(kind="false_positive_rate", value=0.05)

    assert score_set(pipeline(tmp_path, choice=choice), evaluation).budget == 0.05


def test_records_that_cannot_be_decoded_are_lowest_and_named(tmp_path: Path) -> None:
    rows = [msgspec.json.encode(row) for row in make_rows(2100, seed=3)]
    rows[2] = b'{"duration":"long"}'
    rows[2050] = b'{"bytes_in":[1]}'

    found = score_set(pipeline(tmp_path), make_set(rows, np.arange(2100) % 2 == 0))

    assert [one.index for one in found.undecoded] == [2, 2050]
    assert np.flatnonzero(np.isneginf(found.scores_N)).tolist() == [2, 2050]
    assert found.n_not_finite == 0


def test_undecodable_anomalies_count_as_missed_and_the_sentence_names_them(
    good: NDArray[np.float64], is_anomaly_N: NDArray[np.bool_]
) -> None:
    blind_N = good.copy()
    lost = np.flatnonzero(is_anomaly_N)[:60]
    blind_N[lost] = -np.inf
    undecoded = tuple(Rejected(int(place), "wrong_type", "x") for place in lost)

    found = compare(Scored("2", 0.1, blind_N, undecoded), scored(good), is_anomaly_N, gate=GATE)

    assert [result.passed for result in found] == [True, False, False]
    assert "60 records that version 2 cannot decode" in found[1].sentence
    assert "(record 1: wrong_type, 5: wrong_type, 9: wrong_type, ...)" in found[1].sentence
    assert found[1].figures["candidate"] == pytest.approx(
        average_precision_score(is_anomaly_N, np.where(np.isneginf(blind_N), -99, blind_N))
    )


def test_a_worse_candidate_is_refused_with_figures_and_interval(
    good: NDArray[np.float64], is_anomaly_N: NDArray[np.bool_]
) -> None:
    worse_N = good + np.random.default_rng(1).normal(size=1000) * 2

    _, aupr, recall = compare(scored(worse_N, version="2"), scored(good), is_anomaly_N, gate=GATE)

    assert not aupr.passed
    assert not recall.passed
    assert aupr.value is not None
    assert aupr.value < aupr.bound == 0
    assert aupr.value == aupr.figures["high"]
    assert "all of it below 0" in aupr.sentence
    assert "95 % interval" in aupr.sentence


def test_a_better_and_an_equal_candidate_pass(
    good: NDArray[np.float64], is_anomaly_N: NDArray[np.bool_]
) -> None:
    worse_N = good + np.random.default_rng(1).normal(size=1000) * 2

    better = compare(scored(good), scored(worse_N), is_anomaly_N, gate=GATE)
    same = compare(scored(good), scored(good), is_anomaly_N, gate=GATE)

    assert all(result.passed for result in (*better, *same))
    # The interval is 0 to 0, which is not below 0: the bound itself is kept.
    assert [result.value for result in same[1:]] == [0.0, 0.0]


def test_a_lower_recall_alone_is_enough_to_refuse(
    good: NDArray[np.float64], is_anomaly_N: NDArray[np.bool_]
) -> None:
    same_order_fewer_alerts = scored(good, version="2", budget=0.004)

    _, aupr, recall = compare(
        same_order_fewer_alerts, scored(good, budget=0.2), is_anomaly_N, gate=GATE
    )

    assert aupr.passed
    assert not recall.passed
    assert "at 0.004 false positives (champion at 0.2)" in recall.sentence


def test_a_budget_below_one_normal_is_that_of_one_normal(
    good: NDArray[np.float64], is_anomaly_N: NDArray[np.bool_]
) -> None:
    tiny = scored(good, budget=1e-6)

    recall = compare(tiny, tiny, is_anomaly_N, gate=GATE)[2]

    normals = np.sort(good[~is_anomaly_N])
    assert recall.figures["candidate"] == pytest.approx((good[is_anomaly_N] > normals[-2]).mean())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused_and_not_compared(
    good: NDArray[np.float64], is_anomaly_N: NDArray[np.bool_], value: float
) -> None:
    bad_N = good.copy()
    bad_N[7] = value

    found = compare(scored(bad_N, version="2"), scored(good), is_anomaly_N, gate=GATE)

    [result] = found
    assert (result.rule, result.passed, result.value) == ("finite_scores", False, 1)
    assert "1 scores of version 2 and 0 of version 1" in result.sentence


@pytest.mark.parametrize(
    ("n_anomalies", "n_normals", "passed"),
    [(10, 10, True), (9, 100, False), (100, 9, False)],
)
def test_both_classes_need_enough_records(
    n_anomalies: int, n_normals: int, *, passed: bool
) -> None:
    labels_N = np.arange(n_anomalies + n_normals) < n_anomalies

    result = enough_labels(make_set([b"{}"] * len(labels_N), labels_N), gate=GATE)

    assert result.passed is passed
    assert result.value == min(n_anomalies, n_normals)


def test_a_set_that_is_too_small_is_not_scored(tmp_path: Path) -> None:
    tiny = make_set([b"{}", b"{}"], np.array([True, False]))
    edge = pipeline(tmp_path)

    [result] = offline_rules(tiny, candidate=edge, champion=edge, gate=GATE)

    assert result.rule == "min_anomalies"


def test_two_real_models_are_compared_on_a_real_set(
    tmp_path: Path, evaluation: EvaluationSet
) -> None:
    first, second = pipeline(tmp_path), pipeline(tmp_path, seed=1)

    found = offline_rules(evaluation, candidate=second, champion=first, gate=GATE)

    assert [result.rule for result in found] == ["min_anomalies", "finite_scores", "aupr", "recall"]
    figures = found[2].figures
    assert figures["candidate"] == pytest.approx(
        average_precision_score(evaluation.is_anomaly_N, score_set(second, evaluation).scores_N)
    )


def test_without_a_set_the_next_step_is_named() -> None:
    result = no_evaluation_set("edge")

    assert not result.passed
    assert "anoean models evaluation set edge FILE" in result.next_step
    assert "gate.offline=false" in result.next_step
