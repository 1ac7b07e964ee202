"""What vLLM is told, for each kind of machine and model."""

import pytest

from serving.engine_spec import (
    GIB,
    MIB,
    Device,
    EngineSpec,
    ModelFacts,
    ModelKind,
    describe_model,
    engine_argv,
    engine_env,
    kv_cache_bytes,
    memory_bytes,
)

TINY = {
    "architectures": ["Qwen3ForCausalLM"],
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "max_position_embeddings": 4096,
}


def spec(device: Device = Device.CPU, **changes: object) -> EngineSpec:
    fields: dict[str, object] = {
        "model_path": "/models/tiny",
        "served_name": "tiny",
        "facts": describe_model(TINY),
        "device": device,
        "cache_dir": "/home/tollgate/cache",
    }
    return EngineSpec(**{**fields, **changes})  # type: ignore[arg-type]


def value(argv: list[str], flag: str) -> str:
    return argv[argv.index(flag) + 1]


def test_a_decoder_serves_chat_and_completions() -> None:
    assert describe_model(TINY) == ModelFacts(
        kinds=(ModelKind.CHAT, ModelKind.COMPLETIONS),
        context_tokens_max=4096,
        kv_bytes_per_token=2 * 2 * 4 * 2 * 32,  # keys and values, two bytes, layers, heads, width
    )


def test_a_headless_model_serves_embeddings() -> None:
    facts = describe_model({**TINY, "architectures": ["Qwen3Model"]})
    assert facts.kinds == (ModelKind.EMBEDDINGS,)
    argv = engine_argv(spec(facts=facts))
    assert value(argv, "--runner") == "pooling"
    assert "--tool-call-parser" not in argv


def test_figures_of_a_multimodal_model_are_those_of_its_text_part() -> None:
    text = {key: figure for key, figure in TINY.items() if key != "architectures"}
    config = {"architectures": ["Qwen3VLForConditionalGeneration"], "text_config": text}
    assert describe_model(config) == describe_model(TINY)


def test_head_width_and_kv_heads_have_the_usual_defaults() -> None:
    config = {key: v for key, v in TINY.items() if key not in ("head_dim", "num_key_value_heads")}
    assert describe_model(config).kv_bytes_per_token == 2 * 2 * 4 * 4 * (128 // 4)


@pytest.mark.parametrize("missing", ["architectures", "num_hidden_layers", "num_attention_heads"])
def test_a_config_that_lacks_a_figure_is_refused_by_name(missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        describe_model({key: figure for key, figure in TINY.items() if key != missing})


def test_a_cpu_engine_is_eager_bounded_and_unpinned() -> None:
    argv = engine_argv(spec())
    assert "--enforce-eager" in argv
    assert value(argv, "--block-size") == "32"
    assert value(argv, "--kv-cache-memory-bytes") == str(64 * 4096 * 1024)
    assert value(argv, "--max-model-len") == "4096"
    assert value(argv, "--served-model-name") == "tiny"
    assert "--enable-prompt-tokens-details" in argv
    env = engine_env(spec(threads=3))
    assert env["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert env["OMP_NUM_THREADS"] == "3"


def test_a_gpu_engine_gets_none_of_the_cpu_flags() -> None:
    argv = engine_argv(spec(Device.GPU))
    for flag in ("--enforce-eager", "--block-size", "--kv-cache-memory-bytes", "--dtype"):
        assert flag not in argv
    env = engine_env(spec(Device.GPU))
    assert not any("CPU" in name or name == "OMP_NUM_THREADS" for name in env)
    assert value(argv, "--tool-call-parser") == "hermes"


def test_a_gpu_engines_workers_start_in_a_way_that_vllm_takes() -> None:
    """Of vllm.envs, which a CPU's platform overrides before it looks and CUDA's does not."""
    taken = ("spawn", "fork")
    assert engine_env(spec(Device.GPU))["VLLM_WORKER_MULTIPROC_METHOD"] in taken


def test_an_engine_asks_no_hub_and_reports_to_nobody() -> None:
    for device in Device:
        env = engine_env(spec(device))
        assert env["HF_HUB_OFFLINE"] == "1"
        assert env["VLLM_NO_USAGE_STATS"] == "1"


def test_all_that_an_engine_writes_lies_in_its_cache_directory() -> None:
    for device in Device:
        directories = [v for v in engine_env(spec(device)).values() if v.startswith("/")]
        assert len(directories) == (6 if device is Device.CPU else 8)
        assert all(directory.startswith("/home/tollgate/cache/") for directory in directories)


@pytest.mark.parametrize(
    ("context", "bytes_per_token", "expected"),
    [
        (128, 1024, 64 * MIB),  # never less than this
        (4096, 1024, 64 * 4096 * 1024),  # every request at full context
        (32_768, 131_072, 4 * GIB + GIB // 2),  # one full context must fit, and an eighth
        (32_768, 57_344, 4 * GIB),  # never more, else
    ],
)
def test_the_kv_cache_is_bounded(context: int, bytes_per_token: int, expected: int) -> None:
    facts = ModelFacts(
        kinds=(ModelKind.CHAT,), context_tokens_max=context, kv_bytes_per_token=bytes_per_token
    )
    assert kv_cache_bytes(spec(facts=facts)) == expected


def test_only_a_cpu_engine_takes_the_machines_memory_for_its_cache() -> None:
    assert memory_bytes(spec()) == kv_cache_bytes(spec())
    assert memory_bytes(spec(Device.GPU)) == 0


def test_extra_arguments_come_last_so_that_they_win() -> None:
    assert engine_argv(spec(extra_args=("--max-num-seqs", "7")))[-2:] == ["--max-num-seqs", "7"]
