"""``anoean serve`` in which one thing sticks for ever, for real.

::

    python -m tests.support.stuck_worker scoring serve --set ...

Kinds: ``scoring`` and ``poll`` (the thread blocks), ``loop`` (the event loop sleeps when a chunk is
acknowledged), ``acks`` (acknowledgements go astray), ``places`` (places in flight are not given
back), ``lock`` (the event loop waits for a lock, which no signal interrupts), ``log`` (the same, and nobody
can log any more), ``slow`` (a chunk takes
0.5 s; nothing sticks).
"""

import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn

from anoean_stream.cli import main
from anoean_stream.kafka.consumer import Consumer
from anoean_stream.kafka.poller import Poller
from anoean_stream.pipeline import Pipeline, Verdict
from anoean_stream.records.chunk import Chunk

_FOR_EVER_S: Final = 1e6


def _block(*_: object) -> NoReturn:
    while True:
        threading.Event().wait(_FOR_EVER_S)


def _sleep(*_: object) -> bool:
    time.sleep(_FOR_EVER_S)
    return True


def _wait_for_lock(*_: object) -> bool:
    lock = threading.Lock()
    lock.acquire()
    return lock.acquire()


def _hold_the_log(*_: object) -> bool:
    for handler in logging.getLogger().handlers:
        handler.acquire()
    return _wait_for_lock()


def _slow() -> None:
    score = Pipeline.score_chunk

    def slowly(self: Pipeline, chunk: Chunk) -> Verdict:
        time.sleep(0.5)
        return score(self, chunk)

    _patch(Pipeline, "score_chunk", slowly)


def _patch(owner: type, name: str, function: Callable[..., Any]) -> None:
    setattr(owner, name, function)


STICKS: Final[dict[str, Callable[[], None]]] = {
    "scoring": lambda: _patch(Pipeline, "score_chunk", _block),
    "poll": lambda: _patch(Poller, "_fetch", _block),
    "loop": lambda: _patch(Consumer, "ack", _sleep),
    "lock": lambda: _patch(Consumer, "ack", _wait_for_lock),
    "log": lambda: _patch(Consumer, "ack", _hold_the_log),
    "acks": lambda: _patch(Consumer, "ack", lambda *_: False),
    "places": lambda: _patch(Poller, "release", lambda *_: None),
    "slow": _slow,
}

if __name__ == "__main__":
    STICKS[sys.argv[1]]()
    sys.exit(main(sys.argv[2:]))
