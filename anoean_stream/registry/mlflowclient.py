"""MLflow's REST interface, as far as a registry needs it.

Its own client would bring a web framework, a tracing library and the client of a cloud into every
worker (docs/decisions/0011-stores.md); what we need of it are a dozen documented requests.
"""

import os
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, cast
from urllib.parse import quote, urlsplit

import msgspec
import urllib3

from anoean_stream.registry.promises import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, RETRIES

_API: Final = "api/2.0/mlflow"

_ARTIFACTS: Final = "api/2.0/mlflow-artifacts/artifacts"

_PAGE: Final = 200
"""Entries of a page; MLflow allows 1000 models and 200,000 versions."""

_ABSENT: Final = "RESOURCE_DOES_NOT_EXIST"

TAKEN: Final = "RESOURCE_ALREADY_EXISTS"
"""Code of an error: what was to be created is there."""


class MlflowError(Exception):
    """An answer that is no success.

    Parameters
    ----------
    message : str
        What the server said, on one line.
    code : str
        MLflow's own code; empty when it is no answer of MLflow.
    """

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class MlflowClient:
    """Requests to one MLflow server; thread-safe, and no connection is made before the first.

    Login comes from the URL, or from the variables that MLflow's own client reads:
    ``MLFLOW_TRACKING_TOKEN``, or ``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD``.

    Parameters
    ----------
    url : str
        ``http://host:5000`` or ``https://...``; a path is the server's static prefix.

    Raises
    ------
    ValueError
        When the URL names no host.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if not parts.hostname:
            message = "it names no host"
            raise ValueError(message)
        host = parts.netloc.rpartition("@")[2]
        self._base = f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
        login = (parts.username, parts.password or "")
        if not parts.username:
            login = (
                os.environ.get("MLFLOW_TRACKING_USERNAME"),
                os.environ.get("MLFLOW_TRACKING_PASSWORD", ""),
            )
        self._headers: dict[str, str] = {}
        if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
            self._headers["Authorization"] = f"Bearer {token}"
        elif login[0]:
            self._headers |= urllib3.make_headers(basic_auth=f"{login[0]}:{login[1]}")
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S), maxsize=4
        )

    def get(self, call: str, **query: str | int) -> dict[str, Any]:
        """Return what a reading request answers; raises FileNotFoundError for what is not there."""
        fields = {key: str(value) for key, value in query.items()}
        return _document(self._send("GET", f"{_API}/{call}", fields=fields))

    def pages(self, call: str, key: str, **query: str | int) -> Iterator[dict[str, Any]]:
        """Yield the entries of all pages of a search."""
        token = ""
        while True:
            more: dict[str, str | int] = {"page_token": token} if token else {}
            page = self.get(call, max_results=_PAGE, **query, **more)
            yield from page.get(key, [])
            token = page.get("next_page_token", "")
            if not token:
                return

    def post(self, call: str, **body: Any) -> dict[str, Any]:
        """Make a writing request; it is sent once."""
        return _document(self._send("POST", f"{_API}/{call}", body=msgspec.json.encode(body)))

    def delete(self, call: str, **body: Any) -> None:
        """Make a removing request; raises FileNotFoundError when there is nothing to remove."""
        self._send("DELETE", f"{_API}/{call}", body=msgspec.json.encode(body))

    def upload(self, path: str, data: bytes) -> None:
        """Write an artifact through the server; a reader meanwhile may see a part of it."""
        self._send("PUT", f"{_ARTIFACTS}/{quote(path)}", body=data)

    def download(self, path: str, *, max_bytes: int) -> bytes:
        """Return an artifact, or its first `max_bytes` + 1 bytes."""
        answer = self._send("GET", f"{_ARTIFACTS}/{quote(path)}", stream=True)
        try:
            return answer.read(max_bytes + 1)
        finally:
            answer.close()
            answer.release_conn()

    def artifacts(self, path: str) -> list[dict[str, Any]]:
        """Return what lies directly in a folder of artifacts: path, is_dir, file_size."""
        answer = self._send("GET", _ARTIFACTS, fields={"path": path})
        return cast("list[dict[str, Any]]", _document(answer).get("files", []))

    def remove_artifacts(self, path: str) -> None:
        """Remove an artifact, or a folder of them; nothing happens when there is none."""
        self._send("DELETE", f"{_ARTIFACTS}/{quote(path)}")

    def _send(
        self,
        method: str,
        path: str,
        *,
        fields: Mapping[str, str] | None = None,
        body: bytes | None = None,
        stream: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        # Only what reads is repeated; a connection that was never made is for all.
        repeats = RETRIES if method == "GET" else 0
        answer = self._pool.request(
            method,
            f"{self._base}/{path}",
            fields=fields,
            body=body,
            headers=self._headers | ({"Content-Type": _content_type(path)} if body else {}),
            retries=urllib3.Retry(connect=RETRIES, read=repeats, redirect=0, other=0, status=0),
            preload_content=not stream,
        )
        if answer.status == HTTPStatus.OK:
            return answer
        text = answer.data[:4096]
        try:
            said = msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.DecodeError:
            said = {"message": text.decode(errors="replace")}
        code = str(said.get("error_code", ""))
        message = " ".join(str(said.get("message", "")).split())
        if code == _ABSENT:
            raise FileNotFoundError(message)
        raise MlflowError(f"HTTP {answer.status} {code}: {message}", code=code)


def _document(answer: urllib3.BaseHTTPResponse) -> dict[str, Any]:
    try:
        return msgspec.json.decode(answer.data, type=dict[str, Any])
    except msgspec.DecodeError as error:
        message = f"no JSON in the answer: {answer.data[:100]!r}"
        raise MlflowError(message) from error


def _content_type(path: str) -> str:
    return "application/octet-stream" if path.startswith(_ARTIFACTS) else "application/json"
