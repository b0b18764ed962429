"""Follow an alias, and hand over each model that it comes to name: checked first, then swapped.

Loading and checking block on disk, network and arithmetic, so they run in a thread; the event
loop is only told the outcome. Whatever is wrong with a version or with the store, the model that
serves goes on serving.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Generic, TypeVar

from anoean_stream.detector.bundle import ServedModel
from anoean_stream.errors import (
    BundleError,
    IncompatibleBundleError,
    ModelNotFoundError,
    RegistryError,
)
from anoean_stream.registry.layout import AliasRecord
from anoean_stream.registry.registry import Registry

T = TypeVar("T")


def _never(record: AliasRecord) -> bool:
    del record
    return False


class ModelWatch(Generic[T]):
    """Looks at one alias of one model whenever `poll_now` is called.

    Each look reads one small file. When it changed, or the last attempt failed, the version is
    loaded, its hashes, shapes and weights are checked, and `prepare` is called; then `on_model`.
    A refused version is tried again at each look (a copy may be under way, a store may come back)
    but for one that is intact and made for another worker, which no waiting mends.

    Parameters
    ----------
    registry : Registry
        Where to look.
    name : str
        Name of the model.
    alias : str
        Alias to follow.
    prepare : callable
        Checks what the registry cannot (golden batch, the worker's traffic), raises BundleError, and
        returns what will serve. Called in the thread that loads.
    on_model : callable
        Receives what `prepare` returned for each new model, on the event loop; must not block.
    on_refused : callable
        Receives name, version (None when the alias itself cannot be read) and the error, on the
        event loop; once for each version and kind of error, not at every look.
    on_absent : callable, optional
        Called at each look that finds no such alias, which is then no error.
    is_held : callable, optional
        Tells of an alias record whether its version must not be taken now.
    executor : Executor, optional
        Threads to load in; the loop's default executor if left out.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        name: str,
        alias: str,
        prepare: Callable[[ServedModel], T],
        on_model: Callable[[T], None],
        on_refused: Callable[[str, str | None, BundleError | RegistryError], None],
        on_absent: Callable[[], None] | None = None,
        is_held: Callable[[AliasRecord], bool] = _never,
        executor: Executor | None = None,
    ) -> None:
        self._registry = registry
        self._name = name
        self._alias = alias
        self._prepare = prepare
        self._on_model = on_model
        self._on_refused = on_refused
        self._on_absent = on_absent
        self._is_held = is_held
        self._executor = executor
        self._served: ServedModel | None = None
        self._settled: AliasRecord | None = None
        self._seen: AliasRecord | None = None
        self._answered_at: float | None = None
        self._reported: set[tuple[str | None, type[Exception], str | None]] = set()
        self._polling = asyncio.Lock()

    @property
    def served(self) -> ServedModel | None:
        """The model handed over last; None before the first."""
        return self._served

    @property
    def seen(self) -> AliasRecord | None:
        """The alias as it was read last; None before the first look and while there is none."""
        return self._seen

    @property
    def answered_at(self) -> float | None:
        """When the registry answered last, monotonic seconds; None before the first answer."""
        return self._answered_at

    def took(self, model: ServedModel | None) -> None:
        """Note that another model serves by now, or none; the alias is looked at anew."""
        self._served = model
        self._settled = None

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
                record = await self._look()
                if record is None:
                    return False
                version = record.version
                if record == self._settled or self._is_held(record):
                    return False
                model, prepared = await loop.run_in_executor(self._executor, self._load, version)
            except IncompatibleBundleError as error:
                self._refuse(version, error)
                self._settled = record
                return False
            except (BundleError, RegistryError) as error:
                self._refuse(version, error)
                return False
            return self._hand_over(model, prepared, record)

    async def _look(self) -> AliasRecord | None:
        """Read the alias; None: there is none, and that is no error."""
        loop = asyncio.get_running_loop()
        try:
            record = await loop.run_in_executor(
                self._executor, self._registry.alias_record, self._name, self._alias
            )
        except ModelNotFoundError:
            if self._on_absent is None:
                raise
            self._served = self._settled = self._seen = None
            self._answered()
            self._on_absent()
            return None
        self._seen = record
        self._answered()
        return record

    def _load(self, version: str) -> tuple[ServedModel, T]:
        model = ServedModel(self._name, version, self._registry.load(self._name, version))
        return model, self._prepare(model)

    def _hand_over(self, model: ServedModel, prepared: T, record: AliasRecord) -> bool:
        self._settled = record
        self._reported.clear()
        served = self._served
        if served and (served.version, served.bundle.sha256) == (
            model.version,
            model.bundle.sha256,
        ):
            return False  # the alias was written again, or came back from a refused version
        # First the callback: if it raises, this model is not the one that serves.
        self._on_model(prepared)
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

    def _answered(self) -> None:
        self._answered_at = time.monotonic()
        # The store answers again, so its next outage is news. A refused version stays reported.
        self._reported = {key for key in self._reported if key[0] is not None}


def _file(error: BundleError | RegistryError) -> str | None:
    return error.file if isinstance(error, BundleError) else None
