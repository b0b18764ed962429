"""What the contract learns from training rows, and from which of them."""

from typing import Any

import numpy as np
import pytest

from anoean_stream.features.contract import CategoryField, FeatureContract, NumberField
from anoean_stream.features.fit import FieldSpec, fit_contract
from tests.support.models import SPECS, columns_of, make_contract, make_rows


def fit_number(values: Any, *, normal: Any = None, **spec: Any) -> NumberField:
    values = np.array(values, dtype=np.float64)
    normal = np.ones(len(values), np.bool_) if normal is None else np.array(normal, np.bool_)
    contract = fit_contract(
        [FieldSpec("x", "number", **spec)],
        numbers={"x": values},
        categories={},
        normal_N=normal,
    )
    return contract.numbers[0]


def fit_word(cells: list[str | None], *, normal: Any = None, **options: Any) -> CategoryField:
    normal = np.ones(len(cells), np.bool_) if normal is None else np.array(normal, np.bool_)
    contract = fit_contract(
        [FieldSpec("w", "category")],
        numbers={},
        categories={"w": cells},
        normal_N=normal,
        **options,
    )
    return contract.categories[0]


def test_training_rows_come_out_with_mean_0_and_std_1() -> None:
    rng = np.random.default_rng(0)
    values = {"a": rng.lognormal(5, 1, 5000), "b": rng.normal(3, 0.5, 5000)}
    contract = fit_contract(
        [FieldSpec("a", "number"), FieldSpec("b", "number")],
        numbers=values,
        categories={},
        normal_N=np.ones(5000, np.bool_),
    )

    raw = contract.raw_from_rows({"a": a, "b": b} for a, b in zip(*values.values(), strict=True))
    dense_BD = contract.transform(raw).dense_BD

    np.testing.assert_allclose(dense_BD.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(dense_BD.std(axis=0), 1, atol=1e-4)


def test_median_and_percentiles_come_from_normal_rows_and_scale_from_all() -> None:
    values = [*range(1, 10), 1000, 2000]
    field = fit_number(values, normal=[1] * 9 + [0] * 2, log1p=False, unit="ms")

    assert (field.p5, field.median, field.p95) == (1.0, 5.0, 9.0)
    assert field.mean == pytest.approx(np.mean(values))
    assert field.std == pytest.approx(np.std(values))
    assert field.unit == "ms"


def test_wide_columns_are_logged_unless_the_spec_says_otherwise() -> None:
    assert fit_number([0, 1, 11]).log1p
    assert not fit_number([0, 1, 10]).log1p
    assert fit_number([0, -11]).log1p
    assert not fit_number([0, 1, 11], log1p=False).log1p
    assert fit_number([0, 1, 10], log1p=True).log1p


def test_a_mark_of_missing_values_exists_only_where_training_saw_a_gap() -> None:
    assert fit_number([1, 2, np.nan]).missing_indicator
    assert not fit_number([1, 2, 3]).missing_indicator


def test_a_gap_does_not_count_in_the_statistics() -> None:
    field = fit_number([1, 2, 3, np.nan], log1p=False)

    assert (field.mean, field.median) == (2.0, 2.0)


def test_constant_and_empty_columns_get_a_scale_that_divides() -> None:
    assert fit_number([7, 7, 7]).std == 1.0
    empty = fit_number([np.nan, np.nan])
    assert (empty.mean, empty.std, empty.median) == (0.0, 1.0, 0.0)


def test_a_column_seen_in_anomalies_only_falls_back_to_them() -> None:
    field = fit_number([np.nan, np.nan, 5, 6, 7], normal=[1, 1, 0, 0, 0])

    assert field.median == 6.0


def test_values_too_large_to_standardise_ask_for_a_logarithm() -> None:
    with pytest.raises(ValueError, match=r"'x'.*1e\+308.*log1p"):
        fit_number([1e308, -1e308], log1p=False)
    assert fit_number([1e308, -1e308]).log1p


def test_rare_words_are_merged_and_the_common_ones_come_first() -> None:
    field = fit_word(["b"] * 20 + ["a"] * 20 + ["c"] * 30 + ["rare"] * 9 + [None] * 5)

    assert field.vocabulary == ("c", "a", "b")
    assert field.codes["rare"] == field.other_code == 3


def test_a_vocabulary_has_a_largest_size() -> None:
    field = fit_word([f"w{i:03d}" for i in range(300) for _ in range(2)], rare_count=1)

    assert len(field.vocabulary) == 256
    assert fit_word(["a", "a", "b"], rare_count=1, max_vocabulary=1).vocabulary == ("a",)


def test_different_spellings_are_counted_as_one_word() -> None:
    assert fit_word(["80", "80.0", " 80"] * 4, rare_count=12).vocabulary == ("80",)


@pytest.mark.parametrize(
    ("cells", "mode"),
    [(["a"] * 3 + ["b"] * 2, "a"), ([None] * 3 + ["b"] * 2, None), (["b", "a"], "a")],
)
def test_the_normal_word_is_the_commonest_of_the_normal_rows(
    cells: list[str | None], mode: str | None
) -> None:
    attack: list[str | None] = ["attack"] * 50
    field = fit_word(cells + attack, normal=[1] * len(cells) + [0] * 50, rare_count=1)

    assert field.normal_mode == mode
    assert field.codes[mode] == field.normal_code


def test_a_normal_word_too_rare_for_a_code_stands_for_other() -> None:
    field = fit_word(["a", "b", "c"], rare_count=2)

    assert field.vocabulary == ()
    assert field.normal_code == field.other_code


def test_flags_learn_the_rate_and_mode_of_normal_rows() -> None:
    contract = fit_contract(
        [FieldSpec("f", "flag")],
        numbers={"f": np.array([1.0, 2.0, 1.0, 0.0, np.nan, 0.0, 0.0])},
        categories={},
        normal_N=np.array([1, 1, 1, 1, 1, 0, 0], np.bool_),
    )

    flag = contract.flags[0]
    assert (flag.rate, flag.mode, flag.missing_indicator) == (0.75, 1.0, True)


def test_the_same_rows_in_another_order_give_the_same_contract() -> None:
    rows = make_rows(300)

    def fit(order: list[int]) -> FeatureContract:
        numbers, categories = columns_of([rows[i] for i in order])
        return fit_contract(
            SPECS, numbers=numbers, categories=categories, normal_N=np.ones(300, np.bool_)
        )

    forward, backward = fit(list(range(300))), fit(list(range(299, -1, -1)))

    assert forward.categories == backward.categories
    assert forward.flags == backward.flags
    assert [f.median for f in forward.numbers] == [f.median for f in backward.numbers]


def test_the_same_rows_give_the_same_identity() -> None:
    assert make_contract().id == make_contract().id


def test_missing_or_uneven_columns_and_no_normal_rows_are_refused() -> None:
    one, two = np.ones(1, np.bool_), np.ones(2, np.bool_)
    spec = [FieldSpec("x", "number")]

    with pytest.raises(ValueError, match="number column 'x' has no values, expected 2"):
        fit_contract(spec, numbers={}, categories={}, normal_N=two)
    with pytest.raises(ValueError, match="number column 'x' has 2 values, expected 1"):
        fit_contract(spec, numbers={"x": np.zeros(2)}, categories={}, normal_N=one)
    with pytest.raises(ValueError, match="none of 2 training rows is normal"):
        fit_contract(spec, numbers={"x": np.zeros(2)}, categories={}, normal_N=~two)
