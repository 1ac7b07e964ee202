"""SQLite on a simulated disk: a VFS whose files lie in a `MemoryFolder`, so that every write, sync,
truncation and removal that SQLite makes is a step that may fail, and a power cut may keep any part
of what was not synced.

Locks and the shared memory of the write-ahead log belong to the process: they end with it. What
SQLite writes to a file without a name is nobody's to find again, and no step.
"""

from __future__ import annotations

import _sqlite3
import contextlib
import ctypes
import ctypes.util
import errno
import random
from collections.abc import Callable, Iterator
from ctypes import POINTER, c_char_p, c_double, c_int, c_int64, c_void_p
from functools import cache

from memory_folder import MemoryFile, MemoryFolder

OK, BUSY, IOERR, NOTFOUND, FULL = 0, 5, 10, 12, 13
SHORT_READ = IOERR | 2 << 8
OPEN_JOURNAL, OPEN_WAL = 0x800, 0x80000
POWERSAFE_OVERWRITE = 0x1000
SHARED, RESERVED, PENDING, EXCLUSIVE = 1, 2, 3, 4
SHM_UNLOCK, SHM_SHARED = 1, 4
JULIAN_DAY = 2_460_000.5

_MISTAKES = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)

_METHODS: dict[str, tuple[type, ...]] = {
    "close": (c_void_p,),
    "read": (c_void_p, c_void_p, c_int, c_int64),
    "write": (c_void_p, c_void_p, c_int, c_int64),
    "truncate": (c_void_p, c_int64),
    "sync": (c_void_p, c_int),
    "file_size": (c_void_p, POINTER(c_int64)),
    "lock": (c_void_p, c_int),
    "unlock": (c_void_p, c_int),
    "check_reserved_lock": (c_void_p, POINTER(c_int)),
    "file_control": (c_void_p, c_int, c_void_p),
    "sector_size": (c_void_p,),
    "device_characteristics": (c_void_p,),
    "shm_map": (c_void_p, c_int, c_int, c_int, POINTER(c_void_p)),
    "shm_lock": (c_void_p, c_int, c_int, c_int),
    "shm_barrier": (c_void_p,),
    "shm_unmap": (c_void_p, c_int),
}
_CALLS: dict[str, tuple[type, ...]] = {
    "open": (c_void_p, c_char_p, c_void_p, c_int, POINTER(c_int)),
    "delete": (c_void_p, c_char_p, c_int),
    "access": (c_void_p, c_char_p, c_int, POINTER(c_int)),
    "full_pathname": (c_void_p, c_char_p, c_int, c_void_p),
    "dl_open": (c_void_p, c_char_p),
    "dl_error": (c_void_p, c_int, c_void_p),
    "dl_sym": (c_void_p, c_void_p, c_char_p),
    "dl_close": (c_void_p, c_void_p),
    "randomness": (c_void_p, c_int, c_void_p),
    "sleep": (c_void_p, c_int),
    "current_time": (c_void_p, POINTER(c_double)),
    "get_last_error": (c_void_p, c_int, c_void_p),
}
_TYPES = {name: ctypes.CFUNCTYPE(c_int, *given) for name, given in (_METHODS | _CALLS).items()}


class _IoMethods(ctypes.Structure):
    _fields_ = [("version", c_int), *((name, _TYPES[name]) for name in _METHODS)]


class _Handle(ctypes.Structure):
    _fields_ = [("methods", POINTER(_IoMethods)), ("number", c_int64)]


class _Calls(ctypes.Structure):
    _fields_ = [
        ("version", c_int),
        ("handle_bytes", c_int),
        ("path_chars_max", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("app_data", c_void_p),
        *((name, _TYPES[name]) for name in _CALLS),
    ]


class _Opened:
    """A file as one connection has it."""

    def __init__(self, name: str, file: MemoryFile, flags: int) -> None:
        self.name = name
        self.file = file
        self.level = 0
        self.shared = 0
        self.exclusive = 0
        self.folder_synced = not flags & (OPEN_JOURNAL | OPEN_WAL)


class Vfs:
    """While it is installed, every connection of this process opens its files in `folder`."""

    def __init__(self) -> None:
        self.folder = MemoryFolder(buffered=True)
        self.at = ""
        """The file that the step at hand is done to."""
        self.rng = random.Random(0)
        self.failure: Exception | None = None
        self._nameless = MemoryFolder(buffered=True)
        self._opened: dict[int, _Opened] = {}
        self._number = 0
        self._shared_memory: list[ctypes.Array[ctypes.c_char]] = []
        self._io = _IoMethods(2, *(self._callback(name) for name in _METHODS))
        self._calls = _Calls(
            1,
            ctypes.sizeof(_Handle),
            512,
            None,
            b"tollgate-sim",
            None,
            *(self._callback(name) for name in _CALLS),
        )

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        library = _sqlite()
        before = library.sqlite3_vfs_find(None)
        assert library.sqlite3_vfs_register(ctypes.byref(self._calls), 1) == OK
        try:
            yield
        finally:
            library.sqlite3_vfs_unregister(ctypes.byref(self._calls))
            library.sqlite3_vfs_register(before, 1)

    def forget(self) -> None:
        """Whatever went wrong before."""
        self.failure = None
        self._opened = {}
        self._shared_memory = []
        _sqlite().sqlite3_randomness(0, None)  # or else the first seed's goes on

    def end_process(self) -> None:
        """Its locks and its shared memory go; every connection must have been closed."""
        if self.failure is not None:
            raise self.failure
        assert not self._opened, f"left open: {[each.name for each in self._opened.values()]}"
        self._shared_memory = []

    def _callback(self, name: str) -> Callable[..., int]:
        method = getattr(self, f"_x_{name}")

        def called(*given: object) -> int:
            try:
                return method(*given) or OK
            except OSError as error:
                return FULL if error.errno == errno.ENOSPC else IOERR
            except _MISTAKES as error:  # no exception can cross C: it is raised at the end
                self.failure = self.failure or error
                return IOERR

        return _TYPES[name](called)

    def _of(self, handle: int) -> _Opened:
        return self._opened[_Handle.from_address(handle).number]

    def _file(self, handle: int) -> MemoryFile:
        opened = self._of(handle)
        self.at = opened.name
        return opened.file

    # -- names ------------------------------------------------------------------------------------

    def _x_open(self, _: int, path: bytes | None, handle: int, flags: int, out: object) -> None:
        opened = _Handle.from_address(handle)
        opened.methods = POINTER(_IoMethods)()
        self.at = name = "" if path is None else _name(path)
        if path is None:
            file = self._nameless.create(f"{self._number}", 0)
        elif name in self.folder.files:
            file = self.folder.open(name)
        else:
            file = self.folder.create(name, 0)
        self._number += 1
        self._opened[self._number] = _Opened(name, file, flags)
        opened.number = self._number
        opened.methods = ctypes.pointer(self._io)
        if out:
            out[0] = flags  # type: ignore[index]

    def _x_delete(self, _: int, path: bytes, and_sync: int) -> None:
        self.at = _name(path)
        if self.at in self.folder.files:
            self.folder.remove(self.at)
        if and_sync:
            self.folder.sync()

    def _x_access(self, _: int, path: bytes, flags: int, out: object) -> None:
        out[0] = int(_name(path) in self.folder.files)  # type: ignore[index]

    def _x_full_pathname(self, _: int, path: bytes, size: int, out: int) -> None:
        ctypes.memmove(out, path + b"\0", len(path) + 1)

    # -- bytes ------------------------------------------------------------------------------------

    def _x_close(self, handle: int) -> None:
        opened = self._opened.pop(_Handle.from_address(handle).number, None)
        if opened is not None:  # or it is of a process that was forgotten
            opened.file.close()

    def _x_read(self, handle: int, into: int, size: int, offset: int) -> int:
        data = self._file(handle).read(size, offset)
        ctypes.memmove(into, data.ljust(size, b"\0"), size)
        return OK if len(data) == size else SHORT_READ

    def _x_write(self, handle: int, data: int, size: int, offset: int) -> None:
        self._file(handle).write(ctypes.string_at(data, size), offset)

    def _x_truncate(self, handle: int, size: int) -> None:
        self._file(handle).truncate(size)

    def _x_sync(self, handle: int, _flags: int) -> None:
        """As the one for Unix: with its first sync a log's name is made durable too."""
        self._file(handle).sync()
        opened = self._of(handle)
        if not opened.folder_synced:
            self.folder.sync()
            opened.folder_synced = True

    def _x_file_size(self, handle: int, out: object) -> None:
        out[0] = self._of(handle).file.size()  # type: ignore[index]

    # -- locks ------------------------------------------------------------------------------------

    def _others(self, opened: _Opened) -> list[_Opened]:
        every = self._opened.values()
        return [each for each in every if each.name == opened.name and each is not opened]

    def _x_lock(self, handle: int, level: int) -> int:
        opened = self._of(handle)
        highest = max((each.level for each in self._others(opened)), default=0)
        if highest >= {SHARED: PENDING, RESERVED: RESERVED}.get(level, SHARED):
            return BUSY
        opened.level = max(opened.level, level)
        return OK

    def _x_unlock(self, handle: int, level: int) -> None:
        opened = self._of(handle)
        opened.level = min(opened.level, level)

    def _x_check_reserved_lock(self, handle: int, out: object) -> None:
        found = any(each.level >= RESERVED for each in self._others(self._of(handle)))
        out[0] = int(found)  # type: ignore[index]

    def _x_shm_map(self, _: int, region: int, size: int, extend: int, out: object) -> None:
        while extend and len(self._shared_memory) <= region:
            self._shared_memory.append(ctypes.create_string_buffer(size))
        found = self._shared_memory[region : region + 1]
        out[0] = ctypes.addressof(found[0]) if found else None  # type: ignore[index]

    def _x_shm_lock(self, handle: int, first: int, count: int, flags: int) -> int:
        opened, bits = self._of(handle), (1 << count) - 1 << first
        if flags & SHM_UNLOCK:
            opened.shared &= ~bits
            opened.exclusive &= ~bits
            return OK
        held = 0
        for each in self._others(opened):
            held |= each.exclusive if flags & SHM_SHARED else each.exclusive | each.shared
        if held & bits:
            return BUSY
        if flags & SHM_SHARED:
            opened.shared |= bits
        else:
            opened.exclusive |= bits
        return OK

    def _x_shm_barrier(self, _: int) -> None:
        pass

    def _x_shm_unmap(self, handle: int, _delete: int) -> None:
        opened = self._of(handle)
        opened.shared = opened.exclusive = 0
        if not self._others(opened):
            self._shared_memory = []

    # -- the rest ---------------------------------------------------------------------------------

    def _x_file_control(self, *_: object) -> int:
        return NOTFOUND

    def _x_sector_size(self, _: int) -> int:
        return 512

    def _x_device_characteristics(self, _: int) -> int:
        return POWERSAFE_OVERWRITE

    def _x_randomness(self, _: int, size: int, out: int) -> int:
        ctypes.memmove(out, self.rng.randbytes(size), size)
        return size

    def _x_sleep(self, _: int, microseconds: int) -> int:
        return microseconds

    def _x_current_time(self, _: int, out: object) -> None:
        out[0] = JULIAN_DAY  # type: ignore[index]

    def _nothing(self, *_: object) -> None:
        pass

    _x_dl_open = _x_dl_error = _x_dl_sym = _x_dl_close = _x_get_last_error = _nothing


def _name(path: bytes) -> str:
    return path.decode().rpartition("/")[2]


@cache
def _sqlite() -> ctypes.CDLL:
    """The SQLite that Python's own module uses. Raises OSError if it is linked into Python."""
    for path in (_sqlite3.__file__, ctypes.util.find_library("sqlite3")):
        library = ctypes.CDLL(path)
        with contextlib.suppress(AttributeError):
            library.sqlite3_vfs_find.restype = c_void_p
            library.sqlite3_vfs_find.argtypes = [c_char_p]
            library.sqlite3_randomness.argtypes = [c_int, c_void_p]
            library.sqlite3_vfs_register.argtypes = [c_void_p, c_int]
            return library
    raise OSError("no SQLite library is found beside this Python")
