"""A short version of every scenario: nothing missing, all accounted for, repeats within the bound.

`make chaos` plays them in full length, and two hundred random schedules.
"""

from collections.abc import Callable

import pytest

from tests.chaos import catalogue
from tests.chaos.naive import NaiveWorker
from tests.chaos.scenarios import SCENARIOS, Needs, run
from tests.chaos.stage import Stage
from tests.chaos.traffic import POISON_EVERY
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_cluster import KafkaCluster

Brokers = Callable[[Needs], KafkaBroker | KafkaCluster]

SEEDS = {name: range(4 if name in catalogue.BY_SCHEDULE else 1) for name in SCENARIOS}
BY_NEED = sorted(SCENARIOS, key=lambda name: SCENARIOS[name].needs)


@pytest.mark.timeout(180)  # an outage, and the time to come back from it on a busy machine
@pytest.mark.parametrize(
    ("name", "seed"), [(name, seed) for name in BY_NEED for seed in SEEDS[name]]
)
def test_nothing_is_lost(brokers: Brokers, name: str, seed: int) -> None:
    chosen = SCENARIOS[name]
    stage = Stage(brokers(chosen.needs), seed=seed, quick=True)

    outcome = run(chosen, stage)

    assert outcome.is_good, outcome
    assert outcome.records > 0
    assert outcome.scored > 0


@pytest.mark.timeout(180)
def test_the_suite_sees_a_naive_agent_lose_records(brokers: Brokers) -> None:
    chosen = SCENARIOS["alert-too-large"]
    stage = Stage(brokers(chosen.needs), seed=0, quick=True, make_worker=NaiveWorker)

    outcome = run(chosen, stage)

    assert stage.tally is not None
    lost = stage.tally.missing_numbers
    poison = {number for number in lost if number % POISON_EVERY == POISON_EVERY - 1}
    assert not outcome.is_good
    # Bad records leave no trace, and neither do alerts that the broker refused.
    assert len(poison) == outcome.records // POISON_EVERY
    assert lost - poison, outcome
