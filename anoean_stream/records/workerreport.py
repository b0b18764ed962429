"""What a worker says of itself, every few seconds, to ``topics.workers``.

The key is group and worker, so a compacted topic holds the newest of each; an orderly stop writes a
null value. ``anoean models status`` reads who serves what, ``anoean threshold suggest`` what scores
the traffic gets.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from anoean_stream.records.outgoing import OutRecord

Count = Annotated[int, Meta(ge=0)]


class ScoreDistribution(msgspec.Struct, frozen=True, kw_only=True):
    """Scores of live traffic, by one version, in logarithmic bins (`ScoreSketch`).

    Parameters
    ----------
    version : str
        Version that gave the scores.
    since, until : str
        RFC 3339: the stretch of time that is covered.
    seconds : float
        Its length without the time in which this version did not serve.
    records : int
        Scores in the bins.
    bins : dict of int to int
        Count by bin number.
    """

    version: str
    since: str
    until: str
    seconds: Annotated[float, Meta(ge=0)]
    records: Count
    bins: dict[int, Count]


class WorkerReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker does now.

    Parameters
    ----------
    worker, group : str
        Its id, and its consumer group.
    at : str
        RFC 3339.
    started_at : str
        When the worker began.
    interval_s : float
        Seconds until its next report; silent for three of them, it counts as gone.
    model : str
        Name of the model that it follows.
    alias : str
        Alias that it follows.
    version, sha256 : str or None
        What it serves; None while it serves nothing.
    serving_since : str or None
        RFC 3339.
    wanted_version : str or None
        What the alias named when it looked last; None before the first look.
    problem : str or None
        Why it does not serve that, or what else is wrong with the registry; None when all is well.
    shadow_version : str or None
        What it compares with.
    threshold : float or None
        Distance above which it alerts; None: it serves nothing, or every record alerts.
    threshold_source : str
        Where that comes from, in words.
    partitions : int
        Partitions that it reads.
    records, alerts : int
        Since it began.
    scores : ScoreDistribution or None
        Of the last hour, by the version that serves.
    shadow_scores : ScoreDistribution or None
        The same of the shadow.
    """

    schema_version: Literal["1.0"] = "1.0"
    event_kind: Literal["worker_report"] = "worker_report"
    worker: str
    group: str
    at: str
    started_at: str
    interval_s: Annotated[float, Meta(gt=0)]
    model: str
    alias: str
    version: str | None
    sha256: str | None
    serving_since: str | None
    wanted_version: str | None
    problem: str | None
    shadow_version: str | None
    threshold: float | None
    threshold_source: str
    partitions: Count
    records: Count
    alerts: Count
    scores: ScoreDistribution | None = None
    shadow_scores: ScoreDistribution | None = None

    @property
    def key(self) -> bytes:
        """Key on the topic."""
        return report_key(self.group, self.worker)

    def to_record(self) -> OutRecord:
        """Return it as a record for the workers topic."""
        return OutRecord(
            key=self.key,
            value=msgspec.json.encode(self),
            headers=(("content-type", b"application/json"), ("event-kind", b"worker_report")),
        )

    @classmethod
    def from_json(cls, data: bytes) -> "WorkerReport":
        """Read what `to_record` wrote; raises ValueError for anything else."""
        try:
            return msgspec.json.decode(data, type=cls)
        except RecursionError as error:
            message = "nested too deeply"
            raise ValueError(message) from error


def report_key(group: str, worker: str) -> bytes:
    """Return the key under which a worker's newest report stands."""
    return f"{group}|{worker}".encode()


def worker_report_schema() -> dict[str, Any]:
    """Return the JSON Schema of a worker's report."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Anoean worker report 1.0",
        **msgspec.json.schema(WorkerReport),
    }
