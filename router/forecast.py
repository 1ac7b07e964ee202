"""When a node would have answered a request: what the choice is made by. Pure."""

from router.types import Ask, NodeView

DECODE_WEIGHT = 0.1
"""What a second of decoding counts beside one of waiting for the first token: the reader of a
stream is slower than the node anyway.
"""
WASTE_WEIGHT = 0.5
"""What it counts to compute once more what another node has cached: others wait for it."""


def wait_ns(view: NodeView, ask: Ask) -> float:
    """Until the node has computed the prompts that it has: by the forecast, or, where it is late
    against that, once more what it is late.
    """
    wait = view.clear_at_ns - ask.now_ns
    if wait < 0:
        wait = -wait if view.pending_tokens else 0
    load = view.load
    if load is not None and load.kv_tokens:
        features = ask.features
        tokens = view.tokens + features.prompt_tokens + ask.expected_tokens
        if tokens > load.kv_tokens:
            line = view.pace.decode
            step = line.base + line.slope * view.in_flight
            share = (tokens - load.kv_tokens) / tokens
            return wait + share * ask.expected_tokens * step
    return wait


def first_token_ns(view: NodeView, ask: Ask) -> float:
    """Until its first token would come."""
    pace = view.pace
    computed = ask.features.prompt_tokens
    if ask.matches:
        computed -= ask.cached_tokens(view.slot)
    own = computed * pace.prefill.slope
    if pace.slowdown > 1.01:
        own *= pace.slowdown_at(ask.now_ns)
    return pace.prefill.base + wait_ns(view, ask) + own


def cost_ns(view: NodeView, ask: Ask) -> float:
    """The forecast of the whole answer, as it counts; more for a node whose word is doubted."""
    line = view.pace.decode
    step = line.base + line.slope * view.in_flight
    cost = first_token_ns(view, ask) + DECODE_WEIGHT * ask.expected_tokens * step
    if ask.matches:
        best = min(ask.matches[0][0] * ask.features.block_tokens, ask.features.prompt_tokens)
        wasted = best - ask.cached_tokens(view.slot)
        cost += WASTE_WEIGHT * wasted * view.pace.prefill.slope
    return cost / view.standing


def nearness(view: NodeView, ask: Ask) -> float:
    """A scorer: the lower the cost, the higher."""
    return -cost_ns(view, ask)
