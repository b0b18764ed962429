"""Follow an alias, and hand over each model that it comes to name: checked first, then swapped.

Loading and checking block on disk, network and arithmetic, so they run in a thread; the event
loop is only told the outcome. Whatever is wrong with a version or with the store, the model that
serves goes on serving.
"""

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final

from anoean_stream.detector.bundle import Bundle, ServedModel
from anoean_stream.errors import (
    BundleError,
    IncompatibleBundleError,
    ModelNotFoundError,
    RegistryError,
)
from anoean_stream.registry.layout import AliasRecord
from anoean_stream.registry.registry import Registry

_MIN_WAIT_S: Final = 0.01
"""Seconds. Below, a jitter drawn badly would spin; above 0.1, the shortest interval of the
settings, it would not be kept."""


class ModelWatch:
    """Polls one alias of one model, on the event loop that calls `run`.

    Each poll reads one small file. When it changed, or the last attempt failed, the version is
    loaded, its hashes, shapes and weights are checked, and `verify` is called; then `on_model`.
    A refused version is tried again at each poll (a copy may be under way, a store may come back)
    but for one that is intact and made for another worker, which no waiting mends.

    Parameters
    ----------
    registry : Registry
        Where to look.
    name : str
        Name of the model.
    alias : str
        Alias to follow.
    poll_interval_s : float
        Seconds between polls, > 0.
    poll_jitter : float
        Random part of the interval, 0 to 0.9: each wait is drawn from interval * (1 +- jitter).
    verify : callable
        Checks what the registry cannot (golden batch, the worker's preset) and raises BundleError.
        Called in the thread that loads.
    on_model : callable
        Receives each new ServedModel, on the event loop; must not block.
    on_refused : callable
        Receives name, version (None when the alias itself cannot be read) and the error, on the
        event loop; once for each version and kind of error, not at every poll.
    executor : Executor, optional
        Threads to load in; the loop's default executor if left out.

    Examples
    --------
    ::

        watch = ModelWatch(registry, name="edge", alias="champion", ...)
        task = asyncio.create_task(watch.run())
        ...
        watch.stop()
        await task
    """

    def __init__(
        self,
        registry: Registry,
        *,
        name: str,
        alias: str,
        poll_interval_s: float,
        poll_jitter: float,
        verify: Callable[[Bundle], None],
        on_model: Callable[[ServedModel], None],
        on_refused: Callable[[str, str | None, BundleError | RegistryError], None],
        executor: Executor | None = None,
    ) -> None:
        self._registry = registry
        self._name = name
        self._alias = alias
        self._poll_interval_s = poll_interval_s
        self._poll_jitter = poll_jitter
        self._verify = verify
        self._on_model = on_model
        self._on_refused = on_refused
        self._executor = executor
        self._served: ServedModel | None = None
        self._settled: AliasRecord | None = None
        self._reported: set[tuple[str | None, type[Exception], str | None]] = set()
        self._polling = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._random = random.Random()

    @property
    def served(self) -> ServedModel | None:
        """The model handed over last; None before the first."""
        return self._served

    async def run(self) -> None:
        """Poll until `stop` is called or the task is cancelled.

        A load under way is abandoned then: its thread ends by itself, its model is not handed over.

        Raises
        ------
        Exception
            Whatever is neither a BundleError nor a RegistryError: a bug, which ends the process.
        """
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                polling = asyncio.ensure_future(self.poll_now())
                try:
                    await asyncio.wait({polling, stopping}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    polling.cancel()  # without effect on a poll that is done
                await asyncio.wait({polling})
                if not polling.cancelled():
                    polling.result()
                await asyncio.wait({stopping}, timeout=self._wait_s())
        finally:
            stopping.cancel()

    def stop(self) -> None:
        """Let `run` return at once; call it on the event loop. Calling it again does nothing."""
        self._stopping.set()

    async def poll_now(self) -> bool:
        """Look once, without waiting for the interval; concurrent calls take turns.

        Returns
        -------
        bool
            True when a new model was handed over.
        """
        loop = asyncio.get_running_loop()
        async with self._polling:
            version: str | None = None
            try:
                record = await loop.run_in_executor(
                    self._executor, self._registry.alias_record, self._name, self._alias
                )
                version = record.version
                self._forget_outages()
                if record == self._settled:
                    return False
                bundle = await loop.run_in_executor(self._executor, self._load, version)
            except IncompatibleBundleError as error:
                self._refuse(version, error)
                self._settled = record
                return False
            except (BundleError, RegistryError) as error:
                self._refuse(version, error)
                return False
            return self._hand_over(ServedModel(self._name, version, bundle), record)

    def _load(self, version: str) -> Bundle:
        bundle = self._registry.load(self._name, version)
        self._verify(bundle)
        return bundle

    def _hand_over(self, model: ServedModel, record: AliasRecord) -> bool:
        self._settled = record
        self._reported.clear()
        served = self._served
        if served and (served.version, served.bundle.sha256) == (
            model.version,
            model.bundle.sha256,
        ):
            return False  # the alias was written again, or came back from a refused version
        # First the callback: if it raises, this model is not the one that serves.
        self._on_model(model)
        self._served = model
        return True

    def _refuse(self, version: str | None, error: BundleError | RegistryError) -> None:
        self._settled = None
        # Of the sentences only our own stay the same from poll to poll: that of a store may carry
        # the id of the request.
        detail = str(error) if isinstance(error, ModelNotFoundError) else _file(error)
        key = (version, type(error), detail)
        if key not in self._reported:
            self._reported.add(key)
            self._on_refused(self._name, version, error)

    def _forget_outages(self) -> None:
        # The store answers again, so its next outage is news. A refused version stays reported.
        self._reported = {key for key in self._reported if key[0] is not None}

    def _wait_s(self) -> float:
        spread = self._poll_interval_s * self._poll_jitter
        return max(_MIN_WAIT_S, self._poll_interval_s + self._random.uniform(-spread, spread))


def _file(error: BundleError | RegistryError) -> str | None:
    return error.file if isinstance(error, BundleError) else None
