"""What becomes of a trained model: a version, perhaps an alias, and a word to those who watch."""

from typing import TYPE_CHECKING, Any, Final

from rich.markup import escape

from anoean_stream.cli.console import err, out
from anoean_stream.cli.moving import move_alias
from anoean_stream.cli.trail import tell
from anoean_stream.errors import ConfigError
from anoean_stream.records.audit import AuditRecord
from anoean_stream.registry import CHAMPION, PREVIOUS, Registry
from anoean_stream.registry.evaluation import EvaluationInfo
from anoean_stream.registry.layout import is_alias
from anoean_stream.registry.registry import who_am_i
from anoean_stream.settings import Settings

if TYPE_CHECKING:
    from trainer.run import TrainResult

_TOLD_OF_TRAINING: Final = ("data", "rows", "topic", "warm_start", "evaluation")
"""Parts of the manifest's training section that the audit record repeats."""


def check_alias(alias: str | None, *, to_folder: bool, promote: bool) -> None:
    """Refuse what contradicts itself before minutes of training.

    Raises
    ------
    ConfigError
        Names both sides.
    """
    if to_folder and (promote or alias is not None):
        option = "--promote" if promote else "--publish-as"
        message = f"{option} moves an alias of the registry, --out writes to none; drop one"
        raise ConfigError(message)
    if alias is None:
        return
    if promote:
        message = f"--promote makes the version champion, --publish-as {alias} does not; drop one"
        raise ConfigError(message)
    if alias in (CHAMPION, PREVIOUS) or not is_alias(alias):
        message = (
            f"--publish-as {alias}: expected an alias of small letters, such as shadow, and not "
            f"{CHAMPION} or {PREVIOUS}: a candidate becomes champion through `anoean models promote`"
        )
        raise ConfigError(message)


def publish_as(
    settings: Settings,
    registry: Registry,
    name: str,
    version: str,
    *,
    alias: str,
    result: "TrainResult",
) -> None:
    """Let an alias name the new version, and tell it to the audit topic and the workers.

    Raises
    ------
    ConflictError
        When somebody else moved the alias meanwhile.
    RegistryError
        When the store cannot be written.
    """
    reason = f"trained on {result.manifest.training['data']}"
    training = result.manifest.training
    move_alias(
        settings,
        registry,
        name,
        version,
        alias=alias,
        reason=reason,
        detail={
            "metrics": result.manifest.metrics,
            **{part: training[part] for part in _TOLD_OF_TRAINING if part in training},
        },
    )


def tell_evaluation(settings: Settings, name: str, info: EvaluationInfo) -> None:
    """Tell the audit topic that held-out rows became the model's evaluation set."""
    record = AuditRecord.of(
        "evaluation_changed",
        model=name,
        who=who_am_i(),
        who_kind="user",
        reason="made from held-out rows: the model had none",
        detail={
            "number": info.number,
            "sha256": info.sha256,
            "records": info.records,
            "anomalies": info.anomalies,
            "source": info.source,
        },
    )
    tell(settings, record, wake=False)


def summary(
    result: "TrainResult", *, name: str, version: str | None, bundle: str
) -> dict[str, Any]:
    """Return what ``--json`` prints of a training."""
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
        "topic": training.get("topic"),
        "warm_start": training.get("warm_start"),
        "evaluation": training.get("evaluation"),
        "interrupted": result.interrupted,
        "notes": result.report["notes"],
    }


def print_summary(summary: dict[str, Any], *, champion_before: str | None) -> None:
    """Say to a person what came of it, and what to do next."""
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
    if summary["alias"] is not None:
        err.print(f"{escape(summary['alias'])} names it now")
    promote = f"anoean models promote {summary['model']} {summary['version']}"
    if not summary["champion"]:
        err.print(f"it is not champion; to serve it: [cyan]{escape(promote)}[/]", soft_wrap=True)
    elif champion_before is None:
        err.print("it is champion: the first version of this model")
    else:
        err.print(f"it is champion now, version {champion_before} was before")
