"""``anoean dlq``: look at dead letters, send them again, or ask what the model says of them now."""

import sys
from collections import Counter, deque
from typing import Annotated

import typer
from confluent_kafka import Message
from rich.markup import escape
from rich.table import Table

from anoean_stream.cli.console import err, out, print_json
from anoean_stream.cli.dead_letters import (
    DeadLetter,
    Selection,
    as_document,
    printable,
    read_letters,
)
from anoean_stream.cli.dlq_options import (
    PartitionOption,
    ReasonOption,
    dlq_group,
    selection_of,
)
from anoean_stream.cli.dlq_replay import replay
from anoean_stream.cli.letter_view import letter_document, show_letter
from anoean_stream.cli.moments import SinceOption, UntilOption
from anoean_stream.cli.options import ConfigOption, DebugOption, JsonOption, SetOption, load
from anoean_stream.cli.quiet import quiet_librdkafka
from anoean_stream.cli.reader import Reader
from anoean_stream.errors import ConfigError, DataError

app = typer.Typer(
    help="Look at dead letters, and send them again.", no_args_is_help=True, rich_markup_mode="rich"
)


@app.command("list")
def list_letters(
    *,
    limit: Annotated[int, typer.Option(min=1, help="Show the newest so many.")] = 50,
    reason: ReasonOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    partition: PartitionOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """List the dead letters that are in the topic now: why, from where, and what they look like.

    Times are those at which the letters were written.

    [bold]Examples[/]

    [cyan]anoean dlq list --reason wrong_type --since 2h[/]

    [cyan]anoean dlq list --json | jq .by_reason[/]
    """
    quiet_librdkafka(debug=debug)
    settings = load(config, overrides, debug=debug)
    selection = selection_of(reason=reason, partition=partition, since=since, until=until)
    topic = settings.topics.dead_letters
    counts: Counter[str] = Counter()
    newest: deque[DeadLetter] = deque(maxlen=limit)
    n_read = 0
    with Reader(settings, topic, group=dlq_group(settings)) as reader:
        for letter, _ in read_letters(reader, selection.spans(reader)):
            n_read += 1
            if selection.takes(letter):
                counts[letter.reason] += 1
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
        others = f"; {n_read:,} others are there" if n_read else ""
        err.print(f"no such dead letters in {escape(topic)}{others}")
        return
    out.print(_table(newest, title=f"{len(newest)} of {counts.total():,} in {escape(topic)}"))
    summary = Table()
    for heading in ("reason", "letters"):
        summary.add_column(heading, justify="right" if heading == "letters" else "left")
    for name, n in counts.most_common():
        summary.add_row(escape(printable(name)), f"{n:,}")
    out.print(summary)


@app.command("show")
def show(
    place: Annotated[
        str | None,
        typer.Argument(
            metavar="[PARTITION:OFFSET]",
            help="Where the letter stands, as `dlq list` shows it.",
            show_default=False,
        ),
    ] = None,
    *,
    origin: Annotated[
        str | None,
        typer.Option(
            metavar="[TOPIC/]PARTITION/OFFSET",
            help="Instead: where the record was read.",
            show_default=False,
        ),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Write the original bytes to stdout, and nothing else.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Show one dead letter: all headers, and its bytes as hexadecimal digits and text.

    [bold]Examples[/]

    [cyan]anoean dlq show 0:17[/]

    [cyan]anoean dlq show --origin flows/3/1234 --raw > record.json[/]
    """
    quiet_librdkafka(debug=debug)
    settings = load(config, overrides, debug=debug)
    if (place is None) == (origin is None) or (raw and as_json):
        message = "give either PARTITION:OFFSET or --origin, and at most one of --raw and --json"
        raise ConfigError(message)
    topic = settings.topics.dead_letters
    with Reader(settings, topic, group=dlq_group(settings)) as reader:
        letter, found = (
            _letter_at(reader, place)
            if place is not None
            else _letter_of(reader, origin or "", input_topic=settings.topics.input)
        )
    if raw:
        value = found.value()
        if value is None:
            err.print("this record is a tombstone: it has no bytes")
        sys.stdout.buffer.write(value or b"")
        sys.stdout.buffer.flush()
    elif as_json:
        print_json(letter_document(letter, found))
    else:
        show_letter(letter, found, topic=topic)


app.command("replay")(replay)


@app.command("purge")
def purge(
    *,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Refused: Kafka's retention removes dead letters, and only the topic's settings decide when."""
    settings = load(config, overrides, debug=debug)
    topic, servers = settings.topics.dead_letters, settings.broker.bootstrap_servers
    message = (
        f"dead letters are not purged by hand: a letter that nobody looked at would be lost for "
        f"good. Kafka removes them by the retention of {topic!r}; set it, to seven days for "
        f"instance, with: kafka-configs.sh --bootstrap-server {servers} --alter "
        f"--entity-type topics --entity-name {topic} --add-config retention.ms=604800000"
    )
    raise ConfigError(message)


def _table(letters: "deque[DeadLetter]", *, title: str) -> Table:
    table = Table(title=title)
    for heading in ("at", "written", "reason", "origin"):
        table.add_column(heading, no_wrap=True)
    for heading in ("bytes", "replays"):
        table.add_column(heading, justify="right")
    for heading in ("begins with", "detail"):
        table.add_column(heading, no_wrap=True, overflow="ellipsis")
    for letter in letters:
        written = letter.written_at
        table.add_row(
            letter.place,
            "-" if written is None else written.strftime("%m-%d %H:%M:%S"),
            escape(printable(letter.reason)),
            escape(printable(letter.origin)),
            "-" if letter.size_bytes is None else f"{letter.size_bytes:,}",
            str(letter.replay_count or ""),
            escape(letter.preview),
            escape(printable(letter.detail)),
        )
    return table


def _letter_at(reader: Reader, place: str) -> tuple[DeadLetter, Message]:
    numbers = _numbers(place)
    if numbers is None:
        message = f"{place!r} is no place of a dead letter; give PARTITION:OFFSET, such as 0:17"
        raise ConfigError(message)
    partition, offset = numbers
    low, high = reader.bounds().get(partition, (0, 0))
    if low <= offset < high:
        for found in read_letters(reader, {partition: (offset, offset + 1)}):
            return found
    there = f"it holds offsets {low} to {high - 1}" if high > low else "it holds none"
    message = f"there is no dead letter at {place} of {reader.topic!r}; {there}"
    raise DataError(message)


def _letter_of(reader: Reader, origin: str, *, input_topic: str) -> tuple[DeadLetter, Message]:
    """Return the newest letter of a record; the topic has to be read through for it."""
    *named, partition, offset = ["", *origin.replace(":", "/").split("/")]
    topic, numbers = "/".join(named).strip("/"), _numbers(f"{partition}:{offset}")
    if numbers is None:
        message = f"{origin!r} is no origin; give TOPIC/PARTITION/OFFSET, such as flows/3/1234"
        raise ConfigError(message)
    wanted = (topic or input_topic, *numbers)
    found: list[tuple[DeadLetter, Message]] = []
    for letter, message_found in read_letters(reader, Selection().spans(reader)):
        if (letter.origin_topic, letter.origin_partition, letter.origin_offset) == wanted:
            found.append((letter, message_found))
    if not found:
        message = (
            f"no dead letter of {'/'.join(map(str, wanted))} in {reader.topic!r}: it was scored, is "
            "not read yet, or retention has removed its letter"
        )
        raise DataError(message)
    if len(found) > 1:
        places = ", ".join(letter.place for letter, _ in found)
        err.print(f"{len(found)} letters of this record, the newest is shown: {places}")
    return max(found, key=lambda pair: (pair[1].timestamp()[1], pair[0].offset))


def _numbers(text: str) -> tuple[int, int] | None:
    partition, _, offset = text.replace("/", ":").partition(":")
    if not all(part.isascii() and part.isdecimal() for part in (partition, offset)):
        return None
    return int(partition[:9]), int(offset[:19])
