"""The process's log: one JSON object a line on stderr, as log collectors read it. Configured by `main` at first."""

from __future__ import annotations

import datetime
import logging
import sys

import msgspec


class Formatter(logging.Formatter):
    """A record as JSON; a traceback stays in the same line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line without its end."""
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def configure(level: str) -> None:
    """From now on everything that is logged goes this way."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("kopf").setLevel(logging.WARNING)  # it tells each start and end of its own parts at INFO
