"""A sample of rows keeps what is rare, and the proportions of the rest."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from anoean_stream.cli.stratified import stratified

KINDS = ["normal"] * 8000 + ["flood"] * 1900 + ["scan"] * 90 + ["worm"] * 10


def test_rare_kinds_are_kept_and_the_rest_is_in_proportion() -> None:
    taken = Counter(KINDS[place] for place in stratified(KINDS, n_rows=1000))

    assert taken["worm"] == 10
    assert taken["scan"] >= 50
    assert 0.7 < taken["normal"] / 1000 < 0.8
    assert 3 < taken["normal"] / taken["flood"] < 5


def test_another_seed_takes_other_rows() -> None:
    first = stratified(KINDS, n_rows=100)

    assert stratified(KINDS, n_rows=100) == first
    assert stratified(KINDS, n_rows=100, seed=1) != first


@given(
    st.lists(st.sampled_from("abcdefghij"), max_size=300).map(sorted),
    st.integers(min_value=2, max_value=400),
)
def test_as_many_rows_as_wanted_are_taken_each_once(kinds: list[str], n_rows: int) -> None:
    taken = stratified(kinds, n_rows=n_rows)

    assert len(taken) == min(n_rows, len(kinds))
    assert taken == sorted(set(taken))
    assert all(0 <= place < len(kinds) for place in taken)
