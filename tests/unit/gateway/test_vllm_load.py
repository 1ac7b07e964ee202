"""What of a vLLM's `/metrics` the router hears."""

import pytest

from gateway.nodes.vllm_load import load_in
from router.types import Load

HISTOGRAMS = "\n".join(f'vllm:ttft_bucket{{model_name="m",le="{n}"}} {n}' for n in range(2_000))
TOLD = f"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",model_name="m"}} 5.0
vllm:num_requests_running{{engine="1",model_name="m"}} 2.0
vllm:num_requests_running{{engine="0",model_name="other"}} 90.0
vllm:num_requests_waiting{{engine="0",model_name="m"}} 3.0
vllm:num_requests_waiting_by_reason{{engine="0",model_name="m",reason="capacity"}} 3.0
vllm:kv_cache_usage_perc{{engine="0",model_name="m"}} 0.25
vllm:kv_cache_usage_perc{{engine="1",model_name="m"}} 0.5
{HISTOGRAMS}
vllm:cache_config_info{{block_size="16",cpu_kvcache_bytes="None",num_gpu_blocks="1000"}} 1.0
"""


def told(*lines: str) -> Load | None:
    return load_in("\n".join(lines).encode(), "m", 7)


def test_all_engines_of_the_model_count_and_no_other_model() -> None:
    assert load_in(TOLD.encode(), "m", 7) == Load(
        waiting=3, running=7, kv_use=0.5, kv_tokens=16_000, cache_tokens=16_000, rtt_ns=7
    )
    other = load_in(TOLD.encode(), "other", 0)
    assert other is not None
    assert (other.running, other.waiting) == (90, 0)
    assert load_in(TOLD.encode(), "none", 0) is None


@pytest.mark.parametrize("value", ["NaN", "-1", "1e12", "+Inf", "many", ""])
def test_what_no_node_can_have_is_nothing_told(value: str) -> None:
    assert told(f'vllm:num_requests_running{{model_name="m"}} {value}') is None
    assert told('vllm:num_requests_running{model_name="m"} 1',
        f'vllm:num_requests_waiting{{model_name="m"}} {value}') is None  # fmt: skip


@pytest.mark.parametrize("exposition", [b"", b"\xff\xfe", b"vllm:num_requests_running{", b"{}\n"])
def test_what_is_no_exposition_tells_nothing(exposition: bytes) -> None:
    assert load_in(exposition, "m", 0) is None


def test_a_gauge_without_labels_blocks_or_a_known_cache_is_enough() -> None:
    line = 'vllm:num_requests_running{model_name="m"} 4 1700000000'
    assert told(line, 'vllm:cache_config_info{block_size="None",num_gpu_blocks="None"} 1.0') == (
        Load(waiting=0, running=4, kv_use=0.0, rtt_ns=7)
    )
    assert told("x" + line) is None, "another metric's line"
