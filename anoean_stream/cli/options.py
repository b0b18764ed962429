"""The options that commands share, and how they become `Settings`.

A command declares them keyword-only and hands them to `load`::

    def serve(
        *,
        config: ConfigOption = None,
        overrides: SetOption = None,
        log_format: LogFormatOption = None,
        debug: DebugOption = False,
    ) -> None:
        settings = load(config, overrides, log_format=log_format, debug=debug)

Flags do not multiply: what can be configured is in config.yaml and reachable with ``--set``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from anoean_stream.configfile import load_settings
from anoean_stream.settings import Settings

_PANEL = "Settings"

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="YAML file with settings. Else $ANOEAN_CONFIG, else ./config.yaml if there is one.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        help="One setting, stronger than file and environment; may be repeated.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
LogFormatOption = Annotated[
    Literal["auto", "pretty", "json"] | None,
    typer.Option(
        "--log-format",
        help="auto is pretty on a terminal and JSON otherwise.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
DebugOption = Annotated[
    bool,
    typer.Option(
        "--debug",
        help="Log at DEBUG, and show the traceback of an error.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="One JSON object on stdout, for machines.", show_default=False),
]

ReasonOption = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why, in one line; it is recorded.")
]
ModelArgument = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="Name of the model; else model.name.", show_default=False),
]


def load(
    config: Path | None,
    overrides: Sequence[str] | None,
    *,
    log_format: Literal["auto", "pretty", "json"] | None = None,
    debug: bool = False,
) -> Settings:
    """Merge defaults, file, environment and command line into settings.

    Parameters
    ----------
    config : Path or None
        What ``--config`` said.
    overrides : sequence of str or None
        What ``--set`` said, in order; a later one wins.
    log_format : {"auto", "pretty", "json"}, optional
        What ``--log-format`` said: short for ``--set logging.format=...``.
    debug : bool
        Short for ``--set logging.level=DEBUG``.

    Returns
    -------
    Settings
        Complete and checked.

    Raises
    ------
    ConfigError
        Names every wrong setting with its source, the value seen and what is allowed.
    """
    merged = list(overrides or ())
    if log_format is not None:
        merged.append(f"logging.format={log_format}")
    if debug:
        merged.append("logging.level=DEBUG")
    return load_settings(config, merged)
