"""The ledger against a naive model: exact for any order of acknowledgements, with gaps."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from anoean_stream.kafka import ledger as ledger_module
from anoean_stream.kafka.ledger import OffsetLedger


def test_the_example_in_the_docstring_is_true() -> None:
    assert doctest.testmod(ledger_module).failed == 0


def test_nothing_is_committable_before_the_first_chunk_is_acknowledged() -> None:
    ledger = OffsetLedger[str]()
    ledger.delivered("p", first=5, next_offset=10)
    ledger.delivered("p", first=10, next_offset=20)

    assert ledger.acknowledge("p", 10)
    assert ledger.committable() == {}
    assert ledger.n_open() == 1


def test_a_gap_between_chunks_does_not_hold_the_commit_back() -> None:
    ledger = OffsetLedger[str]()
    ledger.delivered("p", first=0, next_offset=10)
    ledger.delivered("p", first=1000, next_offset=1001)  # compaction took what was between

    ledger.acknowledge("p", 0)
    ledger.acknowledge("p", 1000)

    assert ledger.committable() == {"p": 1001}


def test_a_failed_commit_comes_again_and_a_confirmed_one_does_not() -> None:
    ledger = OffsetLedger[str]()
    ledger.delivered("p", first=0, next_offset=10)
    ledger.acknowledge("p", 0)

    assert ledger.committable() == ledger.committable() == {"p": 10}
    ledger.committed({"p": 10})
    assert ledger.committable() == {}


def test_a_second_acknowledgement_and_one_after_forget_are_ignored() -> None:
    ledger = OffsetLedger[str]()
    ledger.delivered("p", first=0, next_offset=10)

    assert ledger.acknowledge("p", 0)
    assert not ledger.acknowledge("p", 0)
    ledger.forget(["p"])
    assert not ledger.acknowledge("p", 0)
    assert ledger.committable() == {}


def test_a_partition_may_be_read_again_from_before_once_it_is_forgotten() -> None:
    ledger = OffsetLedger[str]()
    ledger.delivered("p", first=100, next_offset=200)
    ledger.acknowledge("p", 100)
    ledger.forget(["p"])

    ledger.delivered("p", first=0, next_offset=50)
    ledger.acknowledge("p", 0)

    assert ledger.committable() == {"p": 50}


@pytest.mark.parametrize(("first", "next_offset"), [(9, 12), (20, 20), (20, 19)])
def test_chunks_that_overlap_or_are_empty_are_refused(first: int, next_offset: int) -> None:
    ledger = OffsetLedger[str]()
    ledger.delivered("p", first=0, next_offset=10)

    with pytest.raises(ValueError, match="does not follow offset 10"):
        ledger.delivered("p", first=first, next_offset=next_offset)


@given(st.permutations(range(30)))
def test_any_order_of_acknowledgements_ends_at_the_end(order: list[int]) -> None:
    ledger = OffsetLedger[int]()
    for number in range(30):
        ledger.delivered(0, first=number * 10, next_offset=number * 10 + 7)

    for number in order:
        ledger.acknowledge(0, number * 10)

    assert ledger.committable() == {0: 297}
    assert ledger.n_open() == 0


class LedgerAgainstModel(RuleBasedStateMachine):
    """The model keeps every record's fate in a list and looks for the first that is open."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = OffsetLedger[str]()
        self.chunks: dict[str, list[tuple[int, int, bool]]] = {"a": [], "b": []}
        self.known: dict[str, int] = {"a": -1, "b": -1}

    @rule(key=st.sampled_from("ab"), gap=st.integers(0, 5), size=st.integers(1, 9))
    def deliver(self, key: str, gap: int, size: int) -> None:
        first = (self.chunks[key][-1][1] if self.chunks[key] else 0) + gap
        self.ledger.delivered(key, first=first, next_offset=first + size)
        self.chunks[key].append((first, first + size, False))

    @precondition(lambda self: any(self.chunks.values()))
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from([k for k, chunks in self.chunks.items() if chunks]))
        index = data.draw(st.integers(0, len(self.chunks[key]) - 1))
        first, end, was_acknowledged = self.chunks[key][index]
        assert self.ledger.acknowledge(key, first) is not was_acknowledged
        self.chunks[key][index] = (first, end, True)

    @rule()
    def commit(self) -> None:
        offsets = self.ledger.committable()
        self.ledger.committed(offsets)
        self.known.update(offsets)

    @rule(key=st.sampled_from("ab"))
    def forget(self, key: str) -> None:
        self.ledger.forget([key])
        self.chunks[key] = []
        self.known[key] = -1

    @invariant()
    def agrees(self) -> None:
        expected = {}
        for key, chunks in self.chunks.items():
            end = -1
            for _, next_offset, is_acknowledged in chunks:
                if not is_acknowledged:
                    break
                end = next_offset
            if end > self.known[key]:
                expected[key] = end
            n_open = sum(not is_acknowledged for *_, is_acknowledged in chunks)
            assert self.ledger.n_open([key]) == n_open
        assert self.ledger.committable() == expected


TestLedgerAgainstModel = LedgerAgainstModel.TestCase


def test_a_jump_is_committed_only_after_the_chunks_before_it() -> None:
    ledger = OffsetLedger[str]()
    ledger.delivered("p", first=0, next_offset=10)

    ledger.skipped("p", next_offset=50)

    assert ledger.committable() == {}
    ledger.acknowledge("p", 0)
    assert ledger.committable() == {"p": 50}
    ledger.delivered("p", first=50, next_offset=60)
    ledger.acknowledge("p", 50)
    assert ledger.committable() == {"p": 60}


def test_a_jump_of_a_partition_without_chunks_is_committed_at_once() -> None:
    ledger = OffsetLedger[str]()

    ledger.skipped("p", next_offset=50)

    assert ledger.committable() == {"p": 50}


def test_a_jump_backwards_forgets_what_was_known_of_the_partition() -> None:
    ledger = OffsetLedger[str]()
    ledger.delivered("p", first=500, next_offset=510)

    ledger.skipped("p", next_offset=0)

    assert ledger.committable() == {"p": 0}
    assert not ledger.acknowledge("p", 500)
    ledger.delivered("p", first=0, next_offset=5)
    assert ledger.acknowledge("p", 0)
    assert ledger.committable() == {"p": 5}
