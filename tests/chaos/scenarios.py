"""The list of scenarios, and how one of them is run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from confluent_kafka import KafkaException

from tests.chaos.stage import Outcome, Stage

Needs = Literal["single", "cluster", "guarded"]
"""One broker; three with replication 3; one with an authorizer."""

Act = Callable[[Stage], None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A schedule of faults.

    Parameters
    ----------
    name : str
        Its name in the table.
    act : callable
        Sets the stage up, lets traffic and faults loose, and returns when all is caught up.
    needs : {"single", "cluster", "guarded"}
        What brokers it plays on.
    """

    name: str
    act: Act
    needs: Needs

    @property
    def what(self) -> str:
        """Its first line, for the list."""
        return (self.act.__doc__ or "").strip().splitlines()[0]


SCENARIOS: Final[dict[str, Scenario]] = {}


def scenario(name: str, *, needs: Needs = "single") -> Callable[[Act], Act]:
    """Enter a function into the list."""

    def enter(act: Act) -> Act:
        assert name not in SCENARIOS, f"two scenarios are called {name}"
        SCENARIOS[name] = Scenario(name, act, needs)
        return act

    return enter


def run(chosen: Scenario, stage: Stage) -> Outcome:
    """Play one scenario on a fresh stage, and count; the stage is closed in any case.

    When it does not come to its end (a worker that never catches up, an exit code that is not
    right), the row says so, and what is in the topics is counted all the same.
    """
    try:
        problem = None
        try:
            with stage.watch:
                chosen.act(stage)
        except (AssertionError, KafkaException, RuntimeError) as error:
            problem = f"{type(error).__name__}: {error}"
        return stage.outcome(chosen.name, problem)
    finally:
        stage.close()
