"""Where a run took place, so that its figures can be read later."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
from pathlib import Path

from .pinned import ROOT

FILES_MIN = 10_000
"""Open files wanted: 2,000 streams are a socket each here, at the node, and two at the gateway."""


def describe() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return (
        f"{len(models)} x {models[0] if models else platform.machine()}, {gib:.0f} GiB, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )


def commit() -> str:
    """The checkout's commit; `+` if there are changes on top of it."""

    def git(*arguments: str) -> str:
        ended = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        return ended.stdout.strip()

    return f"{git('rev-parse', '--short', 'HEAD') or 'no git'}{'+' * bool(git('status', '-s'))}"


def allow_many_files() -> None:
    """For this process and those it starts. Raises OSError if the system allows too few."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if most == resource.RLIM_INFINITY else min(most, 65_536)
    if wanted < FILES_MIN:
        raise OSError(f"{most} open files are allowed, {FILES_MIN} are needed: see `ulimit -Hn`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
