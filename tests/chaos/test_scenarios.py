"""A short version of every scenario: nothing missing, all accounted for, repeats within the bound.

`make chaos` plays them in full length, and two hundred random schedules.
"""

from typing import Final

import pytest

from tests.chaos import catalogue
from tests.chaos.lanes import Lanes, Task
from tests.chaos.naive import NaiveWorker
from tests.chaos.scenarios import SCENARIOS, run
from tests.chaos.stage import Stage
from tests.chaos.traffic import POISON_EVERY
from tests.support.kafka_broker import KafkaBroker

N_SCHEDULES: Final = 4
TASKS: Final[list[Task]] = [
    (name, seed)
    for name in sorted(SCENARIOS, key=lambda name: SCENARIOS[name].needs)
    for seed in range(N_SCHEDULES if name in catalogue.BY_SCHEDULE else 1)
]


@pytest.mark.timeout(400)  # the first ones wait for the brokers, all of them for their turn
@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task[0]}-{task[1]}")
def test_nothing_is_lost(lanes: Lanes, task: Task) -> None:
    row = lanes.rows[task].result()

    assert row["good"], row
    assert row["records"] > 0
    assert row["scored"] > 0


@pytest.mark.timeout(180)
def test_the_suite_sees_a_naive_agent_lose_records(broker: KafkaBroker) -> None:
    stage = Stage(broker, seed=0, quick=True, make_worker=NaiveWorker)

    outcome = run(SCENARIOS["alert-too-large"], stage)

    assert stage.tally is not None
    lost = stage.tally.missing_numbers
    poison = {number for number in lost if number % POISON_EVERY == POISON_EVERY - 1}
    assert not outcome.is_good
    # Bad records leave no trace, and neither do alerts that the broker refused.
    assert len(poison) == outcome.records // POISON_EVERY
    assert lost - poison, outcome
