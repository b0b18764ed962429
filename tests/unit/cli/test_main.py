"""``anoean`` itself: exit codes, where text goes, and that asking for help stays cheap."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pytest
import typer

import anoean_stream.cli
from anoean_stream import __version__
from anoean_stream.cli import COMMANDS, Command, build_app, main
from anoean_stream.errors import BrokerError, ConfigError, IntegrityError


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Replace ``anoean serve`` by a command that raises."""

    def install(error: BaseException) -> None:
        def command(*, debug: Annotated[bool, typer.Option("--debug")] = False) -> None:
            raise error

        monkeypatch.setattr(anoean_stream.cli, "_import", lambda _command: command)

    return install


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigError("so"), 2), (IntegrityError("so"), 3), (BrokerError("so"), 4)],
)
def test_our_errors_are_one_sentence_and_their_exit_code(
    failing: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
) -> None:
    failing(error)

    assert main(["serve"]) == code
    said = capsys.readouterr()
    assert said.err == "error: so\n"
    assert not said.out


def test_debug_shows_the_traceback_too(
    failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing(ConfigError("so"))

    assert main(["serve", "--debug"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.endswith("error: so\n")


def test_square_brackets_in_a_message_survive(
    failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing(ConfigError("expected [64, 32] or [red]"))

    main(["serve"])

    assert capsys.readouterr().err == "error: expected [64, 32] or [red]\n"


def test_unknown_exception_is_a_traceback_and_exit_code_1(
    failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing(ZeroDivisionError("oh"))

    assert main(["serve"]) == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError: oh" in said
    assert "bug in anoean" in said


def test_ctrl_c_is_a_clean_sentence_and_exit_code_130(
    failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing(KeyboardInterrupt())

    assert main(["serve"]) == 130
    assert capsys.readouterr().err == "stopped.\n"


def test_reader_that_went_away_is_no_traceback() -> None:
    """`anoean config write - | true`: the pipe is closed before anything is written."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        finished = subprocess.run(
            [sys.executable, "-m", "anoean_stream", "config", "write", "-"],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writer)

    assert finished.stderr == ""


def test_missing_training_extra_is_named_with_the_way_to_get_it(
    failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing(ModuleNotFoundError("No module named 'torch'", name="torch"))

    assert main(["serve"]) == 2
    said = capsys.readouterr().err
    assert "needs torch" in said
    assert "anoean-stream[train]" in said


def test_other_missing_module_is_a_bug(
    failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing(ModuleNotFoundError("No module named 'x'", name="x"))

    assert main(["serve"]) == 1
    assert "ModuleNotFoundError" in capsys.readouterr().err


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0

    assert capsys.readouterr().out == f"anoean {__version__}\n"


def test_help_names_every_command_and_imports_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0

    words = capsys.readouterr().out.split()
    assert {command.name for command in COMMANDS} <= set(words)


def test_mistyped_command_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["serv"]) == 2

    assert "Did you mean 'serve'" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS, ids=[command.name for command in COMMANDS])
def test_every_command_has_help_that_needs_neither_torch_nor_pandas(command: Command) -> None:
    program = (
        "import sys; from anoean_stream.cli import main; code = main(sys.argv[1:]);"
        "print({'torch', 'pandas', 'sklearn'} & set(sys.modules), file=sys.stderr); sys.exit(code)"
    )

    finished = subprocess.run(
        [sys.executable, "-c", program, command.name, "--help"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.strip() == "set()"
    assert "--help" in finished.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=[command.name for command in COMMANDS])
def test_table_points_to_something_typer_can_run(command: Command) -> None:
    module, attribute = command.target.split(":")

    target = getattr(importlib.import_module(f"anoean_stream.cli.{module}"), attribute)

    assert isinstance(target, typer.Typer) or callable(target)
    build_app(command.name)


def test_no_colour_when_the_environment_says_so() -> None:
    environment = {**os.environ, "NO_COLOR": "1", "FORCE_COLOR": "1", "TERM": "xterm-256color"}

    finished = subprocess.run(
        [sys.executable, "-m", "anoean_stream", "config", "check", "--config", "nowhere.yaml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment,
        cwd=Path(__file__).parent,
    )

    assert finished.returncode == 2
    assert "\x1b[3" not in finished.stderr
