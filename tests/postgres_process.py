"""A real PostgreSQL for tests: made in a folder, on its own port, killed and started at will."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
from held_port import held_port
from psycopg import sql

USER = "tollgate"
PASSWORD = "between us"

SETTINGS = {
    "shared_buffers": "64MB",
    "max_connections": "100",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
    "logging_collector": "off",
    "max_wal_size": "2GB",
}


class PostgresProcess:
    """One server. It refuses to run as root, so root's runs as another user: `folder` and those
    above it must be open to all.
    """

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        self.folder = folder
        """Its data and its log."""
        self._data = folder / "data"
        self._fsync = fsync
        self.programs = _programs()
        self._user = "nobody" if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count()
        self.port = held_port()
        password = PASSWORD.replace(" ", "%20")
        self.url = f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/postgres"
        self._make()

    def __enter__(self) -> PostgresProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def fresh(self) -> str:
        """The URL of a place for a ledger: a schema of its own, which is made faster than a
        database.
        """
        name = f"ledger_{next(self._names)}"
        with psycopg.connect(self.url) as connection:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        return f"{self.url}?options=-csearch_path%3D{name}"

    def start(self) -> None:
        settings = SETTINGS | {"port": str(self.port), "fsync": "on" if self._fsync else "off"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        log = (self.folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [self.programs / "postgres", "-D", self._data, *options],
                user=self._user,
                extra_groups=[] if self._user else None,
                cwd="/",
                stderr=log,
                stdout=log,
            )
        self.wait()

    def wait(self) -> None:
        """Until it takes connections: after its start, or while it recovers by itself."""
        assert self._process is not None
        deadline = time.monotonic() + 20
        while True:
            try:
                psycopg.connect(self.url).close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, self._log()
                assert time.monotonic() < deadline, f"PostgreSQL does not answer\n{self._log()}"
                time.sleep(0.02)

    def stop(self) -> None:
        """As an administrator's restart does: sessions are ended, what was committed is kept."""
        self._end(signal.SIGINT)

    def stop_at_once(self) -> None:
        """As `pg_ctl stop -m immediate` does: the next start recovers from the log."""
        self._end(signal.SIGQUIT)

    def kill_session(self) -> None:
        """One process that serves a client: the server ends all others, recovers and goes on."""
        for pid in self._children():
            with contextlib.suppress(OSError):
                if f": {USER} ".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
                    return
        raise AssertionError("nobody is connected")

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """It takes what it is sent, and answers nothing."""
        assert self._process is not None
        stopped = [self._process.pid, *self._children()]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def _children(self) -> list[int]:
        assert self._process is not None
        pid = self._process.pid
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]

    def kill(self) -> None:
        """The server and every process of it, at once."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGSTOP)  # starts no more of them
        children = self._children()
        for child in (*children, self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait(30)
        self._process = None
        while any(_runs(child) for child in children):
            time.sleep(0.005)

    def _make(self) -> None:
        self._data.mkdir(mode=0o700)
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        if self._user:
            for path in (self.folder, self._data, secret):
                shutil.chown(path, self._user)
        done = subprocess.run(
            [
                self.programs / "initdb", "-D", self._data, "-U", USER, "--pwfile", secret,
                "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync",
            ],
            user=self._user,
            extra_groups=[] if self._user else None,
            cwd="/",
            capture_output=True,
            text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def _log(self) -> str:
        return (self.folder / "log").read_text()


def _programs() -> Path:
    """The folder of the newest server there is."""
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if found:
        return max(found, key=lambda path: int(path.parent.parent.name)).parent
    on_path = shutil.which("postgres")
    assert on_path, "there is no PostgreSQL server: `apt-get install postgresql`"
    return Path(on_path).resolve().parent


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
