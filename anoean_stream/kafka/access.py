"""May this user do what a worker does? Asked once, at the start, before anything is consumed.

The brokers tell what a user may do with a topic and a group (KIP-430), so a missing permission is
named before the first record is read, and not when the first alert is to be written. Reading and
writing find out again by themselves: a permission that is withdrawn later ends the worker, too.
"""

import asyncio
import logging
import threading
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin._acl import AclOperation
from mode import Service

from anoean_stream.errors import AnoeanError, BrokerError
from anoean_stream.kafka.contact import Admin, has_controller
from anoean_stream.kafka.faults import is_unknown_topic
from anoean_stream.settings import Settings

logger = logging.getLogger("anoean.kafka.access")

_WORDS: Final = {AclOperation.READ: "Read", AclOperation.WRITE: "Write"}


class AccessCheck(Service):
    """Asks in a thread while the rest of the worker starts; crashes the app with the answer.

    Parameters
    ----------
    settings : Settings
        All of them.
    granted : asyncio.Event
        Set when nothing stands in the way.
    """

    def __init__(self, settings: Settings, granted: asyncio.Event, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._settings = settings
        self._granted = granted
        self._given_up = threading.Event()

    @Service.task
    async def _ask(self) -> None:
        refused: AnoeanError | None = None
        try:
            await asyncio.to_thread(check_access, self._settings, given_up=self._given_up)
        except AnoeanError as error:
            refused = error
        # Outside of the except block: within it mode would log a traceback beside the sentence.
        if refused is None:
            self._granted.set()
        elif not self.should_stop:
            await self.crash(refused)

    async def on_stop(self) -> None:
        """Ask no more."""
        self._given_up.set()


def check_access(settings: Settings, *, given_up: threading.Event | None = None) -> None:
    """Return when the brokers answer and nothing is known that a worker may not do. Blocks.

    A topic that does not exist is no refusal: the consumer says so until somebody creates it. A
    group that does not exist tells nothing: joining it will.

    Parameters
    ----------
    settings : Settings
        All of them.
    given_up : threading.Event, optional
        Ends the wait for the first contact.

    Raises
    ------
    BrokerError
        No broker answers within ``broker.connect_timeout_s``, it refuses the login, or a permission
        is missing: one sentence that says what to do.
    """
    admin = Admin(settings)
    cluster = admin.reach(given_up=given_up)
    if has_controller(cluster):
        _check_topics(admin, settings)
        _check_group(admin, settings)


def _check_topics(admin: Admin, settings: Settings) -> None:
    own = settings.topics
    needed = {
        own.input: ("input", AclOperation.READ),
        own.alerts: ("alerts", AclOperation.WRITE),
        own.dead_letters: ("dead_letters", AclOperation.WRITE),
    }
    described = admin.client.describe_topics(
        TopicCollection(list(needed)),
        include_authorized_operations=True,
        request_timeout=admin.timeout_s,
    )
    for name, (key, operation) in needed.items():
        try:
            allowed = admin.answer(described[name]).authorized_operations
        except KafkaException as err:
            error: KafkaError = err.args[0]
            if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise _missing(settings, operation, "topic", name, f"topics.{key}") from err
            _pass_over(error, f"topic {name!r}")
        else:
            if allowed and operation not in allowed:
                raise _missing(settings, operation, "topic", name, f"topics.{key}")


def _check_group(admin: Admin, settings: Settings) -> None:
    name = settings.consumer.group_id
    described = admin.client.describe_consumer_groups(
        [name], include_authorized_operations=True, request_timeout=admin.timeout_s
    )
    try:
        allowed = admin.answer(described[name]).authorized_operations
    except KafkaException as err:
        error: KafkaError = err.args[0]
        if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            raise _missing(settings, AclOperation.READ, "group", name, "consumer.group_id") from err
        _pass_over(error, f"group {name!r}")
    else:
        if allowed and AclOperation.READ not in allowed:
            raise _missing(settings, AclOperation.READ, "group", name, "consumer.group_id")


def _pass_over(error: KafkaError, what: str) -> None:
    """Go on without an answer; whoever uses it will be told, and says so."""
    level = logging.DEBUG if is_unknown_topic(error) else logging.INFO
    logger.log(level, "access to %s is not known yet: %s: %s", what, error.name(), error.str())


def _missing(
    settings: Settings, operation: AclOperation, kind: str, name: str, setting: str
) -> BrokerError:
    own = settings.broker
    user = own.sasl_username
    who = f"user {user!r}" if user else "this user"
    word = _WORDS[operation]
    return BrokerError(
        f"the broker does not let {who} {word.lower()} {kind} {name!r} ({setting}); grant it with "
        f"kafka-acls --bootstrap-server {own.bootstrap_servers} --add "
        f"--allow-principal User:{user or 'NAME'} --operation {word} --{kind} {name}"
    )
