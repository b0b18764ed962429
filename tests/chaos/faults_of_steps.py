"""Exceptions at each step of the agent, by a random schedule: one seed, one schedule."""

from typing import Final

from tests.chaos.lives import EXIT_CODE, STEPS, Fault, Lives, When
from tests.chaos.scenarios import scenario
from tests.chaos.stage import Stage
from tests.support.waiting import wait_until

MAX_FAULTS: Final = 5
MAX_CALL: Final = 10
"""The stage's records make at least that many chunks, so most of the schedule comes true."""

WHENS: Final[tuple[When, ...]] = ("before",) * 4 + ("after",) * 4 + ("exit",)


@scenario("exceptions-at-random")
def exceptions_at_random(stage: Stage) -> None:
    """An exception, or the end of the process, at random steps: decode ... commit."""
    stage.set_up()
    rng = stage.rng
    faults = {
        (step, call): Fault(step, call, rng.choice(WHENS))
        for step, call in (
            (rng.choice(STEPS), rng.randint(1, MAX_CALL)) for _ in range(rng.randint(1, MAX_FAULTS))
        )
    }
    stage.schedule = ", ".join(f"{f.when} {f.step} #{f.call}" for f in faults.values())
    stage.new_traffic().publish(1200)
    stage.make_worker = Lives
    worker = stage.new_worker()
    assert isinstance(worker, Lives)
    worker.faults = tuple(faults.values())
    worker.start()
    # An exit ends the child, and the rest of the schedule with it.
    wait_until(
        lambda: stage.has_settled() or worker.process.poll() is not None,
        what="every offset committed",
        within_s=60,
        hint=stage.explain,
    )
    stage.n_crashes += worker.n_struck()
    if worker.process.poll() is not None:
        assert worker.process.returncode == EXIT_CODE, worker.tail()
        worker = stage.start_worker()
    stage.settle()
    assert worker.stop() == 0, worker.tail()
