"""The options of ``anoean train``."""

from pathlib import Path
from typing import Annotated, Final, Literal

import typer

_DATA: Final = "Data"
_TOPIC: Final = "Data from a topic"
_RESULT: Final = "Result"

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="FILE",
        help="Labelled CSV, TSV or JSON lines (each also .gz), or Parquet. With --from-topic its "
        "rows are added.",
        rich_help_panel=_DATA,
        show_default=False,
    ),
]
LabelColumnOption = Annotated[
    str | None,
    typer.Option(
        "--label-column",
        metavar="NAME",
        help="Column of the label; for --labels it is label if nothing else is said.",
        rich_help_panel=_DATA,
        show_default=False,
    ),
]
NormalValueOption = Annotated[
    str | None,
    typer.Option(
        "--normal-value",
        metavar="VALUE",
        help="Label of normal rows, in any case; every other label is an anomaly.",
        rich_help_panel=_DATA,
        show_default=False,
    ),
]
AttackColumnOption = Annotated[
    str | None,
    typer.Option(
        "--attack-column",
        metavar="NAME",
        help="Column with the kind of attack, if the label does not tell it.",
        rich_help_panel=_DATA,
        show_default=False,
    ),
]
FeaturesOption = Annotated[
    Path | None,
    typer.Option(
        "--features",
        metavar="FILE",
        help="YAML that names columns: [bold]fields:[/] {bytes: {kind: number, log1p: true, "
        "unit: bytes}, up: flag, port: category}, [bold]drop:[/] \\[a, b], "
        "[bold]rest:[/] infer or drop. Without it columns are inferred, and each that is left "
        "out is listed with the reason.",
        rich_help_panel=_DATA,
        show_default=False,
    ),
]
DatasetOption = Annotated[
    Literal["nsl-kdd", "kdd99"] | None,
    typer.Option(
        "--dataset",
        help="A published data set instead of a file.",
        rich_help_panel=_DATA,
        show_default=False,
    ),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Folder with the files of the data set, plain or .gz.",
        rich_help_panel=_DATA,
        show_default=False,
    ),
]
FromTopicOption = Annotated[
    str | None,
    typer.Option(
        "--from-topic",
        metavar="TOPIC",
        help="Read records back from this topic. Those without a label count as normal, unless an "
        "alert names them or the champion flags them: these are left out.",
        rich_help_panel=_TOPIC,
        show_default=False,
    ),
]
LabelsOption = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="FILE|topic:NAME",
        help="Labels of its records: rows with label and alert_id, or topic, partition and offset, "
        "or the field of --id-field. A later one wins.",
        rich_help_panel=_TOPIC,
        show_default=False,
    ),
]
IdFieldOption = Annotated[
    str | None,
    typer.Option(
        "--id-field",
        metavar="NAME",
        help="Field of the record by which labels may name it, such as uid or flow_id.",
        rich_help_panel=_TOPIC,
        show_default=False,
    ),
]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust-unlabelled",
        help="Go on where neither a champion nor an alert can tell what is not normal. Flagged "
        "records stay left out.",
        rich_help_panel=_TOPIC,
    ),
]
WarmStartOption = Annotated[
    str | None,
    typer.Option(
        "--warm-start",
        metavar="NAME@REF",
        help="Begin with the weights of a version and keep its features: NAME@REF, or a version or "
        "alias of this model.",
        rich_help_panel=_RESULT,
        show_default=False,
    ),
]
NameOption = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        help="Name of the model; else model.name of the settings.",
        rich_help_panel=_RESULT,
        show_default=False,
    ),
]
PromoteOption = Annotated[
    bool,
    typer.Option(
        "--promote",
        help="Make the new version champion, if the gate lets it (docs/gate.md); the first version "
        "of a model becomes it anyway.",
        rich_help_panel=_RESULT,
    ),
]
PublishAsOption = Annotated[
    str | None,
    typer.Option(
        "--publish-as",
        metavar="ALIAS",
        help="Let this alias name the new version, such as shadow; it does not become champion.",
        rich_help_panel=_RESULT,
        show_default=False,
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Write bundle and report into a folder, not into the registry.",
        rich_help_panel=_RESULT,
        show_default=False,
    ),
]
CheckpointOption = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        metavar="FILE",
        help="Written after every epoch, removed when training is complete; else "
        "anoean/train-NAME.checkpoint in the user's cache folder.",
        rich_help_panel=_RESULT,
        show_default=False,
    ),
]
ResumeOption = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Continue from the checkpoint, with the same data and settings.",
        rich_help_panel=_RESULT,
    ),
]
