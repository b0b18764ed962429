"""What proves that chunks are still ours; transactions that cannot prove it must not begin."""

import sys

import pytest
from faust.types import TP

from anoean_stream.kafka.claims import Claim, Membership, is_member
from anoean_stream.kafka.ledger import OffsetLedger

A, B = TP("flows", 0), TP("flows", 1)


def metadata(generation: int) -> bytes:
    return b"CGMDv2:" + generation.to_bytes(4, sys.byteorder, signed=True) + b"group\0member\0"


@pytest.mark.parametrize(
    ("generation", "expected"), [(1, True), (70_000, True), (0, False), (-1, False)]
)
def test_metadata_without_a_generation_prove_nothing(generation: int, *, expected: bool) -> None:
    assert is_member(metadata(generation)) is expected


def test_metadata_of_another_format_are_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match="use the pinned version of confluent-kafka"):
        is_member(b"CGMDv3:abc")


def test_membership_covers_only_the_assignment_under_which_it_was_read() -> None:
    membership = Membership(metadata(1), {A: 3, B: 3})

    assert membership.covers(Claim((), {A: 10}, {A: 3}))
    assert not membership.covers(Claim((), {A: 10}, {A: 5}))  # lost, and assigned again
    assert not membership.covers(Claim((), {}, {TP("flows", 2): 3}))


def test_a_chunk_behind_one_that_is_still_open_is_not_next() -> None:
    ledger = OffsetLedger[str]()
    for first in (0, 10, 20):
        ledger.delivered("p", first=first, next_offset=first + 10)

    assert ledger.is_next("p", 0)
    assert not ledger.is_next("p", 10)
    assert ledger.is_next("p", 10, after=1)
    assert not ledger.is_next("p", 20, after=1)
    assert not ledger.is_next("p", 20, after=3)
    ledger.acknowledge("p", 0)
    assert ledger.is_next("p", 10)
    ledger.forget(["p"])
    assert not ledger.is_next("p", 10)
