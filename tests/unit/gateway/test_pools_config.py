"""Pools in the configuration: what is refused, and the applications that they come to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gateway.config import ConfigError, parse
from gateway.pools.applications import applications
from serving.model_files import DEMO_MODEL

PAGE = Path(__file__).parents[3] / "docs" / "pools.md"
RAY = '[ray]\ndashboard_url = "http://127.0.0.1:8265"\n'
CLASS = '[[gpu_class]]\nname = "h100"\nlabels = { gpu-type = "h100" }\n'
MODEL = """
[[model]]
id = "m"
path = "/models/m"
context_tokens_max = 4096
prompt_usd_per_million = "0.20"
completion_usd_per_million = "0.60"
"""
POOL = '[[model.pool]]\ngpu_class = "h100"\n'


def wanted(text: str) -> dict[str, dict[str, Any]]:
    return {app["name"]: app for app in applications(parse(text))}


def test_the_page_that_explains_it_can_be_applied():
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    apps = wanted(example)
    assert sorted(apps) == ["llama-3-3-70b-a100", "llama-3-3-70b-h100", "qwen3-8b-rtx4090"]
    (large,) = apps["llama-3-3-70b-h100"]["deployments"]
    assert large["ray_actor_options"] == {
        "num_cpus": 8.0,
        "num_gpus": 2.0,
        "label_selector": {"gpu-type": "h100"},
    }
    assert large["autoscaling_config"]["target_ongoing_requests"] == 48
    argv = apps["llama-3-3-70b-h100"]["args"]["argv"]
    assert argv[-6:-2] == ["--gpu-memory-utilization", "0.92", "--kv-cache-dtype", "fp8"]
    assert argv[-2:] == ["--tensor-parallel-size", "2"]
    (second,) = apps["llama-3-3-70b-a100"]["deployments"]
    assert second["user_config"]["wake_order"] == 1
    node = second["user_config"]["node"]
    assert (node["pool"], node["gpu"], node["supplier_id"]) == ("a100", "A100", "alice")


def test_a_class_without_gpus_runs_vllm_for_cpus_with_a_cache_that_fits_its_model():
    text = RAY + CLASS + "gpus_per_replica = 0\n" + MODEL + POOL
    app = wanted(text.replace("/models/m", str(DEMO_MODEL)))["m-h100"]
    assert "num_gpus" not in app["deployments"][0]["ray_actor_options"]
    assert "--kv-cache-memory-bytes" in app["args"]["argv"]
    with pytest.raises(ConfigError, match=r"/models/m/config\.json cannot be read"):
        wanted(text)


REFUSED = [
    (POOL, "there is no \\[\\[gpu_class\\]\\] of that name"),
    (POOL + POOL, "configured twice"),
    (POOL + "replicas_min = 3\nreplicas_max = 2\n", "replicas_min 3 is above replicas_max 2"),
    (POOL + "replicas_max = 0\n", "replicas_max"),
    (POOL + "autoscale = true\n", "autoscale"),
    (POOL + "surge_percent = 101\n", "surge_percent"),
]


@pytest.mark.parametrize(("pool", "message"), REFUSED)
def test_what_is_refused(pool, message):
    known = "" if "no " in message else CLASS
    with pytest.raises(ConfigError, match=message):
        parse(known + MODEL + pool)


def test_a_model_needs_a_path_but_for_a_simulated_engine():
    nowhere = MODEL.replace('path = "/models/m"\n', "")
    with pytest.raises(ConfigError, match="set the model's path"):
        parse(CLASS + nowhere + POOL)
    simulated = wanted(RAY + CLASS + nowhere + POOL + "simulated = { token_ms = 20 }\n")
    assert simulated["m-h100"]["import_path"] == "serving.simulated_replica:build"


def test_two_models_that_would_be_one_application_are_refused():
    other = MODEL.replace('id = "m"', 'id = "M"')
    with pytest.raises(ConfigError, match="give one another id"):
        wanted(RAY + CLASS + MODEL + POOL + other + POOL)
