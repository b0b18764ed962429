"""Raw columns to features: values, gaps, codes, independence of rows."""

from collections.abc import Sequence
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anoean_stream.features.batch import RawBatch
from anoean_stream.features.contract import (
    CategoryField,
    FeatureContract,
    FlagField,
    NumberField,
)
from anoean_stream.features.values import to_category

BYTES = NumberField(
    "bytes",
    log1p=True,
    mean=4.0,
    std=2.0,
    clip=5.0,
    median=100.0,
    p5=10.0,
    p95=1000.0,
    missing_indicator=True,
)
RATE = NumberField(
    "rate",
    log1p=False,
    mean=0.5,
    std=0.25,
    clip=3.0,
    median=0.25,
    p5=0.0,
    p95=1.0,
    missing_indicator=False,
)
LOGIN = FlagField("login", mode=1.0, rate=0.9, missing_indicator=True)
PORT = CategoryField("port", vocabulary=("80", "443", "0.5", "true", "dns"), normal_mode="443")
CONTRACT = FeatureContract(numbers=(BYTES, RATE), categories=(PORT,), flags=(LOGIN,))

PORT_OTHER, PORT_MISSING = 5, 6


def raw_batch(
    numbers: Sequence[Sequence[float]], ports: Sequence[str | int | float | None]
) -> RawBatch:
    return RawBatch(numbers_BN=np.array(numbers, dtype=np.float64), categories=(ports,))


def test_numbers_are_logged_standardised_and_clipped_on_both_sides() -> None:
    raw = raw_batch([[99.0, 0.75, 1.0], [-99.0, 1e300, 0.0], [1e300, -1e300, 0.0]], ["80"] * 3)

    dense_BD = CONTRACT.transform(raw).dense_BD

    assert dense_BD.dtype == np.float32
    expected = [[(np.log(100) - 4) / 2, 1.0], [(-np.log(100) - 4) / 2, 3.0], [5.0, -3.0]]
    np.testing.assert_allclose(dense_BD[:, :2], expected, rtol=1e-6)


@pytest.mark.parametrize("value", [1.7e308, -1.7e308])
def test_the_largest_doubles_are_clipped_without_a_warning(value: float) -> None:
    narrow = msgspec.structs.replace(RATE, mean=-np.sign(value) * 1e308, std=1e-12)
    contract = FeatureContract(numbers=(narrow, msgspec.structs.replace(BYTES, name="b")))

    dense_BD = contract.transform(RawBatch(np.full((1, 2), value), ())).dense_BD

    np.testing.assert_allclose(dense_BD[:, :2], [[3.0 * np.sign(value), 5.0 * np.sign(value)]])


def test_a_contract_of_logged_numbers_only_gives_the_same_as_one_with_others_beside_them() -> None:
    alone = FeatureContract(numbers=(BYTES,))
    values = [[-1e6], [0.0], [123.0], [np.nan]]

    only = alone.transform(RawBatch(np.array(values), ())).dense_BD[:, 0]
    beside = CONTRACT.transform(raw_batch([[*v, 0.0, 0.0] for v in values], ["80"] * 4))

    np.testing.assert_array_equal(only, beside.dense_BD[:, 0])


def test_a_gap_gets_the_median_or_mode_and_a_mark_where_training_saw_gaps() -> None:
    gap = np.nan
    raw = raw_batch([[gap, gap, gap], [100.0, 0.25, 1.0]], [None, "443"])

    features = CONTRACT.transform(raw)

    assert CONTRACT.dense_names == ("bytes", "rate", "login", "missing(bytes)", "missing(login)")
    np.testing.assert_array_equal(features.dense_BD[0, :3], features.dense_BD[1, :3])
    np.testing.assert_array_equal(features.dense_BD[:, 3:], [[1.0, 1.0], [0.0, 0.0]])
    np.testing.assert_array_equal(features.n_missing_B, [4, 0])


def test_any_number_but_zero_is_a_raised_flag() -> None:
    raw = raw_batch([[0.0, 0.0, flag] for flag in (0.0, -0.0, 1.0, 2.0, -1.0)], ["80"] * 5)

    np.testing.assert_array_equal(CONTRACT.transform(raw).dense_BD[:, 2], [0, 0, 1, 1, 1])


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("80", 0),
        (80, 0),
        (80.0, 0),
        ("80.0", 0),
        (" 80 ", 0),
        (443, 1),
        ("443", 1),
        (0.5, 2),
        ("0.5", 2),
        ("true", 3),
        ("True", 3),
        ("TRUE", 3),
        ("tRuE", 3),
        ("dns", 4),
        ("dns\n", 4),
        ("DNS", PORT_OTHER),
        (1, PORT_OTHER),
        ("0443", PORT_OTHER),
        pytest.param(10**5000, PORT_OTHER, id="a number of 5001 digits"),
        (None, PORT_MISSING),
        ("", PORT_MISSING),
        ("-", PORT_MISSING),
        (" N/A ", PORT_MISSING),
        (float("nan"), PORT_MISSING),
        (float("inf"), PORT_MISSING),
    ],
)
def test_a_word_has_one_code_however_it_is_written(cell: str | float | None, code: int) -> None:
    codes_BC = CONTRACT.transform(raw_batch([[0.0, 0.0, 0.0]], [cell])).codes_BC

    assert codes_BC.tolist() == [[code]]


@given(
    vocabulary=st.sets(
        st.one_of(st.text(min_size=1), st.integers().map(str), st.floats().map(str))
        .map(to_category)
        .filter(lambda word: word is not None),
        max_size=8,
    ),
    cells=st.lists(st.one_of(st.text(), st.integers(), st.floats(), st.none()), max_size=20),
)
def test_the_fast_lookup_of_codes_agrees_with_the_canonical_word(
    vocabulary: set[str], cells: list[str | int | float | None]
) -> None:
    field = CategoryField("word", vocabulary=tuple(sorted(vocabulary)), normal_mode=None)
    cells = [*cells, *vocabulary]

    codes_BC = (
        FeatureContract(categories=(field,))
        .transform(RawBatch(np.empty((len(cells), 0)), (cells,)))
        .codes_BC
    )

    def slow(cell: object) -> int:
        word = to_category(cell)
        if word is None:
            return field.missing_code
        return field.vocabulary.index(word) if word in vocabulary else field.other_code

    assert codes_BC[:, 0].tolist() == [slow(cell) for cell in cells]


def test_unknown_words_are_not_remembered() -> None:
    field = CategoryField("word", vocabulary=("a",), normal_mode="a")
    n_known = len(field.codes)

    FeatureContract(categories=(field,)).transform(
        RawBatch(np.empty((1000, 0)), ([f"random-{i}" for i in range(1000)],))
    )

    assert len(field.codes) == n_known


@given(
    st.lists(
        st.tuples(
            st.one_of(st.floats(-1e12, 1e12), st.just(float("nan"))),
            st.sampled_from(["80", "443", "dns", "other", None]),
        ),
        min_size=1,
        max_size=40,
    ),
    st.randoms(use_true_random=False),
)
def test_a_row_is_the_same_in_any_company(
    cells: list[tuple[float, str | None]], shuffler: Random
) -> None:
    raw = raw_batch([[n, n / 1e12, n] for n, _ in cells], [word for _, word in cells])
    order = list(range(len(cells)))
    shuffler.shuffle(order)
    some = order[: max(1, len(order) // 2)]

    whole, part = CONTRACT.transform(raw).take(some), CONTRACT.transform(raw.take(some))

    np.testing.assert_allclose(part.dense_BD, whole.dense_BD, rtol=1e-6)
    np.testing.assert_array_equal(part.codes_BC, whole.codes_BC)
    np.testing.assert_array_equal(part.n_missing_B, whole.n_missing_B)


def test_an_empty_batch_gives_empty_features() -> None:
    features = CONTRACT.transform(RawBatch(np.empty((0, 3)), ([],)))

    assert features.dense_BD.shape == (0, 5)
    assert features.codes_BC.shape == (0, 1)
    assert features.n_rows == 0


def test_a_batch_decoded_for_another_contract_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 2\).*3 number and flag columns"):
        CONTRACT.transform(raw_batch([[0.0, 0.0]], ["80"]))
    with pytest.raises(ValueError, match=r"0 categories.*1 categories"):
        CONTRACT.transform(RawBatch(np.zeros((1, 3)), ()))


def test_transform_leaves_its_argument_alone() -> None:
    raw = raw_batch([[np.nan, 0.5, 1.0], [7.0, np.nan, 0.0]], ["80", None])
    before = raw.numbers_BN.copy()

    CONTRACT.transform(raw)

    np.testing.assert_array_equal(raw.numbers_BN, before)
