"""What holds while a training runs: its threads, and where warnings go."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import torch

from anoean_stream.detector import calibration
from anoean_stream.settings import TrainingSettings

_ROWS_OF_A_THREAD: Final = 1000
"""Rows of a batch that keep a thread busy. With batches of 200 on two busy cores, two threads took
five times as long as one: they wait for each other. At least 1."""


@contextmanager
def torch_threads(settings: TrainingSettings) -> Iterator[None]:
    """Give torch its threads for the time of the training."""
    before = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    useful = max(1, settings.batch_size // _ROWS_OF_A_THREAD)
    torch.set_num_threads(settings.threads or min(useful, cores or 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def warnings_as(note: Callable[[str], None]) -> Iterator[None]:
    """Turn the detector's warnings into notes of the report."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note(record.getMessage())

    log = logging.getLogger(calibration.__name__)
    handler = Handler(level=logging.WARNING)
    propagate = log.propagate
    log.addHandler(handler)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = propagate
