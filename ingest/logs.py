"""How the service logs."""

import sys

import structlog
from structlog.dev import ConsoleRenderer
from structlog.processors import JSONRenderer

from store.settings import LogLevel


def log_from(level: LogLevel) -> None:
    """Log lines at or above `level` go to stderr: words on a terminal, else JSON, one a line."""
    last = ConsoleRenderer() if sys.stderr.isatty() else JSONRenderer(ensure_ascii=False)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level.value),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
