"""Is the worker alive, and is it ready? Answers from facts, each with its reason.

*Live* means that the loops turn: restarting helps when they do not. *Ready* means that the worker
does its job: a model is loaded and the group has assigned partitions to it (none, when there are
more workers than partitions; that is a ready spare).
"""

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Health:
    """Facts that the rooms report and the probes read; written and read in the event loop.

    Parameters
    ----------
    liveness_timeout_s : float
        How long a loop may stand still, seconds.
    """

    liveness_timeout_s: float
    model: str | None = None
    model_problem: str = "no model yet"
    n_partitions: int | None = None
    crashed: str | None = None
    _started: float = field(default_factory=time.monotonic)
    _polled_at: float | None = None
    _scoring_since: float | None = None

    def polled(self, at: float) -> None:
        """Note a turn of the poll thread, monotonic seconds."""
        self._polled_at = at

    def scoring(self, since: float | None) -> None:
        """Note that a chunk is being scored since then (monotonic seconds), or None: idle."""
        self._scoring_since = since

    def live(self, now: float | None = None) -> list[str]:
        """Return what stands still; empty when the worker is live.

        The event loop needs no entry: it answers the probe.
        """
        now = time.monotonic() if now is None else now
        problems = []
        if self.crashed is not None:
            problems.append(f"crashed: {self.crashed}")
        for loop, since in (
            ("poll thread", self._polled_at),
            ("scoring thread", self._scoring_since),
        ):
            if since is not None and now - since > self.liveness_timeout_s:
                problems.append(f"{loop} stands still for {now - since:.0f} s")
        return problems

    def ready(self) -> list[str]:
        """Return what is missing; empty when the worker is ready."""
        problems = self.live()
        if self.model is None:
            problems.append(self.model_problem)
        if self.n_partitions is None:
            problems.append("no partitions assigned yet")
        return problems
