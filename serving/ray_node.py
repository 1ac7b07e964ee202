"""One Ray head on this machine, with ports, token and files of its own.

Never `ray stop`: it ends every Ray on the machine by name. The head runs in the foreground
(`ray start --block`) under a guard, which ends its whole tree.
"""

import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from serving.child_process import ChildProcess
from serving.free_ports import LOOPBACK, free_ports
from serving.ray_dashboard import RayDashboard, RayUnavailableError

# A Unix socket path may have 107 bytes; Ray appends /session_<date>_<time>_<pid>/sockets/NAME.
TEMP_DIR_BYTES_MAX = 107 - 68
SHORT_TEMP_DIR = Path("/tmp")
OBJECT_STORE_BYTES = 100 << 20  # Serve moves no data through it


class RayNode:
    """A running head. `state_dir` is kept: it holds the token, and Ray's files when it is short."""

    def __init__(self, state_dir: Path, *, dashboard_port: int, owner: str, log: Path) -> None:
        state_dir.mkdir(parents=True, exist_ok=True)
        self.token_path = state_dir / "token"
        if not self.token_path.exists():
            self.token_path.touch(mode=0o600)
            self.token_path.write_text(secrets.token_hex(32), encoding="ascii")
        self.temp_dir, temporary = _temp_dir(state_dir)
        for session in self.temp_dir.glob("session_*"):
            _remove(session)  # logs of the runs before: one is kept, the last
        (self.temp_dir / "tmp").mkdir(exist_ok=True)
        gcs, self.proxy_port, *rest = free_ports(9)
        self.address = f"{LOOPBACK}:{gcs}"
        """Where other Ray nodes join."""
        self.environment = _environment(self.token_path, self.temp_dir)
        self.dashboard = RayDashboard(f"http://{LOOPBACK}:{dashboard_port}", self.token_path)
        self.process = ChildProcess(
            "ray",
            _command(self.temp_dir, gcs, dashboard_port, rest),
            owner=owner,
            log=log,
            env=self.environment,
            grace_s=10.0,
            remove=self.temp_dir if temporary else None,
        )

    @property
    def worker_logs(self) -> Path:
        """Where Ray keeps what its workers print."""
        return self.temp_dir / "session_latest" / "logs"

    def is_ready(self) -> bool:
        """Whether the dashboard's Serve interface answers."""
        try:
            self.dashboard.applications()
        except RayUnavailableError:
            return False
        return True


def _temp_dir(state_dir: Path) -> tuple[Path, bool]:
    """Ray's directory for sockets and logs, and whether it must be removed at the end."""
    own = state_dir.resolve()
    if len(str(own).encode()) <= TEMP_DIR_BYTES_MAX:
        return own, False
    return Path(tempfile.mkdtemp(prefix="tg-", dir=SHORT_TEMP_DIR)), True


def _remove(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _environment(token_path: Path, temp_dir: Path) -> dict[str, str]:
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_path.resolve()),
        "RAY_SERVE_ENABLE_DIRECT_INGRESS": "1",
        # Ray replaces 127.0.0.1 by the machine's outer address, and then listens on all of them,
        # unless it believes that it must not form a cluster.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        # The gateway has drained before it asks for the end, so nothing is left to wait for.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        # Ray would kill a replica's resource tracker too, and semaphores would stay in /dev/shm.
        # The engine ends with its replica all the same, and the guard sees to it at the end.
        "RAY_kill_child_processes_on_worker_exit": "0",
        "RAY_process_group_cleanup_enabled": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ADDRESS": "",
        "RAY_TMPDIR": str(temp_dir),
        "TMPDIR": str(temp_dir / "tmp"),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }


def _command(temp_dir: Path, gcs: int, dashboard: int, rest: list[int]) -> list[str]:
    object_manager, node_manager, agent_http, agent_grpc, runtime_env, metrics, client = rest
    ray = str(Path(sys.executable).with_name("ray"))
    options = {
        "node-ip-address": LOOPBACK,
        "port": gcs,
        "dashboard-host": LOOPBACK,
        "dashboard-port": dashboard,
        "object-manager-port": object_manager,
        "node-manager-port": node_manager,
        "dashboard-agent-listen-port": agent_http,
        "dashboard-agent-grpc-port": agent_grpc,
        "runtime-env-agent-port": runtime_env,
        "metrics-export-port": metrics,
        "ray-client-server-port": client,
        # 0: any free port. Ray's default range of 10002-19999 collides with other people's servers.
        "min-worker-port": 0,
        "max-worker-port": 0,
        "object-store-memory": OBJECT_STORE_BYTES,
        "temp-dir": temp_dir,
        "log-color": "false",
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    return [ray, "start", "--head", "--block", "--disable-usage-stats", *flags]
