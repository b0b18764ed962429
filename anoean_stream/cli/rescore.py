"""Dead letters straight through the scorer, to see what the model says of them now.

The pipeline is the worker's own, with the bundle of the registry and the settings as they are now;
only the worker is missing. An alert found this way names the record's origin, as if it had been
scored where it was first read, and has the same id each time.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import Message

from anoean_stream.cli.dead_letters import DeadLetter, Selection
from anoean_stream.cli.reader import header_texts
from anoean_stream.pipeline import Pipeline
from anoean_stream.records.chunk import Chunk
from anoean_stream.records.deadletter import REPLAYED_FROM_HEADER
from anoean_stream.records.outgoing import OutRecord

_CHUNK_RECORDS: Final = 2000
"""Letters scored together: enough for the matrix library, few enough for the memory."""

_ALERTS_KEPT: Final = 1000
"""Newest alerts that are kept to be shown; all of them are counted, and published if asked."""

Letters = list[tuple[DeadLetter, Message]]


@dataclass(slots=True)
class Rescored:
    """What the model says of dead letters now.

    Parameters
    ----------
    n_letters : int
        That were scored again, or tried.
    n_scored, n_alerts : int
        That have a score now, and of these the ones above the threshold.
    still_dead : Counter of str
        The others, by the reason they have now.
    n_cut, n_foreign : int
        Left out: cut to fit the topic, and not written by a worker.
    alerts : deque of bytes
        The newest alerts, JSON.
    """

    n_letters: int = 0
    n_scored: int = 0
    n_alerts: int = 0
    still_dead: Counter[str] = field(default_factory=Counter)
    n_cut: int = 0
    n_foreign: int = 0
    alerts: deque[bytes] = field(default_factory=lambda: deque(maxlen=_ALERTS_KEPT))


class Rescorer:
    """Scores letters again, chunk by chunk; publishes what is above the threshold when asked to.

    Parameters
    ----------
    pipeline : Pipeline
        What judges.
    selection : Selection
        Which letters are wanted.
    dead_topic : str
        Where the letters stand; alerts name it in the header ``anoean-replayed-from``.
    publish : callable, optional
        Takes each alert.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        selection: Selection,
        dead_topic: str,
        publish: Callable[[OutRecord], None] | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._selection = selection
        self._dead_topic = dead_topic
        self._publish = publish
        self._waiting: dict[tuple[str, int], Letters] = {}
        self.result = Rescored()

    def score(
        self, letters: Iterable[tuple[DeadLetter, Message]], *, limit: int | None = None
    ) -> Rescored:
        """Score the wanted ones of some letters, at most `limit`.

        Raises
        ------
        BrokerError
            When reading or publishing fails.
        """
        for letter, message in letters:
            if not self._takes(letter):
                continue
            assert letter.origin_partition is not None  # it has an origin
            place = letter.origin_topic, letter.origin_partition
            self._waiting.setdefault(place, []).append((letter, message))
            self.result.n_letters += 1
            if self.result.n_letters % _CHUNK_RECORDS == 0:
                self._flush()
            if self.result.n_letters == limit:
                break
        self._flush()
        return self.result

    def _takes(self, letter: DeadLetter) -> bool:
        if not self._selection.takes(letter):
            return False
        self.result.n_foreign += not letter.has_origin
        self.result.n_cut += letter.has_origin and letter.is_cut
        return letter.has_origin and not letter.is_cut

    def _flush(self) -> None:
        for (topic, partition), group in self._waiting.items():
            for alert in self._judge(group, topic=topic, partition=partition):
                self.result.alerts.append(alert.value or b"")
                if self._publish is not None:
                    self._publish(alert)
        self._waiting.clear()

    def _judge(self, group: Letters, *, topic: str, partition: int) -> list[OutRecord]:
        """Judge the letters of one partition of the input; return alerts that name their letters."""
        messages = [message for _, message in group]
        verdict = self._pipeline.score_chunk(
            Chunk(
                topic=topic,
                partition=partition,
                values=[message.value() for message in messages],
                keys=[message.key() for message in messages],
                offsets=[letter.origin_offset or 0 for letter, _ in group],
                timestamps_ms=[_origin_ms(message) for message in messages],
            )
        )
        self.result.n_scored += verdict.n_scored
        self.result.n_alerts += len(verdict.alerts)
        self.result.still_dead.update(verdict.rejected_by_reason)
        rows = verdict.rows_G[verdict.anomalous_G].tolist()
        return [
            OutRecord(
                alert.key,
                alert.value,
                (*alert.headers, (REPLAYED_FROM_HEADER, _place(group[row][0], self._dead_topic))),
            )
            for row, alert in zip(rows, verdict.alerts, strict=True)
        ]


def _place(letter: DeadLetter, topic: str) -> bytes:
    return f"{topic}/{letter.partition}/{letter.offset}".encode()


def _origin_ms(message: Message) -> int:
    text = header_texts(message).get("anoean-timestamp-ms", "")
    fits = text.isascii() and text.isdecimal() and len(text) <= 13  # noqa: PLR2004  until the year 2286
    return int(text) if fits else -1
