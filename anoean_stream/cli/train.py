"""``anoean train``: labelled traffic in, a model in the registry out."""

import os
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from anoean_stream.cli.console import err, out, print_json
from anoean_stream.cli.gate_view import print_rules
from anoean_stream.cli.options import ConfigOption, DebugOption, JsonOption, SetOption, load
from anoean_stream.cli.promotion import Promotion, promote_through_gate
from anoean_stream.cli.quiet import quiet_librdkafka
from anoean_stream.errors import ConfigError
from anoean_stream.registry.layout import CHAMPION, version_folder
from anoean_stream.registry.registry import Registry

if TYPE_CHECKING:
    from trainer.anoean import Epoch
    from trainer.run import TrainResult

_EXIT_INTERRUPTED: Final = 130
"""128 + SIGINT, what a shell expects after Ctrl-C."""

_DATA_PANEL: Final = "Data"
_RESULT_PANEL: Final = "Result"


def train(
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="FILE",
            help="Labelled CSV, TSV or JSON lines (each also .gz), or Parquet.",
            rich_help_panel=_DATA_PANEL,
            show_default=False,
        ),
    ] = None,
    label_column: Annotated[
        str | None,
        typer.Option(
            "--label-column",
            metavar="NAME",
            help="Column of the label.",
            rich_help_panel=_DATA_PANEL,
            show_default=False,
        ),
    ] = None,
    normal_value: Annotated[
        str | None,
        typer.Option(
            "--normal-value",
            metavar="VALUE",
            help="Label of normal rows, in any case; every other label is an anomaly.",
            rich_help_panel=_DATA_PANEL,
            show_default=False,
        ),
    ] = None,
    attack_column: Annotated[
        str | None,
        typer.Option(
            "--attack-column",
            metavar="NAME",
            help="Column with the kind of attack, if the label does not tell it.",
            rich_help_panel=_DATA_PANEL,
            show_default=False,
        ),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            "--features",
            metavar="FILE",
            help="YAML that names columns: [bold]fields:[/] {bytes: {kind: number, log1p: true, "
            "unit: bytes}, up: flag, port: category}, [bold]drop:[/] \\[a, b], "
            "[bold]rest:[/] infer or drop. Without it columns are inferred, and each that is left "
            "out is listed with the reason.",
            rich_help_panel=_DATA_PANEL,
            show_default=False,
        ),
    ] = None,
    dataset: Annotated[
        Literal["nsl-kdd", "kdd99"] | None,
        typer.Option(
            "--dataset",
            help="A published data set instead of a file.",
            rich_help_panel=_DATA_PANEL,
            show_default=False,
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            metavar="DIR",
            help="Folder with the files of the data set, plain or .gz.",
            rich_help_panel=_DATA_PANEL,
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Name of the model; else model.name of the settings.",
            rich_help_panel=_RESULT_PANEL,
            show_default=False,
        ),
    ] = None,
    promote: Annotated[
        bool,
        typer.Option(
            "--promote",
            help="Make the new version champion, if the gate lets it (docs/gate.md); the first version "
            "of a model becomes it anyway.",
            rich_help_panel=_RESULT_PANEL,
            show_default=False,
        ),
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Write bundle and report into a folder, not into the registry.",
            rich_help_panel=_RESULT_PANEL,
            show_default=False,
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            metavar="FILE",
            help="Written after every epoch, removed when training is complete; else "
            "anoean/train-NAME.checkpoint in the user's cache folder.",
            rich_help_panel=_RESULT_PANEL,
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue from the checkpoint, with the same data and settings.",
            rich_help_panel=_RESULT_PANEL,
            show_default=False,
        ),
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Train a model on labelled traffic and publish it to the registry.

    Ctrl-C ends training early: the best model so far is published, but not made champion.

    [bold]Examples[/]

    [cyan]anoean train --data flows.csv.gz --label-column label --normal-value 0[/]

    [cyan]anoean train --dataset nsl-kdd --data-dir nsl-kdd --set training.epochs=20 --json[/]
    """
    settings = load(config, overrides, debug=debug)
    quiet_librdkafka(debug=debug)
    started_s = time.perf_counter()
    name = name or settings.model.name
    if folder is not None and promote:
        message = "--promote moves an alias of the registry, --out writes to none; drop one"
        raise ConfigError(message)
    # Asked before minutes of training: a registry that cannot be read would waste them.
    registry = None if folder is not None else Registry(settings.registry.url)
    champion = registry.aliases(name).get(CHAMPION) if registry is not None else None

    from trainer.run import TrainRequest  # torch and its friends: only here
    from trainer.run import train as run_training

    with (
        tempfile.TemporaryDirectory(prefix="anoean-train-") as temporary,
        _Terminal(n_epochs=settings.training.epochs) as terminal,
    ):
        result = run_training(
            TrainRequest(
                folder=folder or Path(temporary),
                name=name,
                dataset=dataset,
                data_dir=data_dir,
                data=data,
                label_column=label_column,
                normal_value=normal_value,
                attack_column=attack_column,
                features=features,
                checkpoint=checkpoint or _default_checkpoint(name),
                resume=resume,
            ),
            settings=settings.training,
            progress=terminal,
        )
        version = None if registry is None else registry.publish(result.bundle_folder, name)
    promotion: Promotion | None = None
    if registry is not None and version is not None:
        if promote or (champion is None and not result.interrupted):
            promotion = promote_through_gate(settings, registry, name, version)
        bundle = f"{registry.url.rstrip('/')}/{version_folder(name, version)}"
    else:
        bundle = str(folder)
    summary = _summary(result, name=name, version=version, bundle=bundle) | {
        "champion": promotion is not None and promotion.outcome == "promoted",
        "seconds": round(time.perf_counter() - started_s, 3),
    }
    if as_json:
        print_json(summary)
    else:
        _print(summary, champion_before=champion)
        if promotion is not None:
            print_rules(promotion)
    if promotion is not None:
        promotion.raise_if_refused()
    if result.interrupted:
        raise typer.Exit(_EXIT_INTERRUPTED)


def _default_checkpoint(name: str) -> Path:
    cache = os.environ.get("XDG_CACHE_HOME")
    return (
        (Path(cache) if cache else Path.home() / ".cache") / "anoean" / f"train-{name}.checkpoint"
    )


def _summary(
    result: "TrainResult", *, name: str, version: str | None, bundle: str
) -> dict[str, Any]:
    training = result.manifest.training
    return {
        "model": name,
        "version": version,
        "bundle": bundle,
        "data": training["data"],
        "rows": training["rows"],
        "training_rows": training["training_normals"] + training["training_anomalies"],
        "validation_rows": training["validation_normals"] + training["validation_anomalies"],
        "metrics": result.manifest.metrics,
        "false_positive_rate": result.manifest.false_positive_rate,
        "threshold": result.manifest.threshold,
        "epochs": training["epochs"],
        "best_epoch": training["best_epoch"],
        "seed": training["seed"],
        "interrupted": result.interrupted,
        "notes": result.report["notes"],
    }


def _print(summary: dict[str, Any], *, champion_before: str | None) -> None:
    metrics = summary["metrics"]
    out.print(
        f"[bold]{escape(summary['model'])}[/] "
        + (f"version {summary['version']} " if summary["version"] else "")
        + f"in {summary['seconds']:.0f} s: held-out AUPR {metrics['aupr']:.4f}, ROC "
        f"{metrics['roc_auc']:.4f}, best F1 {metrics['best_f1']:.4f}, recall "
        f"{metrics['recall_at_fpr_0.001']:.3f} at 0.1 % and {metrics['recall_at_fpr_0.01']:.3f} at "
        "1 % false positives"
    )
    out.print(f"bundle and report: {escape(summary['bundle'])}", soft_wrap=True)
    if summary["version"] is None:
        return
    promote = f"anoean models promote {summary['model']} {summary['version']}"
    if not summary["champion"]:
        err.print(f"it is not champion; to serve it: [cyan]{escape(promote)}[/]", soft_wrap=True)
    elif champion_before is None:
        err.print("it is champion: the first version of this model")
    else:
        err.print(f"it is champion now, version {champion_before} was before")


class _Terminal:
    """Says on stderr how training goes: a bar on a terminal, one line an epoch elsewhere."""

    def __init__(self, *, n_epochs: int) -> None:
        self._n_epochs = n_epochs
        self._epoch = 0
        self._best = 0.0
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[n_epochs]}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("at most"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self._task = self._bar.add_task(
            "training", total=None, visible=False, epoch=1, n_epochs=n_epochs, figures=""
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def stage(self, text: str) -> None:
        """Say what happens now."""
        err.print(escape(text), soft_wrap=True)

    def note(self, text: str) -> None:
        """Say something that a person should know."""
        err.print(f"[yellow]note:[/] {escape(text)}", soft_wrap=True)

    def step(self, done: int, total: int) -> None:
        """Move the bar."""
        self._bar.update(
            self._task,
            visible=True,
            total=self._n_epochs * total,
            completed=self._epoch * total + done,
        )

    def epoch(self, epoch: "Epoch") -> None:
        """Show the figures of an epoch."""
        self._epoch = epoch.number
        self._best = max(self._best, epoch.validation_aupr)
        figures = (
            f"L_D {epoch.discriminator_loss:.3f}  L_E {epoch.encoder_loss:.3f}  "
            f"AUPR {epoch.validation_aupr:.4f} (best {self._best:.4f})"
        )
        self._bar.update(self._task, epoch=min(epoch.number + 1, self._n_epochs), figures=figures)
        if not err.is_terminal:
            err.print(f"epoch {epoch.number:3}  {figures}  {epoch.seconds:.1f} s")
