"""What a model must show before it serves: on its own golden batch, and on this worker's traffic.

Runs in the thread that loads, beside the scoring: nothing here may touch what serves.
"""

import time
from collections import deque
from collections.abc import Sequence
from typing import Final

import numpy as np

from anoean_stream.detector.bundle import Bundle
from anoean_stream.errors import IncompatibleBundleError, IntegrityError
from anoean_stream.features.batch import RawBatch
from anoean_stream.features.contract import FeatureContract
from anoean_stream.pipeline import verify_bundle
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.decode import JsonDecoder

_RECENT: Final = 512
"""Records of live traffic that are kept to try a candidate on; a megabyte at most in practice."""

_OF_A_CHUNK: Final = 128
"""Records kept of one chunk, spread over it: one chunk is enough to conclude from, and the recent ones
are of several."""

_RECENT_MAX_BYTES: Final = 16_384
"""Larger records are not kept: 512 of them may not cost more than 8 MiB."""

_FEWEST: Final = 50
"""Recent records below which nothing is concluded from them."""

_WARM_UP_RECORDS: Final = 2048
"""Records of the warm-up batch: as many as a large chunk has."""

_WARM_UP_ROUNDS: Final = 3
"""The quickest counts: the first one also fills caches."""


class RecentRecords:
    """Some of the records that came last, as bytes. Filled in the event loop, read in any thread."""

    def __init__(self) -> None:
        self._values: deque[bytes] = deque(maxlen=_RECENT)

    def offer(self, chunk: Chunk) -> None:
        """Keep some records of a chunk."""
        step = max(1, chunk.n_records // _OF_A_CHUNK)
        self._values.extend(
            value
            for value in chunk.values[: step * _OF_A_CHUNK : step]
            if value is not None and len(value) <= _RECENT_MAX_BYTES
        )

    def values(self) -> list[bytes]:
        """Return what is kept."""
        while True:
            try:
                return list(self._values)
            except RuntimeError:  # a chunk came in the middle of the copy
                continue


def check_candidate(
    bundle: Bundle,
    *,
    champion: FeatureContract | None,
    recent: Sequence[bytes],
    contract_dead_share: float,
    latency_budget_us: float,
    max_record_bytes: int,
) -> None:
    """Return when a model may serve here.

    Blocks for some 50 ms.

    Parameters
    ----------
    bundle : Bundle
        Whole and intact.
    champion : FeatureContract or None
        Of the model that serves.
    recent : sequence of bytes
        Records of live traffic; fewer than 50 prove nothing.
    contract_dead_share : float
        Most recent records that the champion can read and the candidate cannot, in (0, 1].
    latency_budget_us : float
        Most CPU time for a record, microseconds.
    max_record_bytes : int
        As in serving.

    Raises
    ------
    IntegrityError
        A golden score differs, or a score of a live record is not finite.
    IncompatibleBundleError
        Its features are not those of the traffic, or it is too slow.
    """
    verify_bundle(bundle)
    _check_traffic(
        bundle,
        champion=champion,
        recent=recent,
        dead_share=contract_dead_share,
        max_record_bytes=max_record_bytes,
    )
    _check_speed(bundle, budget_us=latency_budget_us)


def _check_traffic(
    bundle: Bundle,
    *,
    champion: FeatureContract | None,
    recent: Sequence[bytes],
    dead_share: float,
    max_record_bytes: int,
) -> None:
    contract = bundle.detector.contract
    if champion is None or len(recent) < _FEWEST or champion.id == contract.id:
        return
    decode = JsonDecoder(champion, max_record_bytes=max_record_bytes).decode
    readable = decode(recent).rows_G.tolist()
    if len(readable) < _FEWEST:
        return
    decoded = JsonDecoder(contract, max_record_bytes=max_record_bytes).decode(
        [recent[row] for row in readable]
    )
    n_dead = len(decoded.rejected)
    if n_dead > dead_share * len(readable):
        first = decoded.rejected[0]
        message = (
            f"{bundle.origin}: {n_dead} of {len(readable)} recent records cannot be read by its feature "
            f"contract ({first.reason}: {first.detail}), expected at most {dead_share:.3g} of them "
            "(swap.contract_dead_share); the model serving reads them all: train again on this traffic"
        )
        raise IncompatibleBundleError(message, file="contract.json")
    known = set(champion.field_names)
    absent = [
        name for name in _always_missing(contract, decoded.raw) if name not in known
    ]  # a field that the champion misses too is the traffic's fault
    if absent:
        message = (
            f"{bundle.origin}: its feature contract wants {_listed(absent)}, which none of "
            f"{decoded.raw.n_rows} recent records has; map the field in the exporter, or train again "
            "on this traffic"
        )
        raise IncompatibleBundleError(message, file="contract.json")
    distances = bundle.detector.distances(contract.transform(decoded.raw))
    if not np.isfinite(distances).all():
        n_bad = int((~np.isfinite(distances)).sum())
        message = (
            f"{bundle.origin}: {n_bad} of {len(distances)} recent records get a score that is not "
            "finite; train again"
        )
        raise IntegrityError(message, file="weights.safetensors")


def _always_missing(contract: FeatureContract, raw: RawBatch) -> list[str]:
    """Return the fields that no row has, unless training saw rows without them."""
    if not raw.n_rows:
        return []
    marked = {number.name for number in contract.numbers if number.missing_indicator}
    marked |= {flag.name for flag in contract.flags if flag.missing_indicator}
    numbers = [
        name
        for column, name in enumerate(contract.number_names)
        if name not in marked and np.isnan(raw.numbers_BN[:, column]).all()
    ]
    words = [
        name
        for name, column in zip(contract.category_names, raw.categories, strict=True)
        if all(word is None for word in column)
    ]
    return [*numbers, *words]


def _check_speed(bundle: Bundle, *, budget_us: float) -> None:
    contract, detector = bundle.detector.contract, bundle.detector
    golden = [record.encode() for record in bundle.golden.records]
    values = (golden * (_WARM_UP_RECORDS // len(golden) + 1))[:_WARM_UP_RECORDS]
    decode = JsonDecoder(contract).decode
    quickest_s = float("inf")
    for _ in range(_WARM_UP_ROUNDS):
        began_s = time.thread_time()
        detector.score(contract.transform(decode(values).raw))
        quickest_s = min(quickest_s, time.thread_time() - began_s)
    seen_us = quickest_s / len(values) * 1e6
    if seen_us > budget_us:
        message = (
            f"{bundle.origin}: the warm-up batch takes {seen_us:.1f} us a record, the budget is "
            f"{budget_us:g} us (swap.latency_budget_us); train a smaller encoder, or raise the budget"
        )
        raise IncompatibleBundleError(message, file="weights.safetensors")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"  # noqa: PLR2004  as in the slice
