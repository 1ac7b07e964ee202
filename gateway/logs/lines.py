"""The log as lines: for people, or JSON, an object a line. Written to stderr."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import msgspec

from gateway.logs.config import LogConfig

_encode = msgspec.json.Encoder().encode


def write_log(config: LogConfig, worker: int | None = None) -> None:
    """From now on the log is written so, in place of what was set up before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(worker) if config.format == "json" else TextLines(worker))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(config.level.upper())


class TextLines(logging.Formatter):
    def __init__(self, worker: int | None) -> None:
        of_worker = "" if worker is None else f" worker {worker}:"
        super().__init__(f"%(asctime)s %(levelname)s{of_worker} %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        text = super().formatMessage(record)
        fields = getattr(record, "fields", None)
        if fields is None:
            return text
        return " ".join([text, *(f"{name}={value}" for name, value in fields.items())])


class JsonLines(logging.Formatter):
    """`fields` of a record (`extra={"fields": {...}}`) stand beside its message."""

    def __init__(self, worker: int | None) -> None:
        super().__init__()
        self._worker = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **self._worker,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _encode(line).decode()
