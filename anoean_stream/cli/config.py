"""``anoean config``: check the settings, show where each comes from, write a fresh file."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from rich.markup import escape
from rich.table import Table

from anoean_stream.cli.console import err, out, print_json
from anoean_stream.cli.options import ConfigOption, DebugOption, JsonOption, SetOption
from anoean_stream.configdocs import default_yaml, each_field
from anoean_stream.configfile import (
    DEFAULT_FILE,
    MASK,
    SECRET_OPTION,
    InvalidSettingsError,
    LoadedSettings,
    load,
)
from anoean_stream.configsources import DEFAULT
from anoean_stream.errors import ConfigError

_URL_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")
"""user:password of a registry URL."""

app = typer.Typer(
    help="""Check the settings, show where each value comes from, write a fresh file.

    [bold]Examples[/]

    [cyan]anoean config check[/]                                  everything, with its source

    [cyan]anoean config check --config prod.yaml --json[/]        the same for machines

    [cyan]ANOEAN__WEB__PORT=8080 anoean config check[/]           a variable beats the file

    [cyan]anoean config write prod.yaml[/]                        every setting with its default
    """,
    no_args_is_help=True,
)


@app.command()
def check(
    *,
    config: ConfigOption = None,
    overrides: SetOption = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only what differs from the defaults.")
    ] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print the merged settings and the source of each value, or all that is wrong with them.

    Secrets are masked. Nothing is connected to and no file is written. Exit code 2 when a setting
    cannot be used.
    """
    del debug  # `main` looks for it; there is nothing to log here
    try:
        loaded = load(config, overrides or ())
    except InvalidSettingsError as error:
        if as_json:
            print_json(_error_document(error))
        raise
    if as_json:
        print_json(_document(loaded))
    else:
        _print_table(loaded, only_changed=changed)
        err.print(f"[green]ok[/]  {escape(_origin(loaded))}")


@app.command()
def write(
    path: Annotated[
        Path, typer.Argument(help="File to write; - prints it.", show_default=True)
    ] = DEFAULT_FILE,
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a file with every setting, its default, its unit and its meaning."""
    if str(path) == "-":
        typer.echo(default_yaml(), nl=False)
        return
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(default_yaml())
    except FileExistsError as error:
        message = f"{path} exists; replace it with --force, or name another file"
        raise ConfigError(message) from error
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}; name another file"
        raise ConfigError(message) from error
    err.print(f"wrote {escape(str(path))}")


def _print_table(loaded: LoadedSettings, *, only_changed: bool) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("source", overflow="fold")
    for section, key, _ in each_field():
        sources = loaded.source_of(section, key)
        is_default = sources == [DEFAULT]
        if only_changed and is_default:
            continue
        table.add_row(
            f"{section}.{key}",
            escape(_text(shown(getattr(getattr(loaded.settings, section), key)))),
            escape(", ".join(source.label for source in sources)),
            style="dim" if is_default else None,
        )
    # Into a pipe or a file nothing is folded: one setting, one line.
    out.print(table, width=None if out.is_terminal else 200)


def _document(loaded: LoadedSettings) -> dict[str, object]:
    settings: dict[str, dict[str, object]] = {}
    for section, key, _ in each_field():
        value = getattr(getattr(loaded.settings, section), key)
        sources = ", ".join(source.label for source in loaded.source_of(section, key))
        settings.setdefault(section, {})[key] = {"value": shown(value), "source": sources}
    file = str(loaded.file) if loaded.file else None
    return {"ok": True, "file": file, "settings": settings}


def _error_document(error: InvalidSettingsError) -> dict[str, object]:
    errors = [
        {
            "source": problem.source.label,
            "file": problem.source.file,
            "line": problem.source.line,
            "setting": problem.key.rstrip(":") or None,
            "message": str(problem),
        }
        for problem in error.problems
    ]
    return {"ok": False, "errors": errors}


def shown(value: object) -> Any:
    """Turn a setting into what may be shown: secrets masked, the rest as it is."""
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, dict):
        return {name: MASK if SECRET_OPTION.search(name) else text for name, text in value.items()}
    if isinstance(value, str):
        return _URL_LOGIN.sub(MASK, value)
    return value


def _text(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return str(list(value))
    return str(value)


def _origin(loaded: LoadedSettings) -> str:
    return f"read from {loaded.file}" if loaded.file else "no file; defaults"
