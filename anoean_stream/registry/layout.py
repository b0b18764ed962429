"""Where each file of a registry lies, and which names may stand in a path.

::

    <url>/<name>/versions/<n>/manifest.json ...   counted up from 1, immutable
    <url>/<name>/aliases/<alias>.json             {"version": "3", "updated_at": ..., "updated_by": ...}
    <url>/<name>/threshold.json                   the threshold that was asked for, and earlier ones

Names come from command lines and settings and end up in paths: what is not allowed here
(slashes, leading dots) cannot leave the registry's folder.
"""

import re
from typing import Annotated, Final, Self

import msgspec
from msgspec import Meta

from anoean_stream.errors import ModelNotFoundError, RegistryError

CHAMPION: Final = "champion"
"""The alias that workers serve."""

PREVIOUS: Final = "previous"
"""The alias of the version that was champion before: where a roll back goes."""

MANIFEST: Final = "manifest.json"

SHADOW: Final = "shadow"
"""The alias of a candidate that is compared with the champion on live traffic."""

ALIAS_MAX_BYTES: Final = 4096
"""Largest alias file, bytes; ours have 100 to 1000."""

HISTORY_MAX: Final = 20
"""Versions that an alias remembers; more roll backs in a row nobody makes."""

THRESHOLD_MAX_BYTES: Final = 65_536
"""Largest threshold file, bytes; ours have up to 20,000."""

# The first two as in settings.ModelSettings.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ALIAS: Final = re.compile(r"[a-z][a-z0-9_-]{0,49}")
_VERSION: Final = re.compile(r"[1-9][0-9]{0,8}")


class AliasRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """Content of an alias file.

    Parameters
    ----------
    version : str
        The version that the alias names.
    updated_at : str
        When it was moved, RFC 3339 in UTC.
    updated_by : str
        Who moved it, ``user@host``, or the id of the worker that rolled back.
    reason : str
        Why, in one line.
    history : tuple of str
        Versions that it named before, newest first, at most `HISTORY_MAX`: where roll backs go.
    held : dict of str to str
        Versions that were rolled back automatically, and until when (RFC 3339) no worker takes them.
    """

    version: str
    updated_at: str = ""
    updated_by: str = ""
    reason: Annotated[str, Meta(max_length=500)] = ""
    history: tuple[str, ...] = ()
    held: dict[str, str] = {}

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Return the record in an alias file; raises ValueError when it is none."""
        try:
            record = msgspec.json.decode(data, type=cls)
        except RecursionError as error:
            message = "nested too deeply"
            raise ValueError(message) from error
        for version in (record.version, *record.history, *record.held):
            if not is_version(version):
                message = f"version is {version[:60]!r}, expected a number as text"
                raise ValueError(message)
        return record

    def history_after(self, version: str) -> tuple[str, ...]:
        """Return the history once the alias names that version: this one is in front of it."""
        if self.version == version:
            return self.history
        rest = (one for one in self.history if one not in {self.version, version})
        return (self.version, *rest)[:HISTORY_MAX]

    def to_json(self) -> bytes:
        """Return the content of the alias file."""
        return msgspec.json.encode(self)


def is_name(text: str) -> bool:
    """Return whether a text can name a model."""
    return _NAME.fullmatch(text) is not None


def is_alias(text: str) -> bool:
    """Return whether a text can be an alias; no version is one."""
    return _ALIAS.fullmatch(text) is not None


def is_version(text: str) -> bool:
    """Return whether a text can be a version: a whole number from 1, no leading zero."""
    return _VERSION.fullmatch(text) is not None


def check_name(name: str) -> None:
    """Raise RegistryError for what cannot name a model."""
    if not is_name(name):
        message = (
            f"{name!r} cannot name a model; expected a letter or digit, then up to 99 letters, "
            f"digits, dots, dashes or underscores"
        )
        raise RegistryError(message)


def version_folder(name: str, version: str) -> str:
    """Return the path of a version's folder, relative to the registry.

    Raises
    ------
    ModelNotFoundError
        When the version is not a number.
    """
    check_name(name)
    if not is_version(version):
        message = f"{version!r} is no version of model {name!r}; expected a number such as 3"
        raise ModelNotFoundError(message)
    return f"{name}/versions/{version}"


def alias_path(name: str, alias: str) -> str:
    """Return the path of an alias's file, relative to the registry.

    Raises
    ------
    RegistryError
        When the text cannot be an alias.
    """
    check_name(name)
    if not is_alias(alias):
        message = (
            f"{alias!r} cannot be an alias; expected a small letter, then up to 49 small "
            f"letters, digits, dashes or underscores, such as {CHAMPION}"
        )
        raise RegistryError(message)
    return f"{name}/aliases/{alias}.json"


def threshold_path(name: str) -> str:
    """Return the path of a model's threshold file, relative to the registry."""
    check_name(name)
    return f"{name}/threshold.json"
