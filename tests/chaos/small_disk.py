"""A disk that is full or read-only for real: a tmpfs in a mount namespace of its own, which ends
with the process that holds it. Needs no root where user namespaces are allowed.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

HOLD = 'mount -t tmpfs -o size="$1" tmpfs "$2" && echo mounted && read line'


class SmallDisk:
    def __init__(self, holder: subprocess.Popen[bytes], inside: Path) -> None:
        self.inside = inside
        """Its path for what `within` runs."""
        self.outside = Path(f"/proc/{holder.pid}/root{inside}")
        """The same for everyone else; not for SQLite, which follows the link in it elsewhere."""
        self._holder = holder

    def within(self, *command: str) -> list[str]:
        """The command, to be run where the disk is."""
        into = ["nsenter", "-t", str(self._holder.pid), "-U", "-m", "--preserve-credentials"]
        return [*into, *command]

    def read_only(self, yes: bool) -> None:
        """Nobody may have a file of it open for writing."""
        options = f"remount,{'ro' if yes else 'rw'}"
        subprocess.run(self.within("mount", "-o", options, str(self.inside)), check=True)

    def fill(self) -> Path:
        """Take what room there is left; returns the file that has it."""
        ballast = self.outside / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        return ballast


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[SmallDisk]:
    """Mounted on a new folder for the time of the block."""
    inside = folder / "disk"
    inside.mkdir()
    with subprocess.Popen(
        ["unshare", "-rm", "sh", "-c", HOLD, "sh", size, str(inside)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mounted\n", (
            "no disk can be mounted here: run as root, or allow user namespaces "
            "(sysctl kernel.unprivileged_userns_clone=1)"
        )
        try:
            yield SmallDisk(holder, inside)
        finally:
            holder.kill()
