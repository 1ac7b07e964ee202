"""CPU and memory as the kernel counts them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

from bench import proc_tree

BURN = "import time\nwhile time.process_time() < 0.4: pass\nprint(flush=True)\ninput()"
PARENT = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN!r}])"


def test_the_cpu_of_a_tree_is_that_of_its_children_too():
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdout.readline()  # the child has burnt its time and waits
        assert len(proc_tree.descendants(parent.pid)) == 2
        alive_s = proc_tree.cpu_s(parent.pid)
        parent.stdin.close()
    assert 0.35 <= alive_s <= time.monotonic() - began + 0.1


def test_memory_that_is_touched_is_resident():
    before_mib = proc_tree.rss_mib(os.getpid())
    held = bytearray(os.urandom(1)) * (40 * 2**20)
    assert proc_tree.rss_mib(os.getpid()) - before_mib > 30
    del held


def test_connections_are_counted_by_the_port_they_end_at():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert proc_tree.connections_to(port) == 0
        with socket.create_connection(("127.0.0.1", port)):
            assert proc_tree.connections_to(port) == 1


def test_a_core_that_worked_was_busy():
    core = min(os.sched_getaffinity(0))
    everyone = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        before_s = proc_tree.core_busy_s(core)
        began_s = time.process_time()
        while time.process_time() - began_s < 0.2:
            pass
        assert proc_tree.core_busy_s(core) - before_s >= 0.15
    finally:
        os.sched_setaffinity(0, everyone)
