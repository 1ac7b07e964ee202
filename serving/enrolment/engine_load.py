"""What an engine has under way, by its own metrics."""

from __future__ import annotations

import http.client
import urllib.request

_NAMES = ("vllm:num_requests_running", "vllm:num_requests_waiting")
TIMEOUT_S = 2.0


def engine_load(url: str) -> int:
    """Requests that it runs or has waiting; 0 if it does not say. Blocks."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/metrics", timeout=TIMEOUT_S) as answer:
            text = answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return 0
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in text.splitlines()
        if line.startswith(tuple(f"{name}{{" for name in _NAMES))
    )
