"""The folder of a spool on a disk: what the log does to files, and the lock on them all."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Protocol

from metering.spool_file import SpoolError


class File(Protocol):
    """All methods raise OSError."""

    def write(self, data: bytes, offset: int) -> int:
        """Write, durable once it returns; says how many bytes, which may be fewer."""

    def read(self, size: int, offset: int) -> bytes: ...

    def size(self) -> int: ...

    def sync(self) -> None:
        """Make all of it durable. What is read afterwards is what the disk has."""

    def truncate(self, size: int) -> None: ...

    def close(self) -> None: ...


class Folder(Protocol):
    """All methods raise OSError. Names come and go durably only with the next `sync`."""

    def names(self) -> list[str]: ...

    def create(self, name: str, size: int) -> File:
        """A file of so many zeros, in place of one that had this name."""

    def open(self, name: str) -> File:
        """For reading."""

    def rename(self, name: str, new_name: str) -> None:
        """In place of a file that had the new name."""

    def remove(self, name: str) -> None: ...

    def sync(self) -> None: ...


class DiskFile:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes, offset: int) -> int:
        return os.pwrite(self._descriptor, data, offset)

    def read(self, size: int, offset: int) -> bytes:
        return os.pread(self._descriptor, size, offset)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def sync(self) -> None:
        """After an fsync that failed, memory holds pages that the disk does not: they are let go of
        here, so that no later start takes them for durable.
        """
        os.fsync(self._descriptor)
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def close(self) -> None:
        os.close(self._descriptor)


class DiskFolder:
    """Files are written with O_DSYNC: write and fdatasync in one call, so that the interpreter lock
    is fought for once. Their room is reserved, so that a commit changes no file's size.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.mkdir(exist_ok=True)
        _sync(path.parent)

    def names(self) -> list[str]:
        return os.listdir(self._path)

    def create(self, name: str, size: int) -> DiskFile:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_DSYNC
        descriptor = os.open(self._path.joinpath(name), flags, 0o644)
        try:
            os.posix_fallocate(descriptor, 0, size)
        except BaseException:
            os.close(descriptor)
            raise
        return DiskFile(descriptor)

    def open(self, name: str) -> DiskFile:
        return DiskFile(os.open(self._path.joinpath(name), os.O_RDONLY))

    def rename(self, name: str, new_name: str) -> None:
        os.rename(self._path.joinpath(name), self._path.joinpath(new_name))

    def remove(self, name: str) -> None:
        os.unlink(self._path.joinpath(name))

    def sync(self) -> None:
        _sync(self._path)


def lock(folder: Path) -> int:
    """The lock that keeps a second process off the folder; it ends with its process.

    Raises SpoolError if another process has it, OSError.
    """
    lock_file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.read(lock_file, 32).decode(errors="replace").strip() or "unknown"
        os.close(lock_file)
        raise SpoolError(
            f"spool {folder} is in use by process {owner}: two gateways cannot share one home. "
            "Stop the other one, or give this one a home of its own"
        ) from error
    os.ftruncate(lock_file, 0)
    os.pwrite(lock_file, f"{os.getpid()}\n".encode(), 0)
    return lock_file


def _sync(folder: Path) -> None:
    """A name survives a power cut only if its folder was synced."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
