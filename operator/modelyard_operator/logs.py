"""Logs: one line a record, a constant message and fields; JSON for machines, text for people."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

__all__ = ["configure_logs"]

_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
#: kopf puts these on its records; they are objects, not words.
_KNOWN |= {"k8s_skip", "k8s_ref", "settings"}


class _Lines(logging.Formatter):
    def __init__(self, form: str) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {key: value for key, value in vars(record).items() if key not in _KNOWN}
        if record.exc_info:
            fields["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if self._form == "json":
            known = {"time": time, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
            return json.dumps(known | fields, default=str)
        told = " ".join(f"{key}={value}" for key, value in fields.items())
        return f"{time} {record.levelname} {record.getMessage()} {told}".rstrip()


def configure_logs(level: str, form: str) -> None:
    """Send every log record to standard error as one line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(form))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # kopf writes a line for each event that it hands over
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    logging.getLogger("kopf").setLevel(max(logging.INFO, logging.getLevelName(level)))
