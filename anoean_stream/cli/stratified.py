"""A sample of rows in which the rare kinds are still there."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

_KEPT_OF_A_KIND: Final = 50
"""Rows of each kind that are taken first, where so many fit: with fewer, one missed row is a jump of
some per cent in the recall of that kind; with many more, rare kinds would drown the others."""

_RARE_SHARE: Final = 0.5
"""Most of the sample that these first rows may take: the rest keeps the proportions of the file."""


def stratified(kinds: Sequence[str], *, n_rows: int, seed: int = 0) -> list[int]:
    """Return the places of the rows to take, increasing.

    Parameters
    ----------
    kinds : sequence of str
        Kind of each row.
    n_rows : int
        Rows wanted; all are taken when there are not more.
    seed : int
        Of the draw.

    Examples
    --------
    >>> len(stratified(["normal"] * 1000 + ["worm"] * 3, n_rows=100))
    100
    >>> {1000, 1001, 1002} <= set(stratified(["normal"] * 1000 + ["worm"] * 3, n_rows=100))
    True
    """
    if len(kinds) <= n_rows:
        return list(range(len(kinds)))
    quotas = _quotas(Counter(kinds), n_rows)
    places: dict[str, list[int]] = {kind: [] for kind in quotas}
    for place, kind in enumerate(kinds):
        places[kind].append(place)
    rng = np.random.default_rng(seed)
    taken: list[int] = []
    for kind, quota in quotas.items():
        taken.extend(rng.choice(places[kind], size=quota, replace=False).tolist())
    return sorted(taken)


def _quotas(counts: Mapping[str, int], n_rows: int) -> dict[str, int]:
    """Return how many rows of each kind to take: together `n_rows`, fewer than there are rows."""
    first = min(int(_RARE_SHARE * n_rows) // len(counts), _KEPT_OF_A_KIND)
    quotas = {kind: min(count, first) for kind, count in counts.items()}
    left = {kind: counts[kind] - quotas[kind] for kind in counts}
    n_left, n_wanted = sum(left.values()), n_rows - sum(quotas.values())
    shares = {kind: n_wanted * left[kind] / n_left for kind in counts}
    for kind, share in shares.items():
        quotas[kind] += int(share)
    by_remainder = sorted(counts, key=lambda kind: (int(shares[kind]) - shares[kind], kind))
    for kind in by_remainder[: n_rows - sum(quotas.values())]:
        quotas[kind] += 1
    return quotas
