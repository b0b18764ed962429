"""What librdkafka reports, sorted: fatal errors as a sentence with the next step, the rest logged.

librdkafka repairs by itself what a network does (reconnects, retries, elects again), so most errors
are news, not ends. An error is fatal here when no amount of waiting repairs it.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from confluent_kafka import KafkaError

from anoean_stream.errors import BrokerError
from anoean_stream.settings import Settings

NEWS_INTERVAL_S: Final = 30.0
"""Seconds between two lines of one kind: below 1 an outage floods the log, above 300 it looks over."""

_NEXT_STEP: Final[dict[int, str]] = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: (
        "the broker does not let this user at topic {topic}; grant Read (input) or Write (alerts, "
        "dead letters) on it"
    ),
    KafkaError.GROUP_AUTHORIZATION_FAILED: (
        "the broker does not let this user into consumer group {group!r}; grant Read on the group, "
        "or set consumer.group_id to one it may use"
    ),
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: (
        "the broker refuses this user on the cluster; grant IdempotentWrite on the cluster, or Write "
        "on the topics"
    ),
    KafkaError._AUTHENTICATION: (  # noqa: SLF001 - the public name of a local error code
        "the broker at {servers} does not accept these credentials; check broker.security_protocol, "
        "broker.sasl_mechanism, {login}"
    ),
    KafkaError.SASL_AUTHENTICATION_FAILED: (
        "the broker at {servers} does not accept these credentials; check broker.sasl_mechanism, "
        "{login}"
    ),
    KafkaError.UNSUPPORTED_SASL_MECHANISM: (
        "the broker at {servers} does not offer broker.sasl_mechanism; set one that it offers"
    ),
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: (
        "the broker does not let this user write transactions; grant Write and Describe on "
        "transactional ids with the prefix '{group}-', or set producer.delivery to at_least_once"
    ),
    KafkaError._FENCED: (  # noqa: SLF001 - the public name of a local error code
        "another worker uses the same transactional id; give each its own worker.id and its own "
        "consumer.group_instance_id, or set neither"
    ),
    KafkaError.INVALID_TRANSACTION_TIMEOUT: (
        "the broker does not accept producer.transaction_timeout_s; choose a value up to its "
        "transaction.max.timeout.ms"
    ),
    KafkaError.FENCED_INSTANCE_ID: (
        "another worker uses the same consumer.group_instance_id; give each worker its own name"
    ),
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: (
        "the running members of group {group!r} use another consumer.assignment_strategy; set the "
        "same, or stop them all first"
    ),
    KafkaError.UNSUPPORTED_ASSIGNOR: (
        "the broker does not know the assignor asked for in consumer.options; remove "
        "'group.remote.assignor' from them"
    ),
    KafkaError.UNSUPPORTED_VERSION: (
        "the broker is too old for consumer.group_protocol=consumer (it needs Kafka 4); set it to "
        "classic"
    ),
    KafkaError.INVALID_GROUP_ID: "consumer.group_id {group!r} is no valid name; choose another",
    KafkaError.INVALID_SESSION_TIMEOUT: (
        "the broker does not accept consumer.session_timeout_s; choose a value between its "
        "group.min.session.timeout.ms and group.max.session.timeout.ms"
    ),
}

_CERTIFICATE_REFUSED: Final = re.compile(
    r"alert (bad certificate|certificate required|certificate unknown|unknown ca|certificate expired"
    r"|certificate revoked|unsupported certificate|handshake failure|access denied)"
)
"""What a broker answers to a client certificate that is missing (TLS 1.2 and 1.3) or not to its liking."""

_UNKNOWN_TOPIC: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - the public name of a local error code
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - the public name of a local error code
    }
)


def missing_topic_sentence(topic: str | None, servers: str) -> str:
    """Say that a topic is missing and how to create it."""
    name = f"topic {topic!r}" if topic else "a topic of this worker"
    return f"{name} does not exist on {servers}; create it with `anoean topics create`"


def is_unknown_topic(error: KafkaError) -> bool:
    """Tell whether the error says that a topic does not exist."""
    return error.code() in _UNKNOWN_TOPIC


def fatal_error(
    error: KafkaError, settings: Settings, *, topic: str | None = None
) -> BrokerError | None:
    """Return the error to end the worker with, or None when waiting may repair it.

    Parameters
    ----------
    error : KafkaError
        What librdkafka reported.
    settings : Settings
        Where the names in the sentence come from.
    topic : str, optional
        The topic at fault, when known.
    """
    if _is_about_token(error):
        return None  # the token endpoint is down: librdkafka asks again, and we run on meanwhile
    step = _NEXT_STEP.get(error.code())
    servers = settings.broker.bootstrap_servers
    if step is not None:
        known = repr(topic) if topic else "of this worker"
        said = step.format(
            topic=known, group=settings.consumer.group_id, servers=servers, login=_login(settings)
        )
        return BrokerError(f"{said} (librdkafka: {error.name()}: {error.str()})")
    if "certificate verify failed" in error.str().lower():
        return BrokerError(
            # librdkafka does not say which of the three it is.
            f"the certificate of the broker at {servers} is not signed by an authority we trust, or is "
            "for another host name, or has expired; set broker.ssl_ca_location to its CA's PEM file, "
            "and broker.bootstrap_servers to a name in the certificate (librdkafka: "
            f"{error.str()})"
        )
    if error.fatal():
        return BrokerError(
            f"librdkafka cannot go on: {error.name()}: {error.str()}; start the worker again, it "
            "resumes at the last commit"
        )
    return None


def refusal_at_start(error: KafkaError, settings: Settings) -> BrokerError | None:
    """Return the error to end with at the first contact, or None when waiting may repair it.

    Stricter than `fatal_error`: what is an outage in a worker that ran for days (a token endpoint
    that is down, a certificate that is refused) is most likely a wrong setting in one that starts.

    Parameters
    ----------
    error : KafkaError
        What librdkafka reported.
    settings : Settings
        Where the names in the sentence come from.
    """
    own = settings.broker
    servers, text = own.bootstrap_servers, error.str()
    if _is_about_token(error):
        why = text.split(": ", 1)[-1]
        return BrokerError(
            f"{own.sasl_oauth_token_url} gave no token ({why}); check broker.sasl_oauth_token_url, "
            "broker.sasl_oauth_client_id, its secret, and broker.sasl_oauth_ca_location"
        )
    if _CERTIFICATE_REFUSED.search(text):
        what = (
            "wants a client certificate; set broker.ssl_certificate_location and "
            "broker.ssl_key_location"
            if own.ssl_certificate_location is None
            else "refuses the certificate in broker.ssl_certificate_location; take one that is not "
            "expired and is signed by an authority the broker trusts"
        )
        return BrokerError(f"the broker at {servers} {what} (librdkafka: {text})")
    if "connecting to a PLAINTEXT broker listener" in text or "wrong version number" in text:
        other = own.security_protocol.replace("SASL_SSL", "SASL_PLAINTEXT")
        return BrokerError(
            f"the broker at {servers} does not speak TLS, and broker.security_protocol is "
            f"{own.security_protocol}; take the port of its TLS listener, or set "
            f"{'PLAINTEXT' if other == 'SSL' else other} (librdkafka: {text})"
        )
    if "Invalid response size" in text:
        return BrokerError(
            f"what listens on {servers} does not answer as Kafka with broker.security_protocol "
            f"{own.security_protocol} does; check broker.bootstrap_servers and "
            f"broker.security_protocol (librdkafka: {text})"
        )
    return fatal_error(error, settings)


def is_silent_refusal(errors: Iterable[KafkaError]) -> bool:
    """Tell whether brokers took the connections and closed them, and nothing else was reported."""
    codes = {error.code() for error in errors}
    return codes == {KafkaError._ALL_BROKERS_DOWN}  # noqa: SLF001 - the public name of a local error code


def silent_refusal_sentence(settings: Settings) -> str:
    """Say what a listener of another protocol does, and what to set."""
    own = settings.broker
    return (
        f"the broker at {own.bootstrap_servers} takes the connection and closes it, as a listener with "
        f"another protocol does; broker.security_protocol is {own.security_protocol}: set the one of "
        "that listener (SSL or SASL_SSL where it wants TLS, SASL_* where it wants a login)"
    )


def _login(settings: Settings) -> str:
    if settings.broker.sasl_mechanism == "OAUTHBEARER":
        return "and that it takes tokens of broker.sasl_oauth_token_url with this scope"
    return "broker.sasl_username and the password"


def _is_about_token(error: KafkaError) -> bool:
    return "Failed to acquire SASL OAUTHBEARER token" in error.str()


class News:
    """Logs each kind of transient error at most once in an interval, with a count of the others.

    Safe to call from any thread.

    Parameters
    ----------
    logger : logging.Logger
        Where the lines go.
    interval_s : float
        Seconds between two lines of one kind.
    clock : callable
        Monotonic seconds; given by tests.
    """

    def __init__(
        self,
        logger: logging.Logger,
        *,
        interval_s: float = NEWS_INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._interval_s = interval_s
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[str, tuple[float, int]] = {}

    def is_due(self, kind: str) -> int | None:
        """Return how many were held back since the last line of this kind; None: hold this one too."""
        now = self._clock()
        with self._lock:
            last, held = self._last.get(kind, (-float("inf"), 0))
            if now - last < self._interval_s:
                self._last[kind] = (last, held + 1)
                return None
            self._last[kind] = (now, 0)
            return held

    def tell(self, kind: str, message: str, *, level: int = logging.WARNING) -> None:
        """Log the message unless one of its kind was logged a moment ago."""
        held = self.is_due(kind)
        if held is not None:
            more = f" ({held} more like this since the last line)" if held else ""
            self._logger.log(level, "%s%s", message, more)


class LogLimit(logging.Filter):
    """Holds back repeated librdkafka log lines: in an outage it logs each failed connect, as an error.

    librdkafka's lines begin ``FAIL [rdkafka#consumer-1] [thrd:host:port/1]: ...``; what is before
    the second bracket is the kind.
    """

    def __init__(self, *, interval_s: float = NEWS_INTERVAL_S) -> None:
        super().__init__()
        self._news = News(logging.getLogger(__name__), interval_s=interval_s)

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the first line of a kind pass, and one in each interval after it."""
        kind = record.getMessage().split("[thrd:")[0]
        is_repeated = kind.startswith("FAIL ") or record.levelno < logging.ERROR
        return not is_repeated or self._news.is_due(kind) is not None


def client_logger(name: str) -> logging.Logger:
    """Return the logger for one client's librdkafka lines, with repeated lines held back."""
    logger = logging.getLogger(f"anoean.kafka.librdkafka.{name}")
    if not any(isinstance(known, LogLimit) for known in logger.filters):
        logger.addFilter(LogLimit())
    return logger
