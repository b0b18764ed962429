"""What the commands of ``anoean dlq`` share: which letters are meant, and under which group."""

from datetime import datetime
from typing import Annotated

import typer

from anoean_stream.cli.dead_letters import Selection
from anoean_stream.errors import ConfigError
from anoean_stream.records.deadletter import REASONS
from anoean_stream.settings import Settings

ReasonOption = Annotated[
    str | None,
    typer.Option(metavar="REASON", help=f"Only these: {', '.join(REASONS)}.", show_default=False),
]
PartitionOption = Annotated[
    int | None,
    typer.Option(min=0, help="Only of records of this partition of the input.", show_default=False),
]


def selection_of(
    *,
    reason: str | None,
    partition: int | None,
    since: datetime | None,
    until: datetime | None,
) -> Selection:
    """Return the letters that the options mean.

    Raises
    ------
    ConfigError
        When there is no such reason.
    """
    if reason is not None and reason not in REASONS:
        message = f"unknown reason {reason!r}; expected one of: {', '.join(REASONS)}"
        raise ConfigError(message)
    return Selection(reason=reason, partition=partition, since=since, until=until)


def dlq_group(settings: Settings) -> str:
    """Return the group under which replays are remembered."""
    return f"{settings.consumer.group_id}.dlq-replay"
