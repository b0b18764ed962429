"""``anoean models diff``: the same records through two models, and a report of what differs."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from anoean_stream.cli.console import err, out, print_json
from anoean_stream.cli.models_diff_page import page
from anoean_stream.cli.models_diff_records import (
    FileRows,
    FromOption,
    Point,
    ToOption,
    TopicRange,
    topic_range,
)
from anoean_stream.cli.models_diff_study import Study
from anoean_stream.cli.models_diff_words import headline, names
from anoean_stream.cli.offline import (
    DataDirOption,
    DatasetOption,
    FileArgument,
    SplitOption,
    open_model,
    open_pipeline,
    source,
)
from anoean_stream.cli.options import ConfigOption, DebugOption, JsonOption, SetOption, load
from anoean_stream.errors import ConfigError, DataError
from anoean_stream.pipeline import Pipeline
from anoean_stream.settings import Settings

JSON_FILE: Final = "diff.json"
PAGE_FILE: Final = "diff.html"

_WORKER_ID: Final = "offline"


def diff(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A", help="Version or alias, such as champion; NAME@REF names the model too."
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="What it is compared with; see A.")],
    file: FileArgument = None,
    *,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Model; else model.name of the settings.",
            show_default=False,
        ),
    ] = None,
    topic: Annotated[
        str | None,
        typer.Option(
            "--topic",
            metavar="TOPIC",
            help="Topic to read when no file is given; else topics.input.",
            show_default=False,
        ),
    ] = None,
    begin: FromOption = None,
    end: ToOption = None,
    dataset: DatasetOption = None,
    split: SplitOption = "test",
    data_dir: DataDirOption = None,
    flows: Annotated[
        int,
        typer.Option(
            "--flows",
            min=0,
            max=100,
            help="Most sorts of flows shown of each kind of disagreement.",
        ),
    ] = 12,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder of the report; else diff-NAME-A-B. A report in it is replaced.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Replay records through two versions, each with its own threshold, and report what differs.

    Writes diff.html (a page to read or print) and diff.json (all figures). Reads a range of a topic,
    without joining the workers' group, or a file.

    [bold]Examples[/]

    [cyan]anoean models diff champion shadow --from 2h[/]

    [cyan]anoean models diff 3 4 --topic flows --from 2026-05-01T10:00 --to 2026-05-01T10:30[/]

    [cyan]anoean models diff 3 4 flows.csv.gz --out report --json[/]
    """
    from anoean_stream.cli.models_diff_plots import (
        draw,
    )  # matplotlib: asked for before minutes of replay

    settings = load(config, overrides, debug=debug)
    first, second = _pipelines(settings, a, b, name=name)
    if file is not None or dataset is not None:
        _refuse_topic(topic, begin, end)
        rows = FileRows(
            source(file, dataset=dataset, split=split, data_dir=data_dir),
        )
        opened: AbstractContextManager[FileRows | TopicRange] = nullcontext(rows)
    else:
        opened = topic_range(settings, topic or settings.topics.input, begin=begin, end=end)
    versions = f"{first.model.version}-{second.model.version}"
    target = folder or Path(f"diff-{first.model.name}-{versions}")
    with opened as records, _report_folder(target) as unfinished:
        study = Study(first, second, max_examples=flows)
        with records.progress() as advance:
            for chunk in records.chunks():
                study.add(chunk)
                advance(chunk.n_records)
        document = {"input": records.described()} | _judged(study, title=records.title)
        if not as_json:
            err.print("drawing", soft_wrap=True)
        called = names(document)
        plots = draw(document, first=called[0], second=called[1])
        (unfinished / PAGE_FILE).write_text(
            page(document, title=records.title, plots=plots), encoding="utf-8"
        )
        written = msgspec.json.format(msgspec.json.encode(document), indent=1)
        (unfinished / JSON_FILE).write_bytes(written + b"\n")
    if as_json:
        left_out = {"plots", "examples"}
        summary = {key: value for key, value in document.items() if key not in left_out}
        print_json(summary | {"headline": headline(document), "out": str(target)})
        return
    _print(document, target=target)


def _pipelines(
    settings: Settings, a: str, b: str, *, name: str | None
) -> tuple[Pipeline, Pipeline]:
    first, second = _pipeline(settings, a, name=name), _pipeline(settings, b, name=name)
    one, other = first.model, second.model
    if (one.name, one.version) == (other.name, other.version):
        message = (
            f"{a} and {b} are the same version {one.version} of model {one.name!r}; name two versions "
            f"(`anoean models list {one.name}` shows them)"
        )
        raise ConfigError(message)
    return first, second


def _pipeline(settings: Settings, ref: str, *, name: str | None) -> Pipeline:
    model, at, version = ref.rpartition("@")
    if at and name not in {None, model}:
        message = f"{ref} is of model {model!r}, but --name says {name!r}; give one of them"
        raise ConfigError(message)
    served = open_model(settings, name=model or name, ref=version)
    return open_pipeline(settings, served, explain=True)


def _refuse_topic(topic: str | None, begin: Point | None, end: Point | None) -> None:
    given = [
        option
        for option, value in (("--topic", topic), ("--from", begin), ("--to", end))
        if value is not None
    ]
    if given:
        message = (
            f"{', '.join(given)} and a file or --dataset were given; {given[0]} is for a topic: drop "
            f"one of them"
        )
        raise ConfigError(message)


def _judged(study: Study, *, title: str) -> dict[str, Any]:
    if not study.n_records:
        message = f"{title} has no records; give a file with rows, or another range"
        raise DataError(message)
    document = study.document()
    if not document["records"]:
        reasons = ", ".join(
            f"{reason} {n:,}" for reason, n in document["champion_rejected"].items()
        )
        message = (
            f"none of {study.n_records:,} records of {title} could be scored by both models "
            f"(rejected by {names(document)[0]}: {reasons or 'none'}; only it can score "
            f"{document['candidate_dead']:,}); is it the right input?"
        )
        raise DataError(message)
    return document


@contextmanager
def _report_folder(target: Path) -> Iterator[Path]:
    """Give a folder to write into, that becomes `target` when the block ends well, and never by half.

    Raises
    ------
    ConfigError
        When it cannot be written, or holds something else than a report. Before anything is read.
    """
    if target.exists() and not _is_report(target):
        message = (
            f"{target} is there already and is no report of `anoean models diff`; give --out another "
            f"folder"
        )
        raise ConfigError(message)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        message = (
            f"cannot write into {target.parent} ({error.strerror}); give --out a folder that you may "
            f"write"
        )
        raise ConfigError(message) from error
    try:
        yield unfinished
        unfinished.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _is_report(folder: Path) -> bool:
    return folder.is_dir() and {path.name for path in folder.iterdir()} <= {JSON_FILE, PAGE_FILE}


def _print(document: dict[str, Any], *, target: Path) -> None:
    first, second = names(document)
    out.print(escape(headline(document)), soft_wrap=True)
    table = Table("")
    for called in (first, second):
        table.add_column(escape(called), justify="right")
    both = document["both_alerts"]
    for head, champion, candidate in (
        ("alerts", document["champion_alerts"], document["candidate_alerts"]),
        (
            "of these its own",
            document["champion_alerts"] - both,
            document["candidate_alerts"] - both,
        ),
        ("only the other scores", document["champion_dead"], document["candidate_dead"]),
    ):
        table.add_row(head, f"{champion:,}", f"{candidate:,}")
    table.add_row(
        "threshold", f"{document['a']['threshold']:.4g}", f"{document['b']['threshold']:.4g}"
    )
    table.add_row(
        "\u00b5s a record", f"{document['champion_us']:.2f}", f"{document['candidate_us']:.2f}"
    )
    out.print(table)
    out.print(f"report: {escape(str(target / PAGE_FILE))}", soft_wrap=True)
