"""Who may read the pages: TLS from PEM files, and a bearer token compared in constant time."""

import hmac
import ipaddress
import ssl
from pathlib import Path
from typing import Final

from aiohttp import web

from anoean_stream.errors import ConfigError
from anoean_stream.secretfile import require_readable, secret_of
from anoean_stream.settings import WebSettings

TOKEN_MIN_CHARS: Final = 16
"""Shortest token: a shorter one can be guessed over the network."""


class Guard:
    """Tells whether a request shows the token.

    Parameters
    ----------
    token : str or None
        The token; None lets everybody pass.
    """

    def __init__(self, token: str | None) -> None:
        self._expected = None if token is None else token.encode()

    @property
    def is_open(self) -> bool:
        """Whether nobody needs a token."""
        return self._expected is None

    def admits(self, request: web.Request) -> bool:
        """Tell whether the request may see everything; takes equally long for each wrong token."""
        if self._expected is None:
            return True
        scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
        token = shown.strip().encode(errors="surrogateescape")
        return hmac.compare_digest(token, self._expected) and scheme.lower() == "bearer"


def guard_of(settings: WebSettings) -> Guard:
    """Return the guard that the settings ask for; reads the token's file.

    Raises
    ------
    ConfigError
        The file cannot be read, or what it holds is no token.
    """
    token = secret_of(settings, "bearer_token", section="web")
    if token is not None and (
        len(token) < TOKEN_MIN_CHARS
        or not token.isascii()
        or not token.isprintable()
        or " " in token
    ):
        raise ConfigError(
            f"the token of web.bearer_token or web.bearer_token_file cannot be used; expected at least "
            f"{TOKEN_MIN_CHARS} printable ASCII characters without blanks, such as the output of "
            "`openssl rand -hex 32`"
        )
    return Guard(token)


def tls_context(settings: WebSettings) -> ssl.SSLContext | None:
    """Return what the server needs for TLS 1.2 and newer, or None when it shall speak plain HTTP.

    Raises
    ------
    ConfigError
        A file cannot be read, or certificate and key do not belong together.
    """
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    require_readable(settings.tls_certificate, setting="web.tls_certificate")
    require_readable(settings.tls_key, setting="web.tls_key")
    password = secret_of(settings, "tls_key_password", section="web")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Never None: OpenSSL would ask for the password on the terminal and wait.
        context.load_cert_chain(
            Path(settings.tls_certificate), Path(settings.tls_key), password=password or ""
        )
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"web.tls_certificate {settings.tls_certificate!r} with web.tls_key {settings.tls_key!r} "
            f"cannot be used ({getattr(error, 'reason', None) or error}); expected PEM files that "
            "belong together, and web.tls_key_password if the key is encrypted"
        ) from error
    return context


def is_public(host: str) -> bool:
    """Tell whether others than this machine can reach the address; a name counts as public."""
    if host.lower() == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True
