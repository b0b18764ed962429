"""The pages of a running worker: three of them, over TLS and with a token; none of Faust's."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from anoean_stream.kafka.embedded import EmbeddedBroker
from tests.support.certificates import Authority
from tests.support.worker import WorkerProcess

EVERYWHERE: Final = "0.0.0.0"  # noqa: S104  what these tests are about
TOKEN: Final = "planted-token-9f86d081884c7d65"

FAUSTS_PAGES: Final = (
    "/", "/stats/", "/table/", "/tables/", "/assignor/", "/router/", "/graph/", "/health/", "/docs/",
)  # fmt: skip
"""Where Faust's own web site has its pages, and where one would look for others."""


@dataclass
class Site:
    """A running worker that waits for a model, and whom its clients trust."""

    worker: WorkerProcess
    url: str
    tls: ssl.SSLContext

    def fetch(self, page: str, *, token: str | None = None, method: str = "GET") -> tuple[int, str]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(self.url + page, headers=headers, method=method)  # noqa: S310  our own worker
        try:
            with urllib.request.urlopen(request, timeout=10, context=self.tls) as answer:  # noqa: S310  our own worker
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@pytest.fixture(scope="module")
def site(
    embedded_broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    authority = Authority(folder)
    certificate, key = authority.issue("web", hosts=("127.0.0.1",), password="open sesame")
    (folder / "key-password").write_text("open sesame\n")
    (folder / "token").write_text(f"{TOKEN}\n")
    embedded_broker.create_topics(["flows", "anomalies", "anomalies.dlq"])
    worker = WorkerProcess(
        embedded_broker.bootstrap,
        folder / "models",
        {
            "web.host": EVERYWHERE,
            "web.tls_certificate": certificate,
            "web.tls_key": key,
            "web.tls_key_password_file": folder / "key-password",
            "web.bearer_token_file": folder / "token",
            "logging.level": "DEBUG",
        },
    )
    with worker:
        url = worker.wait_for_line("web_listening")["url"].replace(EVERYWHERE, "127.0.0.1")
        yield Site(worker, url, ssl.create_default_context(cafile=str(authority.ca)))


def test_metrics_need_the_token(site: Site) -> None:
    assert site.fetch("/metrics")[0] == 401
    assert site.fetch("/metrics", token="another-token-of-the-same-size")[0] == 401

    status, page = site.fetch("/metrics", token=TOKEN)

    assert status == 200
    assert "anoean_records_total" in page
    assert "planted" not in page


def test_a_kubelet_needs_none_and_hears_no_reasons(site: Site) -> None:
    status, body = site.fetch("/ready")

    assert site.fetch("/live")[0] == 200
    assert (status, json.loads(body)) == (503, {"status": "unavailable"})
    assert json.loads(site.fetch("/ready", token=TOKEN)[1])["problems"]


def test_plain_http_is_not_answered(site: Site) -> None:
    with pytest.raises(OSError, match=r"closed connection|reset|Remote end"):
        urllib.request.urlopen(site.url.replace("https:", "http:") + "/live", timeout=10)  # noqa: S310  our own worker


@pytest.mark.parametrize("page", FAUSTS_PAGES)
def test_nothing_of_fausts_own_web_site_is_served(site: Site, page: str) -> None:
    assert site.fetch(page, token=TOKEN)[0] == 404


@pytest.mark.parametrize("page", ["/live", "/ready", "/metrics"])
def test_pages_are_for_reading_only(site: Site, page: str) -> None:
    assert site.fetch(page, token=TOKEN, method="POST")[0] == 405


def test_neither_token_nor_password_is_logged_and_nothing_is_warned_of(site: Site) -> None:
    said = site.worker.output()

    assert TOKEN not in said
    assert "open sesame" not in said
    assert "web_unprotected" not in said


def test_a_public_address_without_protection_is_warned_of(
    embedded_broker: EmbeddedBroker, new_topic: Callable[[str], str], tmp_path: Path
) -> None:
    settings = {"web.host": EVERYWHERE, "topics.input": new_topic("flows")}

    with WorkerProcess(embedded_broker.bootstrap, tmp_path / "models", settings) as worker:
        note = worker.wait_for_line("web_unprotected", level="warning")["note"]

    assert "web.tls_certificate" in note
    assert "web.bearer_token_file" in note
