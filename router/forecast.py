"""When a node would have answered a request: what the choice is made by. Pure."""

from collections.abc import Sequence

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
HARDLY_KNOWN = 8
"""Samples. What fewer of them say of a node counts less, the longer it was sent nothing: what went
wrong at its start (a cold engine, a prompt that was not in its cache after all) is asked about once
more.
"""
FIRST_WEIGHT = 0.1
"""What a second of waiting for the first token counts for who wants the others fast."""


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
    beside = view.beside
    if beside is not None:
        wait += int(beside.pending_tokens * view.pace.prefill.slope)
    if view.load is not None and view.load.kv_tokens:
        return wait + _room_ns(view, ask, view.load.kv_tokens)
    return wait


def _room_ns(view: NodeView, ask: Ask, kv_tokens: int) -> float:
    """Until enough of what it runs has ended, if its cache has no room for one more."""
    tokens = view.tokens + ask.prompt_tokens + ask.expected_tokens
    if tokens <= kv_tokens:
        return 0.0
    line = view.pace.decode
    step = line.base + line.slope * in_flight(view)
    return (tokens - kv_tokens) / tokens * ask.expected_tokens * step


def in_flight(view: NodeView) -> int:
    """All that runs on it, as far as is known."""
    return view.in_flight if view.beside is None else view.in_flight + view.beside.in_flight


def late_ns(view: NodeView, ask: Ask) -> float:
    """How much longer than its own prompt takes uncached it would wait for its turn. A long prompt
    may wait longer, and one that is cached as long as if it were not.
    """
    return wait_ns(view, ask) - ask.prompt_tokens * view.pace.prefill.slope


def token_nearness(views: Sequence[NodeView], ask: Ask) -> list[float]:
    """A scorer of requests to which their first token is all."""
    scores: list[float] = []
    for view in views:
        first_ns, _, waste_ns = _parts_ns(view, ask)
        cost = (first_ns + WASTE_WEIGHT * waste_ns) / standing(view, ask)
        scores.append(_unused_ns(view, ask) - cost)
    return scores


def token_pace(views: Sequence[NodeView], ask: Ask) -> list[float]:
    """A scorer of requests to which counts how fast the tokens come after the first."""
    scores: list[float] = []
    for view in views:
        first_ns, rest_ns, waste_ns = _parts_ns(view, ask)
        cost = rest_ns + FIRST_WEIGHT * (first_ns + WASTE_WEIGHT * waste_ns)
        scores.append(_unused_ns(view, ask) * FIRST_WEIGHT - cost / standing(view, ask))
    return scores


def _parts_ns(view: NodeView, ask: Ask) -> tuple[float, float, float]:
    """Until its first token, from there to its last, and to compute what another has cached."""
    prefill, decode = view.pace.prefill, view.pace.decode
    cached = ask.cached_tokens(view.slot) if ask.matches else 0
    slowdown = view.pace.slowdown_at(ask.now_ns)
    own = prefill.base + (ask.prompt_tokens - cached) * prefill.slope * slowdown
    step = decode.base + decode.slope * in_flight(view)
    wasted = (ask.cached_most - cached) * prefill.slope
    return wait_ns(view, ask) + own, ask.expected_tokens * step, wasted


def _unused_ns(view: NodeView, ask: Ask) -> float:
    return min((ask.now_ns - view.sent_ns) * UNUSED_WEIGHT, UNUSED_NS_MAX)


def standing(view: NodeView, ask: Ask) -> float:
    """A doubt counts less, the longer the node was sent nothing: nothing else clears it, or proves
    it.
    """
    if view.standing == 1.0:
        return 1.0
    unused = (ask.now_ns - view.sent_ns) * UNUSED_WEIGHT / UNUSED_NS_MAX
    return min(view.standing * max(unused, 1.0), 1.0)


def nearness(views: Sequence[NodeView], ask: Ask) -> list[float]:
    """A scorer: the less the whole answer costs by the forecast, the better; less for a node whose
    word is doubted. In ns, below 0. Written out in one: it is most of what a choice takes.
    """
    now_ns, matches = ask.now_ns, ask.matches
    longest, some = (matches[0][1], matches[-1][1]) if matches else (0, 0)
    # Floats: Python multiplies them by each other faster than integers by floats.
    prompt, most = float(ask.prompt_tokens), float(ask.cached_most)
    decoding = DECODE_WEIGHT * ask.expected_tokens
    ample = ask.prompt_tokens + int(ask.expected_tokens) + 1
    """Of room in a cache; where there is less, `_room_ns` looks closer."""
    scores: list[float] = []
    for view in views:
        pace, load, beside = view.pace, view.load, view.beside
        prefill, decode = pace.prefill, pace.decode
        slope = prefill.slope
        computed, wasted = prompt, most
        if some and some >> view.slot & 1:
            cached = most if longest >> view.slot & 1 else ask.cached_tokens(view.slot)
            computed -= cached
            wasted -= cached
        own = computed * slope
        if pace.slowdown > 1.01:
            own *= pace.slowdown_at(now_ns)
        wait: float = view.clear_at_ns - now_ns
        if view.due_ns < now_ns and wait < now_ns - view.due_ns:
            wait = now_ns - view.due_ns
        if wait < 0:
            wait = 0
        running = view.in_flight
        if beside is not None:
            wait += int(beside.pending_tokens * slope)
            running += beside.in_flight
        if load is not None and 0 < load.kv_tokens < view.tokens + ample:
            wait += _room_ns(view, ask, load.kv_tokens)
        own += wait
        own += prefill.base + decoding * (decode.base + decode.slope * running)
        if wasted:
            own += WASTE_WEIGHT * wasted * slope
        unused = (now_ns - view.sent_ns) * UNUSED_WEIGHT
        if unused > UNUSED_NS_MAX:
            if pace.samples < HARDLY_KNOWN:
                own *= UNUSED_NS_MAX / unused
            unused = UNUSED_NS_MAX
        scores.append(unused - own / (1.0 if view.standing == 1.0 else standing(view, ask)))
    return scores
