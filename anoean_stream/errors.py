"""Every exception this project raises on purpose.

::

    AnoeanError                       exit code 1
    +-- ConfigError                   2   a setting, or a combination of settings, that cannot work
    |   +-- InvalidSettingsError          all mistakes of the settings at once (in configfile)
    +-- DataError                     2   a file of records that cannot be read: names column and row
    +-- TrainingError                 1   training did not converge: a loss that is not finite
    +-- RecordError                   -   one record of a topic; becomes a dead letter, never ends a process
    +-- BundleError                   3   a model that cannot be served
    |   +-- ManifestError                 manifest missing, unreadable, or of an unknown format
    |   +-- IntegrityError                a file is missing, truncated or changed; a golden score differs
    |   +-- IncompatibleBundleError       intact, but not for this worker
    |   +-- SignatureError                not signed, or not by a key of registry.trusted_keys
    +-- RegistryError                 3   the store of versions and aliases
    |   +-- ModelNotFoundError            no such model, version or alias
    |   +-- ConflictError                 somebody else changed it between our look and our write
    +-- GateError                     3   a version did not prove itself, and is not promoted
    +-- DeadLetterLimitError          5   nearly every record is dead: the input or the settings are wrong
    +-- BrokerError                   4   Kafka refused, or is not there
    |   +-- DeliveryError                 a record that no broker acknowledged in time (retriable)
    +-- DemoError                     1   a part of the demo did not do its work (in cli.demo_stage)

Codes without an exception, because nothing is left to raise one: `EXIT_STALLED`, `EXIT_LATE`, and 128
plus the signal's number after a second signal.

A message has four parts: what failed, the value seen, the value expected, what to do::

    try:
        bundle = read_bundle(files, origin="models/edge/versions/7")
    except IntegrityError as error:
        log.error("bundle_refused", file=error.file, reason=str(error))
"""

from typing import ClassVar, Final

EXIT_STALLED: Final = 6
"""What the process returns when the watchdog ended it: something stood still (docs/operations.md)."""

EXIT_LATE: Final = 7
"""What the process returns when a stop did not end within worker.shutdown_deadline_s."""
_BRIEF_CHARS: Final = 300
"""Characters of a library's message that ours take over: some quote a name of megabytes."""


def brief(error: Exception) -> str:
    """Return an error's text on one line and not longer than a person reads.

    Examples
    --------
    >>> brief(ValueError("unknown field " + "x" * 1_000_000))[-6:]
    'xxx...'
    """
    text = " ".join(str(error)[: _BRIEF_CHARS + 1].split())
    return text if len(text) <= _BRIEF_CHARS else f"{text[:_BRIEF_CHARS]}..."


class AnoeanError(Exception):
    """The root: catching it catches everything we raise on purpose."""

    exit_code: ClassVar[int] = 1
    """What the process returns when this reaches the command line."""

    retriable: ClassVar[bool] = False
    """True when the same call may succeed later without anything being changed."""


class ConfigError(AnoeanError):
    """A setting, or a combination of settings, that cannot work."""

    exit_code = 2


class DataError(AnoeanError):
    """A file of records that cannot be read.

    Parameters
    ----------
    message : str
        What failed, value seen, value expected, what to do.
    column : str, optional
        The column at fault.
    row : int, optional
        The row at fault, counted from 1 without the header.
    """

    exit_code = 2

    def __init__(self, message: str, *, column: str | None = None, row: int | None = None) -> None:
        super().__init__(message)
        self.column = column
        self.row = row


class TrainingError(AnoeanError):
    """Training did not converge: a loss, a weight or a score that is not finite.

    Parameters
    ----------
    message : str
        What failed, value seen, value expected, what to do.
    epoch : int, optional
        Epoch, from 1.
    step : int, optional
        Step within the epoch, from 1.
    """

    def __init__(self, message: str, *, epoch: int | None = None, step: int | None = None) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.step = step


class RecordError(AnoeanError):
    """One record that cannot be scored.

    Parameters
    ----------
    reason : str
        One of `anoean_stream.records.deadletter.Reason`.
    detail : str
        What was seen and what was expected, for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class DeadLetterLimitError(AnoeanError):
    """Nearly every record is dead: the input or the settings are wrong, so the worker ends.

    Starting again skips nothing: what was dead is in the dead letters. It will end again, so let a
    person look first.

    Parameters
    ----------
    message : str
        How many, the limit, the commonest reason, what to do.
    reason : str
        The commonest reason.
    example : str
        topic/partition/offset of a record that died of it.
    """

    exit_code = 5

    def __init__(self, message: str, *, reason: str, example: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.example = example


class BundleError(AnoeanError):
    """A model that cannot be served.

    Parameters
    ----------
    message : str
        What failed, value seen, value expected, what to do.
    file : str, optional
        The file of the bundle at fault.
    """

    exit_code = 3

    def __init__(self, message: str, *, file: str | None = None) -> None:
        super().__init__(message)
        self.file = file


class ManifestError(BundleError):
    """The manifest is missing, unreadable, or of an unknown format version."""


class IntegrityError(BundleError):
    """A file of the bundle is missing, truncated or changed, or a golden score differs."""


class IncompatibleBundleError(BundleError):
    """The bundle is intact, but not for this worker (feature contract, shapes)."""


class SignatureError(BundleError):
    """No trusted key signed the bundle; it may be signed later."""


class RegistryError(AnoeanError):
    """The store of versions and aliases cannot do what was asked."""

    exit_code = 3


class ModelNotFoundError(RegistryError):
    """No such model, version or alias; it may appear later."""

    retriable = True


class ConflictError(RegistryError):
    """Somebody else changed it between our look and our write; look again."""

    retriable = True


class GateError(AnoeanError):
    """A version did not prove itself, and is not promoted.

    Parameters
    ----------
    message : str
        Each rule that was broken, with the value seen and the bound, and what to do.
    rules : tuple of str
        Names of the rules, as in config.yaml where there is a setting.
    """

    exit_code = 3

    def __init__(self, message: str, *, rules: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.rules = rules


class BrokerError(AnoeanError):
    """Kafka refused, or is not there."""

    exit_code = 4


class DeliveryError(BrokerError):
    """A record that no broker acknowledged in time; sending it again is safe."""

    retriable = True
