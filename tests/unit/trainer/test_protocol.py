"""Who is trained on and who is held out."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anoean_stream.errors import DataError
from trainer.protocol import Split, split_rows, spread_budget


def split(
    kinds: list[str], *, groups: list[int] | None = None, seed: int = 0, anomaly_share: float = 0.1
) -> Split:
    return split_rows(
        np.array(groups if groups is not None else range(len(kinds)), dtype=np.int64),
        is_anomaly_N=np.array([kind != "normal" for kind in kinds]),
        kinds_N=kinds,
        validation_share=0.2,
        anomaly_share=anomaly_share,
        seed=seed,
    )


def test_anomalies_are_capped_and_rare_kinds_kept() -> None:
    kinds = ["normal"] * 900 + ["dos"] * 5000 + ["probe"] * 500 + ["u2r"] * 5

    result = split(kinds)

    trained = Counter(kinds[row] for row in result.training.tolist())
    assert trained["normal"] == 720
    assert trained["dos"] + trained["probe"] + trained["u2r"] == 80
    assert trained["u2r"] == 4
    assert trained["dos"] == trained["probe"] == 38
    assert result.n_left_out == 4000 + 400 - 76


def test_validation_keeps_the_mix() -> None:
    kinds = ["normal"] * 900 + ["dos"] * 5000 + ["u2r"] * 5

    held_out = Counter(kinds[row] for row in split(kinds).validation.tolist())

    assert held_out == {"normal": 180, "dos": 1000, "u2r": 1}


def test_a_kind_with_one_row_is_trained_on() -> None:
    kinds = ["normal"] * 100 + ["dos"] * 20 + ["spy"]

    result = split(kinds)

    assert 120 in result.training.tolist()
    assert "spy" not in [kinds[row] for row in result.validation.tolist()]


@given(
    groups=st.lists(st.integers(0, 30), min_size=120, max_size=200),
    seed=st.integers(0, 1000),
)
def test_no_identical_row_is_on_both_sides(groups: list[int], seed: int) -> None:
    kinds = ["dos" if group % 7 == 0 else "normal" for group in groups]
    try:
        result = split(kinds, groups=groups, seed=seed)
    except DataError:
        return  # all normals were one row, or so: nothing to split

    trained = {groups[row] for row in result.training.tolist()}
    held_out = {groups[row] for row in result.validation.tolist()}
    assert trained.isdisjoint(held_out)
    assert result.n_identical == len(groups) - len(set(groups))


def test_repeated_anomalies_do_not_use_up_the_budget() -> None:
    kinds = ["normal"] * 900 + ["dos"] * 1000
    groups = [*range(900), *([900] * 950), *range(901, 951)]

    result = split(kinds, groups=groups)

    trained = [groups[row] for row in result.training.tolist() if kinds[row] == "dos"]
    assert len(trained) == len(set(trained)) == 41  # 51 different ones, 10 of them held out


def test_rows_that_contradict_each_other_are_counted_and_stay_together() -> None:
    kinds = ["normal"] * 50 + ["dos"] * 10
    groups = [*range(50), 3, *range(50, 59)]

    result = split(kinds, groups=groups)

    assert result.n_contradictory == 2
    assert (3 in result.validation.tolist()) == (50 in result.validation.tolist())


def test_the_same_seed_gives_the_same_split_and_another_another() -> None:
    kinds = ["normal"] * 200 + ["dos"] * 50

    first, again, other = split(kinds), split(kinds), split(kinds, seed=1)

    assert np.array_equal(first.training, again.training)
    assert np.array_equal(first.validation, again.validation)
    assert not np.array_equal(first.validation, other.validation)


@pytest.mark.parametrize("kinds", [["normal"] * 2 + ["dos"] * 20, ["normal"] * 50 + ["dos"]])
def test_too_few_rows_are_refused_with_the_counts(kinds: list[str]) -> None:
    with pytest.raises(DataError, match="too few different rows"):
        split(kinds)


@given(
    counts=st.dictionaries(st.text(min_size=1, max_size=3), st.integers(0, 500), min_size=1),
    budget=st.integers(0, 1000),
)
def test_budget_is_kept_and_used_up(counts: dict[str, int], budget: int) -> None:
    taken = spread_budget(counts, budget)

    assert all(taken[kind] <= counts[kind] for kind in counts)
    assert sum(taken.values()) == min(budget, sum(counts.values()))
