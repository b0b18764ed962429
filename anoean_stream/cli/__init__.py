"""``anoean``: the command line.

Each command is a function in its own module and `COMMANDS` is the list of them. Only the module
of the command that was asked for is imported, so ``anoean --help`` is quick and ``anoean serve``
never loads what training needs. An entry names ``module:attribute``; the attribute is either a
typer command function, or for a group (``anoean models list``) a `typer.Typer` called ``app``.

`main` is the only place that turns exceptions into exit codes:

====================  ====  =====================================================
what happened         code  what the user sees
====================  ====  =====================================================
all went well         0     the result
any other exception   1     a traceback: a bug, please report it
ConfigError, usage    2     one sentence on stderr
BundleError, ...      3     one sentence on stderr
BrokerError           4     one sentence on stderr
DeadLetterLimitError  5     one sentence on stderr
Ctrl-C                130   "stopped."
====================  ====  =====================================================
"""

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple

import typer
from rich.markup import escape

from anoean_stream import __version__
from anoean_stream.cli.console import err, out
from anoean_stream.errors import AnoeanError, ConfigError

EXIT_INTERRUPTED = 130
"""128 + SIGINT, what a shell expects after Ctrl-C."""


_TRAIN_MODULES = ("torch", "pandas", "pyarrow", "sklearn", "matplotlib")
"""What the extra `train` brings; a worker is installed without it."""


class Command(NamedTuple):
    """One entry of ``anoean --help``."""

    name: str
    target: str
    help: str
    panel: str


COMMANDS = (
    Command("demo", "demo:demo", "Broker, training, worker and traffic in one go.", "Begin here"),
    Command("train", "train:train", "Labelled traffic in, a model in the registry out.", "Models"),
    Command(
        "models", "models:app", "What is there, who serves it, promote and roll back.", "Models"
    ),
    Command(
        "threshold", "threshold:app", "Which score is an alert: show, set, take back.", "Models"
    ),
    Command("evaluate", "evaluate:evaluate", "Figures of merit on a labelled file.", "Models"),
    Command("score", "score:score", "A file of records in, scores out.", "Models"),
    Command("serve", "serve:serve", "The worker: flows in, alerts out, until stopped.", "Stream"),
    Command("watch", "watch:watch", "Alerts as they come.", "Stream"),
    Command("publish", "publish:publish", "Send a file or made-up traffic to a topic.", "Stream"),
    Command("topics", "topics:app", "Create and list the topics.", "Stream"),
    Command("dlq", "dlq:app", "Look at dead letters, and send them again.", "Stream"),
    Command("verify", "verify:verify", "Does what went in equal what came out?", "Stream"),
    Command("broker", "broker:broker", "An embedded Kafka for trying things out.", "Stream"),
    Command("config", "config:app", "Check the settings, show where each comes from.", "Settings"),
    Command("version", "version:version", "Versions of everything involved.", "Settings"),
)

_EPILOG = "Begin with [bold]anoean demo[/]; every command explains itself with --help."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; the console script passes it to `sys.exit`.

    Parameters
    ----------
    argv : sequence of str, optional
        Words after ``anoean``; by default those of this process.

    Returns
    -------
    int
        See the table above. Never raises, whatever the command does.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    try:
        build_app(_wanted(words))(args=words, prog_name="anoean")
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if code == EXIT_INTERRUPTED:
            err.print("stopped.")
        return code
    except KeyboardInterrupt:
        err.print("stopped.")
        return EXIT_INTERRUPTED
    except AnoeanError as error:
        if debug:
            traceback.print_exc()
        err.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        return error.exit_code
    except ModuleNotFoundError as error:
        if (error.name or "").split(".", maxsplit=1)[0] not in _TRAIN_MODULES:
            return _report_bug()
        if debug:
            traceback.print_exc()
        err.print(
            f"[bold red]error:[/] this command needs {error.name}, which is not installed; "
            r"install it with: pip install 'anoean-stream\[train]'",
            soft_wrap=True,
        )
        return ConfigError.exit_code
    except Exception:  # noqa: BLE001  the last guard: nothing may pass as a success
        return _report_bug()
    return 0


def _report_bug() -> int:
    traceback.print_exc()
    err.print("[bold red]error:[/] this is a bug in anoean; please report the lines above.")
    return AnoeanError.exit_code


def build_app(wanted: str | None = None) -> typer.Typer:
    """Put the command line together.

    Parameters
    ----------
    wanted : str, optional
        The command whose module is imported. The others appear with name and help only, which is
        all that ``anoean --help`` and the message about a mistyped command need.
    """
    app = typer.Typer(
        name="anoean",
        help="Streaming anomaly detection on Kafka.",
        epilog=_EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback()(_root)
    for command in COMMANDS:
        target = _import(command) if wanted in (command.name, "*") else _stub(command)
        if isinstance(target, typer.Typer):
            app.add_typer(target, name=command.name, rich_help_panel=command.panel)
        else:
            app.command(command.name, rich_help_panel=command.panel)(target)
    return app


def _wanted(words: Sequence[str]) -> str | None:
    """Name the command in `words`: the first that is no option, as ``anoean`` has none with a value."""
    if "_ANOEAN_COMPLETE" in os.environ:
        return "*"  # the shell asks for completions, and may be anywhere in the tree
    return next((word for word in words if not word.startswith("-")), None)


def _import(command: Command) -> typer.Typer | Callable[..., object]:
    module, attribute = command.target.split(":")
    target: typer.Typer | Callable[..., object] = getattr(
        importlib.import_module(f"anoean_stream.cli.{module}"), attribute
    )
    return target


def _stub(command: Command) -> Callable[[], None]:
    def stub() -> None:
        """Never called: `main` imports the command that was asked for."""

    stub.__doc__ = command.help
    return stub


def _print_version(requested: bool) -> None:  # noqa: FBT001  typer calls it with one positional
    if requested:
        out.print(f"anoean {__version__}")
        raise typer.Exit


def _root(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
) -> None:
    """Streaming anomaly detection on Kafka."""
    del version  # its callback has done the work


__all__ = ["COMMANDS", "Command", "build_app", "main"]
