"""Gateways that run on a home: what they say of themselves, and how many files they may open."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import re
import resource
import time
from pathlib import Path

import msgspec

from gateway.config import ServerConfig
from gateway.doctor.patient import Patient
from gateway.doctor.remark import Remark, fault, note, ok, warning
from gateway.nodes.door import Door

CHECK = "gateway"
FILES = "open files"
FILES_SPARE = 256
"""Databases, spools, logs, connections to Redis, idle clients."""
ANSWER_S = 5.0
_ANSWER_BYTES = 1 << 16


class _Ready(msgspec.Struct):
    ready: bool
    reasons: list[str]


def examine(patient: Patient) -> list[Remark]:
    if patient.config is None:
        return []
    owners = {path.name: owner for path in patient.spools if (owner := holder(path)) is not None}
    server = patient.config.server
    found = [_files(server, f"process {pid} ({name})", pid) for name, pid in owners.items()]
    if not owners:
        found.append(_files(server, "as started from here", None))
        return [*found, note(CHECK, str(patient.home.path), "none runs on this home")]
    return [*found, _readiness(server)]


def holder(spool: Path) -> int | None:
    """The process that has it open; None if none has."""
    try:
        descriptor = os.open(spool / "lock", os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        told = os.read(descriptor, 32).split()
        return int(told[0]) if told and told[0].isdigit() else None
    finally:
        os.close(descriptor)
    return None


def _files(server: ServerConfig, subject: str, pid: int | None) -> Remark:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if pid is None else _limit_of(pid)
    if limit is None:
        return note(FILES, subject, "its limit cannot be read: it is another user's")
    needed = 2 * server.open_requests_max + FILES_SPARE
    if limit == resource.RLIM_INFINITY or limit >= needed:
        return ok(FILES, subject, f"{limit} may be open, {needed} are the most that it needs")
    said = f"{limit} may be open; open_requests_max = {server.open_requests_max} can need {needed}"
    advice = f"ulimit -n {needed}, LimitNOFILE={needed} in the unit, or a lower open_requests_max"
    return (fault if limit < needed // 2 else warning)(FILES, subject, said, advice)


def _limit_of(pid: int) -> int | None:
    try:
        told = Path(f"/proc/{pid}/limits").read_text()
    except OSError:
        return None
    match = re.search(r"^Max open files\s+(\S+)", told, re.MULTILINE)
    assert match is not None, "the kernel tells this limit"
    return resource.RLIM_INFINITY if match[1] == "unlimited" else int(match[1])


def _readiness(server: ServerConfig) -> Remark:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(server.host, server.host)
    url = f"http://{host}:{server.port}"
    if server.port == 0:
        return note(CHECK, url, "its port is chosen anew at every start: ask its /readyz")
    began_s = time.monotonic()
    try:
        with contextlib.closing(Door(url, tls=None, key=None, timeout_s=ANSWER_S)) as door:
            _, body = door.get("/readyz", _ANSWER_BYTES)
        told = msgspec.json.decode(body, type=_Ready)
    except (OSError, http.client.HTTPException, ValueError) as error:
        advice = "read its log; if it hangs, end it with SIGTERM: charges are in its spool"
        return fault(CHECK, url, f"GET /readyz: {error}", advice)
    if told.ready:
        return ok(CHECK, url, f"ready, in {(time.monotonic() - began_s) * 1e3:.0f} ms")
    advice = "the other lines say why; it is ready again by itself"
    return fault(CHECK, url, f"not ready: {', '.join(told.reasons)}", advice)
