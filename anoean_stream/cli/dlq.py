"""``anoean dlq``: look at dead letters, and send them again."""

from collections import Counter, deque
from typing import Annotated, Final

import typer
from confluent_kafka import KafkaException, Message, TopicPartition
from rich.markup import escape
from rich.table import Table

from anoean_stream.cli.console import err, out, print_json
from anoean_stream.cli.dead_letters import (
    REPLAY_COUNT_HEADER,
    REPLAYED_FROM_HEADER,
    DeadLetter,
    Positions,
    as_document,
    by_reason,
    parse_dead_letter,
    replay_counts,
)
from anoean_stream.cli.options import ConfigOption, DebugOption, JsonOption, SetOption, load
from anoean_stream.cli.quiet import quiet_librdkafka
from anoean_stream.cli.reader import Reader
from anoean_stream.cli.sender import Sender
from anoean_stream.errors import BrokerError, ConfigError
from anoean_stream.records.deadletter import REASONS
from anoean_stream.settings import Settings

app = typer.Typer(
    help="Look at dead letters, and send them again.", no_args_is_help=True, rich_markup_mode="rich"
)

_LOOK_UP_S: Final = 30.0
"""Seconds for looking up how often records were replayed before; it is information, not a duty."""

ReasonOption = Annotated[
    str | None,
    typer.Option(metavar="REASON", help=f"Only these: {', '.join(REASONS)}.", show_default=False),
]


@app.command("list")
def list_letters(
    *,
    limit: Annotated[int, typer.Option(min=1, help="Show the newest so many.")] = 50,
    reason: ReasonOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """List the dead letters that are in the topic now: why, from where, and what they look like.

    [bold]Examples[/]

    [cyan]anoean dlq list --reason wrong_type[/]

    [cyan]anoean dlq list --json | jq .by_reason[/]
    """
    quiet_librdkafka(debug=debug)
    settings = load(config, overrides, debug=debug)
    _check_reason(reason)
    topic = settings.topics.dead_letters
    counts: Counter[str] = Counter()
    newest: deque[DeadLetter] = deque(maxlen=limit)
    with Reader(settings, topic, group=_group(settings)) as reader:
        bounds = reader.bounds()
        starts = {partition: low for partition, (low, _) in bounds.items()}
        ends = {partition: high for partition, (_, high) in bounds.items()}
        for _, _, message in reader.read_until(starts, ends):
            letter = parse_dead_letter(message)
            counts[letter.reason] += 1
            if reason in {None, letter.reason}:
                newest.append(letter)
    if as_json:
        print_json(
            {
                "topic": topic,
                "total": counts.total(),
                "by_reason": dict(counts.most_common()),
                "letters": [as_document(letter) for letter in newest],
            }
        )
        return
    if not counts:
        err.print(f"no dead letters in {escape(topic)}")
        return
    table = Table(title=f"{len(newest)} of {counts.total():,} dead letters in {escape(topic)}")
    for heading in ("at", "reason", "detail", "origin"):
        table.add_column(heading, overflow="fold")
    table.add_column("bytes", justify="right")
    table.add_column("begins with", overflow="fold")
    for letter in newest:
        origin = f"{letter.origin_topic}/{letter.origin_partition}/{letter.origin_offset}"
        table.add_row(
            f"{letter.partition}/{letter.offset}",
            escape(letter.reason),
            escape(letter.detail),
            escape(origin),
            "-" if letter.size_bytes is None else f"{letter.size_bytes:,}",
            escape(letter.preview),
        )
    out.print(table)
    out.print(", ".join(f"{name}: {n:,}" for name, n in counts.most_common()))


@app.command("replay")
def replay(
    *,
    reason: ReasonOption = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Send at most so many.", show_default=False)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Send dead letters back to the topic they came from, with their original bytes and key.

    For after the exporter, the settings or the model was mended. What has been sent is remembered
    (in the consumer group GROUP.dlq-replay), so that a second replay sends only what is new. A record
    sent again carries the header anoean-replay-count; when it fails again, the next replay says so.

    [bold]Examples[/]

    [cyan]anoean dlq replay --dry-run[/]

    [cyan]anoean dlq replay --reason wrong_type --limit 1000[/]
    """
    quiet_librdkafka(debug=debug)
    settings = load(config, overrides, debug=debug)
    _check_reason(reason)
    with Reader(settings, settings.topics.dead_letters, group=_group(settings)) as reader:
        run = _Replay(settings, reader, reason=reason, limit=limit)
        run.collect()
        if not dry_run:
            run.send()
    _tell(run, dry_run=dry_run, as_json=as_json)


class _Replay:
    """One replay: first what is to be sent, then sending, then remembering."""

    def __init__(
        self, settings: Settings, reader: Reader, *, reason: str | None, limit: int | None
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._reason = reason
        self._limit = limit
        self._positions: dict[int, Positions] = {}
        self.todo: list[tuple[DeadLetter, Message]] = []
        self.cut: list[DeadLetter] = []
        self.n_sent = 0
        self.repeats: dict[tuple[str, int | None, int | None], int] = {}

    def collect(self) -> None:
        """Read the letters that have not been sent again yet, up to the limit."""
        bounds = self._reader.bounds()
        for committed in self._committed(list(bounds)):
            self._positions[committed.partition] = Positions.from_commit(committed)
        starts = {
            p: self._positions[p].first(self._reason, low=low) for p, (low, _) in bounds.items()
        }
        ends = {p: max(high, starts[p]) for p, (_, high) in bounds.items()}
        reached = dict(starts)
        for partition, offset, message in self._reader.read_until(starts, ends):
            if self._limit is not None and len(self.todo) == self._limit:
                break
            reached[partition] = offset + 1
            letter = parse_dead_letter(message)
            wanted = self._reason in {None, letter.reason}
            if not wanted or self._positions[partition].is_done(letter):
                continue
            if letter.is_cut:
                self.cut.append(letter)
            else:
                self.todo.append((letter, message))
        for partition, offset in reached.items():
            self._positions[partition].advance(self._reason, offset)

    def send(self) -> None:
        """Send them, wait for the brokers, and only then remember that it is done."""
        self._count_repeats()
        sender = Sender(self._settings)
        for letter, message in self.todo:
            origin = (letter.origin_topic, letter.origin_partition, letter.origin_offset)
            again = self.repeats.get(origin, 0) + 1
            came_from = f"{self._reader.topic}/{letter.partition}/{letter.offset}"
            sender.send(
                letter.origin_topic or self._settings.topics.input,
                message.value(),
                key=message.key(),
                headers=(
                    (REPLAY_COUNT_HEADER, str(again).encode()),
                    (REPLAYED_FROM_HEADER, came_from.encode()),
                ),
            )
        sender.finish()
        self.n_sent = sender.n_acknowledged
        offsets = [p.to_commit(self._reader.topic, n) for n, p in self._positions.items()]
        try:
            self._reader.consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            message_text = (
                f"{self.n_sent} records were sent again, but that could not be written down "
                f"({error.args[0].str()}): another replay would send them twice"
            )
            raise BrokerError(message_text) from error

    def _committed(self, partitions: list[int]) -> list[TopicPartition]:
        asked = [TopicPartition(self._reader.topic, partition) for partition in partitions]
        try:
            return self._reader.consumer.committed(
                asked, timeout=self._settings.broker.request_timeout_s
            )
        except KafkaException as error:
            message = f"asking how far the last replay came failed: {error.args[0].str()}"
            raise BrokerError(message) from error

    def _count_repeats(self) -> None:
        by_topic: dict[str, list[DeadLetter]] = {}
        for letter, _ in self.todo:
            by_topic.setdefault(letter.origin_topic, []).append(letter)
        for topic, letters in by_topic.items():
            if not topic:
                continue
            with Reader(self._settings, topic, group=_group(self._settings)) as origin:
                found = replay_counts(origin, letters, timeout_s=_LOOK_UP_S)
            self.repeats |= {(topic, *place): n for place, n in found.items() if n}


def _tell(run: _Replay, *, dry_run: bool, as_json: bool) -> None:
    letters = [letter for letter, _ in run.todo]
    reasons = by_reason(letters)
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "found": len(letters),
                "replayed": run.n_sent,
                "by_reason": reasons,
                "left_out_cut": len(run.cut),
                "replayed_before": len(run.repeats),
            }
        )
        return
    counted = ", ".join(f"{name}: {n:,}" for name, n in reasons.items()) or "none"
    verb = "would be sent again" if dry_run else "sent again and acknowledged"
    out.print(f"{len(letters):,} dead letters {verb} ({counted})")
    if run.cut:
        err.print(
            f"{len(run.cut):,} were left out: their values were cut to fit the topic; the whole "
            "records are at the origin that `anoean dlq list` names"
        )
    if run.repeats:
        err.print(
            f"[yellow]{len(run.repeats):,} of them had been replayed before and failed again[/] "
            f"(up to {max(run.repeats.values())} times): mend their cause first"
        )


def _check_reason(reason: str | None) -> None:
    if reason is not None and reason not in REASONS:
        message = f"unknown reason {reason!r}; expected one of: {', '.join(REASONS)}"
        raise ConfigError(message)


def _group(settings: Settings) -> str:
    return f"{settings.consumer.group_id}.dlq-replay"
