"""When nearly everything is dead, the input or the settings are wrong, and the worker should say so.

Dead letters are for the few records that cannot be scored. When a topic carries another format, or
the model's feature contract does not fit it, every record becomes one: the dead-letter topic fills
up, and nobody is alerted of anything. `DeadLimit` looks at two figures, the share of dead records
in a window and the length of a run of them, and raises when one is over its limit.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from anoean_stream.errors import DeadLetterLimitError
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.decode import Rejected


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a chunk of the window held."""

    n_records: int
    reasons: Counter[str]


class DeadLimit:
    """Counts dead records, and raises when they are nearly all. Cost is per dead record. Pure.

    The window moves by whole chunks: it holds the newest ones that together have at least `window`
    records, and is not judged before it has so many.

    Parameters
    ----------
    ratio : float or None
        Share of dead records in the window, above 0 and up to 1, at which to stop; None or 0: off.
    window : int
        Records that the window has at least, >= 1.
    run : int or None
        Consecutive dead records, in the order of delivery, at which to stop; None or 0: off.
    """

    def __init__(self, *, ratio: float | None, window: int, run: int | None) -> None:
        self._ratio = ratio or 0.0
        self._window = window
        self._run_limit = run or 0
        self._seen: deque[_Seen] = deque()
        self._n_records = 0
        self._reasons: Counter[str] = Counter()
        self._run = 0
        self._run_reasons: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def see(self, chunk: Chunk, rejected: Sequence[Rejected]) -> None:
        """Count a chunk; call it after its dead letters are delivered, so that none is lost.

        Parameters
        ----------
        chunk : Chunk
            What was judged.
        rejected : sequence of Rejected
            Its dead records, by increasing place.

        Raises
        ------
        DeadLetterLimitError
            When a limit is reached; names the commonest reason and where to look.
        """
        for record in rejected:
            self._examples[record.reason] = (
                f"{chunk.topic}/{chunk.partition}/{chunk.offsets[record.index]}"
            )
        self._check_run(chunk.n_records, rejected)
        self._check_ratio(chunk.n_records, rejected)

    def _check_run(self, n_records: int, rejected: Sequence[Rejected]) -> None:
        next_index = 0  # where a record would continue the run
        for record in rejected:
            if record.index != next_index:
                self._run = 0
                self._run_reasons.clear()
            self._run += 1
            self._run_reasons[record.reason] += 1
            next_index = record.index + 1
            if 0 < self._run_limit <= self._run:
                raise self._error(
                    f"{self._run:,} records one after the other",
                    self._run_reasons,
                    f"scoring.dead_run_limit is {self._run_limit}",
                )
        if next_index != n_records:
            self._run = 0
            self._run_reasons.clear()

    def _check_ratio(self, n_records: int, rejected: Sequence[Rejected]) -> None:
        reasons: Counter[str] = Counter(record.reason for record in rejected)
        self._seen.append(_Seen(n_records, reasons))
        self._n_records += n_records
        self._reasons.update(reasons)
        while self._n_records - self._seen[0].n_records >= self._window:
            oldest = self._seen.popleft()
            self._n_records -= oldest.n_records
            self._reasons.subtract(oldest.reasons)
        n_dead = self._reasons.total()
        if (
            self._ratio > 0
            and self._n_records >= self._window
            and n_dead >= self._ratio * self._n_records
        ):
            raise self._error(
                f"{n_dead:,} of the last {self._n_records:,} records",
                self._reasons,
                f"scoring.dead_ratio_limit is {self._ratio:g}",
            )

    def _error(self, what: str, reasons: Counter[str], limit: str) -> DeadLetterLimitError:
        reason, n_commonest = reasons.most_common(1)[0]
        example = self._examples[reason]
        message = (
            f"{what} could not be scored ({limit}), {n_commonest:,} of them for {reason!r}: the "
            f"input or the settings are wrong; see `anoean dlq show --origin {example}` for one of "
            "them and docs/records.md for the reason, mend it, then start again. All of them are "
            "in the dead letters, nothing is lost"
        )
        return DeadLetterLimitError(message, reason=reason, example=example)
