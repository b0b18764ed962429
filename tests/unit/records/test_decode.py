"""Every defined outcome of docs/records.md, on the fast path and one by one."""

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anoean_stream.features.contract import FeatureContract
from anoean_stream.features.fit import FieldSpec, fit_contract
from anoean_stream.records.decode import DecodedChunk, JsonDecoder

GOOD = b'{"bytes": 10, "rate": 0.5, "proto": "tcp", "encrypted": true, "note": "not read"}'
MAX_BYTES = 300_000


def make_contract() -> FeatureContract:
    return fit_contract(
        [
            FieldSpec("bytes", "number"),
            FieldSpec("rate", "number"),
            FieldSpec("encrypted", "flag"),
            FieldSpec("proto", "category"),
        ],
        numbers={
            "bytes": np.array([1.0, 10.0, 1000.0, math.nan]),
            "rate": np.array([0.1, 0.5, 0.9, 0.2]),
            "encrypted": np.array([0.0, 1.0, 1.0, 0.0]),
        },
        categories={"proto": ["tcp", "udp", "80", "tcp"]},
        normal_N=np.array([True, True, True, False]),
        rare_count=1,
    )


CONTRACT = make_contract()
DECODER = JsonDecoder(CONTRACT, max_record_bytes=MAX_BYTES)


def cells(decoded: DecodedChunk, row: int) -> list[object]:
    """Numbers, flags and words of one good row; NaN as None, so that rows compare."""
    numbers = [None if math.isnan(x) else x for x in decoded.raw.numbers_BN[row].tolist()]
    return [*numbers, *(column[row] for column in decoded.raw.categories)]


def decode_alone(value: bytes | None) -> DecodedChunk:
    return DECODER.decode([value])


def test_good_record_gives_the_contracts_fields_in_order() -> None:
    assert cells(decode_alone(GOOD), 0) == [10.0, 0.5, 1.0, "tcp"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"{}", [None, None, None, None]),
        (b'{"bytes": null, "proto": null}', [None, None, None, None]),
        (b'{"bytes": "12", "rate": " 0.25 ", "encrypted": "1"}', [12.0, 0.25, 1.0, None]),
        (b'{"bytes": "1e3", "rate": "-"}', [1000.0, None, None, None]),
        (b'{"bytes": NaN, "rate": Infinity}', [None, None, None, None]),
        (b'{"bytes": "NaN", "rate": "-Infinity"}', [None, None, None, None]),
        (b'{"bytes": 1e400}', [None, None, None, None]),
        (b'{"bytes": 1, "bytes": 2}', [2.0, None, None, None]),
        (b'{"bytes": NaN, "rate": 1, "rate": 2}', [None, 2.0, None, None]),
        (b'{"bytes": true, "encrypted": "true"}', [1.0, None, 1.0, None]),
        (b'{"note": [[[{"bytes": 3}]]], "bytes": 4}', [4.0, None, None, None]),
        (b'\xef\xbb\xbf{"bytes": 5}', [5.0, None, None, None]),
    ],
)
def test_odd_but_readable_values_are_read_or_missing(
    value: bytes, expected: Sequence[object]
) -> None:
    decoded = decode_alone(value)

    assert decoded.rejected == ()
    assert cells(decoded, 0) == list(expected)


@pytest.mark.parametrize(
    ("value", "reason", "named"),
    [
        (None, "tombstone", "null value"),
        (b"", "empty", "0 bytes"),
        (b" \n", "empty", "2 bytes"),
        (b'{"bytes": 1' + b" " * MAX_BYTES + b"}", "too_large", "max_record_bytes"),
        (b'{"proto": "\xff"}', "not_utf8", "0xff at 11"),
        (b"\x00\x01\x02", "not_json", "begins"),
        (b'{"bytes": 1', "not_json", '{"bytes": 1'),
        (b'{"bytes": 1} {"bytes": 2}', "not_json", "Extra data"),
        (b'{"bytes": 1},{"bytes": 2}', "not_json", "Extra data"),
        (b'{"note": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too_deep", "nested"),
        (b"[1, 2]", "not_an_object", "list"),
        (b'"text"', "not_an_object", "str"),
        (b"null", "not_an_object", "NoneType"),
        (b'{"bytes": "many"}', "wrong_type", "'bytes'"),
        (b'{"bytes": [1]}', "wrong_type", "'bytes'"),
        (b'{"proto": {"name": "tcp"}}', "wrong_type", "'proto'"),
    ],
)
def test_unreadable_value_is_rejected_with_reason_and_the_culprit_named(
    value: bytes | None, reason: str, named: str
) -> None:
    decoded = decode_alone(value)

    assert decoded.raw.n_rows == 0
    assert [(rejected.index, rejected.reason) for rejected in decoded.rejected] == [(0, reason)]
    assert named in decoded.rejected[0].detail


def test_ten_megabytes_are_rejected_without_being_parsed() -> None:
    decoded = JsonDecoder(CONTRACT).decode([b"[" * 10_000_000])

    assert [rejected.reason for rejected in decoded.rejected] == ["too_large"]


def test_poison_harms_no_neighbour() -> None:
    # Joined with commas these would parse as three records, each shifted to another's offset.
    values = [b'{"bytes": 1},{"bytes": 2}', GOOD, b'{"bytes": 3', b"}", GOOD]

    decoded = DECODER.decode(values)

    assert decoded.rows_G.tolist() == [1, 4]
    assert [rejected.index for rejected in decoded.rejected] == [0, 2, 3]
    assert cells(decoded, 0) == cells(decoded, 1) == [10.0, 0.5, 1.0, "tcp"]


@pytest.mark.parametrize("word", ['"80"', "80", "80.0"])
def test_category_has_one_code_however_it_is_written(word: str) -> None:
    decoded = decode_alone(f'{{"proto": {word}}}'.encode())

    assert CONTRACT.transform(decoded.raw).codes_BC.tolist() == [
        [CONTRACT.categories[0].vocabulary.index("80")]
    ]


def test_unknown_word_and_truth_value_fall_into_other() -> None:
    other = len(CONTRACT.categories[0].vocabulary)

    decoded = DECODER.decode([b'{"proto": "sctp"}', b'{"proto": true}'])

    assert CONTRACT.transform(decoded.raw).codes_BC.tolist() == [[other], [other]]


def test_empty_chunk_gives_an_empty_batch() -> None:
    decoded = DECODER.decode([])

    assert decoded.raw.n_rows == 0
    assert CONTRACT.transform(decoded.raw).n_rows == 0


_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | st.sampled_from(["12", " 7 ", "true", "-", "", "nan", "0x1F", "many", "1_000", "1e5"])
)
_records = st.fixed_dictionaries(
    {}, optional=dict.fromkeys((*CONTRACT.field_names, "other"), _scalars)
)


@given(st.lists(_records, max_size=6))
def test_a_record_means_the_same_alone_in_a_chunk_and_beside_poison(
    records: list[dict[str, object]],
) -> None:
    values: list[bytes | None] = [json.dumps(record).encode() for record in records]

    together = DECODER.decode(values)
    beside_poison = DECODER.decode([*values, b"{"])

    good = {int(row): cells(together, place) for place, row in enumerate(together.rows_G)}
    assert good == {
        int(row): cells(beside_poison, place) for place, row in enumerate(beside_poison.rows_G)
    }
    assert [r.index for r in together.rejected] == [r.index for r in beside_poison.rejected[:-1]]
    for index, value in enumerate(values):
        alone = decode_alone(value)
        if index in good:
            features = CONTRACT.transform(alone.raw)
            place = together.rows_G.tolist().index(index)
            expected = CONTRACT.transform(together.raw).take([place])
            assert np.array_equal(features.dense_BD, expected.dense_BD)
            assert np.array_equal(features.codes_BC, expected.codes_BC)
        else:
            assert alone.raw.n_rows == 0


@given(st.lists(st.binary(max_size=40) | st.none(), max_size=8))
def test_any_bytes_are_scored_or_rejected_once_and_nothing_raises(
    values: list[bytes | None],
) -> None:
    decoded = DECODER.decode(values)

    indices = [*decoded.rows_G.tolist(), *(rejected.index for rejected in decoded.rejected)]
    assert sorted(indices) == list(range(len(values)))
    assert not np.isinf(decoded.raw.numbers_BN).any()
