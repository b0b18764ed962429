"""Versions that this worker took back: held for a while, and moved out of the alias in the registry."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import structlog

from anoean_stream.detector.bundle import ServedModel
from anoean_stream.errors import ConflictError, ModelNotFoundError, RegistryError
from anoean_stream.registry.layout import CHAMPION, AliasRecord
from anoean_stream.registry.registry import Registry
from anoean_stream.serving.audit import Trail
from anoean_stream.serving.watchrules import Broken
from anoean_stream.settings import Settings

log: Final = structlog.get_logger("anoean.app")


@dataclass(frozen=True, slots=True)
class _Hold:
    """A version that is not taken until then, unless somebody moves the alias to it again."""

    until: float
    record: AliasRecord | None


@dataclass(frozen=True, slots=True)
class _Debt:
    """A roll back that this worker made, and the registry does not show yet."""

    left: ServedModel
    target: ServedModel
    broken: Broken
    is_told: bool = False


class TakenBack:
    """What follows when a worker has gone back to the model before. Lives on the event loop.

    Parameters
    ----------
    settings : Settings
        Alias, and ``swap.hold_down_s``.
    registry : Registry
        Where the alias is moved.
    worker_id : str
        Who moves it.
    trail : Trail
        The audit topic, and the way to wake the others.
    clock : callable
        Monotonic seconds; given by tests.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        *,
        worker_id: str,
        trail: Trail,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._alias = settings.model.alias
        self._hold_down_s = settings.swap.hold_down_s
        self._registry = registry
        self._worker_id = worker_id
        self._trail = trail
        self._clock = clock
        self._held: dict[str, _Hold] = {}
        self._until = float("-inf")
        self._debt: _Debt | None = None
        self._settling = asyncio.Lock()

    @property
    def is_held_down(self) -> bool:
        """Whether the last one was so short ago that no other may follow."""
        return self._clock() < self._until

    def note(
        self, left: ServedModel, target: ServedModel, broken: Broken, *, seen: AliasRecord | None
    ) -> None:
        """Note that another model serves than the alias names; `settle` is owed from now on.

        Parameters
        ----------
        left, target : ServedModel
            The model that was taken back, and the one that serves again.
        broken : Broken
            Why.
        seen : AliasRecord or None
            The alias as it was read last: as long as it stays so, `left` is held.
        """
        self._until = self._clock() + self._hold_down_s
        self._held[left.version] = _Hold(self._until, seen)
        self._debt = _Debt(left, target, broken)

    def is_held(self, record: AliasRecord) -> bool:
        """Tell whether the version of an alias must not be taken now."""
        hold = self._held.get(record.version)
        if hold is None:
            return False
        if record == hold.record and self._clock() < hold.until:
            return True
        del self._held[record.version]  # time is over, or a person moved the alias to it again
        return False

    async def settle(self) -> None:
        """Let the alias name the model that serves here, unless somebody moved it meanwhile.

        Does nothing when nothing is owed. While the registry cannot be written, it stays owed.
        """
        async with self._settling:
            debt = self._debt
            if debt is None:
                return
            problem: str | None = None
            try:
                await asyncio.get_running_loop().run_in_executor(None, self._move, debt)
            except (ConflictError, ModelNotFoundError) as error:
                problem = str(error)  # another worker was first, or a person decided
                self._debt = None
            except RegistryError as error:
                if debt.is_told:
                    return
                problem = str(error)
                self._debt = replace(debt, is_told=True)
                log.warning("rollback_not_in_registry", reason=problem)
            else:
                self._debt = None
                self._trail.wake_others(f"rolled back from version {debt.left.version}")
            self._tell(debt, problem)

    def _move(self, debt: _Debt) -> None:
        move: Callable[..., object] = (
            partial(self._registry.roll_back, hold_down_s=self._hold_down_s)
            if self._alias == CHAMPION
            else partial(self._registry.set_alias, alias=self._alias, version=debt.target.version)
        )
        move(
            debt.left.name,
            by=self._worker_id,
            reason=debt.broken.sentence,
            if_version=debt.left.version,
        )

    def _tell(self, debt: _Debt, problem: str | None) -> None:
        self._trail.tell(
            "rolled_back",
            from_version=debt.left.version,
            to_version=debt.target.version,
            reason=debt.broken.sentence,
            detail={
                "rule": debt.broken.rule,
                "value": debt.broken.value,
                "bound": debt.broken.bound,
                "automatic": True,
                "registry_moved": problem is None,
                "registry_problem": problem,
                "hold_down_s": self._hold_down_s,
            },
        )
