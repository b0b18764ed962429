"""librdkafka's own lines, kept off the screen of a person who asked for something else."""

import logging
from typing import Final

_LOGGER: Final = "anoean.kafka.librdkafka"


def quiet_librdkafka(*, debug: bool) -> None:
    """Drop librdkafka's log lines: one a failed connect, many a second.

    What matters of them comes back as an error of the call that failed. With ``--debug`` they stay.
    """
    if not debug:
        logging.getLogger(_LOGGER).addHandler(logging.NullHandler())
        logging.getLogger(_LOGGER).propagate = False
