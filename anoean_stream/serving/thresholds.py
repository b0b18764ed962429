"""Follow the threshold that was asked for in the registry."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from anoean_stream.detector.threshold import ThresholdChoice
from anoean_stream.errors import RegistryError
from anoean_stream.registry.registry import Registry

log: Final = structlog.get_logger("anoean.serving")


class ThresholdWatch:
    """Looks at the threshold of one model whenever `poll_now` is called.

    While the registry does not answer, or its file is broken, the last choice stays.

    Parameters
    ----------
    registry : Registry
        Where to look.
    name : str
        Name of the model.
    on_choice : callable
        Receives a choice that differs from the one before, on the event loop; None: there is none.
        Must not block.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        name: str,
        on_choice: Callable[[ThresholdChoice | None], None],
    ) -> None:
        self._registry = registry
        self._name = name
        self._on_choice = on_choice
        self._told: str | None = None
        self.choice: ThresholdChoice | None = None

    async def poll_now(self) -> None:
        """Look once."""
        loop = asyncio.get_running_loop()
        try:
            file = await loop.run_in_executor(None, self._registry.threshold, self._name)
        except RegistryError as error:
            if self._told is None:  # once for each outage: the alias's watch tells of it, too
                self._told = str(error)
                log.warning("threshold_not_read", model=self._name, reason=self._told)
            return
        self._told = None
        if file.choice != self.choice:
            self.choice = file.choice
            self._on_choice(file.choice)
