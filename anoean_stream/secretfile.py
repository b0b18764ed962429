"""A secret that stands in a setting or in a file of its own, such as a Kubernetes secret's mount.

The file is read when a client is configured and never before: `anoean config check` works on another
machine than the one that holds it, and a secret that was renewed is read at the next start.
"""

from pathlib import Path
from typing import Final

from pydantic import SecretStr

from anoean_stream.errors import ConfigError
from anoean_stream.settings import Section

SECRET_MAX_BYTES: Final = 65_536
"""Largest file that counts as a secret: a password or token has far less, a wrong path often more."""


def secret_of(settings: Section, key: str, *, section: str) -> str | None:
    """Return a secret in plain text: the setting's own, or what ``<key>_file`` names holds.

    Blocks for one small file. The caller hands the text on and keeps no copy.

    Parameters
    ----------
    settings : Section
        The section; checked, so at most one of the two is set.
    key : str
        The setting that holds the secret itself.
    section : str
        The section's name, for messages.

    Returns
    -------
    str or None
        Without one trailing newline; None when neither is set.

    Raises
    ------
    ConfigError
        The file cannot be read, is empty, too large, or no text. Names setting and path, and never
        what is in the file.
    """
    secret: SecretStr | None = getattr(settings, key)
    if secret is not None:
        return secret.get_secret_value()
    named: str | None = getattr(settings, f"{key}_file")
    if named is None:
        return None
    setting = f"{section}.{key}_file"
    data = _read(Path(named), setting=setting)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        # Without the cause: it would carry the bytes into a traceback.
        raise ConfigError(
            f"{setting} names {named!r}, which is not UTF-8 text; expected a file with the secret only"
        ) from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or "\0" in text:
        what = "a zero byte in it" if text else "nothing in it"
        raise ConfigError(
            f"{setting} names {named!r}, which has {what}; expected a file with the secret only"
        )
    return text


def require_readable(path: str | None, *, setting: str) -> None:
    """Check that a file named by a setting can be read, before somebody says so less clearly.

    Raises
    ------
    ConfigError
        It cannot; names setting and path.
    """
    if path is not None:
        try:
            with Path(path).open("rb"):
                pass
        except OSError as error:
            raise _unreadable(setting, path, error) from error


def _read(path: Path, *, setting: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(SECRET_MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(setting, str(path), error) from error
    if len(data) > SECRET_MAX_BYTES:
        raise ConfigError(
            f"{setting} names {str(path)!r}, which has more than {SECRET_MAX_BYTES} bytes; expected "
            "a file with the secret only"
        )
    return data


def _unreadable(setting: str, path: str, error: OSError) -> ConfigError:
    return ConfigError(
        f"{setting} names {path!r}, which cannot be read ({error.strerror}); check the path, and that "
        "this user may read it"
    )
