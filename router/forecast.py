"""When a node would have answered a request: what the choice is made by. Pure."""

from router.types import Ask, NodeView

DECODE_WEIGHT = 0.1
"""What a second of decoding counts beside one of waiting for the first token: the reader of a
stream is slower than the node anyway.
"""
WASTE_WEIGHT = 1.0
"""What it counts to compute once more what another node has cached: others wait for it."""
UNUSED_WEIGHT = 0.02
"""What a second counts for a node in which it was sent nothing: no node starves, and of each there
are samples to go by.
"""
UNUSED_NS_MAX = 400e6


def wait_ns(view: NodeView, ask: Ask) -> float:
    """Until the node has computed the prompts that it has: by the forecast, and at least as long as
    it is late already.
    """
    now_ns = ask.now_ns
    wait = view.clear_at_ns - now_ns
    if wait < now_ns - view.due_ns:
        wait = now_ns - view.due_ns
    if wait < 0:
        wait = 0
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


def own_ns(view: NodeView, ask: Ask) -> float:
    """To compute what the node has not in its cache of this prompt, way and all."""
    pace = view.pace
    computed = ask.features.prompt_tokens
    if ask.matches:
        computed -= ask.cached_tokens(view.slot)
    own = computed * pace.prefill.slope
    if pace.slowdown > 1.01:
        own *= pace.slowdown_at(ask.now_ns)
    return pace.prefill.base + own


def late_ns(view: NodeView, ask: Ask) -> float:
    """How much longer than its own prompt takes uncached it would wait for its turn. A long prompt
    may wait longer, and one that is cached as long as if it were not.
    """
    return wait_ns(view, ask) - ask.features.prompt_tokens * view.pace.prefill.slope


def cost_ns(view: NodeView, ask: Ask) -> float:
    """The forecast of the whole answer, as it counts; more for a node whose word is doubted."""
    line = view.pace.decode
    step = line.base + line.slope * view.in_flight
    cost = wait_ns(view, ask) + own_ns(view, ask) + DECODE_WEIGHT * ask.expected_tokens * step
    if ask.matches:
        best = min(ask.matches[0][0] * ask.features.block_tokens, ask.features.prompt_tokens)
        wasted = best - ask.cached_tokens(view.slot)
        cost += WASTE_WEIGHT * wasted * view.pace.prefill.slope
    cost = cost / view.standing
    unused = (ask.now_ns - view.sent_ns) * UNUSED_WEIGHT
    return cost - (unused if unused < UNUSED_NS_MAX else UNUSED_NS_MAX)


def nearness(view: NodeView, ask: Ask) -> float:
    """A scorer: the lower the cost, the higher."""
    return -cost_ns(view, ask)
