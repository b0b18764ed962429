"""/live, /ready and /metrics over HTTP or HTTPS, on the worker's own event loop; nothing else.

With a token set, /metrics is for those who show it. /live and /ready answer everybody with their
status code, because a kubelet has no token; the reasons, too, are only for those who show it.
"""

from collections.abc import Mapping
from typing import Any

import structlog
from aiohttp import web
from mode import Service

from anoean_stream.errors import ConfigError
from anoean_stream.observe.guard import Guard, guard_of, is_public, tls_context
from anoean_stream.observe.health import Health
from anoean_stream.observe.metrics import Metrics
from anoean_stream.settings import WebSettings

log = structlog.get_logger("anoean.web")

_OK, _UNAUTHORIZED, _UNAVAILABLE = 200, 401, 503
_PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class WebServer(Service):
    """Serves the probes and the metrics until stopped; a part of the Faust app.

    Parameters
    ----------
    settings : WebSettings
        Address and port; port 0 takes a free one.
    health : Health
        What /live and /ready answer from.
    metrics : Metrics
        What /metrics shows.
    """

    def __init__(
        self, settings: WebSettings, *, health: Health, metrics: Metrics, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._settings = settings
        self._health = health
        self._metrics = metrics
        self._guard = Guard(None)
        self._runner: web.AppRunner | None = None
        self.port: int | None = None

    async def on_start(self) -> None:
        """Listen.

        Raises
        ------
        ConfigError
            When the address cannot be taken, or a certificate, key or token cannot be used.
        """
        self._guard = guard_of(self._settings)
        tls = tls_context(self._settings)
        self._runner = web.AppRunner(self.application(), access_log=None)
        await self._runner.setup()
        host, port = self._settings.host, self._settings.port
        try:
            site = web.TCPSite(self._runner, host, port, reuse_address=True, ssl_context=tls)
            await site.start()
        except OSError as error:
            message = (
                f"cannot listen on {host}:{port} ({error.strerror}); another worker there? "
                f"take a free port with --set web.port=0, or --set web.enabled=false"
            )
            raise ConfigError(message) from error
        self.port = self._runner.addresses[0][1]
        scheme = "http" if tls is None else "https"
        address = f"[{host}]" if ":" in host else host
        log.info(
            "web_listening", url=f"{scheme}://{address}:{self.port}", pages="/live /ready /metrics"
        )
        self._warn_if_open(has_tls=tls is not None)

    def application(self) -> web.Application:
        """Return the pages: these three, and nothing of Faust's own web site."""
        server = web.Application()
        server.router.add_get("/live", self._live)
        server.router.add_get("/ready", self._ready)
        server.router.add_get("/metrics", self._metrics_page)
        return server

    def _warn_if_open(self, *, has_tls: bool) -> None:
        if not is_public(self._settings.host):
            return
        missing = []
        if not has_tls:
            missing.append("TLS (web.tls_certificate, web.tls_key)")
        if self._guard.is_open:
            missing.append("a token (web.bearer_token_file)")
        if missing:
            log.warning(
                "web_unprotected",
                host=self._settings.host,
                note=f"other machines can reach this address, without {' and '.join(missing)}",
            )

    async def on_stop(self) -> None:
        """Close the sockets."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _live(self, request: web.Request) -> web.Response:
        return self._answer(request, self._health.live(), {})

    async def _ready(self, request: web.Request) -> web.Response:
        state = {"model": self._health.model, "partitions": self._health.n_partitions}
        return self._answer(request, self._health.ready(), state)

    async def _metrics_page(self, request: web.Request) -> web.Response:
        if not self._guard.admits(request):
            return web.json_response(
                {"status": "unauthorized", "problems": ["show the token of web.bearer_token"]},
                status=_UNAUTHORIZED,
                headers={"WWW-Authenticate": "Bearer"},
            )
        return web.Response(
            body=self._metrics.exposition(), headers={"Content-Type": _PROMETHEUS_TEXT}
        )

    def _answer(
        self, request: web.Request, problems: list[str], state: Mapping[str, object]
    ) -> web.Response:
        body: dict[str, object] = {"status": "unavailable" if problems else "ok"}
        if self._guard.admits(request):
            body |= {"problems": problems, **state}
        return web.json_response(body, status=_UNAVAILABLE if problems else _OK)
