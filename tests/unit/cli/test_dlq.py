"""Dead letters on the screen, and the counters of a worker: nothing in them is trusted."""

import pytest

from anoean_stream.cli import main
from anoean_stream.cli.dead_letters import printable
from anoean_stream.cli.letter_view import hex_rows
from anoean_stream.cli.scrape import counts_of
from anoean_stream.observe.metrics import Metrics, read_exposition


def test_what_a_terminal_would_obey_is_not_printed() -> None:
    assert printable("a\x1b[31mb\r\n\x00\u202e") == "a.[31mb...."


def test_bytes_are_shown_as_digits_and_text() -> None:
    first, second = hex_rows(b'{"a": 1}\x1b[31m' + b"\xff" * 8)

    assert first.split("  ", 1) == [
        "00000000",
        '7b 22 61 22 3a 20 31 7d 1b 5b 33 31 6d ff ff ff  {"a": 1}.[31m...',
    ]
    assert second.startswith("00000010  ff ff ff ff ff   ")


def test_counters_are_read_from_what_a_worker_writes() -> None:
    metrics = Metrics()
    metrics.records.inc(10)
    metrics.scored.inc(7)
    metrics.alerts.inc(2)
    metrics.dead_letters.labels("empty").inc(1)
    metrics.dead_letters.labels("not_json").inc(2)

    counts = counts_of("http://w", read_exposition(metrics.exposition().decode()))

    assert (counts.records, counts.scored, counts.dead, counts.alerts) == (10, 7, 3, 2)
    assert counts.started_at is not None
    assert counts.started_at > 1.7e9


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dlq", "show"], "give either PARTITION:OFFSET or --origin"),
        (["dlq", "show", "0:1", "--raw", "--json"], "at most one of --raw and --json"),
        (["dlq", "list", "--reason", "bad"], "unknown reason 'bad'"),
        (["dlq", "replay", "--publish"], "--publish needs --through-scorer"),
        (["dlq", "purge"], "retention.ms"),
        (["verify", "--since", "1h", "--until", "2h"], "is not after --since"),
    ],
)
@pytest.mark.usefixtures("empty_folder")
def test_wrong_words_are_named_before_any_broker_is_asked(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err
