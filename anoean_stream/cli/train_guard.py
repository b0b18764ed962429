"""The champion as a guard: what it flags now is not trained on as normal without a label."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from confluent_kafka import Message

from anoean_stream.cli.offline import open_pipeline
from anoean_stream.cli.reader import place
from anoean_stream.detector.bundle import ServedModel
from anoean_stream.errors import ModelNotFoundError
from anoean_stream.pipeline import Pipeline, verify_bundle
from anoean_stream.records.chunk import Chunk
from anoean_stream.registry import Registry
from anoean_stream.settings import Settings

if TYPE_CHECKING:
    from trainer.datasets.sieve import TopicRecord


def open_champion(settings: Settings, name: str) -> Pipeline | None:
    """Return what workers score with now: version, threshold and settings; None without a champion.

    Raises
    ------
    RegistryError, BundleError
        When there is one, and it cannot be read or is refused: a guard that is broken must not be
        silently absent.
    """
    registry = Registry.from_settings(settings.registry)
    try:
        version = registry.alias_version(name, settings.model.alias)
    except ModelNotFoundError:
        return None
    bundle = registry.load(name, version)
    verify_bundle(bundle)
    return open_pipeline(settings, ServedModel(name, version, bundle))


def judged(
    messages: Sequence[Message],
    *,
    topic: str,
    partition: int,
    champion: Pipeline | None,
    alerted: set[tuple[int, int]],
) -> Iterator["TopicRecord"]:
    """Yield records of one partition with what alerts and champion say of each.

    Parameters
    ----------
    messages : sequence of Message
        In the order of their offsets.
    topic, partition
        Where they were read.
    champion : Pipeline or None
        From `open_champion`.
    alerted : set of (int, int)
        Places that an alert names.
    """
    from trainer.datasets.sieve import TopicRecord

    values = [message.value() for message in messages]
    offsets = [place(message)[1] for message in messages]
    above: set[int] = set()
    refused: dict[int, str] = {}
    if champion is not None:
        verdict = champion.score_chunk(
            Chunk(
                topic=topic,
                partition=partition,
                values=values,
                keys=(None,) * len(values),
                offsets=offsets,
                timestamps_ms=(-1,) * len(values),
            )
        )
        above.update(verdict.rows_G[verdict.anomalous_G].tolist())
        refused.update((rejected.index, rejected.reason) for rejected in verdict.rejected)
    for index, (offset, value) in enumerate(zip(offsets, values, strict=True)):
        yield TopicRecord(
            partition,
            offset,
            value,
            alerted=(partition, offset) in alerted,
            above=index in above,
            refused=refused.get(index),
        )
