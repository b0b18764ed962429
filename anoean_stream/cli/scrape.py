"""Counters of a running worker, from its /metrics."""

import urllib.error
import urllib.request
from typing import Final

from anoean_stream.errors import ConfigError
from anoean_stream.observe.metrics import read_exposition
from anoean_stream.reconcile.counters import WorkerCounts

_TIMEOUT_S: Final = 10.0
"""A worker answers in milliseconds; after ten seconds it is not there."""


def read_counts(url: str) -> WorkerCounts:
    """Return the counters of the worker at an address; ``/metrics`` may be left out.

    Raises
    ------
    ConfigError
        When no worker answers there.
    """
    page = url if url.rstrip("/").endswith("/metrics") else f"{url.rstrip('/')}/metrics"
    if not page.startswith(("http://", "https://")):
        message = f"--metrics {url!r} is no address; give http://HOST:PORT, as the worker logs it"
        raise ConfigError(message)
    try:
        with urllib.request.urlopen(page, timeout=_TIMEOUT_S) as answer:  # noqa: S310  # http, checked above
            samples = read_exposition(answer.read().decode())
        return counts_of(url, samples)
    except (OSError, ValueError, KeyError) as error:
        message = (
            f"no worker's counters at {page} ({type(error).__name__}: {error}); give the address "
            "that the worker logs as web_listening"
        )
        raise ConfigError(message) from error


def counts_of(url: str, samples: dict[str, float]) -> WorkerCounts:
    """Return the counters that some samples hold.

    Raises
    ------
    KeyError
        When they are not those of a worker.
    """
    started_at = samples.get("anoean_worker_started_timestamp_seconds")
    return WorkerCounts(
        url=url,
        records=int(samples["anoean_records_total"]),
        scored=int(samples["anoean_scored_total"]),
        dead=int(
            sum(n for name, n in samples.items() if name.startswith("anoean_dead_letters_total"))
        ),
        alerts=int(samples["anoean_alerts_total"]),
        started_at=started_at,
        sampled_out=int(samples.get("anoean_sampled_out_total", 0)),
    )
