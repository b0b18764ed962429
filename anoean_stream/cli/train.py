"""``anoean train``: labelled traffic in, a model in the registry out."""

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from anoean_stream.cli.console import print_json
from anoean_stream.cli.gate_view import print_rules
from anoean_stream.cli.moments import SinceOption, UntilOption
from anoean_stream.cli.options import ConfigOption, DebugOption, JsonOption, SetOption, load
from anoean_stream.cli.promotion import Promotion, promote_through_gate
from anoean_stream.cli.quiet import quiet_librdkafka
from anoean_stream.cli.train_options import (
    AttackColumnOption,
    CheckpointOption,
    DataDirOption,
    DataOption,
    DatasetOption,
    FeaturesOption,
    FromTopicOption,
    IdFieldOption,
    LabelColumnOption,
    LabelsOption,
    NameOption,
    NormalValueOption,
    OutOption,
    PromoteOption,
    PublishAsOption,
    ResumeOption,
    TrustOption,
    WarmStartOption,
)
from anoean_stream.cli.train_publish import (
    check_alias,
    print_summary,
    publish_as,
    summary,
    tell_evaluation,
)
from anoean_stream.cli.train_terminal import Terminal
from anoean_stream.cli.train_topic import TopicSource, open_range, topic_source
from anoean_stream.pipeline import verify_bundle
from anoean_stream.registry.evaluation import (
    EvaluationInfo,
    publish_evaluation,
    read_evaluation,
)
from anoean_stream.registry.layout import CHAMPION, version_folder
from anoean_stream.registry.registry import Registry
from anoean_stream.settings import Settings

if TYPE_CHECKING:
    from trainer.warmstart import WarmStart

_EXIT_INTERRUPTED: Final = 130
"""128 + SIGINT, what a shell expects after Ctrl-C."""


def train(
    *,
    data: DataOption = None,
    label_column: LabelColumnOption = None,
    normal_value: NormalValueOption = None,
    attack_column: AttackColumnOption = None,
    features: FeaturesOption = None,
    dataset: DatasetOption = None,
    data_dir: DataDirOption = None,
    from_topic: FromTopicOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    labels: LabelsOption = None,
    id_field: IdFieldOption = None,
    trust_unlabelled: TrustOption = False,
    warm_start: WarmStartOption = None,
    name: NameOption = None,
    promote: PromoteOption = False,
    publish_as_: PublishAsOption = None,
    folder: OutOption = None,
    checkpoint: CheckpointOption = None,
    resume: ResumeOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Train a model on labelled traffic and publish it to the registry.

    Ctrl-C ends training early: the best model so far is published, but no alias names it.

    [bold]Examples[/]

    [cyan]anoean train --data flows.csv.gz --label-column label --normal-value 0[/]

    [cyan]anoean train --dataset nsl-kdd --data-dir nsl-kdd --set training.epochs=20 --json[/]

    [cyan]anoean train --from-topic flows --since 7d --labels labels.csv --normal-value benign
    --warm-start champion --publish-as shadow[/]
    """
    quiet_librdkafka(debug=debug)
    settings = load(config, overrides, debug=debug)
    started_s = time.perf_counter()
    name = name or settings.model.name
    check_alias(publish_as_, to_folder=folder is not None, promote=promote)
    source = topic_source(
        from_topic,
        since=since,
        until=until,
        labels=labels,
        id_field=id_field,
        label_column=label_column,
        normal_value=normal_value,
        attack_column=attack_column,
        trust_unlabelled=trust_unlabelled,
    )
    # Asked before minutes of training: a registry that cannot be read would waste them.
    registry = Registry(settings.registry.url)
    champion = registry.aliases(name).get(CHAMPION)
    evaluation = read_evaluation(registry, name)
    start = None if warm_start is None else _warm_start(settings, warm_start, name=name)

    from trainer.run import TrainRequest  # torch and its friends: only here
    from trainer.run import train as run_training

    def keep_evaluation(records: Sequence[tuple[bytes, bool]]) -> EvaluationInfo:
        about = f"held-out rows of the training on {_about(source, data, dataset)}"
        info = publish_evaluation(registry, name, records, source=about)
        if source is not None or publish_as_ is not None:  # brokers are part of this run
            tell_evaluation(settings, name, info)
        return info

    with (
        tempfile.TemporaryDirectory(prefix="anoean-train-") as temporary,
        Terminal(n_epochs=settings.training.epochs) as terminal,
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
                topic=None
                if source is None
                else open_range(settings, source, name=name, note=terminal.note),
                warm_start=start,
                evaluation=evaluation,
                keep_evaluation=None if folder is not None else keep_evaluation,
            ),
            settings=settings.training,
            progress=terminal,
        )
        version = None if folder is not None else registry.publish(result.bundle_folder, name)
    promotion: Promotion | None = None
    bundle = str(folder)
    if version is not None:
        bundle = f"{registry.url.rstrip('/')}/{version_folder(name, version)}"
        if publish_as_ is not None and not result.interrupted:
            publish_as(settings, registry, name, version, alias=publish_as_, result=result)
        elif publish_as_ is None and (promote or (champion is None and not result.interrupted)):
            promotion = promote_through_gate(settings, registry, name, version)
    told = summary(result, name=name, version=version, bundle=bundle) | {
        "alias": None if result.interrupted else publish_as_,
        "champion": promotion is not None and promotion.outcome == "promoted",
        "seconds": round(time.perf_counter() - started_s, 3),
    }
    if as_json:
        print_json(told)
    else:
        print_summary(told, champion_before=champion)
        if promotion is not None:
            print_rules(promotion)
    if promotion is not None:
        promotion.raise_if_refused()
    if result.interrupted:
        raise typer.Exit(_EXIT_INTERRUPTED)


def _warm_start(settings: Settings, text: str, *, name: str) -> "WarmStart":
    """Load the version that ``--warm-start`` means, with every check that a worker makes."""
    from trainer.warmstart import WarmStart

    model, at, ref = text.rpartition("@")
    model = model if at else name
    registry = Registry.from_settings(settings.registry)
    version = registry.resolve(model, ref)
    bundle = registry.load(model, version)
    verify_bundle(bundle)
    return WarmStart(model, version, bundle)


def _about(source: TopicSource | None, data: Path | None, dataset: str | None) -> str:
    parts = (None if source is None else f"topic {source.topic}", data and data.name, dataset)
    return " and ".join(part for part in parts if part)


def _default_checkpoint(name: str) -> Path:
    cache = os.environ.get("XDG_CACHE_HOME")
    return (
        (Path(cache) if cache else Path.home() / ".cache") / "anoean" / f"train-{name}.checkpoint"
    )
