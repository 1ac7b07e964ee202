"""A gateway under whose open files the disk turns read-only, as a journal that failed does it:
`python read_only.py FOLDER serve ...`, and SIGUSR2 when it is time.

A mount with files open for writing cannot be remounted so, and a disk that breaks needs root. Here
the kernel refuses the process itself, by a filter on its system calls: what would write to a file
of the folder that it has open, and what would open, make, rename or remove any file, gets EROFS.
There is no way back but another process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
import sys
from pathlib import Path

WRITES = ("write", "pwrite64", "writev", "pwritev", "pwritev2", "ftruncate", "fallocate")
NAMES = ("rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat")
NUMBERS = {
    "x86_64": {
        "seccomp": 317, "openat": 257, "write": 1, "pwrite64": 18, "writev": 20, "pwritev": 296,
        "pwritev2": 328, "ftruncate": 77, "fallocate": 285, "rename": 82, "renameat": 264,
        "renameat2": 316, "unlink": 87, "unlinkat": 263, "mkdir": 83, "mkdirat": 258,
    },
    "aarch64": {
        "seccomp": 277, "openat": 56, "write": 64, "pwrite64": 68, "writev": 66, "pwritev": 70,
        "pwritev2": 287, "ftruncate": 46, "fallocate": 47, "renameat": 38, "renameat2": 276,
        "unlinkat": 35, "mkdirat": 34,
    },
}  # fmt: skip

LOAD, EQUALS, HAS_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
CALL, FIRST, THIRD = 0, 16, 32
"""Where a filter finds the system call's number and arguments."""
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EROFS
FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

PR_SET_NO_NEW_PRIVS = 38
SET_MODE_FILTER, ALL_THREADS = 1, 1


def turn(folder: Path) -> None:
    """For this process, all its threads, and for good."""
    numbers = NUMBERS[platform.machine()]
    program = _program(numbers, _descriptors(folder))
    code = ctypes.create_string_buffer(b"".join(program))
    filters = ctypes.create_string_buffer(struct.pack("HP", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if libc.syscall(numbers["seccomp"], SET_MODE_FILTER, ALL_THREADS, filters):
        raise OSError(ctypes.get_errno(), "seccomp")


def _descriptors(folder: Path) -> list[int]:
    """Of the files below it that are open."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            path = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the listing's own
            continue
        if path.startswith(f"{folder}/"):
            found.append(int(name))
    return found


def _program(numbers: dict[str, int], descriptors: list[int]) -> list[bytes]:
    """Jumps go forward: so many instructions if it is so, so many if not."""
    of_descriptor = [
        _step(LOAD, FIRST),
        *_any(descriptors),
        _step(RETURN, ALLOW),
        _step(RETURN, REFUSE),
    ]
    of_open = [
        _step(LOAD, THIRD),
        _step(HAS_BIT, FOR_WRITING, 1, 0),
        _step(RETURN, ALLOW),
        _step(RETURN, REFUSE),
    ]
    program = [_step(LOAD, CALL)]
    for calls, then in (
        ([numbers[name] for name in WRITES if name in numbers], of_descriptor),
        ([numbers["openat"]], of_open),
        ([numbers[name] for name in NAMES if name in numbers], [_step(RETURN, REFUSE)]),
    ):
        program += [*_any(calls), _step(EQUALS, 0xFFFFFFFF, len(then), len(then)), *then]
    return [*program, _step(RETURN, ALLOW)]


def _any(values: list[int]) -> list[bytes]:
    """Skips the one instruction behind these if the value is among them."""
    return [_step(EQUALS, value, len(values) - i, 0) for i, value in enumerate(values)]


def _step(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_so, if_not, value)


if __name__ == "__main__":
    from gateway.cli import main

    folder = Path(sys.argv.pop(1)).resolve()
    signal.signal(signal.SIGUSR2, lambda *_: turn(folder))
    main()
