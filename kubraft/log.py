"""Logging of every process: one event a line on standard error, `time= level= event= key=value`.

A line is an event with fields named from the glossary (`member`, `term`, `revision`, `key`); a
state change is logged once, where it happens. What is secret by name or by look is never written.

    time=2026-11-21T07:00:00.123Z level=info component=store.member event=ready member=store-0
"""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

# What a log line may take at most of one field; the rest is cut.
FIELD_CHARS_MAX: Final = 8_192

_SECRET_FIELD: Final = re.compile(
    r"(^|_)(token|password|passwd|secret|authorization|credential|private_key|key_data)s?$"
)
_SECRET_TEXT: Final = re.compile(
    r"(?P<bearer>bearer\s+)\S+|eyJ[\w-]{8,}\.[\w-]+\.[\w-]+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)",
    re.IGNORECASE | re.DOTALL,
)
_HIDDEN: Final = "[hidden]"


def configure(level: str = "info", *, stream: TextIO | None = None) -> None:
    """Send all logs of this process, those of the standard library's `logging` too, to `stream`.

    Args:
        level: the least severe level that is written, one of `LEVELS`.
        stream: standard error where absent.

    Raises:
        ValueError: `level` is none of `LEVELS`.
    """
    if level not in LEVELS:
        raise ValueError(f"log level {level!r} is none of {', '.join(LEVELS)}")
    out = stream or sys.stderr
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _add_level,
            structlog.processors.format_exc_info,
            hide_secrets,
            _add_time,
            structlog.processors.LogfmtRenderer(
                key_order=["time", "level", "component", "event"], drop_missing=True
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_LibraryHandler()]
    root.setLevel(max(LEVELS[level], logging.WARNING))


def get_logger(name: str, **fields: Any) -> structlog.typing.FilteringBoundLogger:
    """A logger whose lines carry `component=name` and `fields`; usable before `configure`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=name, **fields)
    return logger


def hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace what is secret by its field's name or by its look, and cut what is too long."""
    for key, value in event.items():
        if _SECRET_FIELD.search(key.lower()) and not isinstance(value, bool):
            event[key] = _HIDDEN
        elif isinstance(value, str):
            event[key] = _without_secrets(value)
        elif isinstance(value, bytes):
            event[key] = f"{len(value)} bytes"
        elif not isinstance(value, (int, float, type(None))):
            event[key] = _without_secrets(str(value))
    return event


def _without_secrets(text: str) -> str:
    hidden = _SECRET_TEXT.sub(lambda match: (match["bearer"] or "") + _HIDDEN, text)
    if len(hidden) > FIELD_CHARS_MAX:
        return f"{hidden[:FIELD_CHARS_MAX]}... ({len(hidden)} characters)"
    return hidden


def _add_level(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    event["level"] = "error" if method == "exception" else method
    return event


def _add_time(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    now = datetime.now(UTC)
    event["time"] = f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z"
    return event


class _LibraryHandler(logging.Handler):
    """Turns a record of a library's `logging` (asyncio, grpc) into one of our lines."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = get_logger(record.name)
        level = min(max(record.levelno, logging.DEBUG), logging.ERROR)
        try:
            logger.log(level, record.getMessage(), exc_info=record.exc_info)
        except Exception:  # noqa: BLE001 - a log line must not end the process
            self.handleError(record)
