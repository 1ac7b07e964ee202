"""The disks that hold a home: room, kind, and how fast they make a charge durable."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from pathlib import Path

from gateway.doctor.patient import Patient
from gateway.doctor.remark import Remark, fault, ok, warning

CHECK = "disk"

ROOM_LOW_BYTES = 1 << 30
ROOM_OUT_BYTES = 64 << 20
"""A worker's spool takes 8 to 24 MiB, and a commit of the ledger some."""
INODES_LOW = 1000
WRITES = 20
WRITE_BYTES = 4096
SLOW_MS = 10.0
"""An answer waits for two commits; so many of them side by side share one."""
TOO_SLOW_MS = 100.0

IN_MEMORY = {"tmpfs", "ramfs"}
OVER_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "fuse.sshfs"}


def examine(patient: Patient) -> list[Remark]:
    home = patient.home.path
    if not home.is_dir():
        return [fault(CHECK, str(home), "there is no such folder", f"make it: mkdir -p {home}")]
    folders = [home, *patient.spools]
    if isinstance(patient.where, Path):
        folders.append(patient.where.resolve().parent)  # a link leads to another disk
    if patient.home.files_folder.is_dir():
        folders.append(patient.home.files_folder)
    one_of_each = {folder.stat().st_dev: folder for folder in reversed(folders)}
    return [remark for folder in reversed(one_of_each.values()) for remark in _disk(folder)]


def _disk(folder: Path) -> list[Remark]:
    found = [*_kind(folder), *_room(folder)]
    try:
        took_ms = durable_write_ms(folder)
    except OSError as error:
        said = f"cannot be written: {error.strerror}"
        advice = "mount it for writing, free room, or give the folder to the gateway's user"
        return [*found, fault(CHECK, str(folder), said, advice)]
    said = f"a durable write of 4 KiB takes {took_ms:.1f} ms"
    if took_ms > SLOW_MS:
        grade = fault if took_ms > TOO_SLOW_MS else warning
        advice = "put the home on a local SSD with power-loss protection: each answer waits for it"
        found.append(grade(CHECK, str(folder), said, advice))
    if not found:
        found.append(ok(CHECK, str(folder), f"{_gib(folder)} free; {said}"))
    return found


def _kind(folder: Path) -> list[Remark]:
    kind = filesystem(folder)
    if kind in IN_MEMORY:
        said = f"is {kind}, in memory: a restart of the machine loses charges"
        return [warning(CHECK, str(folder), said, "put the home on a disk")]
    if kind in OVER_NETWORK:
        said = f"is {kind}, over a network: SQLite and the spool rely on locks and syncs of a disk"
        advice = "put the home on a local disk, and the ledger into PostgreSQL to share it"
        return [fault(CHECK, str(folder), said, advice)]
    if kind == "overlay":
        said = "is the container's own layer, which goes with the container, and the spool with it"
        return [warning(CHECK, str(folder), said, "mount a volume there")]
    return []


def _room(folder: Path) -> list[Remark]:
    disk = os.statvfs(folder)
    free_bytes = disk.f_bavail * disk.f_frsize
    advice = "free room or enlarge the disk: without room nothing new is served"
    if free_bytes < ROOM_LOW_BYTES:
        grade = fault if free_bytes < ROOM_OUT_BYTES else warning
        return [grade(CHECK, str(folder), f"only {free_bytes >> 20} MiB are free", advice)]
    if disk.f_files and disk.f_favail < INODES_LOW:
        said = f"only {disk.f_favail} more files can be made"
        return [warning(CHECK, str(folder), said, advice)]
    return []


def _gib(folder: Path) -> str:
    disk = os.statvfs(folder)
    return f"{disk.f_bavail * disk.f_frsize / (1 << 30):.0f} GiB"


def durable_write_ms(folder: Path) -> float:
    """The median of some writes as the spool does them. Raises OSError."""
    path = folder / f".doctor-{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_DSYNC
    descriptor = os.open(path, flags, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, WRITES * WRITE_BYTES)
        took_ms = []
        for number in range(WRITES):
            began_s = time.perf_counter()
            os.pwrite(descriptor, bytes(WRITE_BYTES), number * WRITE_BYTES)
            took_ms.append((time.perf_counter() - began_s) * 1e3)
        return statistics.median(took_ms)
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()


def filesystem(folder: Path) -> str:
    """Its kind, as the kernel names it; empty if it does not say."""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split()[2] == number:
            return source.split()[0]
    return ""
