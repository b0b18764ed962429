"""stub"""

from datetime import datetime
from anoean_stream.detector.sketch import ScoreSketch
from anoean_stream.pipeline import Pipeline, Verdict
from anoean_stream.records.shadowreport import ShadowReport
from anoean_stream.settings import ShadowSettings


class Shadow:
    """stub"""

    candidate_scores = ScoreSketch()

    def __init__(
        self, champion: Pipeline, candidate: Pipeline, *, settings: ShadowSettings, seed: int = 0
    ) -> None:
        self.champion, self.candidate = champion, candidate

    def consider(self, verdict: Verdict, *, cpu_s: float) -> None:
        """stub"""

    def take_report(self, now: datetime) -> ShadowReport | None:
        """stub"""
        return None
