"""The demo's ear on the alerts: a thread that notes each one and when it came."""

import threading
import time
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Self

import msgspec

from anoean_stream.cli.demo_tally import Sighting, parse_sighting
from anoean_stream.cli.reader import Reader
from anoean_stream.settings import Settings

_POLL_S: Final = 0.02
"""Seconds a poll may wait: part of the latency that the demo reports, so short."""

_KEPT: Final = 100
"""Alerts kept for the screen."""


class AlertWatch:
    """Reads the alerts topic from its beginning until closed.

    Parameters
    ----------
    settings : Settings
        Brokers and topics.
    """

    def __init__(self, settings: Settings) -> None:
        self._reader = Reader(settings, settings.topics.alerts, group="demo-watch")
        self._reader.start_at({p: low for p, (low, _) in self._reader.bounds().items()})
        self._lock = threading.Lock()
        self._sightings: list[Sighting] = []
        self._fresh: deque[Mapping[str, Any]] = deque(maxlen=_KEPT)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-watch", daemon=True)
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._reader.close()

    @property
    def n_alerts(self) -> int:
        """Alerts so far, repeats included."""
        return len(self._sightings)

    def sightings(self) -> list[Sighting]:
        """Return all alerts so far.

        Raises
        ------
        BaseException
            What ended the thread, if anything did.
        """
        if self._failure is not None:
            raise self._failure
        with self._lock:
            return list(self._sightings)

    def take_fresh(self) -> list[Mapping[str, Any]]:
        """Return the newest alerts since the last call."""
        with self._lock:
            fresh = list(self._fresh)
            self._fresh.clear()
        return fresh

    def _run(self) -> None:
        decode = msgspec.json.Decoder(dict[str, Any]).decode
        try:
            while not self._stop.is_set():
                for message in self._reader.poll(_POLL_S):
                    seen_ms = time.time() * 1000
                    alert = decode(message.value() or b"")
                    sent = datetime.fromisoformat(alert["source"]["timestamp"])
                    sighting = parse_sighting(
                        alert, seen_ms=seen_ms, sent_ms=sent.timestamp() * 1000
                    )
                    with self._lock:
                        self._sightings.append(sighting)
                        self._fresh.append(alert)
        except BaseException as error:  # noqa: BLE001  # told to the main thread, which raises it
            self._failure = error
