"""Log lines: one event each, ``key=value`` for people or JSON for programs. Never a token, never a key."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

from pushline.errors import ConfigurationError

LEVELS: Final = ("debug", "info", "warning", "error")
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _event(record: logging.LogRecord) -> dict[str, Any]:
    extra = {key: value for key, value in vars(record).items() if key not in _STANDARD}
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return {
        "time": time.replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": record.getMessage(),
        **extra,
    }


class TextFormatter(logging.Formatter):
    """``<time> <level> <logger>: <event> key=value …``, and a traceback on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one event."""
        event = _event(record)
        head = [event.pop(key) for key in ("time", "level", "logger", "event")]
        line = f"{head[0]} {head[1]:7} {head[2]}: {head[3]}"
        # repr, so that whatever came from outside stays on its line
        line += "".join(f" {key}={value!r}" for key, value in event.items())
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object per event."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one event."""
        event = _event(record)
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        # in ASCII, so that it can write what is no Unicode
        return json.dumps(event, default=str, separators=(",", ":"))


def set_up(level: str, format: str) -> None:
    """Log Pushline's events to standard error. Raises :class:`ConfigurationError` for an unknown level or format."""
    formatters: dict[str, type[logging.Formatter]] = {"text": TextFormatter, "json": JsonFormatter}
    if level not in LEVELS:
        raise ConfigurationError(f"--log-level is one of {', '.join(LEVELS)}, not {level}.")
    if format not in formatters:
        raise ConfigurationError(f"--log-format is one of {', '.join(formatters)}, not {format}.")
    handler = logging.StreamHandler()
    handler.setFormatter(formatters[format]())
    logger = logging.getLogger("pushline")
    logger.setLevel(level.upper())
    logger.handlers = [handler]
    logger.propagate = False
