"""From features to a decision."""

import subprocess
import sys

import numpy as np

from tests.support.models import attack_row, make_detector, make_rows


def test_an_attack_is_farther_than_any_normal_record() -> None:
    detector = make_detector()
    rows = [*make_rows(500, seed=7), attack_row()]

    scores = detector.score(detector.contract.transform(detector.contract.raw_from_rows(rows)))

    assert scores.distance_B.dtype == np.float64
    assert scores.distance_B[-1] > scores.distance_B[:-1].max()
    assert scores.p_value_B[-1] == detector.calibration.smallest_rate


def test_unseen_normal_records_exceed_the_threshold_about_as_often_as_asked() -> None:
    detector = make_detector(n_calibration=4000)
    contract = detector.contract
    features = contract.transform(contract.raw_from_rows(make_rows(4000, seed=77)))

    scores = detector.score(features)

    share = np.mean(scores.distance_B > detector.calibration.threshold(0.05))
    assert 0.03 < share < 0.07
    np.testing.assert_array_equal(scores.p_value_B, detector.calibration.p_value(scores.distance_B))


def test_the_same_seed_gives_the_same_detector() -> None:
    rows = make_rows(5, seed=8)

    def distances(seed: int) -> list[float]:
        detector = make_detector(seed=seed)
        raw = detector.contract.raw_from_rows(rows)
        return list(detector.distances(detector.contract.transform(raw)))

    assert distances(0) == distances(0)
    assert distances(0) != distances(1)


def test_the_detector_loads_without_torch_pandas_or_sklearn() -> None:
    heavy = ("torch", "pandas", "sklearn", "scipy")
    code = (
        "import sys, anoean_stream.detector.bundle, anoean_stream.detector.explain;"
        f"print(*(name for name in {heavy} if name in sys.modules))"
    )

    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert loaded.stdout.split() == []
