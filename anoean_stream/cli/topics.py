"""``anoean topics``: create the topics of the worker, and see what there is."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from anoean_stream.cli.console import err, out, print_json
from anoean_stream.cli.options import ConfigOption, DebugOption, JsonOption, SetOption, load
from anoean_stream.cli.quiet import quiet_librdkafka
from anoean_stream.kafka.topics import (
    DEFAULT_PARTITIONS,
    create_topics,
    list_topics,
    missing_topics,
    worker_topics,
)

app = typer.Typer(help="Create and list the topics.", no_args_is_help=True, rich_markup_mode="rich")


@app.command("create")
def create(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Topics; by default the three of the worker (topics.* of the settings).",
            show_default=False,
        ),
    ] = None,
    *,
    partitions: Annotated[
        int,
        typer.Option(min=1, max=10_000, help="Partitions: how many workers can share a topic."),
    ] = DEFAULT_PARTITIONS,
    replication_factor: Annotated[
        int,
        typer.Option(min=-1, max=32767, help="Copies of each partition; -1: the brokers' default."),
    ] = -1,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Create topics that do not exist yet; those that do are left as they are.

    [bold]Examples[/]

    [cyan]anoean topics create[/]

    [cyan]anoean topics create --partitions 12 --replication-factor 3[/]
    """
    quiet_librdkafka(debug=debug)
    settings = load(config, overrides, debug=debug)
    wanted = tuple(names) if names else worker_topics(settings)
    missing = missing_topics(settings, wanted)
    created = (
        create_topics(settings, dict.fromkeys(missing, partitions), replication=replication_factor)
        if missing
        else []
    )
    existing = [name for name in wanted if name not in created]
    if as_json:
        print_json({"created": created, "existing": existing})
        return
    for name in created:
        out.print(f"created [bold]{escape(name)}[/] with {partitions} partitions")
    for name in existing:
        out.print(f"{escape(name)} exists already, left as it is")


@app.command("list")
def list_command(
    *,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """List all topics this user may see, and say which of the worker's are missing.

    [bold]Examples[/]

    [cyan]anoean topics list --json[/]
    """
    quiet_librdkafka(debug=debug)
    settings = load(config, overrides, debug=debug)
    topics = list_topics(settings)
    own = dict(zip(worker_topics(settings), ("input", "alerts", "dead letters"), strict=True))
    missing = [name for name in own if name not in {topic.name for topic in topics}]
    if as_json:
        print_json({"topics": topics, "missing": missing})
        return
    table = Table("topic", "used for", title=f"topics on {settings.broker.bootstrap_servers}")
    for heading in ("partitions", "replication"):
        table.add_column(heading, justify="right")
    for topic in topics:
        table.add_row(
            escape(topic.name),
            own.get(topic.name, ""),
            str(topic.partitions),
            str(topic.replication),
        )
    out.print(table)
    if missing:
        err.print(f"missing: {', '.join(missing)}; create them with `anoean topics create`")
