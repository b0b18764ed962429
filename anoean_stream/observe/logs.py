"""One form for every line: ours, Faust's, librdkafka's, warnings and tracebacks.

Pretty on a terminal, one JSON object a line otherwise, always on stderr: stdout is for results.
"""

import logging
import sys
from typing import Final

import structlog

from anoean_stream.settings import LoggingSettings

_CHATTY: Final = ("faust", "mode", "aiohttp", "aiokafka", "asyncio", "fsspec")
"""Libraries whose INFO lines tell about themselves, not about the user's traffic."""


_TRACEBACK: Final = structlog.dev.RichTracebackFormatter(show_locals=False)
"""Tracebacks on a terminal. structlog shows local variables by default, and a password is one of them
on its way to librdkafka."""


class _LifeCycle(logging.Filter):
    """Holds back what Faust says of each service that starts or stops."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything else pass; such lines begin with the service's place: ``[^-Consumer]``."""
        return record.levelno > logging.INFO or not str(record.msg).startswith("[^")


def configure_logging(settings: LoggingSettings) -> None:
    """Route structlog and the standard library's logging to stderr in one form.

    Idempotent; replaces the handlers of the root logger.
    """
    pretty = settings.format == "pretty" or (settings.format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=_TRACEBACK)]
        if pretty
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    if settings.level != "DEBUG":
        handler.addFilter(_LifeCycle())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(settings.level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(capture=True)
