"""What a shadow report says: how a candidate judges the traffic that the champion judged.

It is the ``detail`` of an audit record with the action ``shadow_report``. Counts of several reports
add up, which is how the gate reads them (`anoean_stream.gate.online`).
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from anoean_stream.records.alert import FeatureShift
from anoean_stream.records.flow import FlowValue

Count = Annotated[int, Meta(ge=0)]


class Opinion(msgspec.Struct, frozen=True, kw_only=True):
    """What one of the two models says of a record."""

    score: float
    threshold: float
    explanation: tuple[FeatureShift, ...]


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """One record of which the two models say different things."""

    kind: Literal["only_champion", "only_candidate"]
    topic: str
    partition: Count
    offset: Count
    flow: dict[str, FlowValue]
    champion: Opinion
    candidate: Opinion


class ShadowReport(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison on the records that both models scored.

    Parameters
    ----------
    champion, candidate : str
        Versions.
    since, until : str
        RFC 3339: the time of the worker that the report covers.
    records : int
        Records scored by both.
    champion_alerts, candidate_alerts, both_alerts : int
        Above the threshold of each, and of both, among them.
    candidate_dead : int
        Records that the champion scored and the candidate could not.
    rank_correlation : float or None
        Spearman's, of the scores of a sample of records; None when it is not defined.
    champion_quantiles, candidate_quantiles : dict of str to float
        Scores at ``p50``, ``p90``, ``p99``, ``p99.9`` and ``max``.
    champion_us, candidate_us : float
        CPU time for a record, microseconds; 0 when nothing was scored.
    chunks, chunks_left_out : int
        Chunks compared, and chunks drawn for comparison that the time budget did not allow.
    examples : tuple of Disagreement
        Those that differ most from what the other model says, of each kind.
    """

    champion: str
    candidate: str
    since: str
    until: str
    records: Count
    champion_alerts: Count
    candidate_alerts: Count
    both_alerts: Count
    candidate_dead: Count
    rank_correlation: float | None
    champion_quantiles: dict[str, float]
    candidate_quantiles: dict[str, float]
    champion_us: float
    candidate_us: float
    chunks: Count
    chunks_left_out: Count
    examples: tuple[Disagreement, ...] = ()

    @property
    def either_alerts(self) -> int:
        """Records above the threshold of at least one of the two."""
        return self.champion_alerts + self.candidate_alerts - self.both_alerts

    def to_detail(self) -> dict[str, Any]:
        """Return it as the detail of an audit record."""
        detail = msgspec.to_builtins(self)
        assert isinstance(detail, dict)
        return detail

    @classmethod
    def from_detail(cls, detail: dict[str, Any]) -> "ShadowReport":
        """Read what `to_detail` returned; raises ValueError for anything else."""
        return msgspec.convert(detail, type=cls)
