import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

DEADLINE_S = 10


def test_as_a_process_with_a_control_port() -> None:
    command = [sys.executable, "-m", "serving.fake_node", "--control-port", "0", "--model", "m"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url, control = process.stdout.readline().split()
            fault = json.dumps({"status": 503, "requests": 1}).encode()
            with urllib.request.urlopen(f"{control}/fault", fault, DEADLINE_S) as answer:
                assert json.load(answer)["status"] == 503
            with urllib.request.urlopen(f"{url}/v1/models", timeout=DEADLINE_S) as answer:
                assert json.load(answer)["data"][0]["id"] == "m"
            with pytest.raises(urllib.error.HTTPError, match="400") as refused:
                urllib.request.urlopen(f"{control}/fault", b'{"explode": true}', DEADLINE_S)
            assert b"unknown field `explode`" in refused.value.read()
            refused.value.close()
        finally:
            os.kill(process.pid, signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
