"""What to tell vLLM so that it serves one model on one machine: argv and environment.

Pure. The flags were chosen by measurement on a small CPU machine; each that is not obvious says
why. What depends on the Ray or process form of a node (host, port) is added by those files.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

MIB = 1 << 20
GIB = 1 << 30


class Device(StrEnum):
    CPU = "cpu"
    GPU = "gpu"


class ModelKind(StrEnum):
    """An interface that a model can serve, named as its OpenAI path."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's own config.json says that Tollgate needs to know."""

    kinds: tuple[ModelKind, ...]
    context_tokens_max: int
    kv_bytes_per_token: int


class EngineSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One engine: a model directory, the name it is served under, and what it may use."""

    model_path: str
    """A local directory; a hub id is downloaded before (`model_files.resolve_model`)."""
    served_name: str
    facts: ModelFacts
    device: Device
    cache_dir: str
    """Where vLLM and torch may keep what they compile; nothing is written to the user's home."""
    requests_max: int = 64
    """Sequences that run in one batch; more requests wait in the engine's queue."""
    threads: int = 1
    """OpenMP threads of a CPU engine."""
    tool_parser: str = "hermes"
    extra_args: tuple[str, ...] = ()


def describe_model(config: Mapping[str, object]) -> ModelFacts:
    """Reads a Hugging Face config.json.

    Raises `ValueError` when it lacks what every decoder's config has. Multimodal models keep the
    text model's figures under `text_config`. KV bytes are for a cache in 16 bits.
    """
    text = config.get("text_config")
    figures = {**config, **text} if isinstance(text, Mapping) else config
    heads = _positive(figures, "num_attention_heads")
    head_dim = figures.get("head_dim")
    if not isinstance(head_dim, int):
        head_dim = _positive(figures, "hidden_size") // heads
    kv_heads = figures.get("num_key_value_heads")
    if not isinstance(kv_heads, int):
        kv_heads = heads
    return ModelFacts(
        kinds=_kinds(config),
        context_tokens_max=_positive(figures, "max_position_embeddings"),
        kv_bytes_per_token=2 * 2 * _positive(figures, "num_hidden_layers") * kv_heads * head_dim,
    )


def _kinds(config: Mapping[str, object]) -> tuple[ModelKind, ...]:
    names = config.get("architectures")
    if not isinstance(names, list) or not names:
        raise ValueError("config.json has no 'architectures', so it is not known what it serves")
    if any(str(name).endswith(("ForCausalLM", "ForConditionalGeneration")) for name in names):
        return (ModelKind.CHAT, ModelKind.COMPLETIONS)
    return (ModelKind.EMBEDDINGS,)


def _positive(config: Mapping[str, object], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"config.json: {key!r} is {value!r}, must be a whole number above 0")
    return value


def kv_cache_bytes(spec: EngineSpec) -> int:
    """KV cache of a CPU engine: every request at full context, within 64 MiB and 4 GiB.

    Without a bound vLLM would take a share of the machine's whole memory. One full context must
    fit, whatever it costs, else vLLM refuses to start.
    """
    one = spec.facts.context_tokens_max * spec.facts.kv_bytes_per_token
    return max(one + one // 8, min(max(spec.requests_max * one, 64 * MIB), 4 * GIB))


def memory_bytes(spec: EngineSpec) -> int:
    """What a CPU engine's caches take besides its weights; 0 on a GPU, which has its own memory."""
    return kv_cache_bytes(spec) if spec.device is Device.CPU else 0


def engine_argv(spec: EngineSpec) -> list[str]:
    """Arguments of vLLM's OpenAI server, without host and port."""
    argv = ["--model", spec.model_path, "--served-model-name", spec.served_name]
    argv += ["--max-model-len", str(spec.facts.context_tokens_max)]
    argv += ["--max-num-seqs", str(spec.requests_max)]
    # Cached prompt tokens have their own price, so the node must report them.
    argv += ["--enable-prompt-tokens-details", "--disable-uvicorn-access-log"]
    if ModelKind.EMBEDDINGS in spec.facts.kinds:
        argv += ["--runner", "pooling"]
    else:
        argv += ["--enable-auto-tool-choice", "--tool-call-parser", spec.tool_parser]
    if spec.device is Device.CPU:
        # Compiling costs minutes and no tiny model earns them back. The CPU's default block of 128
        # tokens never lets a short prompt hit the prefix cache; 32 is the least it likes.
        argv += ["--enforce-eager", "--dtype", "bfloat16", "--block-size", str(block_size(spec))]
        argv += ["--kv-cache-memory-bytes", str(kv_cache_bytes(spec))]
    return [*argv, *spec.extra_args]


def block_size(spec: EngineSpec) -> int:
    """Tokens per block of the prefix cache (vLLM's default of 16 on a GPU)."""
    return 32 if spec.device is Device.CPU else 16


def engine_env(spec: EngineSpec) -> dict[str, str]:
    """Environment of every process of the engine."""
    env = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_CACHE_ROOT": f"{spec.cache_dir}/vllm",
        "VLLM_CONFIG_ROOT": f"{spec.cache_dir}/vllm-config",
        "TORCHINDUCTOR_CACHE_DIR": f"{spec.cache_dir}/inductor",
        "TRITON_CACHE_DIR": f"{spec.cache_dir}/triton",
        "XDG_CACHE_HOME": f"{spec.cache_dir}/xdg",
        "HF_HOME": f"{spec.cache_dir}/huggingface",
    }
    if spec.device is Device.CPU:
        # vLLM would pin every engine of a machine to the same core.
        env["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        env["OMP_NUM_THREADS"] = str(spec.threads)
        env["GLOO_SOCKET_IFNAME"] = "lo"
        # Workers are forked from a server that has imported vLLM already. (Under Ray vLLM spawns.)
        env["VLLM_WORKER_MULTIPROC_METHOD"] = "forkserver"
    else:
        # The one that vLLM takes there and that CUDA survives: it refuses to start by "forkserver".
        env["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
        env["FLASHINFER_WORKSPACE_BASE"] = f"{spec.cache_dir}/flashinfer"
        env["CUDA_CACHE_PATH"] = f"{spec.cache_dir}/cuda"
    return env
