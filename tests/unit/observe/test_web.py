"""The pages themselves: which there are, who may read them, over TLS or not."""

import asyncio
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import structlog

from anoean_stream.errors import ConfigError
from anoean_stream.observe.guard import is_public
from anoean_stream.observe.health import Health
from anoean_stream.observe.metrics import Metrics
from anoean_stream.observe.web import WebServer
from anoean_stream.settings import WebSettings
from tests.support.certificates import Authority

EVERYWHERE: Final = "0.0.0.0"  # noqa: S104  what some of these tests are about
TOKEN: Final = "9f86d081884c7d659a2feaa0c55ad015"


@contextmanager
def capturing() -> Iterator[list[dict[str, Any]]]:
    with structlog.testing.capture_logs() as lines:
        yield lines  # type: ignore[misc]  # structlog's own type is a MutableMapping


def server(**settings: Any) -> WebServer:
    health = Health(liveness_timeout_s=30)
    return WebServer(
        WebSettings.model_validate({"port": 0, **settings}), health=health, metrics=Metrics()
    )


async def fetch(
    web: WebServer, page: str, *, tls: ssl.SSLContext | None = None, token: str | None = None
) -> tuple[int, dict[str, str], str]:
    """Return status, headers and body of one page of a server that is started for it."""
    await web.on_start()
    try:
        scheme = "http" if tls is None else "https"
        headers = {} if token is None else {"Authorization": token}
        async with (
            aiohttp.ClientSession() as session,
            session.get(
                f"{scheme}://127.0.0.1:{web.port}{page}", ssl=tls or False, headers=headers
            ) as answer,
        ):
            return answer.status, dict(answer.headers), await answer.text()
    finally:
        await web.on_stop()


def test_these_three_pages_are_all_there_is() -> None:
    routes = {resource.canonical for resource in server().application().router.resources()}

    assert routes == {"/live", "/ready", "/metrics"}


@pytest.mark.parametrize(
    "shown",
    [None, "", "Bearer", "Bearer wrong-token-of-any-length", f"Basic {TOKEN}", f"Bearer {TOKEN}x",
     TOKEN, "Bearer \u00e9\u00e9"],
)  # fmt: skip
def test_metrics_are_only_for_those_who_show_the_token(shown: str | None) -> None:
    status, headers, body = asyncio.run(fetch(server(bearer_token=TOKEN), "/metrics", token=shown))

    assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "anoean_records" not in body
    assert TOKEN not in body


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_who_shows_the_token_gets_the_metrics(tmp_path: Path, scheme: str) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")

    status, _, body = asyncio.run(
        fetch(server(bearer_token_file=str(file)), "/metrics", token=f"{scheme} {TOKEN}")
    )

    assert status == 200
    assert "anoean_records_total" in body
    assert TOKEN not in body


def test_a_probe_needs_no_token_but_its_reasons_do() -> None:
    status, _, body = asyncio.run(fetch(server(bearer_token=TOKEN), "/ready"))
    _, _, told = asyncio.run(fetch(server(bearer_token=TOKEN), "/ready", token=f"Bearer {TOKEN}"))

    assert (status, json.loads(body)) == (503, {"status": "unavailable"})
    assert json.loads(told)["problems"]


def test_pages_come_over_tls_with_an_encrypted_key(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("web", hosts=("127.0.0.1",), password="open sesame")
    (tmp_path / "password").write_text("open sesame\n")
    web = server(
        tls_certificate=str(certificate),
        tls_key=str(key),
        tls_key_password_file=str(tmp_path / "password"),
    )
    trusting = ssl.create_default_context(cafile=str(authority.ca))

    status, _, body = asyncio.run(fetch(web, "/metrics", tls=trusting))

    assert status == 200
    assert "anoean_records_total" in body


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"tls_key": "{other}"}, "expected PEM files that belong together"),
        ({"tls_key": "/nowhere.key"}, r"web\.tls_key names '/nowhere.key'"),
        ({"tls_certificate": "/nowhere.pem"}, r"web\.tls_certificate names '/nowhere.pem'"),
        ({"tls_key": "{encrypted}"}, "web.tls_key_password if the key is encrypted"),
        ({"tls_key": "{encrypted}", "tls_key_password": "wrong"}, "web.tls_key_password if"),
        ({"bearer_token_file": "/nowhere/token"}, r"web\.bearer_token_file names"),
        ({"bearer_token_file": "{short}"}, "expected at least 16 printable ASCII characters"),
    ],
)
def test_what_cannot_be_served_ends_with_a_sentence(
    tmp_path: Path, change: dict[str, str], sentence: str
) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("web")
    names = {
        "other": authority.issue("other")[1],
        "encrypted": authority.issue("encrypted", password="open sesame")[1],
        "short": tmp_path / "short",
    }
    names["short"].write_text("letmein\n")
    settings = {"tls_certificate": str(certificate), "tls_key": str(key)}
    web = server(**settings | {name: text.format(**names) for name, text in change.items()})

    with pytest.raises(ConfigError, match=sentence):
        asyncio.run(web.on_start())


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", False), ("127.8.8.8", False), ("::1", False), ("localhost", False),
        (EVERYWHERE, True), ("::", True), ("10.0.0.7", True), ("worker-1", True),
    ],
)  # fmt: skip
def test_only_loopback_is_not_public(host: str, *, expected: bool) -> None:
    assert is_public(host) is expected


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"host": "127.0.0.1"}, None),
        ({"host": EVERYWHERE}, ("TLS", "a token")),
        ({"host": EVERYWHERE, "bearer_token": TOKEN}, ("TLS",)),
    ],
)
def test_a_public_address_without_protection_is_warned_of(
    settings: dict[str, str], missing: tuple[str, ...] | None
) -> None:
    web = server(**settings)

    with capturing() as lines:
        asyncio.run(fetch(web, "/live"))

    warnings = [line for line in lines if line["log_level"] == "warning"]
    if missing is None:
        assert warnings == []
    else:
        (warning,) = warnings
        assert warning["event"] == "web_unprotected"
        assert [word in warning["note"] for word in ("TLS", "a token")] == [
            word in missing for word in ("TLS", "a token")
        ]
