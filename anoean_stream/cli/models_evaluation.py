"""``anoean models evaluation``: the labelled records on which candidates are judged."""

from collections.abc import Iterator
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from anoean_stream.cli.console import err, out, print_json
from anoean_stream.cli.labels import DATASET_LABEL, LabelColumnOption, Labels, NormalValueOption
from anoean_stream.cli.offline import (
    DataDirOption,
    DatasetOption,
    FileArgument,
    Source,
    SplitOption,
    source,
)
from anoean_stream.cli.options import ConfigOption, DebugOption, JsonOption, SetOption, load
from anoean_stream.cli.progress import row_progress
from anoean_stream.cli.quiet import quiet_librdkafka
from anoean_stream.cli.stratified import stratified
from anoean_stream.cli.trail import tell
from anoean_stream.errors import ModelNotFoundError
from anoean_stream.records.audit import AuditRecord
from anoean_stream.registry import Registry
from anoean_stream.registry.evaluation import (
    MAX_RECORDS,
    EvaluationInfo,
    evaluation_info,
    publish_evaluation,
)
from anoean_stream.registry.registry import who_am_i
from anoean_stream.settings import GateSettings

app = typer.Typer(
    help="Set and show the labelled records on which candidates are judged.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

_DEFAULT_RECORDS: Final = 20_000
"""The gate scores and resamples as many in seconds, and tells differences of half a per cent."""

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the model.")]


@app.command("set")
def set_evaluation(
    name: NameArgument,
    file: FileArgument = None,
    *,
    label_column: LabelColumnOption = DATASET_LABEL,
    normal_value: NormalValueOption = None,
    dataset: DatasetOption = None,
    split: SplitOption = "test",
    data_dir: DataDirOption = None,
    max_records: Annotated[
        int,
        typer.Option(
            "--max-records",
            metavar="N",
            min=2,
            max=MAX_RECORDS,
            help="From a larger file, a sample of so many rows, always the same, with rare kinds kept.",
        ),
    ] = _DEFAULT_RECORDS,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Keep labelled records in the registry as the evaluation set of a model.

    Take rows on which no version was or will be trained: a version that has
    seen them looks better than it is. Earlier sets stay; the newest judges.

    [bold]Examples[/]

    [cyan]anoean models evaluation set edge golden.csv.gz --normal-value 0[/]

    [cyan]anoean models evaluation set edge --dataset nsl-kdd --data-dir nsl-kdd[/]
    """
    settings = load(config, overrides, debug=debug)
    quiet_librdkafka(debug=debug)
    records = source(file, dataset=dataset, split=split, data_dir=data_dir)
    labels = Labels.of(records, column=label_column, normal_value=normal_value)
    registry = Registry.from_settings(settings.registry)
    registry.version_numbers(name)  # a mistyped name must not become a folder
    before = evaluation_info(registry, name)
    for _ in _read(records, labels, "counting"):
        pass
    n_rows = len(labels.kinds)
    taken = stratified(labels.kinds, n_rows=max_records)
    kinds = [labels.kinds[place] for place in taken]
    n_normals = kinds.count(labels.normal)
    labels.need_both(
        has_anomalies=n_normals < len(kinds), has_normals=n_normals > 0, records=records
    )
    info = publish_evaluation(
        registry, name, _taken(records, labels, taken), source=_source(records, len(kinds), n_rows)
    )
    tell(settings, _changed(name, before, info), wake=False)
    if as_json:
        print_json({"name": name, "rows": n_rows, **_document(info)})
        return
    out.print(
        f"{name}: evaluation set {info.number} with {info.records:,} records, {info.anomalies:,} of "
        f"them anomalies of {len(set(kinds) - {labels.normal})} kinds"
    )
    if len(kinds) < n_rows:
        err.print(f"a sample of {n_rows:,} rows; --max-records {MAX_RECORDS} is the most")
    _note_few(info, settings.gate)


@app.command("show")
def show_evaluation(
    name: NameArgument,
    *,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Show which evaluation set is in force.

    [bold]Example[/]

    [cyan]anoean models evaluation show edge[/]
    """
    settings = load(config, overrides, debug=debug)
    registry = Registry.from_settings(settings.registry)
    registry.version_numbers(name)
    info = evaluation_info(registry, name)
    if info is None:
        message = (
            f"model {name!r} has no evaluation set; give it one with `anoean models evaluation set "
            f"{name} FILE --label-column NAME --normal-value VALUE`"
        )
        raise ModelNotFoundError(message)
    if as_json:
        print_json({"name": name, **_document(info)})
        return
    table = Table(show_header=False, title=f"{name}: evaluation set", title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for heading, text in (
        ("number", str(info.number)),
        ("records", f"{info.records:,}"),
        ("anomalies", f"{info.anomalies:,}"),
        ("source", info.source),
        ("created", f"{info.created_at} by {info.created_by}"),
        ("sha256", info.sha256),
    ):
        table.add_row(heading, escape(text))
    out.print(table)
    _note_few(info, settings.gate)


def _read(records: Source, labels: Labels, verb: str) -> Iterator[bytes]:
    with row_progress(f"{verb} {records.path.name}", total=records.n_rows) as advance:
        for value in labels.strip_from(records):
            advance(1)
            yield value


def _taken(records: Source, labels: Labels, places: list[int]) -> list[tuple[bytes, bool]]:
    """Read the file again and keep the rows at these places: a file may be larger than memory."""
    again = Labels(labels.column, labels.normal)
    wanted = set(places)
    return [
        (value, again.kinds[place] != labels.normal)
        for place, value in enumerate(_read(records, again, "taking rows of"))
        if place in wanted
    ]


def _source(records: Source, n_taken: int, n_rows: int) -> str:
    origin = f"{records.dataset}, {records.path.name}" if records.dataset else str(records.path)
    return origin if n_taken == n_rows else f"{origin}, a sample of {n_rows} rows"


def _changed(name: str, before: EvaluationInfo | None, info: EvaluationInfo) -> AuditRecord:
    return AuditRecord.of(
        "evaluation_changed",
        model=name,
        who=who_am_i(),
        who_kind="user",
        reason=f"evaluation set {info.number} from {info.source}",
        detail={"from": None if before is None else before.number, "to": _document(info)},
    )


def _document(info: EvaluationInfo) -> dict[str, Any]:
    document = msgspec.to_builtins(info)
    assert isinstance(document, dict)
    return document


def _note_few(info: EvaluationInfo, gate: GateSettings) -> None:
    n_fewest = min(info.anomalies, info.records - info.anomalies)
    if gate.offline and n_fewest < gate.min_anomalies:
        err.print(
            f"[yellow]note:[/] {info.anomalies} anomalies and {info.records - info.anomalies} "
            f"normals are too few for the gate, which asks for {gate.min_anomalies} of each "
            "(gate.min_anomalies)",
            soft_wrap=True,
        )
