"""An OpenID Connect provider in small: client credentials in, a signed token out, over HTTPS."""

import base64
import json
import ssl
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

TOKEN_LIFETIME_S: Final = 300
_KEY_ID: Final = "test-key"


class TokenEndpoint:
    """Gives tokens to clients that know their secret; RS256, as a broker expects it.

    Parameters
    ----------
    clients : mapping of str to str
        Secret by client id; the client id becomes the token's subject.
    certificate, key : Path
        PEM files of the server.
    """

    def __init__(self, clients: dict[str, str], *, certificate: Path, key: Path) -> None:
        self.clients = clients
        self.requests: list[dict[str, str]] = []
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                status, answer = endpoint.answer(self.headers.get("Authorization", ""), body)
                self.send_response(status)
                data = json.dumps(answer).encode()
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is http.server's
                del format, args

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}/token"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def answer(self, authorization: str, body: str) -> tuple[int, dict[str, Any]]:
        """Return status and body for one request."""
        form = dict(urllib.parse.parse_qsl(body))
        self.requests.append(form)
        encoded = authorization.removeprefix("Basic ")
        client, _, secret = base64.b64decode(encoded).decode().partition(":")
        client, secret = urllib.parse.unquote(client), urllib.parse.unquote(secret)
        if form.get("grant_type") != "client_credentials" or self.clients.get(client) != secret:
            return 401, {"error": "invalid_client"}
        now = int(time.time())
        claims = {
            "sub": client,
            "scope": form.get("scope", ""),
            "iat": now,
            "exp": now + TOKEN_LIFETIME_S,
        }
        token = {"token_type": "Bearer", "expires_in": TOKEN_LIFETIME_S}
        return 200, {"access_token": self._signed(claims), **token}

    def _signed(self, claims: dict[str, Any]) -> str:
        header = {"alg": "RS256", "typ": "JWT", "kid": _KEY_ID}
        text = ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
        signature = self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{_encoded(signature)}"

    def write_public_keys(self, path: Path) -> Path:
        """Write what a broker checks the tokens with (a JSON Web Key Set)."""
        public = self._key.public_key().public_numbers()
        key = {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": _KEY_ID,
            "n": _encoded(public.n.to_bytes(256)),
            "e": _encoded(public.e.to_bytes(3)),
        }
        path.write_text(json.dumps({"keys": [key]}), encoding="utf-8")
        return path

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
