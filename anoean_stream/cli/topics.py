"""``anoean topics``: create the topics that the settings name, and see what there is."""

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
    partitions_of,
    topic_uses,
)

app = typer.Typer(help="Create and list the topics.", no_args_is_help=True, rich_markup_mode="rich")


@app.command("create")
def create(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Topics; by default all that topics.* of the settings names.",
            show_default=False,
        ),
    ] = None,
    *,
    partitions: Annotated[
        int,
        typer.Option(
            min=1,
            max=10_000,
            help="Partitions: how many workers can share a topic. Those about models and workers "
            "have one.",
        ),
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

    Each gets the configuration that it needs: the audit topic keeps its
    records for good, the reports of workers are compacted, a dead letter fits
    whole. Whoever creates topics with other tools finds it in docs/audit.md.

    [bold]Examples[/]

    [cyan]anoean topics create[/]

    [cyan]anoean topics create --partitions 12 --replication-factor 3[/]
    """
    quiet_librdkafka(debug=debug)
    settings = load(config, overrides, debug=debug)
    wanted = tuple(names) if names else tuple(topic_uses(settings))
    missing = {
        name: partitions_of(settings, name, otherwise=partitions)
        for name in missing_topics(settings, wanted)
    }
    created = create_topics(settings, missing, replication=replication_factor) if missing else []
    existing = [name for name in wanted if name not in created]
    if as_json:
        print_json({"created": created, "existing": existing})
        return
    for name in created:
        n = missing[name]
        out.print(f"created [bold]{escape(name)}[/] with {n} partition{'s' if n > 1 else ''}")
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
    """List all topics this user may see, what each is used for, and which are missing.

    [bold]Examples[/]

    [cyan]anoean topics list --json[/]
    """
    quiet_librdkafka(debug=debug)
    settings = load(config, overrides, debug=debug)
    topics = list_topics(settings)
    uses = topic_uses(settings)
    missing = [name for name in uses if name not in {topic.name for topic in topics}]
    if as_json:
        print_json({"topics": topics, "uses": uses, "missing": missing})
        return
    table = Table("topic", "used for", title=f"topics on {settings.broker.bootstrap_servers}")
    for heading in ("partitions", "replication"):
        table.add_column(heading, justify="right")
    for topic in topics:
        table.add_row(
            escape(topic.name),
            uses.get(topic.name, ""),
            str(topic.partitions),
            str(topic.replication),
        )
    out.print(table)
    if missing:
        listed = ", ".join(f"{name} ({uses[name]})" for name in missing)
        err.print(
            f"missing: {escape(listed)}; create them with `anoean topics create`", soft_wrap=True
        )
