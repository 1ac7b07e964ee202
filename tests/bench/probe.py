"""Questions to running processes, and waiting until the answer is the one that is wanted."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
import urllib.request
from http.client import HTTPException

import msgspec

from . import proc_tree
from .asker import request
from .books import BooksError
from .mock_node import Tally
from .pinned import Pinned, PinnedError

POLL_S = 0.1
QUIET_CPU_S = 0.01
"""A gateway that uses no more than this in 0.2 s has worked off the last load."""
QUIET_WITHIN_S = 120
UP_WITHIN_S = 20
PAGE_WITHIN_S = 60
"""Long: a gateway that is being flooded with events may take its time."""
BOOKED_WITHIN_S = 120


def read_tally(node_port: int) -> Tally:
    return msgspec.json.decode(page(node_port, "/tally"), type=Tally)


def page(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PAGE_WITHIN_S) as answer:
        body: bytes = answer.read()
    return body


def metric(port: int, name: str) -> float:
    """The sum of a gateway's samples of this name."""
    lines = page(port, "/metrics").decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith((f"{name} ", f"{name}{{"))
    )


def wait_until_booked(port: int) -> None:
    """Until every row that the gateway recorded is in its ledger. Raises BooksError."""
    deadline_s = time.monotonic() + BOOKED_WITHIN_S
    while rows := metric(port, "tollgate_spool_backlog_rows"):
        if time.monotonic() > deadline_s:
            raise BooksError(f"{rows:.0f} rows are not in the ledger after {BOOKED_WITHIN_S} s")
        time.sleep(POLL_S)


def wait_until_quiet(pid: int) -> float:
    """Until the tree has nothing left to do; returns its CPU seconds then."""
    deadline_s = time.monotonic() + QUIET_WITHIN_S
    cpu_s = proc_tree.cpu_s(pid)
    while time.monotonic() < deadline_s:
        time.sleep(0.2)
        before_s, cpu_s = cpu_s, proc_tree.cpu_s(pid)
        if cpu_s - before_s <= QUIET_CPU_S:
            break
    return cpu_s


def wait_until_up(port: int, process: Pinned) -> None:
    """Until it takes connections. Raises PinnedError."""
    deadline_s = time.monotonic() + UP_WITHIN_S
    while time.monotonic() < deadline_s:
        process.check()
        with contextlib.suppress(OSError):
            page(port, "/health")
            return
        time.sleep(POLL_S)
    raise PinnedError(f"it does not listen after {UP_WITHIN_S} s:\n{process.log_end()}")


def wait_until_answered(
    port: int, headers: tuple[str, ...], process: Pinned, *, within_s: float
) -> None:
    """Until one whole chat request is answered. Raises PinnedError."""
    body = request(port, "", (), "mock", None).partition(b"\r\n\r\n")[2]
    fields = {"content-type": "application/json"}
    fields |= dict(header.split(": ", 1) for header in headers)
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    deadline_s = time.monotonic() + within_s
    last = ""
    while time.monotonic() < deadline_s:
        process.check()
        try:
            asked = urllib.request.Request(url, body, fields)
            with urllib.request.urlopen(asked, timeout=5) as answer:
                json.load(answer)
                return
        except urllib.error.HTTPError as error:
            last = f"{error} {error.read()[:300]!r}"
        except (OSError, HTTPException) as error:
            last = str(error)
        time.sleep(POLL_S)
    raise PinnedError(f"no answer within {within_s:g} s: {last}\n{process.log_end()}")
