"""A real Prometheus with the configuration and the rules of deploy/prometheus, its time sped up."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import yaml
from held_port import held_port

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(?<![\w:])(\d+)([smhd])\b(?=\]|\s*$|\))|(?<=offset )(\d+)([smhd])\b")
_SAMPLE_S = 0.5


class PrometheusProcess:
    """`gateway` is host:port; `speed` divides every window and every wait of the rules."""

    def __init__(self, folder: Path, gateway: str, admin_key: str, speed: float) -> None:
        found = shutil.which("prometheus")
        assert found, "there is no Prometheus: `apt-get install prometheus`"
        port = held_port()
        self._folder = folder
        rules = folder / "rules"
        rules.mkdir()
        for path in (PROMETHEUS / "rules").glob("*.yml"):
            (rules / path.name).write_text(sped_up(path.read_text(), speed))
        (folder / "admin_key").write_text(admin_key)
        config = folder / "prometheus.yml"
        config.write_text(yaml.safe_dump(self._config(gateway)))
        self._command = [
            found,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
        self.url = f"http://127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._client = httpx.Client(base_url=self.url, timeout=10)

    def _config(self, gateway: str) -> dict[str, Any]:
        """The shipped one with our addresses, and often enough for a test."""
        config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        config["global"] = {
            "scrape_interval": f"{int(_SAMPLE_S * 1000)}ms",
            "scrape_timeout": f"{int(_SAMPLE_S * 1000)}ms",
            "evaluation_interval": f"{int(_SAMPLE_S * 1000)}ms",
        }
        gateways, nodes = config["scrape_configs"]
        gateways["static_configs"][0]["targets"] = [gateway]
        (discovery,) = nodes["http_sd_configs"]
        discovery["url"] = discovery["url"].replace("127.0.0.1:8080", gateway)
        discovery["refresh_interval"] = "1s"
        discovery["authorization"]["credentials_file"] = str(self._folder / "admin_key")
        return config

    def __enter__(self) -> PrometheusProcess:
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while True:
            try:
                if self._client.get("/-/ready").status_code == 200:
                    return self
            except httpx.TransportError:
                pass
            log_text = (self._folder / "log").read_text()
            assert self._process.poll() is None, log_text
            assert time.monotonic() < deadline, log_text
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self._client.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series that an instant query finds; an error of Prometheus's is raised."""
        answer = self._client.post("/api/v1/query", data={"query": expr}).json()
        assert answer["status"] == "success", f"{expr}: {answer.get('error')}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def rules(self) -> list[dict[str, Any]]:
        groups = self._client.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def firing(self) -> set[str]:
        alerts = self._client.get("/api/v1/alerts").json()["data"]["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}


def sped_up(rules: str, speed: float) -> str:
    """The text of a rule file with windows, offsets and waits divided, none below 2 s."""

    def shorter(match: re.Match[str]) -> str:
        number, unit = (match[1], match[2]) if match[1] else (match[3], match[4])
        seconds = int(number) * _SECONDS[unit]
        return "0s" if seconds == 0 else f"{max(2, round(seconds / speed))}s"

    lines = []
    for line in rules.splitlines():
        told = re.match(r"\s+(summary|description|runbook_url|record|- record|#)", line)
        lines.append(line if told else _DURATION.sub(shorter, line))
    return "\n".join(lines) + "\n"
