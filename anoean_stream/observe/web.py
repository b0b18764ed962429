"""/live, /ready and /metrics over HTTP, on the worker's own event loop."""

from collections.abc import Mapping
from typing import Any

import structlog
from aiohttp import web
from mode import Service

from anoean_stream.errors import ConfigError
from anoean_stream.observe.health import Health
from anoean_stream.observe.metrics import Metrics
from anoean_stream.settings import WebSettings

log = structlog.get_logger("anoean.web")

_OK, _UNAVAILABLE = 200, 503
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
        self._runner: web.AppRunner | None = None
        self.port: int | None = None

    async def on_start(self) -> None:
        """Listen.

        Raises
        ------
        ConfigError
            When the address cannot be taken.
        """
        server = web.Application()
        server.router.add_get("/live", self._live)
        server.router.add_get("/ready", self._ready)
        server.router.add_get("/metrics", self._metrics_page)
        self._runner = web.AppRunner(server, access_log=None)
        await self._runner.setup()
        host, port = self._settings.host, self._settings.port
        try:
            await web.TCPSite(self._runner, host, port, reuse_address=True).start()
        except OSError as error:
            message = (
                f"cannot listen on {host}:{port} ({error.strerror}); another worker there? "
                f"take a free port with --set web.port=0, or --set web.enabled=false"
            )
            raise ConfigError(message) from error
        self.port = self._runner.addresses[0][1]
        log.info("web_listening", url=f"http://{host}:{self.port}", pages="/live /ready /metrics")

    async def on_stop(self) -> None:
        """Close the sockets."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _live(self, request: web.Request) -> web.Response:
        del request
        return _answer(self._health.live(), {})

    async def _ready(self, request: web.Request) -> web.Response:
        del request
        state = {"model": self._health.model, "partitions": self._health.n_partitions}
        return _answer(self._health.ready(), state)

    async def _metrics_page(self, request: web.Request) -> web.Response:
        del request
        return web.Response(
            body=self._metrics.exposition(), headers={"Content-Type": _PROMETHEUS_TEXT}
        )


def _answer(problems: list[str], state: Mapping[str, object]) -> web.Response:
    body = {"status": "unavailable" if problems else "ok", "problems": problems, **state}
    return web.json_response(body, status=_UNAVAILABLE if problems else _OK)
