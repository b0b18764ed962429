"""How a registry in MLflow logs in, and that messages do not tell the password."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from anoean_stream.errors import RegistryError
from anoean_stream.registry.store import open_store


class Gate(BaseHTTPRequestHandler):
    """Refuses everybody, and remembers what they showed."""

    shown: list[str | None]

    def do_GET(self) -> None:
        self.shown.append(self.headers.get("Authorization"))
        self.send_response(401)
        self.end_headers()
        self.wfile.write(b"You are not authenticated.")

    def log_message(self, *words: object) -> None:
        """Stay silent."""


@pytest.fixture
def gate() -> Iterator[HTTPServer]:
    Gate.shown = []
    with HTTPServer(("127.0.0.1", 0), Gate) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("login", "variables", "shown"),
    [
        ("", {}, None),
        ("ann:secret@", {}, "Basic YW5uOnNlY3JldA=="),
        (
            "",
            {"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "secret"},
            "Basic YW5uOnNlY3JldA==",
        ),
        ("", {"MLFLOW_TRACKING_TOKEN": "secret"}, "Bearer secret"),
    ],
    ids=["nobody", "url", "variables", "token"],
)
def test_a_login_comes_from_the_url_or_mlflows_variables(
    gate: HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
    login: str,
    variables: dict[str, str],
    shown: str | None,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(RegistryError, match=r"HTTP 401.*You are not authenticated") as refused:
        open_store(f"mlflow+http://{login}127.0.0.1:{gate.server_port}").children("")

    assert Gate.shown == [shown]
    assert "secret" not in str(refused.value)
    assert "MLFLOW_TRACKING_USERNAME" in str(refused.value)
