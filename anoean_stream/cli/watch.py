"""``anoean watch``: alerts as they come."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.live import Live
from rich.markup import escape

from anoean_stream.cli.alert_view import (
    SEVERITY_LABELS,
    AlertTable,
    is_notice,
    notice_line,
    one_line,
    reaches,
)
from anoean_stream.cli.console import err, out
from anoean_stream.cli.options import ConfigOption, DebugOption, SetOption, load
from anoean_stream.cli.quiet import quiet_librdkafka
from anoean_stream.cli.reader import Reader
from anoean_stream.errors import BrokerError
from anoean_stream.settings import Settings

_LOOK_S: Final = 2.0
"""Seconds for one look at a broker that may not be there yet."""

_PAUSE_S: Final = 1.0
"""Seconds between looks."""

_FRAME_LINES: Final = 6
"""Lines of the terminal that the table's frame needs."""

Show = Callable[[bytes, dict[str, Any]], None]


def _severity(text: str) -> int:
    if text.lower() in SEVERITY_LABELS:
        return SEVERITY_LABELS[text.lower()]
    if text.isdecimal() and int(text) <= 100:  # noqa: PLR2004  # the scale's end
        return int(text)
    message = f"{text!r} is no severity; give 0 to 100, or {', '.join(SEVERITY_LABELS)}"
    raise typer.BadParameter(message)


def watch(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="One alert a line, as it is on the topic.")
    ] = False,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Old alerts first; else only new ones.")
    ] = False,
    count: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many; else at Ctrl-C.")
    ] = None,
    min_severity: Annotated[
        int,
        typer.Option(
            parser=_severity,
            metavar="LEVEL",
            help=f"Leave milder alerts out: 0 to 100, or {', '.join(SEVERITY_LABELS)}.",
        ),
    ] = "0",  # type: ignore[assignment]  # typer parses defaults too
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Show alerts as they come, until Ctrl-C; waits for a broker that is not there yet.

    [bold]Examples[/]

    [cyan]anoean watch --min-severity high[/]

    [cyan]anoean watch --json --from-beginning --count 10 | jq .reason[/]
    """
    quiet_librdkafka(debug=debug)
    settings = load(config, overrides, debug=debug)
    n_shown = 0
    with _reader(settings) as reader, _shower(as_json=as_json) as show:
        _begin(reader, from_beginning=from_beginning)
        for value, alert in _alerts(reader):
            if not reaches(alert, min_severity):
                continue
            show(value, alert)
            n_shown += 1
            if n_shown == count:
                return


def _reader(settings: Settings) -> Reader:
    group = f"{settings.consumer.group_id}.watch"  # commits nothing, so many may watch
    return Reader(settings, settings.topics.alerts, group=group)


def _begin(reader: Reader, *, from_beginning: bool) -> None:
    """Wait for broker and topic, and start at the beginning or the end."""
    told = ""
    while True:
        try:
            if reader.partitions(timeout_s=_LOOK_S):
                bounds = reader.bounds()
                break
            trouble = f"there is no topic {reader.topic!r} yet"
        except BrokerError as error:
            reader.raise_if_hopeless()
            trouble = str(error)
        if not told:
            err.print(f"waiting: {escape(trouble)}", soft_wrap=True)
            told = trouble
        time.sleep(_PAUSE_S)
    reader.start_at({p: low if from_beginning else high for p, (low, high) in bounds.items()})
    if told:
        err.print("connected")


def _alerts(reader: Reader) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield alerts for ever; what is no alert is mentioned and passed over."""
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    while True:
        for message in reader.poll(0.5):
            value = message.value() or b""
            try:
                found = decode(value)
                if is_notice(found):
                    err.print(escape(notice_line(found)), soft_wrap=True)
                else:
                    yield value, found
            except (msgspec.DecodeError, UnicodeDecodeError):
                err.print(
                    f"{reader.topic} partition {message.partition()} offset {message.offset()} "
                    "is no alert; passed over"
                )


@contextmanager
def _shower(*, as_json: bool) -> Iterator[Show]:
    if as_json:
        yield lambda value, _: print(value.decode(), flush=True)  # noqa: T201  # the result
        return
    if not out.is_terminal:
        yield lambda _, alert: print(one_line(alert), flush=True)  # noqa: T201  # the result
        return
    table = AlertTable(max(out.height - _FRAME_LINES, 5))

    def caption() -> str:
        return f"{table.n_alerts:,} alerts so far; Ctrl-C ends"

    with Live(table.render(caption=caption()), console=out, refresh_per_second=8) as live:

        def show(_: bytes, alert: dict[str, Any]) -> None:
            table.add(alert)
            live.update(table.render(caption=caption()))

        yield show
