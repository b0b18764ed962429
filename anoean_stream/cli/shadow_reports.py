"""Shadow reports of two versions, from the audit topic: those that are there, and those to come."""

import time
from datetime import UTC, datetime, timedelta
from typing import Final

from rich.markup import escape

from anoean_stream.cli.audit_reader import read_audit
from anoean_stream.cli.console import err
from anoean_stream.cli.progress import record_progress
from anoean_stream.cli.times import try_utc
from anoean_stream.errors import BrokerError, ConflictError, ModelNotFoundError, RegistryError
from anoean_stream.gate.evidence import Evidence, gather
from anoean_stream.records.audit import AuditRecord
from anoean_stream.registry import CHAMPION, Registry
from anoean_stream.settings import Settings

_CONTACT_S: Final = 10.0
"""Seconds for the first answer of a broker: a login through TLS takes 3, a person waits for 10."""

_LOOK_S: Final = 10.0
"""Most seconds between two looks while waiting; workers report every minute by default."""

_OVERLAP: Final = timedelta(minutes=5)
"""How far each look reaches back behind the last one: a record may arrive so late."""


def shadow_evidence(
    settings: Settings,
    registry: Registry,
    name: str,
    *,
    champion: str,
    candidate: str,
    wait_s: float = 0.0,
) -> Evidence:
    """Return what shadow reports say of two versions, once there is enough of it, or time is up.

    Blocks for up to `wait_s`, and says on stderr how far it is. While it waits, a broker or a
    registry that does not answer is mentioned, and asked again.

    Parameters
    ----------
    settings : Settings
        Brokers, topics, and how many records are enough (``gate.min_shadow_records``).
    registry : Registry
        Where the aliases are.
    name : str
        Name of the model.
    champion, candidate : str
        The versions to compare.
    wait_s : float
        Seconds to wait for enough; 0 takes what is there.

    Raises
    ------
    ConfigError
        When ``topics.audit`` is null.
    BrokerError
        When the topic cannot be read at the first look.
    ConflictError
        When another version became champion meanwhile.
    """
    feed = _Feed(settings, name, since=shadow_since(settings, registry, name, candidate))
    evidence = gather(feed.look(), champion=champion, candidate=candidate)
    n_enough = settings.gate.min_shadow_records
    ends_at = time.monotonic() + wait_s
    if wait_s <= 0 or evidence.records >= n_enough:
        return evidence
    with record_progress("shadow records", total=n_enough) as advance:
        advance(evidence.records)
        _say(evidence, n_enough)
        while evidence.records < n_enough and (left_s := ends_at - time.monotonic()) > 0:
            time.sleep(min(left_s, _LOOK_S, settings.shadow.report_interval_s))
            n_before = evidence.records
            try:
                now = registry.alias_version(name, CHAMPION)
                evidence = gather(feed.look(), champion=champion, candidate=candidate)
            except (BrokerError, RegistryError) as error:
                err.print(f"[yellow]note:[/] {escape(str(error))}; asking again", soft_wrap=True)
                continue
            if now != champion:
                message = (
                    f"version {now} of model {name!r} became champion while waiting, and version "
                    f"{candidate} was compared with {champion}; let workers compare it with {now}"
                )
                raise ConflictError(message)
            if evidence.records != n_before:
                advance(evidence.records - n_before)
                _say(evidence, n_enough)
    return evidence


def shadow_since(
    settings: Settings, registry: Registry, name: str, candidate: str
) -> datetime | None:
    """Return since when the candidate is the shadow; None when it is not, or that is not known."""
    if settings.shadow.alias is None:
        return None
    try:
        record = registry.alias_record(name, settings.shadow.alias)
    except ModelNotFoundError:
        return None
    if record.version != candidate:
        return None
    # None: written by hand, or by a program before aliases had a time.
    return try_utc(record.updated_at)


class _Feed:
    """What the audit topic holds of a model; each look reads only what may be new."""

    def __init__(self, settings: Settings, name: str, *, since: datetime | None) -> None:
        contact_s = min(settings.broker.request_timeout_s, _CONTACT_S)
        broker = settings.broker.model_copy(update={"request_timeout_s": contact_s})
        self._settings = settings.model_copy(update={"broker": broker})
        self._name = name
        self._since = since
        self._by_id: dict[str, AuditRecord] = {}

    def look(self) -> list[AuditRecord]:
        """Return everything seen so far."""
        began = datetime.now(tz=UTC)
        for record in read_audit(self._settings, self._name, since=self._since):
            self._by_id[record.event_id] = record
        reached = began - _OVERLAP
        self._since = reached if self._since is None else max(self._since, reached)
        return list(self._by_id.values())


def _say(evidence: Evidence, n_enough: int) -> None:
    if not err.is_terminal:  # there the bar shows it
        err.print(f"{evidence.records:,} of {n_enough:,} shadow records")
