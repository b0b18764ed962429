"""What one cell of a record means, whether it came as JSON, as CSV text or from a table.

These two functions are the only definition of "a number", "a word" and "missing"; the fast paths
elsewhere are tested against them.
"""

import math
import numbers
import reprlib
from decimal import Decimal
from typing import Final

import numpy as np

MISSING_TEXT: Final[frozenset[str]] = frozenset(
    {"", "-", "--", "?", "nan", "-nan", "null", "none", "nil", "na", "n/a", "n.a.", "<na>", "nat"}
)
"""Texts that mean "no value", compared without blanks around them and without regard to case."""

_TRUTH: Final[dict[str, float]] = {"true": 1.0, "false": 0.0}

_PREVIEW_CHARS: Final = 60
"""Characters of an unusable value that an error shows: enough to find it, few enough for a log."""


def to_number(value: object) -> float:
    """Return a cell as a number; NaN means missing.

    Parameters
    ----------
    value : object
        int, float, bool (1 or 0), Decimal or numpy scalar; text that holds a number (``" 1e3 "``)
        or ``true``/``false``; None or a text of `MISSING_TEXT`.

    Returns
    -------
    float
        Finite, or NaN for missing. An infinite value, also as text or too large for a double, is
        no measurement and counts as missing.

    Raises
    ------
    ValueError
        When the value is none of these.
    """
    if isinstance(value, str):
        return _text_to_number(value)
    if value is None:
        return math.nan
    if isinstance(value, numbers.Real | Decimal | np.bool_):
        try:
            number = float(value)
        except OverflowError:
            return math.nan
        return number if math.isfinite(number) else math.nan
    message = f"expected a number, got {describe(value)}"
    raise ValueError(message)


def _text_to_number(text: str) -> float:
    # Python reads "1_000" as a number; nobody else does, so it is refused like any other text.
    if "_" not in text:
        try:
            number = float(text)
        except ValueError:
            pass  # not swallowed: the words below are tried, then it is refused
        else:
            return number if math.isfinite(number) else math.nan
    folded = text.strip().casefold()
    if folded in _TRUTH:
        return _TRUTH[folded]
    if folded in MISSING_TEXT:
        return math.nan
    message = f"expected a number, got {describe(text)}"
    raise ValueError(message)


def to_category(value: object) -> str | None:
    """Return a cell as a word; None means missing.

    The same thing written in different ways is one word: ``80``, ``80.0``, ``"80"`` and ``"80.0"``
    give ``"80"``; ``True`` and ``"True"`` give ``"true"``. Case is kept otherwise, blanks around a
    word are not.

    Parameters
    ----------
    value : object
        str, int, float, bool, Decimal or numpy scalar, or None.

    Raises
    ------
    ValueError
        When the value is a list, an object or anything else that is no single word.
    """
    if isinstance(value, str):
        return _text_to_word(value)
    if value is None:
        return None
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real | Decimal):
        return _float_to_word(float(value))
    message = f"expected a word or a number, got {describe(value)}"
    raise ValueError(message)


def _text_to_word(text: str) -> str | None:
    word = text.strip()
    folded = word.casefold()
    if folded in MISSING_TEXT:
        return None
    if folded in _TRUTH:
        return folded
    # A whole number in a column with gaps comes out of a table as "80.0". Only text that is
    # exactly what a float prints as is taken for one: "1e5" or "007" may well be a name.
    if word[-1] in "0123456789f" and not word.isdecimal():
        try:
            number = float(word)
        except ValueError:
            return word
        if repr(number) == word:
            return _float_to_word(number)
    return word


def _float_to_word(number: float) -> str | None:
    if not math.isfinite(number):
        return None
    return str(int(number)) if number.is_integer() else repr(number)


def describe(value: object) -> str:
    """Return the type of a value and the beginning of it, for an error that a person reads."""
    # Not the whole of it: repr of a megabyte is thrown away, and of a deep list a RecursionError.
    text = repr(value[: _PREVIEW_CHARS + 1]) if isinstance(value, str) else reprlib.repr(value)
    shown = text if len(text) <= _PREVIEW_CHARS else f"{text[:_PREVIEW_CHARS]}..."
    return f"{type(value).__name__} {shown}"
