"""What a cell means: numbers, words, and what counts as missing."""

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anoean_stream.features.values import MISSING_TEXT, to_category, to_number


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        (12, 12.0),
        (-0.5, -0.5),
        (True, 1.0),
        (False, 0.0),
        ("12", 12.0),
        (" 1e3 ", 1000.0),
        ("+7", 7.0),
        ("true", 1.0),
        (" False ", 0.0),
        (Decimal("2.5"), 2.5),
        (np.int32(3), 3.0),
        (np.float32(0.5), 0.5),
        (np.bool_(True), 1.0),  # numpy's own constructor
        ("1" * 300, float("1" * 300)),
    ],
)
def test_numbers_are_read_however_they_are_written(cell: object, number: float) -> None:
    assert to_number(cell) == number


@pytest.mark.parametrize(
    "cell",
    [
        *(None, "", "  ", "-", "?", "NaN", "null", "None", "N/A", math.nan, math.inf, -math.inf),
        *("Infinity", "-inf", "1e999", 10**400, -(10**400), Decimal("NaN"), np.float64("nan")),
    ],
)
def test_gaps_and_infinities_are_missing_numbers(cell: object) -> None:
    assert math.isnan(to_number(cell))


@pytest.mark.parametrize("cell", ["tcp", "1_000", "0x10", "12 kB", [1], {"a": 1}, b"1", (1,)])
def test_what_is_no_number_is_refused_with_the_value_seen(cell: object) -> None:
    with pytest.raises(ValueError, match="expected a number, got") as caught:
        to_number(cell)
    assert repr(cell) in str(caught.value)


def test_a_huge_unusable_value_is_shown_shortened() -> None:
    with pytest.raises(ValueError, match=r"\.\.\.") as caught:
        to_number("x" * 1_000_000)
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    ("cell", "word"),
    [
        ("tcp", "tcp"),
        (" tcp ", "tcp"),
        ("TCP", "TCP"),
        (80, "80"),
        (80.0, "80"),
        ("80", "80"),
        ("80.0", "80"),
        (-0.0, "0"),
        ("-0.0", "0"),
        (0.5, "0.5"),
        ("0.5", "0.5"),
        (1e22, str(10**22)),
        ("1e+22", str(10**22)),
        (True, "true"),
        ("True", "true"),
        ("FALSE", "false"),
        (np.int64(7), "7"),
        (np.bool_(False), "false"),  # numpy's own constructor
        (Decimal(443), "443"),
        ("007", "007"),
        ("1e5", "1e5"),
        ("80.00", "80.00"),
        ("S0", "S0"),
        ("half", "half"),
        ("²", "²"),
    ],
)
def test_one_thing_written_in_several_ways_is_one_word(cell: object, word: str) -> None:
    assert to_category(cell) == word


@pytest.mark.parametrize(
    "cell", [None, "", " ", "-", "?", "NULL", "n/a", math.nan, math.inf, "inf"]
)
def test_gaps_are_missing_words(cell: object) -> None:
    assert to_category(cell) is None


@pytest.mark.parametrize("cell", [[], ["tcp"], {}, {"a": 1}, b"tcp", ("tcp",)])
def test_what_is_no_single_word_is_refused(cell: object) -> None:
    with pytest.raises(ValueError, match="expected a word or a number, got"):
        to_category(cell)


def test_missing_texts_are_kept_in_the_form_they_are_compared_in() -> None:
    assert {text.strip().casefold() for text in MISSING_TEXT} == MISSING_TEXT


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none()))
def test_the_form_of_a_word_is_final(cell: object) -> None:
    word = to_category(cell)
    assert word is None or to_category(word) == word


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_and_its_text_are_the_same_number_and_the_same_word(number: float) -> None:
    assert to_number(repr(number)) == to_number(number)
    assert to_category(repr(number)) == to_category(number)
