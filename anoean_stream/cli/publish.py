"""``anoean publish``: a file, a data set or simulated traffic to a topic."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Final

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from anoean_stream.cli.console import err, out, print_json
from anoean_stream.cli.offline import (
    DataDirOption,
    DatasetOption,
    FileArgument,
    SplitOption,
    source,
)
from anoean_stream.cli.options import ConfigOption, DebugOption, JsonOption, SetOption, load
from anoean_stream.cli.pace import Pace
from anoean_stream.cli.parcels import Parcel, from_file, from_simulator
from anoean_stream.cli.quiet import quiet_librdkafka
from anoean_stream.cli.sender import Sender
from anoean_stream.errors import BrokerError, ConfigError
from anoean_stream.kafka.faults import missing_topic_sentence
from anoean_stream.kafka.topics import missing_topics
from anoean_stream.simulate import ATTACK_KINDS, Simulator

_SHOW_EVERY: Final = 500
"""Records between two looks at the delivery reports and the progress bar."""


def _rate(text: str) -> float:
    try:
        rate_per_s = float(text.removesuffix("/s"))
    except ValueError as error:
        message = f"{text!r} is no rate; write records a second, such as 5000 or 5000/s"
        raise typer.BadParameter(message) from error
    if not 0 < rate_per_s < float("inf"):
        message = f"{text!r} is no rate; it must be more than 0"
        raise typer.BadParameter(message)
    return rate_per_s


def publish(
    file: FileArgument = None,
    *,
    dataset: DatasetOption = None,
    split: SplitOption = "test",
    data_dir: DataDirOption = None,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Simulated traffic instead of a file.")
    ] = False,
    attacks: Annotated[
        str | None,
        typer.Option(
            metavar="KIND,...",
            help=f"Attacks to simulate: {', '.join(ATTACK_KINDS)}; or none. By default all.",
            show_default=False,
        ),
    ] = None,
    attack_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of simulated records that are attacks.")
    ] = 0.03,
    malformed: Annotated[
        float, typer.Option(min=0, max=1, help="Share of simulated records that are broken.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated traffic.")] = 0,
    topic: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Topic; else topics.input of the settings.", show_default=False
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="N/s",
            parser=_rate,
            help="Records a second; else as fast as possible.",
            show_default=False,
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after so many; else at the end of the file, or at Ctrl-C."),
    ] = None,
    label_column: Annotated[
        str, typer.Option(metavar="NAME", help="Column that holds the label, if there is one.")
    ] = "label",
    keep_labels: Annotated[
        bool, typer.Option("--keep-labels", help="Leave the label in the record, too.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Publish records to the input topic, and wait until the brokers have all of them.

    A label never travels in the record: it goes to the header anoean-label, for whoever wants to
    count hits. The key is the source address where the record has one.

    [bold]Examples[/]

    [cyan]anoean publish flows.csv.gz --rate 5000/s[/]

    [cyan]anoean publish --dataset nsl-kdd --split test --data-dir data/nsl-kdd[/]

    [cyan]anoean publish --simulate --attacks port_scan,dns_tunnel --rate 2000/s --count 100000[/]
    """
    quiet_librdkafka(debug=debug)
    settings = load(config, overrides, debug=debug)
    topic = topic or settings.topics.input
    if simulate:
        if file is not None or dataset is not None:
            message = "give --simulate, or a FILE, or --dataset NAME; got --simulate and another"
            raise ConfigError(message)
        parcels = from_simulator(
            _simulator(attacks, attack_share, seed=seed, rate_per_s=rate),
            malformed_share=malformed,
            seed=seed,
        )
        n_expected = count
    else:
        chosen = source(file, dataset=dataset, split=split, data_dir=data_dir)
        parcels = from_file(chosen, label_column=label_column, keep_labels=keep_labels)
        n_expected = min(count or chosen.n_rows, chosen.n_rows) if chosen.n_rows else count
    if missing_topics(settings, [topic]):
        raise BrokerError(missing_topic_sentence(topic, settings.broker.bootstrap_servers))
    sender = Sender(settings)
    began_s = time.monotonic()
    interrupted = _send_all(
        islice(parcels, count), sender, topic=topic, rate_per_s=rate, n_expected=n_expected
    )
    seconds = time.monotonic() - began_s
    _tell(sender, topic=topic, seconds=seconds, as_json=as_json)
    if interrupted:
        raise KeyboardInterrupt


def _simulator(
    attacks: str | None, attack_share: float, *, seed: int, rate_per_s: float | None
) -> Simulator:
    kinds = None if attacks is None else [name for name in attacks.split(",") if name]
    if kinds == ["none"]:
        kinds, attack_share = [], 0.0
    try:
        return Simulator(
            seed=seed,
            attacks=kinds,
            attack_share=attack_share,
            start=datetime.now(UTC),
            flows_per_s=rate_per_s or 1000.0,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _send_all(
    parcels: Iterator[Parcel],
    sender: Sender,
    *,
    topic: str,
    rate_per_s: float | None,
    n_expected: int | None,
) -> bool:
    """Send and await everything; return whether Ctrl-C ended it early."""
    bar = Progress(
        TextColumn("publishing to {task.fields[topic]}"),
        BarColumn(),
        TextColumn("{task.completed:,} acknowledged, {task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
    interrupted = False
    with bar:
        task = bar.add_task("", total=n_expected, topic=escape(topic), rate=0.0)
        began_s = time.monotonic()

        def show() -> None:
            sender.poll()
            rate = sender.n_acknowledged / max(time.monotonic() - began_s, 1e-9)
            bar.update(task, completed=sender.n_acknowledged, rate=rate)

        pace = Pace(rate_per_s)
        try:
            for number, parcel in enumerate(parcels, start=1):
                if wait_s := pace.wait_s():
                    show()
                    time.sleep(wait_s)
                sender.send(topic, parcel.value, key=parcel.key, headers=parcel.headers)
                if number % _SHOW_EVERY == 0:
                    show()
        except KeyboardInterrupt:
            interrupted = True
        sender.finish()
        show()
    return interrupted


def _tell(sender: Sender, *, topic: str, seconds: float, as_json: bool) -> None:
    rate = sender.n_acknowledged / max(seconds, 1e-9)
    if as_json:
        print_json(
            {
                "topic": topic,
                "sent": sender.n_sent,
                "acknowledged": sender.n_acknowledged,
                "seconds": round(seconds, 3),
                "records_per_s": round(rate, 1),
            }
        )
        return
    out.print(
        f"{sender.n_acknowledged:,} records to [bold]{escape(topic)}[/] in {seconds:.1f} s "
        f"({rate:,.0f}/s), all acknowledged"
    )
