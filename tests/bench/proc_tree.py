"""What a process and its descendants cost, read from /proc: CPU, memory, sockets. Linux only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_ESTABLISHED = "01"


def descendants(root: int) -> list[int]:
    """The process `root` and all that descend from it, those alive now."""
    children: dict[int, list[int]] = {}
    for pid, fields in _all_stats():
        children.setdefault(int(fields[1]), []).append(pid)
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_s(root: int) -> float:
    """User and system CPU seconds of the tree, those of children it has waited for included.

    Counted by the kernel in ticks of 10 ms: a window of 2 s is exact to half a percent.
    """
    ticks = 0
    for pid in descendants(root):
        if (fields := _stat(pid)) is not None:
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICKS_PER_S


def rss_mib(root: int) -> float:
    """Resident memory of the tree in MiB. Pages that processes share are counted in each."""
    pages = 0
    for pid in descendants(root):
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue  # it ended
    return pages * PAGE_BYTES / 2**20


def core_busy_s(core: int) -> float:
    """Seconds that this core has worked since boot, for whomever."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, ticks[:8])
            return (user + nice + system + irq + softirq + steal) / TICKS_PER_S
    raise ValueError(f"there is no core {core}")


def connections_to(port: int) -> int:
    """Established TCP connections that end at this local port of the machine."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(
        row[3] == _ESTABLISHED and int(row[1].rpartition(":")[2], 16) == port for row in rows
    )


def socket_memory_mib() -> float:
    """What the kernel keeps in the buffers of all TCP sockets of this machine."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            return int(line.rpartition(" mem ")[2]) * PAGE_BYTES / 2**20
    raise ValueError("/proc/net/sockstat has no line for TCP")


def _all_stats() -> Iterator[tuple[int, list[str]]]:
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(int(name))) is not None:
            yield int(name), fields


def _stat(pid: int) -> list[str] | None:
    """The fields after the command's name, from the state on; None if the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()
