"""What a worker needs around it: topics on a real broker, a registry with a champion."""

from dataclasses import dataclass
from pathlib import Path

from tests.support.worker import WorkerProcess


@dataclass
class Stage:
    """A real broker with three topics and a registry with a champion."""

    bootstrap: str
    flows: str
    alerts: str
    dead_letters: str
    group: str
    registry_folder: Path

    def worker(self, **settings: object) -> WorkerProcess:
        """Return a worker of this stage, not started; ``section__key=value``."""
        return WorkerProcess(
            self.bootstrap,
            self.registry_folder,
            {
                "topics.input": self.flows,
                "topics.alerts": self.alerts,
                "topics.dead_letters": self.dead_letters,
                "consumer.group_id": self.group,
                **{name.replace("__", "."): value for name, value in settings.items()},
            },
        )
