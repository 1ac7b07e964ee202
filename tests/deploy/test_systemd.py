"""deploy/systemd: what `systemd-analyze` says of the units, and what the gateway needs of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNITS = sorted(FOLDER.glob("*.*"))
EXPOSURE_MAX = {
    "tollgate-gateway.service": 2.0,
    "tollgate-node.service": 4.0,
    "tollgate-backup.service": 5.0,
}
"""Of 10, as systemd counts what a service may do; a GPU's driver and compiler need more."""


def analyze(*words: str | Path) -> str:
    program = shutil.which("systemd-analyze")
    assert program, "there is no systemd-analyze: `apt-get install systemd`"
    done = subprocess.run([program, *words], capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_valid(unit, tmp_path):
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/tollgate/bin/tollgate", "/bin/true"))
    assert analyze("verify", "--man=no", copy) == ""


@pytest.mark.parametrize("name", EXPOSURE_MAX)
def test_a_service_may_do_little(name):
    told = analyze("security", "--offline=yes", "--no-pager", FOLDER / name)
    found = re.search(r"exposure level for \S+: ([\d.]+)", told)
    assert found, told
    assert float(found[1]) <= EXPOSURE_MAX[name]


def test_secrets_are_credentials_and_a_stop_may_take_its_time():
    text = (FOLDER / "tollgate-gateway.service").read_text()
    assert set(re.findall(r"LoadCredential=(\w+)", text)) == {
        "admin_key",
        "ledger_url",
        "redis_url",
    }
    assert "TimeoutStopSec=340" in text
    assert re.search(r"LimitNOFILE=(\d+)", text)[1] == "16384"
    backup = (FOLDER / "tollgate-backup.service").read_text()
    assert all("User=tollgate\nDynamicUser=yes" in each for each in (text, backup))
