"""Dead letters back to the topic they came from."""

from collections import Counter
from dataclasses import dataclass, field

from confluent_kafka import KafkaException, Message, TopicPartition

from anoean_stream.cli.dead_letters import DeadLetter, Selection, read_letters
from anoean_stream.cli.reader import Reader
from anoean_stream.cli.replay_memory import ReplayMemory
from anoean_stream.cli.sender import Sender
from anoean_stream.errors import BrokerError
from anoean_stream.records.deadletter import REPLAY_COUNT_HEADER, REPLAYED_FROM_HEADER
from anoean_stream.settings import Settings


@dataclass(slots=True)
class ReplayCounts:
    """What became of the letters that were looked at; `chosen` are those to send.

    Parameters
    ----------
    chosen : Counter of str
        By reason.
    n_sent : int
        Acknowledged by the brokers.
    n_done : int
        Left out: an earlier replay has sent them.
    n_failed_again : int
        Left out: their records were replayed before, as often as is allowed, and failed again.
    n_cut : int
        Left out: their values were cut to fit the topic.
    n_foreign : int
        Left out: no worker of this input wrote them.
    interrupted : bool
        Whether Ctrl-C ended it early; what was sent until then is remembered.
    """

    chosen: Counter[str] = field(default_factory=Counter)
    n_sent: int = 0
    n_done: int = 0
    n_failed_again: int = 0
    n_cut: int = 0
    n_foreign: int = 0
    interrupted: bool = False


class Replay:
    """One replay. `count` looks only; `send` sends, waits for the brokers, and then remembers.

    Parameters
    ----------
    settings : Settings
        Brokers and topics.
    reader : Reader
        Of the dead letters, under the group in which replays are remembered.
    selection : Selection
        Which letters.
    limit : int or None
        At most so many.
    max_replays : int
        Records that were replayed so often and died again are left out, >= 1.

    Raises
    ------
    BrokerError
        When the topic does not exist, or the broker does not answer.
    """

    def __init__(
        self,
        settings: Settings,
        reader: Reader,
        *,
        selection: Selection,
        limit: int | None,
        max_replays: int,
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._selection = selection
        self._limit = limit
        self._max_replays = max_replays
        self._lows = {partition: low for partition, (low, _) in reader.bounds().items()}
        self._spans = selection.spans(reader)
        committed = reader.committed()
        self._memories = {
            p: ReplayMemory.from_commit(committed.get(p, TopicPartition(reader.topic, p)))
            for p in self._spans
        }
        self.counts = ReplayCounts()

    def count(self) -> ReplayCounts:
        """Say what `send` would do.

        Raises
        ------
        BrokerError
            When the broker stops answering.
        """
        self._go(None)
        return self.counts

    def send(self) -> ReplayCounts:
        """Send the letters, wait for the brokers, and only then remember that it is done.

        A crash between the two makes a later replay send them twice. Ctrl-C ends it early and in
        order.

        Raises
        ------
        ConfigError
            When there are too many separate replays to remember; nothing was sent then.
        BrokerError
            When a broker refuses, or stops answering.
        """
        self._commits({p: end for p, (_, end) in self._spans.items()})  # refuses before sending
        sender = Sender(self._settings)
        reached = self._go(sender)
        sender.finish()
        self.counts.n_sent = sender.n_acknowledged
        try:
            self._reader.consumer.commit(offsets=self._commits(reached), asynchronous=False)
        except KafkaException as error:
            message = (
                f"{self.counts.n_sent} records were sent again, but that could not be written down "
                f"({error.args[0].str()}): another replay would send them twice"
            )
            raise BrokerError(message) from error
        return self.counts

    def _go(self, sender: Sender | None) -> dict[int, int]:
        """Look at every letter, send the chosen ones, return by partition how far it came."""
        reached = {partition: first for partition, (first, _) in self._spans.items()}
        try:
            for letter, message in read_letters(self._reader, self._spans):
                if self._limit is not None and self.counts.chosen.total() == self._limit:
                    return reached
                if self._is_chosen(letter):
                    self.counts.chosen[letter.reason] += 1
                    if sender is not None:
                        self._send(sender, letter, message)
                reached[letter.partition] = letter.offset + 1
        except KeyboardInterrupt:
            self.counts.interrupted = True
            return reached
        return {partition: end for partition, (_, end) in self._spans.items()}

    def _is_chosen(self, letter: DeadLetter) -> bool:
        counts = self.counts
        if not self._selection.takes(letter):
            return False
        if not letter.has_origin or letter.origin_topic != self._settings.topics.input:
            # Of another input, or written by hand: where it would go is not for its headers to say.
            counts.n_foreign += 1
        elif letter.is_cut:
            counts.n_cut += 1
        elif letter.replay_count >= self._max_replays:
            counts.n_failed_again += 1
        elif self._memories[letter.partition].is_done(letter):
            counts.n_done += 1
        else:
            return True
        return False

    def _send(self, sender: Sender, letter: DeadLetter, message: Message) -> None:
        came_from = f"{self._reader.topic}/{letter.partition}/{letter.offset}"
        sender.send(
            letter.origin_topic,
            message.value(),
            key=message.key(),
            headers=(
                (REPLAY_COUNT_HEADER, str(letter.replay_count + 1).encode()),
                (REPLAYED_FROM_HEADER, came_from.encode()),
            ),
        )

    def _commits(self, reached: dict[int, int]) -> list[TopicPartition]:
        commits = []
        for partition, (first, _) in self._spans.items():
            low = self._lows[partition]
            memory = self._memories[partition].with_replay(
                self._selection,
                first=first,
                end=reached[partition],
                max_replays=self._max_replays,
                low=low,
            )
            commits.append(memory.to_commit(self._reader.topic, partition, low=low))
        return commits
