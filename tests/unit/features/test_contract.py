"""The contract as a document: identity, JSON, refusals; rows of files through it."""

import csv
import io
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anoean_stream.errors import IncompatibleBundleError, ManifestError, RecordError
from anoean_stream.features.contract import (
    CategoryField,
    ExcludedField,
    FeatureContract,
    FlagField,
    NumberField,
)
from anoean_stream.features.values import to_category
from tests.support.models import SPECS, make_contract

finite = st.floats(allow_nan=False, allow_infinity=False)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)
words = st.text(st.characters(exclude_categories=["Cs"])).map(to_category)


@st.composite
def contracts(draw: st.DrawFn) -> FeatureContract:
    unused = draw(st.lists(names, min_size=1, max_size=9, unique=True))
    numbers, categories, flags = [], [], []
    for name in unused:
        kind = draw(st.sampled_from("ncf"))
        if kind == "n":
            p5, median, p95 = sorted(draw(st.tuples(finite, finite, finite)))
            numbers.append(
                NumberField(
                    name,
                    log1p=draw(st.booleans()),
                    mean=draw(finite),
                    std=draw(st.floats(1e-6, 1e9)),
                    clip=draw(st.floats(0.1, 1000)),
                    median=median,
                    p5=p5,
                    p95=p95,
                    missing_indicator=draw(st.booleans()),
                    unit=draw(names),
                )
            )
        elif kind == "c":
            vocabulary = draw(st.lists(words.filter(bool), unique=True, max_size=5))
            categories.append(
                CategoryField(name, vocabulary=tuple(map(str, vocabulary)), normal_mode=draw(words))
            )
        else:
            rate = draw(st.floats(0, 1))
            flags.append(FlagField(name, float(rate > 0.5), rate, draw(st.booleans())))
    return FeatureContract(
        numbers=tuple(numbers),
        categories=tuple(categories),
        flags=tuple(flags),
        excluded=(ExcludedField("src_ip", "an address"),),
    )


@given(contracts())
def test_canonical_json_round_trip_keeps_the_identity(contract: FeatureContract) -> None:
    again = FeatureContract.from_json(contract.to_json())

    assert again == contract
    assert again.id == contract.id
    assert again.to_json() == contract.to_json()


def test_the_identity_does_not_depend_on_the_order_of_keys_or_blanks() -> None:
    contract = make_contract()
    document = msgspec.json.decode(contract.to_json())
    reordered = msgspec.json.format(msgspec.json.encode(dict(reversed(document.items()))), indent=4)

    assert FeatureContract.from_json(reordered).id == contract.id


def test_canonical_json_has_sorted_keys_and_no_blanks() -> None:
    text = FeatureContract(flags=(FlagField("f", 0.0, 0.25, False),)).to_json()

    assert text == (
        b'{"categories":[],"excluded":[],"flags":[{"missing_indicator":false,"mode":0.0,'
        b'"name":"f","rate":0.25}],"format_version":1,"numbers":[]}'
    )


def test_a_changed_number_changes_the_identity() -> None:
    contract = make_contract()
    first = contract.numbers[0]
    changed = msgspec.structs.replace(
        contract,
        numbers=(
            msgspec.structs.replace(first, mean=np.nextafter(first.mean, 1e9).item()),
            *contract.numbers[1:],
        ),
    )

    assert changed.id != contract.id


def test_another_format_version_is_named_before_anything_else_is_read() -> None:
    document = b'{"format_version":2,"numbers":"in a form that is not known here"}'

    with pytest.raises(IncompatibleBundleError, match="format version 2, this program reads 1"):
        FeatureContract.from_json(document)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"", "truncated"),
        (b"[]", "object"),
        (b"{}", "format_version"),
        (b'{"format_version":1,"numbers":[{"name":"x"}]}', "missing required field"),
        (b'{"format_version":1,"colours":[]}', "unknown field"),
        (b'{"format_version":1}', "at least one field"),
        (b'{"format_version":1,"flags":[\xff]}', "utf|malformed|invalid"),
    ],
)
def test_what_is_no_contract_is_refused_with_the_reason(document: bytes, why: str) -> None:
    with pytest.raises(ManifestError, match=f"(?i)no feature contract.*({why})"):
        FeatureContract.from_json(document)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"std": 0.0}, "std from 1e-12"),
        ({"clip": 0.0}, "clip in"),
        ({"clip": 1e9}, "clip in"),
        ({"mean": float("nan")}, "finite"),
        ({"median": 1e9}, "p5 <= median <= p95"),
        ({"name": ""}, "a name"),
    ],
)
def test_a_number_field_that_makes_no_sense_is_refused(change: dict[str, Any], why: str) -> None:
    good: dict[str, Any] = {
        "name": "x", "log1p": False, "mean": 0.0, "std": 1.0, "clip": 5.0, "median": 0.0,
        "p5": -1.0, "p95": 1.0, "missing_indicator": False,
    }  # fmt: skip

    with pytest.raises(ValueError, match=why):
        NumberField(**(good | change))


def test_fields_that_could_not_be_told_apart_are_refused() -> None:
    flag = FlagField("f", mode=0.0, rate=0.0, missing_indicator=False)
    word = CategoryField("f", vocabulary=(), normal_mode=None)

    with pytest.raises(ValueError, match=r"\['f'\] have more"):
        FeatureContract(flags=(flag,), categories=(word,))
    with pytest.raises(ValueError, match="each word"):
        CategoryField("w", vocabulary=("a", "a"), normal_mode=None)
    with pytest.raises(ValueError, match="canonical"):
        CategoryField("w", vocabulary=("80.0",), normal_mode=None)
    with pytest.raises(ValueError, match="mode 0 or 1"):
        FlagField("f", mode=2.0, rate=0.0, missing_indicator=False)
    with pytest.raises(ValueError, match="at least one field"):
        FeatureContract()


def test_names_follow_the_order_of_the_columns() -> None:
    contract = make_contract()

    assert contract.number_names == (
        "duration",
        "bytes_out",
        "bytes_in",
        "error_rate",
        "logged_in",
    )
    assert contract.category_names == ("proto", "service")
    assert contract.field_names == (*contract.number_names, *contract.category_names)
    assert contract.dense_names == (*contract.number_names, "missing(bytes_in)")
    assert contract.n_dense == 6
    assert contract.cardinalities == tuple(len(f.vocabulary) + 2 for f in contract.categories)


cells = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.sampled_from(["80", "80.0", " 443 ", "N/A", "true"]),
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
full_rows = st.fixed_dictionaries(
    {spec.name: st.one_of(cells, texts) if spec.kind == "category" else cells for spec in SPECS}
)


@given(st.lists(full_rows, min_size=1, max_size=5))
def test_a_row_through_csv_and_through_json_gives_identical_features(
    rows: list[dict[str, Any]],
) -> None:
    contract = make_contract()
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, fieldnames=[spec.name for spec in SPECS])
    writer.writeheader()
    writer.writerows(rows)
    table.seek(0)
    from_json = [msgspec.json.decode(msgspec.json.encode(row)) for row in rows]

    through_csv = contract.transform(contract.raw_from_rows(csv.DictReader(table)))
    through_json = contract.transform(contract.raw_from_rows(from_json))

    np.testing.assert_array_equal(through_csv.dense_BD, through_json.dense_BD)
    np.testing.assert_array_equal(through_csv.codes_BC, through_json.codes_BC)
    np.testing.assert_array_equal(through_csv.n_missing_B, through_json.n_missing_B)


def test_absent_keys_are_missing_and_unknown_keys_are_ignored() -> None:
    contract = make_contract()

    raw = contract.raw_from_rows([{"duration": "1.5", "colour": ["never read"]}])

    assert raw.numbers_BN[0, 0] == 1.5
    assert np.isnan(raw.numbers_BN[0, 1:]).all()
    assert [list(column) for column in raw.categories] == [[None], [None]]


@pytest.mark.parametrize(
    ("row", "field", "value"),
    [({"duration": "soon"}, "duration", "soon"), ({"proto": ["tcp"]}, "proto", "list")],
)
def test_a_cell_of_the_wrong_type_names_field_and_value(
    row: dict[str, Any], field: str, value: str
) -> None:
    with pytest.raises(RecordError, match=f"field '{field}'.*{value}") as caught:
        make_contract().raw_from_rows([row])
    assert caught.value.reason == "wrong_type"


def test_no_rows_give_an_empty_batch_of_the_right_width() -> None:
    contract = make_contract()

    raw = contract.raw_from_rows([])

    assert raw.numbers_BN.shape == (0, 5)
    assert contract.transform(raw).n_rows == 0
