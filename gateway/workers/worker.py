"""One of several processes that serve on one port. `workers.py` starts it, with its spec on stdin.

    python -m gateway.workers.worker < SPEC

It drains when its supervisor dies, however that happens: the kernel sends it SIGTERM then.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

import msgspec

from gateway.config import ConfigError
from gateway.home import Home
from gateway.logs.lines import write_log
from gateway.server import GatewayServer
from gateway.wiring import Gateway
from gateway.workers.listening import AddressError, bind
from gateway.workers.workers import SERVING, WorkerSpec
from metering.ledger import LedgerError
from metering.spool_file import SpoolError

PR_SET_PDEATHSIG = 1


def main() -> None:
    spec = msgspec.json.decode(sys.stdin.buffer.read(), type=WorkerSpec)
    _end_with(spec.supervisor_pid)
    write_log(spec.config.log, spec.worker)
    server = spec.config.server
    try:
        gateway = Gateway(Home(Path(spec.home)), spec.config, worker=spec.worker, run=spec.run)
        sockets = bind(server.host, server.port)
    except (AddressError, ConfigError, LedgerError, SpoolError) as error:
        _tell(str(error))
        sys.exit(1)
    GatewayServer(gateway, on_serving=lambda _: _tell(SERVING)).run(sockets)


def _end_with(supervisor_pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed; several workers need Linux")
    if os.getppid() != supervisor_pid:
        sys.exit("the supervisor died before this worker began")


def _tell(message: str) -> None:
    """The supervisor reads until the end of its pipe; stdout is stderr from then on."""
    os.write(1, message.encode())
    os.dup2(2, 1)


if __name__ == "__main__":
    main()
