"""What a person is told while an engine starts."""

from serving.local_engine import engine_step

START = """\
INFO api_utils.py: version 0.32.0
INFO model.py: Resolved architecture: Qwen3ForCausalLM
WARNING vllm.py: Enforce eager set, disabling torch.compile, CUDAGraphs, and JIT kernel warmup.
INFO core.py: Initializing a V1 LLM engine (v0.32.0) with config: model='/m'
INFO cpu_model_runner.py: Starting to load model /m...
INFO default_loader.py: Loading weights took 0.02 seconds
INFO kv_cache_utils.py: CPU KV cache size: 262,144 tokens
INFO core.py: init engine (profile, create kv cache, warmup model) took 1.23 s
"""


def test_each_line_of_a_start_moves_the_step_on_and_never_back() -> None:
    lines = START.splitlines()
    steps = [engine_step("\n".join(lines[:count])) for count in range(len(lines) + 1)]
    assert list(dict.fromkeys(steps)) == [
        "starting the engine: importing vLLM",
        "starting the engine: starting its processes",
        "starting the engine: importing vLLM in its worker",
        "starting the engine: loading the weights",
        "starting the engine: measuring memory",
        "starting the engine: warming up",
        "starting the engine: opening its port",
    ]
