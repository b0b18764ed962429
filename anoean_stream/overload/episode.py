"""When to sample, and what to say about it: a state machine over chunks. Pure; the event loop owns it.

An episode begins with the first chunk that finds the worker too far behind and ends with the first
one that finds it at half of the limits or below, so that it does not flicker. Notices travel with
the chunk that causes them: they are delivered before that chunk is acknowledged. The first one
comes before anything is dropped and names an open range, so even a crash leaves no gap unannounced.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from anoean_stream.overload.rule import sampled
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.notice import Gap, State, write_notice
from anoean_stream.records.outgoing import OutRecord
from anoean_stream.settings import OverloadSettings

log = structlog.get_logger("anoean.overload")

Place = tuple[str, int]
"""Topic and partition."""

NOTICE_EVERY: Final = timedelta(minutes=1)
"""Between two notices of an episode: often enough for a person, nothing beside the alerts."""

CALM_SHARE: Final = 0.5
"""Part of a limit at which an episode ends; near 1 it would begin and end with every chunk."""


@dataclass(frozen=True, slots=True)
class Thinned:
    """What is left of a chunk.

    Parameters
    ----------
    chunk : Chunk
        The records to score; perhaps none.
    n_dropped : int
        Records that are not to be scored.
    notices : tuple of OutRecord
        To be delivered, on the alerts topic, before the chunk is acknowledged.
    """

    chunk: Chunk
    n_dropped: int = 0
    notices: tuple[OutRecord, ...] = ()


@dataclass(slots=True)
class _Tally:
    """What became of one partition's records since the last notice."""

    first_offset: int
    last_offset: int
    records: int = 0
    dropped: int = 0


class _Episode:
    """One stretch of sampling."""

    def __init__(self, started_at: datetime, reason: str) -> None:
        self.started_at = started_at
        self.told_at = started_at
        self.reason = reason
        self.dropped = 0
        self.announced: set[Place] = set()
        self.tallies: dict[Place, _Tally] = {}

    def count(self, whole: Chunk, n_dropped: int) -> None:
        place = (whole.topic, whole.partition)
        tally = self.tallies.setdefault(place, _Tally(whole.offsets[0], whole.offsets[-1]))
        tally.last_offset = whole.offsets[-1]
        tally.records += whole.n_records
        tally.dropped += n_dropped
        self.dropped += n_dropped

    def take_gaps(self) -> list[Gap]:
        """Return what was counted since the last time."""
        gaps = [
            Gap(topic, partition, one.first_offset, one.last_offset, one.records, one.dropped)
            for (topic, partition), one in sorted(self.tallies.items())
        ]
        self.tallies.clear()
        return gaps


class Overload:
    """Decides for each chunk whether it is sampled; with policy ``wait`` it never is.

    Parameters
    ----------
    settings : OverloadSettings
        Policy, limits, share.
    worker_id : str
        Name written into notices.
    now : callable
        The time; given by tests.
    """

    def __init__(
        self,
        settings: OverloadSettings,
        *,
        worker_id: str,
        now: Callable[[], datetime] = lambda: datetime.now(tz=UTC),
    ) -> None:
        self._settings = settings
        self._worker_id = worker_id
        self._now = now
        self._lags: dict[Place, int] = {}
        self._episode: _Episode | None = None

    def on_lag(self, place: Place, n_records: int) -> None:
        """Note how many records of a partition are behind the chunk that comes next."""
        self._lags[place] = n_records

    def forget(self, places: Iterable[Place]) -> None:
        """Drop the lag of partitions that are no longer ours."""
        for place in places:
            self._lags.pop(place, None)

    def thin(self, chunk: Chunk) -> Thinned:
        """Return what is to be scored of a chunk, and what is to be said."""
        if self._settings.policy == "wait":
            return Thinned(chunk)
        now = self._now()
        reason = self._reason(chunk, now)
        if reason is None:
            ended = self._end(now, "the worker has caught up")
            return Thinned(chunk, notices=() if ended is None else (ended,))
        return self._sample(chunk, now, reason)

    def close(self) -> OutRecord | None:
        """End an episode because the worker stops; return its last notice, if there is one."""
        return self._end(self._now(), "the worker stops")

    def _reason(self, chunk: Chunk, now: datetime) -> str | None:
        """Say which limit is passed; None when the worker keeps up."""
        own = self._settings
        share = 1.0 if self._episode is None else CALM_SHARE
        lag = sum(self._lags.values())
        if own.max_lag_records is not None and lag > share * own.max_lag_records:
            return f"{lag} records behind, overload.max_lag_records is {own.max_lag_records}"
        oldest_ms = chunk.timestamps_ms[0]
        if own.max_age_s is not None and oldest_ms >= 0:
            age_s = now.timestamp() - oldest_ms / 1000
            if age_s > share * own.max_age_s:
                return f"{age_s:.0f} s behind, overload.max_age_s is {own.max_age_s:g}"
        return None

    def _sample(self, chunk: Chunk, now: datetime, reason: str) -> Thinned:
        if self._episode is None:
            self._episode = _Episode(now, reason)
            log.warning("sampling_started", reason=reason, share=self._settings.sample_share)
        episode = self._episode
        notices = []
        place = (chunk.topic, chunk.partition)
        if place not in episode.announced:
            episode.announced.add(place)
            gap = Gap(*place, chunk.offsets[0], None, 0, 0)
            notices.append(self._notice("started", episode, now, [gap], reason=reason))
        if now - episode.told_at >= NOTICE_EVERY:
            episode.told_at = now
            gaps = episode.take_gaps()
            notices.append(self._notice("continues", episode, now, gaps, reason=reason))
            log.warning("sampling_continues", reason=reason, dropped=episode.dropped)
        kept = sampled(chunk, self._settings.sample_share)
        n_dropped = chunk.n_records - kept.n_records
        episode.count(chunk, n_dropped)
        return Thinned(kept, n_dropped, tuple(notices))

    def _end(self, now: datetime, reason: str) -> OutRecord | None:
        episode = self._episode
        if episode is None:
            return None
        self._episode = None
        seconds = round((now - episode.started_at).total_seconds(), 1)
        log.warning("sampling_ended", reason=reason, dropped=episode.dropped, seconds=seconds)
        return self._notice("ended", episode, now, episode.take_gaps(), reason=reason)

    def _notice(
        self, state: State, episode: _Episode, now: datetime, gaps: list[Gap], *, reason: str
    ) -> OutRecord:
        return write_notice(
            state,
            at=now,
            episode_started_at=episode.started_at,
            sample_share=self._settings.sample_share,
            reason=reason,
            dropped_in_episode=episode.dropped,
            gaps=gaps,
            worker_id=self._worker_id,
        )
