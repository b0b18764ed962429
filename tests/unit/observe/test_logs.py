"""Every line in one form, whoever says it."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from anoean_stream.observe.logs import configure_logging
from anoean_stream.settings import LoggingSettings


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_ours_and_a_librarys_line_are_json_objects_with_the_same_fields(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(LoggingSettings(format="json"))

    structlog.get_logger("anoean.app").info("model_in_use", model="edge@7")
    logging.getLogger("anoean.kafka.librdkafka.consumer").warning("FAIL %s", "connect")

    captured = capsys.readouterr()
    ours, theirs = (json.loads(line) for line in captured.err.splitlines())
    assert (ours["event"], ours["model"], ours["level"]) == ("model_in_use", "edge@7", "info")
    assert (theirs["event"], theirs["level"]) == ("FAIL connect", "warning")
    assert ours["timestamp"].endswith("Z")
    assert theirs.keys() >= {"event", "level", "logger", "timestamp"}
    assert captured.out == ""


def test_traceback_stays_inside_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LoggingSettings(format="json"))

    structlog.get_logger("anoean.serve").error("worker_crashed", exc_info=ValueError("boom"))

    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError: boom" in json.loads(line)["exception"]


@pytest.mark.parametrize(("level", "expected"), [("INFO", 0), ("DEBUG", 1)])
def test_fausts_life_cycle_is_for_debugging(
    capsys: pytest.CaptureFixture[str], level: str, expected: int
) -> None:
    configure_logging(LoggingSettings.model_validate({"format": "json", "level": level}))

    logging.getLogger("anoean_stream.app").info("[^-Consumer]: Starting...")

    assert len(capsys.readouterr().err.splitlines()) == expected


def test_configured_twice_says_each_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LoggingSettings(format="json"))
    configure_logging(LoggingSettings(format="json"))

    structlog.get_logger("anoean").warning("once")

    assert len(capsys.readouterr().err.splitlines()) == 1


def test_auto_is_json_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LoggingSettings(format="auto"))

    structlog.get_logger("anoean").warning("piped")

    assert json.loads(capsys.readouterr().err)["event"] == "piped"


def test_a_traceback_on_a_terminal_shows_no_local_variables(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(LoggingSettings(format="pretty"))

    def connect() -> None:
        password = chr(104) + "ush"  # so that the source line does not show it
        raise ValueError(f"{len(password)} characters")

    try:
        connect()
    except ValueError:
        structlog.get_logger("anoean.serve").exception("worker_crashed")

    text = capsys.readouterr().err
    assert "ValueError" in text
    assert "connect" in text
    assert "hush" not in text
