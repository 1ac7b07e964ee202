"""A real Redis for a test: on its own port, flushed, killed and restarted at will."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from held_port import held_port
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError


class RedisProcess:
    def __init__(self, folder: Path) -> None:
        found = shutil.which("redis-server")
        assert found, "there is no redis-server: `apt-get install redis-server`"
        self._server = found
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = held_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> RedisProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        command = [
            self._server, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
            "--dir", str(self._folder),
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        with Redis(port=self.port) as client:
            while not self._answers(client):
                assert time.monotonic() < deadline, "redis-server does not answer"
                assert self._process.poll() is None, "redis-server ended"
                time.sleep(0.01)

    def _answers(self, client: Redis) -> bool:
        """This one, and no other that has the port."""
        try:
            told = client.info("server")["process_id"]
        except RedisConnectionError:
            return False
        return self._process is not None and told == self._process.pid

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def save(self) -> None:
        """What is there now is what the next start finds."""
        with Redis(port=self.port) as client:
            client.save()

    def flush(self) -> None:
        with Redis(port=self.port) as client:
            client.flushall()
