"""Why a record stands out: against the slow way, and in what it shows."""

from typing import Any

import numpy as np
import pytest

from anoean_stream.detector.detector import Detector
from anoean_stream.detector.explain import Contribution, explain
from anoean_stream.features.batch import RawBatch
from tests.support.models import attack_row, make_detector, make_rows


def distance_of(detector: Detector, row: dict[str, Any]) -> float:
    contract = detector.contract
    return float(detector.distances(contract.transform(contract.raw_from_rows([row])))[0])


def contributions_slowly(detector: Detector, row: dict[str, Any]) -> dict[str, float]:
    """Set one key of the row back to normal at a time and score it again."""
    contract = detector.contract
    normal: dict[str, Any] = {field.name: field.median for field in contract.numbers}
    normal |= {field.name: field.mode for field in contract.flags}
    normal |= {field.name: field.normal_mode for field in contract.categories}
    before = distance_of(detector, row)
    return {
        name: before - distance_of(detector, row | {name: value}) for name, value in normal.items()
    }


@pytest.mark.parametrize("hidden", [(16, 8), (), (64, 32, 16)])
def test_contributions_equal_scoring_again_with_one_field_set_back(hidden: tuple[int, ...]) -> None:
    detector = make_detector(hidden=hidden)
    rows = [attack_row(), *make_rows(20, seed=3), {}, {"service": "backdoor"}]

    explained = explain(detector, detector.contract.raw_from_rows(rows), top=100)

    assert len(explained) == len(rows)
    for row, contributions in zip(rows, explained, strict=True):
        slow = contributions_slowly(detector, row)
        fast = {c.feature: c.contribution for c in contributions}
        for name, gain in slow.items():
            assert fast.get(name, 0.0) == pytest.approx(max(gain, 0.0), rel=1e-3, abs=1e-3)


def test_the_largest_contributions_come_first_and_no_more_than_asked_for() -> None:
    detector = make_detector()
    raw = detector.contract.raw_from_rows([attack_row()])

    (every,) = explain(detector, raw, top=100)
    (two,) = explain(detector, raw, top=2)

    gains = [c.contribution for c in every]
    assert gains == sorted(gains, reverse=True)
    assert min(gains) > 0
    assert two == every[:2]
    assert len(two) == 2


def test_an_explanation_shows_the_value_beside_what_is_normal() -> None:
    detector = make_detector()
    contract = detector.contract
    row = attack_row() | {"logged_in": 0, "bytes_in": None}

    (every,) = explain(detector, contract.raw_from_rows([row]), top=100)

    shown = {c.feature: c for c in every}
    number = contract.numbers[1]
    gain = shown["bytes_out"].contribution
    assert shown["bytes_out"] == Contribution(
        "bytes_out", 1e12, number.p5, number.median, number.p95, gain
    )
    for name, contribution in shown.items():
        if name in contract.category_names:
            assert contribution.value == row[name]
            assert contribution.normal_p5 is None
            assert isinstance(contribution.normal_p50, str)
        if name == "logged_in":
            assert (contribution.normal_p5, contribution.normal_p50) == (0.0, 1.0)
            assert contribution.normal_p95 == 1.0
        if name == "bytes_in":
            assert contribution.value is None


def test_a_record_that_is_the_normal_one_has_nothing_to_explain() -> None:
    detector = make_detector()
    contract = detector.contract
    typical: dict[str, Any] = {field.name: field.median for field in contract.numbers}
    typical |= {field.name: field.mode for field in contract.flags}
    typical |= {field.name: field.normal_mode for field in contract.categories}

    assert explain(detector, contract.raw_from_rows([typical]), top=5) == [[]]


def test_fields_that_are_normal_already_are_never_named() -> None:
    detector = make_detector(hidden=(128, 64, 32), latent_dim=16)
    contract = detector.contract
    typical: dict[str, Any] = {field.name: field.median for field in contract.numbers}
    typical |= {field.name: field.mode for field in contract.flags}
    typical |= {field.name: field.normal_mode for field in contract.categories}
    rows = [typical | {"bytes_out": 10**exponent} for exponent in range(4, 16)]

    explained = explain(detector, contract.raw_from_rows(rows), top=100)

    assert {c.feature for contributions in explained for c in contributions} == {"bytes_out"}


def test_many_alerts_are_explained_as_they_would_be_alone() -> None:
    detector = make_detector()
    rows = [attack_row(seed=seed) for seed in range(700)]
    raw = detector.contract.raw_from_rows(rows)

    together = explain(detector, raw, top=3)

    assert len(together) == 700
    for index in (0, 511, 512, 699):
        (alone,) = explain(detector, raw.take([index]), top=3)
        assert [c.feature for c in alone] == [c.feature for c in together[index]]
        np.testing.assert_allclose(
            [c.contribution for c in alone],
            [c.contribution for c in together[index]],
            rtol=1e-4,
            atol=1e-4,
        )


def test_no_alerts_or_no_features_wanted_give_empty_explanations() -> None:
    detector = make_detector()
    raw = detector.contract.raw_from_rows([attack_row(), attack_row()])

    assert explain(detector, raw, top=0) == [[], []]
    assert explain(detector, raw.take([]), top=5) == []


def test_numbers_in_a_category_are_shown_as_words() -> None:
    detector = make_detector()
    raw = RawBatch(numbers_BN=np.full((1, 5), np.nan), categories=([None], [9999.0]))

    (every,) = explain(detector, raw, top=100)

    assert {c.feature: c.value for c in every}["service"] == "9999"
