"""A vLLM's load, out of the text of its `/metrics`. Pure.

That text is some 100 KB of histograms: lines are found by their beginning, and no other is looked
at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from router.types import Load

_WAITING, _RUNNING = b"vllm:num_requests_waiting", b"vllm:num_requests_running"
_KV_USE, _CACHE = b"vllm:kv_cache_usage_perc", b"vllm:cache_config_info"
_MODEL = re.compile(rb'model_name="((?:[^"\\]|\\.)*)"')
_BLOCK_SIZE = re.compile(rb'[{,]block_size="(\d{1,9})"')
_BLOCKS = re.compile(rb'num_gpu_blocks="(\d{1,12})"')
_REQUESTS_MAX = 1_000_000


def load_in(exposition: bytes, model: str, rtt_ns: int) -> Load | None:
    """Over all engines of the model; None if it tells nothing of them. A node may say any number:
    what no node can have is nothing told.
    """
    try:
        waiting = [float(value) for _, value in _samples(exposition, _WAITING, model)]
        running = [float(value) for _, value in _samples(exposition, _RUNNING, model)]
        used = [float(value) for _, value in _samples(exposition, _KV_USE, model)]
    except ValueError:
        return None
    if not running or not all(0 <= each <= _REQUESTS_MAX for each in (*waiting, *running)):
        return None
    kv_tokens = sum(_kv_tokens(labels) for labels, _ in _samples(exposition, _CACHE, model))
    return Load(
        waiting=int(sum(waiting)),
        running=int(sum(running)),
        kv_use=max((min(each, 1.0) for each in used if each >= 0), default=0.0),
        kv_tokens=kv_tokens,
        cache_tokens=kv_tokens,
        rtt_ns=rtt_ns,
    )


def _samples(text: bytes, name: bytes, model: str) -> Iterator[tuple[bytes, bytes]]:
    """Labels and value of each line of this name, if it is of the model or of none."""
    wanted = model.encode()
    at = text.find(name + b"{")
    while at >= 0:
        end = text.find(b"\n", at)
        line = text[at : end if end >= 0 else len(text)]
        if at == 0 or text[at - 1] == 0x0A:
            labels, _, value = line.rpartition(b"} ")
            told = _MODEL.search(labels)
            if told is None or told[1] == wanted:
                yield labels, value.split(b" ")[0]
        at = text.find(name + b"{", at + 1)


def _kv_tokens(labels: bytes) -> int:
    size, blocks = _BLOCK_SIZE.search(labels), _BLOCKS.search(labels)
    return 0 if size is None or blocks is None else int(size[1]) * int(blocks[1])
