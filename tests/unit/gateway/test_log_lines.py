"""Records as lines, for people and for machines."""

from __future__ import annotations

import json
import logging
import sys

from gateway.logs.lines import JsonLines, TextLines


def record(message: str, *arguments: object, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("tollgate", logging.WARNING, "x.py", 1, message, arguments, None)
    made.created = 1_700_000_000.25
    vars(made).update(more)
    return made


def test_json_has_its_fields_beside_the_message():
    line = JsonLines(worker=1).format(record("%d rows", 3, fields={"request_id": "r1", "n": 2}))
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "logger": "tollgate",
        "worker": 1,
        "message": "3 rows",
        "request_id": "r1",
        "n": 2,
    }
    assert "worker" not in json.loads(JsonLines(None).format(record("x")))


def test_a_line_is_one_line_whatever_it_says():
    try:
        raise ValueError("a\nb")
    except ValueError:
        line = JsonLines(None).format(record("two\nlines", exc_info=sys.exc_info()))
    assert "\n" not in line
    assert "ValueError: a\nb" in json.loads(line)["traceback"]


def test_text_ends_with_the_fields():
    line = TextLines(worker=0).format(record("request", fields={"model": "m", "stream": True}))
    assert line.endswith("WARNING worker 0: request model=m stream=True")
    assert TextLines(None).format(record("plain")).endswith("WARNING plain")
