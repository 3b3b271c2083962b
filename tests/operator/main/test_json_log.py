"""Every line of the log is one JSON object, tracebacks too."""

from __future__ import annotations

import json
import logging
import sys

from sidewinder_operator.main.json_log import Formatter


def test_a_record_is_one_line_of_json() -> None:
    try:
        raise ValueError('a "bug"\nof two lines')
    except ValueError:
        record = logging.LogRecord("sidewinder", logging.ERROR, "f.py", 1, "%s ö", ("what",), sys.exc_info())
    line = Formatter().format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert (told["level"], told["logger"], told["message"]) == ("error", "sidewinder", "what ö")
    assert "ValueError" in told["exception"]
    assert told["time"].endswith("Z")
