"""The fields of a feature contract: what was learned about each, and what it does to a value.

All are immutable and serialise to JSON; a value that makes no sense is refused when the field is
made, so also when a contract is read.
"""

import math
from functools import cached_property
from typing import Final

import msgspec

from anoean_stream.features.values import MISSING_TEXT, to_category

MAX_CLIP: Final = 1000.0
"""Largest clip, in standard deviations: far beyond it float32 loses the rest of the record. At
least above 0."""


MIN_STD: Final = 1e-12
"""Smallest standard deviation: what varies less is constant, and its inverse must stay finite.
Above 0."""


class NumberField(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A measured quantity: signed log1p (or not), standardised, clipped; a gap gets the median.

    Parameters
    ----------
    name : str
        Key of the record.
    log1p : bool
        Whether ``sign(x) * log(1 + |x|)`` is taken first.
    mean, std : float
        Of the training rows, after log1p; std is at least 1e-12.
    clip : float
        Bound of the standardised value on both sides, standard deviations, in (0, 1000].
    median, p5, p95 : float
        Of the normal training rows, in the unit of the record.
    missing_indicator : bool
        Whether one more input marks a missing value: only where training saw one.
    unit : str
        For people; empty when unknown.
    """

    name: str
    log1p: bool
    mean: float
    std: float
    clip: float
    median: float
    p5: float
    p95: float
    missing_indicator: bool
    unit: str = ""

    def __post_init__(self) -> None:
        """Refuse what would make a feature infinite."""
        _require(name=self.name, what="a name", holds=bool(self.name))
        values = (self.mean, self.std, self.clip, self.median, self.p5, self.p95)
        _require(name=self.name, what="finite numbers", holds=all(map(math.isfinite, values)))
        _require(name=self.name, what=f"std from {MIN_STD}", holds=self.std >= MIN_STD)
        _require(name=self.name, what=f"clip in (0, {MAX_CLIP}]", holds=0 < self.clip <= MAX_CLIP)
        _require(
            name=self.name, what="p5 <= median <= p95", holds=self.p5 <= self.median <= self.p95
        )


class FlagField(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A yes or no: 0 is no, any other number is yes; a gap gets the mode.

    Parameters
    ----------
    name : str
        Key of the record.
    mode : float
        The commoner value among the normal training rows, 0 or 1.
    rate : float
        Share of yes among the normal training rows, in [0, 1].
    missing_indicator : bool
        Whether one more input marks a missing value: only where training saw one.
    """

    name: str
    mode: float
    rate: float
    missing_indicator: bool

    def __post_init__(self) -> None:
        """Refuse what is no yes or no."""
        _require(name=self.name, what="a name", holds=bool(self.name))
        _require(name=self.name, what="mode 0 or 1", holds=self.mode in (0.0, 1.0))
        _require(name=self.name, what="rate in [0, 1]", holds=0 <= self.rate <= 1)


class CategoryField(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """A word from a vocabulary of K; any other word is "other", and a gap is a word of its own.

    Parameters
    ----------
    name : str
        Key of the record.
    vocabulary : tuple of str
        Words in the form of `to_category`, each once. Code of a word is its place here.
    normal_mode : str or None
        Commonest word of the normal training rows; None when most had none. One that is not in
        the vocabulary was too rare for a code of its own.
    """

    name: str
    vocabulary: tuple[str, ...]
    normal_mode: str | None

    def __post_init__(self) -> None:
        """Refuse a vocabulary in which a word could not be found again."""
        _require(name=self.name, what="a name", holds=bool(self.name))
        _require(
            name=self.name,
            what="each word of the vocabulary once",
            holds=len(set(self.vocabulary)) == len(self.vocabulary),
        )
        _require(
            name=self.name,
            what="words in their canonical form",
            holds=all(to_category(word) == word for word in self.vocabulary),
        )

    @property
    def other_code(self) -> int:
        """Code of a word that is not in the vocabulary: K."""
        return len(self.vocabulary)

    @property
    def missing_code(self) -> int:
        """Code of a missing value: K + 1."""
        return len(self.vocabulary) + 1

    @property
    def cardinality(self) -> int:
        """Number of codes: K + 2."""
        return len(self.vocabulary) + 2

    @property
    def normal_code(self) -> int:
        """Code of the commonest word of normal records."""
        return self.codes[self.normal_mode]

    @cached_property
    def codes(self) -> "CodeTable":
        """Code of any cell, by indexing with it."""
        return CodeTable(self)


class CodeTable(dict[str | int | float | None, int]):
    """Code of a category cell, as one look-up in a dict.

    Holds the spellings that are common on the wire, as text and as number. What it does not hold
    (an unknown word, ``" tcp "``, ``"N/A"``) is brought into canonical form and looked up again; it
    is not kept, or a sender of random words would fill the memory.

    True must not be looked up: it equals 1 in Python. Decoders give ``"true"`` instead.
    """

    def __init__(self, field: CategoryField) -> None:
        super().__init__({word: code for code, word in enumerate(field.vocabulary)})
        self._other_code = field.other_code
        for code, word in enumerate(field.vocabulary):
            for spelling in (word.title(), word.upper()):
                if word in ("true", "false"):
                    self[spelling] = code
            for number in _numbers_written(word):
                self[number] = code
                self[str(number)] = code
        self[None] = field.missing_code
        self.update(dict.fromkeys(MISSING_TEXT, field.missing_code))

    def __missing__(self, cell: str | float | None) -> int:
        """Return the code of a cell that is not held in this spelling."""
        try:
            word = to_category(cell)
        except ValueError:  # an integer of thousands of digits: a word that nobody has seen
            return self._other_code
        return self.get(word, self._other_code)


def _numbers_written(word: str) -> list[float]:
    """Return the number that a word stands for, if it is the canonical form of one."""
    try:
        number = float(word)
    except ValueError:
        return []
    if to_category(number) == word:
        return [number]  # an int of the same value has the same hash
    return []


def _require(*, name: str, what: str, holds: bool) -> None:
    if not holds:
        message = f"field {name!r} of a feature contract must have {what}; fit the contract again"
        raise ValueError(message)
