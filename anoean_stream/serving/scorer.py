"""The one thread that scores, and what follows a chunk.

One thread, so that no chunk is scored by half a model and no lock is needed: a swap changes one
reference, and the next chunk finds the other model.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from anoean_stream.observe.health import SCORE_THREAD, Health
from anoean_stream.observe.metrics import Metrics
from anoean_stream.pipeline import Pipeline, Verdict
from anoean_stream.records.chunk import Chunk

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict, and what it cost.

    Parameters
    ----------
    verdict : Verdict
        What became of the chunk.
    pipeline : Pipeline
        What judged all of it.
    cpu_s : float
        CPU time of the scoring thread, seconds: other processes of the machine do not count.
    gap_s : float or None
        Seconds in which the thread scored nothing before this chunk; None for the first one.
    """

    verdict: Verdict
    pipeline: Pipeline
    cpu_s: float
    gap_s: float | None


class ScoringListener:
    """Who hears of each chunk. Override what is of interest; nothing may raise."""

    def arriving(self, chunk: Chunk) -> None:
        """Hear of a chunk before it is scored. Event loop; must not block."""

    def scored(self, judged: Judged) -> None:
        """Hear of a verdict before it is handed on. Scoring thread: it delays every alert."""

    def judged(self, judged: Judged) -> None:
        """Hear of a verdict before it is delivered. Event loop; must not block."""

    def aside(self, judged: Judged) -> None:
        """Use the scoring thread after the verdict was handed on; the next chunk waits meanwhile."""


class Scorer:
    """Runs the pipeline in one thread; the model is swapped between two chunks.

    Parameters
    ----------
    health : Health
        Learns since when a chunk is being scored.
    metrics : Metrics
        Learns how long it took.
    listener : ScoringListener, optional
        Hears of each chunk; the default ignores it.
    """

    def __init__(
        self, *, health: Health, metrics: Metrics, listener: ScoringListener | None = None
    ) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=SCORE_THREAD)
        self._pipeline: Pipeline | None = None
        self._health = health
        self._metrics = metrics
        self.listener = listener or ScoringListener()
        self._ended_at: float | None = None

    @property
    def pipeline(self) -> Pipeline | None:
        """What judges the next chunk."""
        return self._pipeline

    def swap(self, pipeline: Pipeline) -> None:
        """Use another pipeline from the next chunk on; call it in the event loop."""
        self._pipeline = pipeline

    async def run(self, chunk: Chunk) -> Verdict:
        """Judge a chunk without blocking the event loop.

        Raises
        ------
        RuntimeError
            Before the first `swap`: the transport hands out no chunk without a model.
        """
        pipeline = self._pipeline
        if pipeline is None:
            message = "a chunk arrived before any model was loaded"
            raise RuntimeError(message)
        listener = self.listener
        listener.arriving(chunk)
        started = time.monotonic()
        self._health.scoring(started)
        loop = asyncio.get_running_loop()
        try:
            judged = await loop.run_in_executor(self._executor, self._judge, pipeline, chunk)
        finally:
            self._health.scoring(None)
            self._metrics.scoring_seconds.observe(time.monotonic() - started)
        if judged.gap_s is not None:
            self._metrics.scoring_gap_seconds.observe(judged.gap_s)
        listener.judged(judged)
        loop.run_in_executor(self._executor, listener.aside, judged)
        return judged.verdict

    def use_thread(self, work: Callable[[T], None], argument: T) -> "Future[None]":
        """Do something in the scoring thread, between two chunks."""
        return self._executor.submit(work, argument)

    def _judge(self, pipeline: Pipeline, chunk: Chunk) -> Judged:
        began, began_cpu_s = time.monotonic(), time.thread_time()
        verdict = pipeline.score_chunk(chunk)
        judged = Judged(
            verdict,
            pipeline,
            cpu_s=time.thread_time() - began_cpu_s,
            gap_s=None if self._ended_at is None else began - self._ended_at,
        )
        self.listener.scored(judged)
        self._ended_at = time.monotonic()
        return judged

    def close(self) -> None:
        """Let the thread end; a chunk that is being scored is finished first."""
        self._executor.shutdown(wait=False)
