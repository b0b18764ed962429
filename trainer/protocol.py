"""How labelled rows become a training set and a validation set.

Letters: N rows.

1. Rows that are identical in all fields used go to the same side together, so that no validation
   row was trained on (KDD99's 494,021 rows are 145,000 different ones).
2. Each kind of attack, and the normals, are split in the same proportion; a kind with a single
   different row is trained on.
3. Anomalies of the training set are capped at a share of it (10 % in the paper), different rows
   first and the budget spread over kinds, so that rare kinds are all kept.
4. The validation set keeps its mix.
5. Rows that are in the model's evaluation set are held out in any case, and count towards the share.

References
----------
Gherbi et al., ACML 2019, section 4.1: the apportionment.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from anoean_stream.errors import DataError

Rows = NDArray[np.intp]

_FEWEST: Final = 2
"""Fewest normals on each side; at least 2."""


@dataclass(frozen=True, slots=True)
class Split:
    """Rows of a table by use.

    Parameters
    ----------
    training, validation : ndarray of intp
        Rows, ascending, in no row of each other.
    n_identical : int
        Rows that are a repetition of an earlier one.
    n_contradictory : int
        Rows whose fields are also those of a row with the other label: no model gets them right.
    n_left_out : int
        Anomalies of the training side beyond the cap.
    """

    training: Rows
    validation: Rows
    n_identical: int
    n_contradictory: int
    n_left_out: int


def split_rows(
    groups_N: NDArray[np.int64],
    *,
    is_anomaly_N: NDArray[np.bool_],
    kinds_N: Sequence[str],
    validation_share: float,
    anomaly_share: float,
    seed: int,
    held_out_N: NDArray[np.bool_] | None = None,
) -> Split:
    """Split rows into a training and a validation set; the same arguments give the same split.

    Parameters
    ----------
    groups_N : ndarray of int64, shape (N,)
        Rows with the same number are identical.
    is_anomaly_N : ndarray of bool, shape (N,)
    kinds_N : sequence of str, length N
        Stratum of each row.
    validation_share : float
        Share of the different rows of each kind that is held out, in (0, 1).
    anomaly_share : float
        Most anomalies in the training set, as a share of it, in (0, 1).
    seed : int
        Of the draw.
    held_out_N : ndarray of bool, shape (N,), optional
        Rows that must not be trained on.

    Raises
    ------
    DataError
        When a side would have no normal row or no anomaly.
    """
    rng = np.random.default_rng(seed)
    _, first_G, group_of_N = np.unique(groups_N, return_index=True, return_inverse=True)
    kinds = np.array(kinds_N, dtype=object)
    held_out_G = np.zeros(len(first_G), dtype=np.bool_)
    if held_out_N is not None:
        held_out_G[group_of_N[held_out_N]] = True
    kind_of_G = kinds[first_G]
    for kind in sorted(set(kind_of_G.tolist())):
        members = rng.permutation(np.flatnonzero(kind_of_G == kind))
        free = members[~held_out_G[members]]
        n_wanted = max(1, round(validation_share * len(members))) - (len(members) - len(free))
        held_out_G[free[: max(0, min(len(free) - 1, n_wanted))]] = True
    held_out_N = held_out_G[group_of_N]
    validation = np.flatnonzero(held_out_N)
    candidates = np.flatnonzero(~held_out_N)
    normals = candidates[~is_anomaly_N[candidates]]
    anomalies = candidates[is_anomaly_N[candidates]]
    budget = max(1, math.floor(anomaly_share / (1 - anomaly_share) * len(normals)))
    chosen = _spread(anomalies, group_of_N[anomalies], kinds[anomalies], budget=budget, rng=rng)
    _check_sides(normals, chosen, is_anomaly_N[validation])
    return Split(
        training=np.sort(np.concatenate([normals, chosen])),
        validation=validation,
        n_identical=len(groups_N) - len(first_G),
        n_contradictory=_contradictory(group_of_N, is_anomaly_N),
        n_left_out=len(anomalies) - len(chosen),
    )


def spread_budget(counts: Mapping[str, int], budget: int) -> dict[str, int]:
    """Return how many of each kind to take: all of the rare ones, as many as each other of the rest.

    Parameters
    ----------
    counts : mapping of str to int
        How many there are.
    budget : int
        How many to take, at least 0.

    Examples
    --------
    >>> spread_budget({"dos": 1000, "probe": 40, "u2r": 3}, 60)
    {'u2r': 3, 'probe': 28, 'dos': 29}
    """
    taken: dict[str, int] = {}
    ascending = sorted(counts, key=lambda kind: (counts[kind], kind))
    for place, kind in enumerate(ascending):
        fair = (budget - sum(taken.values())) // (len(ascending) - place)
        taken[kind] = min(counts[kind], fair)
    return taken


def _spread(
    rows: Rows,
    groups: NDArray[np.intp],
    kinds: NDArray[np.object_],
    *,
    budget: int,
    rng: np.random.Generator,
) -> Rows:
    """Return at most `budget` rows, no two identical, spread over kinds."""
    order = rng.permutation(len(rows))
    _, first = np.unique(groups[order], return_index=True)
    different = order[np.sort(first)]
    quota = spread_budget(Counter(kinds[different].tolist()), budget)
    chosen = [different[kinds[different] == kind][:n_rows] for kind, n_rows in quota.items()]
    return rows[np.concatenate(chosen)] if chosen else rows[:0]


def _contradictory(group_of_N: NDArray[np.intp], is_anomaly_N: NDArray[np.bool_]) -> int:
    n_groups = int(group_of_N.max()) + 1
    anomalies_G = np.bincount(group_of_N, weights=is_anomaly_N, minlength=n_groups)
    counts_G = np.bincount(group_of_N, minlength=n_groups)
    mixed_G = (anomalies_G > 0) & (anomalies_G < counts_G)
    return int(counts_G[mixed_G].sum())


def _check_sides(normals: Rows, anomalies: Rows, held_out_anomalous: NDArray[np.bool_]) -> None:
    n_validation_anomalies = int(held_out_anomalous.sum())
    n_validation_normals = len(held_out_anomalous) - n_validation_anomalies
    # A covariance and a split need two rows.
    if min(len(normals), n_validation_normals, 1 + n_validation_anomalies) < _FEWEST or not len(
        anomalies
    ):
        message = (
            f"too few different rows: the training set would have {len(normals)} normals and "
            f"{len(anomalies)} anomalies, the validation set {n_validation_normals} and "
            f"{n_validation_anomalies}; give more labelled rows of both, or change "
            "training.validation_share"
        )
        raise DataError(message)
