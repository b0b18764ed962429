"""``anoean score``: a file of records in, one score a row out."""

import csv
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol, TextIO

import msgspec
import typer

from anoean_stream.cli.console import err, print_json
from anoean_stream.cli.offline import (
    DataDirOption,
    DatasetOption,
    FileArgument,
    ModelOption,
    SplitOption,
    VersionOption,
    judge,
    open_model,
    open_pipeline,
    source,
)
from anoean_stream.cli.options import ConfigOption, DebugOption, JsonOption, SetOption, load
from anoean_stream.cli.progress import row_progress
from anoean_stream.errors import ConfigError
from anoean_stream.pipeline import Verdict
from anoean_stream.records.files import read_values

COLUMNS: Final = ("row", "score", "p_value", "anomaly", "reason", "detail")
"""Columns of the output; the last two are empty for a row that was scored."""

_STDOUT: Final = "-"

OutputFormat = Literal["csv", "jsonl"]


class ScoredRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One row of the output.

    Parameters
    ----------
    row : int
        Row of the file, from 1, without the header.
    score : float or None
        Mahalanobis distance; higher is more anomalous. None when it could not be scored.
    p_value : float or None
        Share of normals as far away, (0, 1].
    anomaly : int or None
        1 above the threshold.
    reason, detail : str or None
        Why it could not be scored; the worker would write a dead letter.
    """

    row: int
    score: float | None = None
    p_value: float | None = None
    anomaly: int | None = None
    reason: str | None = None
    detail: str | None = None


class _Sink(Protocol):
    def __call__(self, row: ScoredRow, /) -> object: ...


def score(
    file: FileArgument = None,
    *,
    dataset: DatasetOption = None,
    split: SplitOption = "test",
    data_dir: DataDirOption = None,
    model: ModelOption = None,
    version: VersionOption = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|-",
            help="Where the rows go; - is stdout, the default unless --json is given.",
            show_default=False,
        ),
    ] = None,
    output_format: Annotated[
        OutputFormat | None,
        typer.Option(
            "--format", help="Else by the name of the output; else csv.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Score the records of a file, by the same code as the worker's.

    One row out for each row in: row, score (higher is more anomalous), p_value, anomaly (0 or 1);
    or reason and detail where the worker would have written a dead letter.

    [bold]Examples[/]

    [cyan]anoean score flows.csv.gz --output scores.csv[/]

    [cyan]anoean score flows.jsonl --format jsonl | grep '"anomaly":1'[/]

    [cyan]anoean score --dataset nsl-kdd --split test --data-dir nsl-kdd --version 3 --json[/]
    """
    settings = load(config, overrides, debug=debug)
    target = output or (None if as_json else _STDOUT)
    if as_json and target == _STDOUT:
        message = "--json and --output - both write to stdout; give --output a file, or drop one"
        raise ConfigError(message)
    records = source(file, dataset=dataset, split=split, data_dir=data_dir)
    served = open_model(settings, name=model, ref=version)
    pipeline = open_pipeline(settings, served)

    reasons: Counter[str] = Counter()
    n_rows = n_scored = n_anomalies = 0
    started_s = time.perf_counter()
    with (
        _sink(target, output_format=output_format) as write,
        row_progress(f"scoring {records.path.name}", total=records.n_rows) as advance,
    ):
        for first, verdict in judge(
            read_values(records.path, columns=records.columns),
            pipeline=pipeline,
            topic=records.path.name,
            chunk_records=settings.consumer.chunk_max_records,
        ):
            for row in rows_of(verdict, first=first):
                write(row)
            n_rows += verdict.n_records
            n_scored += verdict.n_scored
            n_anomalies += int(verdict.anomalous_G.sum())
            reasons.update(verdict.rejected_by_reason)
            advance(verdict.n_records)
    seconds = time.perf_counter() - started_s

    if as_json:
        print_json(
            {
                "file": str(records.path),
                "model": served.name,
                "version": served.version,
                "threshold": pipeline.threshold,
                "rows": n_rows,
                "scored": n_scored,
                "anomalies": n_anomalies,
                "dead_letters": dict(sorted(reasons.items())),
                "seconds": round(seconds, 3),
                "output": target,
            }
        )
        return
    err.print(
        f"{n_rows:,} rows in {seconds:.1f} s: {n_scored:,} scored by {served.name} version "
        f"{served.version}, {n_anomalies:,} above the threshold {pipeline.threshold:.4g}, "
        f"{reasons.total():,} could not be scored{_by_reason(reasons)}"
    )


def rows_of(verdict: Verdict, *, first: int) -> Iterator[ScoredRow]:
    """Yield a row for each record of a verdict, in the order of the file.

    Parameters
    ----------
    verdict : Verdict
        What became of a chunk.
    first : int
        Number of the chunk's first row, from 1.
    """
    scored = zip(
        verdict.rows_G.tolist(),
        verdict.distances_G.tolist(),
        verdict.p_values_G.tolist(),
        verdict.anomalous_G.tolist(),
        strict=True,
    )
    rows = [
        ScoredRow(first + index, distance, p_value, int(anomalous))
        for index, distance, p_value, anomalous in scored
    ]
    rows += [
        ScoredRow(first + rejected.index, reason=rejected.reason, detail=rejected.detail)
        for rejected in verdict.rejected
    ]
    yield from sorted(rows, key=lambda row: row.row)


@contextmanager
def _sink(target: str | None, *, output_format: OutputFormat | None) -> Iterator[_Sink]:
    if target is None:
        yield lambda _: None
        return
    chosen = output_format or (
        "jsonl" if target.endswith((".jsonl", ".ndjson", ".json")) else "csv"
    )
    if target == _STDOUT:
        yield _writer(sys.stdout, chosen)
        sys.stdout.flush()
        return
    try:
        text = Path(target).open("w", encoding="utf-8", newline="")  # noqa: SIM115  closed below
    except OSError as error:
        message = (
            f"cannot write {target} ({error.strerror}); give --output a file in a folder that "
            f"exists and that you may write"
        )
        raise ConfigError(message) from error
    with text:
        yield _writer(text, chosen)


def _writer(text: TextIO, output_format: OutputFormat) -> _Sink:
    if output_format == "jsonl":
        encode = msgspec.json.Encoder().encode
        return lambda row: text.write(encode(row).decode() + "\n")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    return lambda row: rows.writerow(msgspec.structs.astuple(row))


def _by_reason(reasons: Counter[str]) -> str:
    named = ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items()))
    return f" ({named})" if named else ""
