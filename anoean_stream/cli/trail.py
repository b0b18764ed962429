"""What a command did with a model, told to the audit topic, and to the workers.

The registry holds what is to be served; this only tells of it. A command that changed the registry
has done its work even when no broker can be told: it says so and ends well, and workers see the
change at their next poll.
"""

import time
from collections.abc import Sequence
from typing import Final, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from anoean_stream.cli.console import err
from anoean_stream.errors import BrokerError, ConfigError
from anoean_stream.kafka.config import producer_config
from anoean_stream.kafka.faults import client_logger, fatal_error, is_unknown_topic
from anoean_stream.records.audit import AuditRecord
from anoean_stream.records.control import ControlMessage
from anoean_stream.records.outgoing import OutRecord
from anoean_stream.settings import Settings

_LIMIT_S: Final = 5.0
"""Seconds until what no broker took is given up: below 1 a slow network looks like none, above 10 a
person at the terminal thinks that the command hangs."""

_LOOK_S: Final = 0.1
"""Seconds between two looks at what was reported."""


def tell(settings: Settings, record: AuditRecord, *, wake: bool = True) -> bool:
    """Write an audit record, and let workers look at the registry at once.

    Blocks for 5 s at most. Says on stderr what could not be told, and what that means; never raises
    for a broker.

    Parameters
    ----------
    settings : Settings
        Brokers and topics; a topic that is null is left out.
    record : AuditRecord
        What was done.
    wake : bool
        Whether workers have to look at the registry for it.

    Returns
    -------
    bool
        Whether all of it was taken by a broker.
    """
    outgoing: list[tuple[str, OutRecord]] = []
    if settings.topics.audit is not None:
        outgoing.append((settings.topics.audit, record.to_record()))
    if wake and settings.topics.control is not None:
        what = f"{record.action} {record.to_version or ''}".strip()
        message = ControlMessage.now(record.model, who=record.who, what=what)
        outgoing.append((settings.topics.control, message.to_record()))
    problem = _send(settings, outgoing) if outgoing else None
    if problem is None:
        return True
    topics = " and ".join(topic for topic, _ in outgoing)
    poll_s = settings.registry.poll_interval_s
    err.print(
        f"[yellow]note:[/] not told to {topics}: {problem}"
        + (
            "; the registry is changed all the same, workers see it at their next poll "
            f"(registry.poll_interval_s {poll_s:g})"
            if wake
            else ""
        ),
        soft_wrap=True,
    )
    return False


def _send(settings: Settings, outgoing: Sequence[tuple[str, OutRecord]]) -> str | None:
    """Return why not everything was taken; None when it was."""
    problems = _Problems(settings)
    try:
        producer = Producer(
            {
                **producer_config(settings),
                "delivery.timeout.ms": round(_LIMIT_S * 1000),
                "linger.ms": 0,
                "topic.metadata.propagation.max.ms": 1000,  # a missing topic is told after a second
                "error_cb": problems.hear,
            },
            logger=client_logger("trail"),
        )
        for topic, record in outgoing:
            headers = cast("list[tuple[str, str | bytes | None]]", list(record.headers))
            producer.produce(
                topic, record.value, key=record.key, headers=headers, on_delivery=problems.report
            )
    except (KafkaException, ConfigError, BrokerError) as error:
        return str(error)
    deadline = time.monotonic() + _LIMIT_S
    while len(producer) and problems.first is None and time.monotonic() < deadline:
        producer.flush(_LOOK_S)
    if len(producer):
        servers = settings.broker.bootstrap_servers
        problems.note(f"no broker took it within {_LIMIT_S:g} s on {servers}")
        producer.purge()
        producer.flush(_LOOK_S)
    return problems.first


class _Problems:
    """Keeps the first thing that went wrong."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.first: str | None = None

    def note(self, problem: str) -> None:
        self.first = self.first or problem

    def hear(self, error: KafkaError) -> None:
        """Take what librdkafka says by itself."""
        fatal = fatal_error(error, self._settings)
        if fatal is not None:
            self.note(str(fatal))
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - the public name of a local error code
            self.note(f"no broker answers on {self._settings.broker.bootstrap_servers}")

    def report(self, error: KafkaError | None, message: Message) -> None:
        """Take the fate of one record."""
        if error is not None and is_unknown_topic(error):
            name = message.topic()
            self.note(f"topic {name!r} does not exist (create it with `anoean topics create`)")
        elif error is not None:
            self.note(error.str())
