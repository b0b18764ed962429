"""The watchdog ends what stands still for longer than the grace, and nothing else."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from anoean_stream.errors import EXIT_STALLED
from anoean_stream.observe.health import Health
from anoean_stream.observe.watchdog import LOOK_S, Watchdog, stack_of
from tests.support.waiting import wait_until


class Scene:
    """A watchdog with 10 s of grace that notes the exit code instead of ending us."""

    def __init__(self) -> None:
        self.health = Health(liveness_timeout_s=30)
        self.codes: list[int] = []
        self.watchdog = Watchdog(self.health, grace_s=10, end=self._end)

    def _end(self, code: int, last_words: Callable[[], None]) -> None:
        self.codes.append(code)
        last_words()

    def look_until(self, end: float, *, begin: float = 0.0) -> None:
        for tick in range(int(begin), int(end) + 1):
            self.watchdog.look(float(tick))


def test_it_ends_the_worker_after_limit_and_grace() -> None:
    scene = Scene()
    scene.health.scoring(0.0)

    scene.look_until(40)
    assert scene.codes == []
    scene.look_until(41, begin=41)

    assert scene.codes == [EXIT_STALLED]


def test_what_moves_again_within_the_grace_is_left_alone() -> None:
    scene = Scene()
    scene.health.scoring(0.0)
    scene.look_until(39)
    scene.health.scoring(None)

    scene.look_until(200, begin=40)

    assert scene.codes == []


def test_process_that_was_frozen_gets_its_time_again() -> None:
    scene = Scene()
    scene.health.scoring(0.0)
    scene.look_until(5)

    scene.look_until(1035, begin=1000)  # no look for 995 s: SIGSTOP

    assert scene.codes == []
    scene.look_until(1041, begin=1036)
    assert scene.codes == [EXIT_STALLED]


def test_the_loop_is_asked_and_its_answer_noted() -> None:
    scene = Scene()

    async def turn() -> None:
        began = time.monotonic()
        scene.watchdog.start(asyncio.get_running_loop())
        await asyncio.to_thread(
            wait_until,
            lambda: (scene.health._turned_at or 0.0) > began + 2 * LOOK_S,
            within_s=10,
            what="answers of the loop",
        )
        scene.watchdog.halt()

    asyncio.run(turn())

    assert scene.codes == []


def test_stack_of_a_thread_shows_where_it_is() -> None:
    held = threading.Event()

    def here_it_waits() -> None:
        held.wait(20)

    thread = threading.Thread(target=here_it_waits, name="anoean-test-thread_0")
    thread.start()
    try:
        wait_until(
            lambda: "here_it_waits" in stack_of("anoean-test-thread"), within_s=5, what="its stack"
        )
    finally:
        held.set()
        thread.join()
    assert "no thread" in stack_of("anoean-test-thread")


def test_last_words_that_hang_do_not_hold_the_end() -> None:
    program = (
        "import threading\n"
        "from anoean_stream.observe.lastwords import end_process\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "end_process(7, threading.Event().wait, within_s=0.2)\n"
    )

    done = subprocess.run([sys.executable, "-c", program], timeout=20, check=False)

    assert done.returncode == 7
