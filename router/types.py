"""The router's words: what a node is, what a request asks for, what was decided, how it ended."""

import re
from enum import StrEnum
from typing import Literal, Protocol

import msgspec

from router.pace import UNKNOWN, Pace
from router.prefix_index import Match
from router.wants import PPM, Wants

NEVER_NS = 1 << 62

_NODE_ID = re.compile(r"[!-~]{1,200}")
_SUPPLIER_ID = re.compile(r"[a-z0-9._-]{1,64}")


class Rng(Protocol):
    """The one thing the router asks of a random source; `random.Random` has it."""

    def getrandbits(self, bits: int, /) -> int:
        """Return that many random bits."""
        ...


class NodeState(StrEnum):
    """What the source of a record says of the node; ejection is the router's own finding."""

    READY = "ready"
    DRAINING = "draining"


class NodeRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One model served at one address. Keyed by `node_id`, never by address: ports are reused.

    Raises `ValueError` (`msgspec.ValidationError` when decoded) for a field out of its bounds.
    """

    node_id: str
    supplier_id: str
    url: str
    model: str
    capacity: int
    """Requests it may run at one time."""
    engine: Literal["vllm", "openai"] = "vllm"
    pool: str = "default"
    gpu: str = ""
    region: str = ""
    tier: int = 0
    """What requests may ask for at least; the operator's word."""
    price_ppm: int = PPM
    """What is asked for its answers, in millionths of the model's price; at most all of it."""
    block_size: int = 0
    """Tokens per block of its prefix cache; 0 when not known."""
    state: NodeState = NodeState.READY
    served_model: str | None = None
    """The name to send upstream, where it differs from `model`."""
    trusted: bool = False
    """The operator vouches for it: it is never barred, and others are compared with it."""

    def __post_init__(self) -> None:
        if not _NODE_ID.fullmatch(self.node_id):
            raise ValueError(
                f"node_id {self.node_id!r} must be 1 to 200 printable ASCII characters, no spaces"
            )
        where = f"node {self.node_id!r}:"
        if not _SUPPLIER_ID.fullmatch(self.supplier_id):
            raise ValueError(
                f"{where} supplier_id {self.supplier_id!r} must be 1 to 64 of a-z 0-9 . _ - "
                "(it names a ledger account)"
            )
        if not self.url.startswith(("http://", "https://", "unix:/")):
            raise ValueError(
                f"{where} url {self.url!r} must start with http://, https:// or unix:/"
            )
        if not self.model:
            raise ValueError(f"{where} model is empty; name the model it serves")
        if self.capacity < 1:
            raise ValueError(
                f"{where} capacity {self.capacity} must be at least 1; "
                "to send it nothing, set its state to 'draining'"
            )
        if not 0 < self.price_ppm <= PPM:
            raise ValueError(
                f"{where} price_ppm {self.price_ppm} must be 1 to {PPM}: millionths of the price "
                "of its model, which is the most that anybody pays"
            )


class RequestFeatures(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the router may know of a request. It never sees HTTP."""

    model: str
    prompt_tokens: int
    completion_tokens_max: int
    """Over all choices."""
    stream: bool
    sticky_key: int | None = None
    """The same for requests of one session, which are better off on one node; None: no session."""
    blocks: tuple[int, ...] = ()
    """The prompt's blocks in order, each id standing for all before it too."""
    block_tokens: int = 0
    likely_prompt_tokens: int = 0
    """`prompt_tokens` is the most there can be; 0: likely as many."""
    request_id: str = ""
    """Whose decisions are kept; "": nobody asks for them."""
    wants: Wants | None = None
    """What the client asks of the node; None: nothing."""


class Termination(StrEnum):
    """How a request ended on a node."""

    COMPLETED = "completed"
    CLIENT_GONE = "client_gone"
    CONNECT_ERROR = "connect_error"
    TIMEOUT = "timeout"
    BROKEN = "broken"
    """The connection ended after it was made and before the answer was whole."""
    NODE_ERROR = "node_error"
    """The node answered with an error of its own."""
    OVERLOADED = "overloaded"
    """The node answered that it is too busy."""


class Condition(StrEnum):
    """A node's state as the router sees it at one instant."""

    READY = "ready"
    DRAINING = "draining"
    EJECTED = "ejected"
    HALF_OPEN = "half_open"
    """Its back-off has passed: it may take one trial request, or is running it."""


class Load(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a node's own counters said when they were read last."""

    waiting: int
    running: int
    kv_use: float
    """0 to 1."""
    kv_tokens: int = 0
    """Room of its KV cache; 0: it does not say."""
    cache_tokens: int = 0
    """Of prompts that it remembers; 0: it does not say."""
    rtt_ns: int = 0
    """What it took to connect: a round trip; 0: not measured."""


class Beside(msgspec.Struct, frozen=True, gc=False):
    """What runs on a node that this gateway has not sent there, as far as is known."""

    in_flight: int
    pending_tokens: int
    """Of prompts that are not computed yet."""


class NodeView(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One node at one instant: all that filters and scorers may look at.

    Never changed: a change makes a new view, so a `Decision` can keep the views it saw.
    """

    node: NodeRecord
    in_flight: int = 0
    """Requests that this gateway has on it."""
    ejections: int = 0
    """Ejections since it last answered; 0 when in good standing."""
    ejected_until_ns: int = 0
    on_trial: bool = False
    """Its one trial request is running."""
    standing: float = 1.0
    """What its reputation, and streams that are silent on it, make of its score: 1 changes nothing,
    0: it is barred.
    """
    pace: Pace = UNKNOWN
    pending_tokens: int = 0
    """Of prompts that it was sent and has not answered."""
    clear_at_ns: int = 0
    """When it should have computed them."""
    sent_ns: int = 0
    """When it was sent something last."""
    due_ns: int = NEVER_NS
    """When the first token should have come that it was asked for first, of those still to come."""
    tokens: int = 0
    """Of all that it runs for us: prompts and expected answers."""
    load: Load | None = None
    slot: int = 0
    """Its bit in `Ask.matches`."""
    beside: Beside | None = None
    """None: nothing is known to."""
    warming: bool = False
    """It is new, or was ejected, and has as much as it may until it has answered more."""

    def condition(self, now_ns: int) -> Condition:
        """Return its state at `now_ns`; draining outranks ejected."""
        if self.node.state is NodeState.DRAINING:
            return Condition.DRAINING
        if not self.ejections:
            return Condition.READY
        return Condition.EJECTED if now_ns < self.ejected_until_ns else Condition.HALF_OPEN


class Reason(StrEnum):
    """Why a decision came out as it did, and why one node was left out of it."""

    CHOSEN = "chosen"
    NO_NODE = "no_node"
    """No source lists a node for the model."""
    SUPPLIER = "supplier"
    """Not one of those that the request may be sent to."""
    REGION = "region"
    TIER = "tier"
    PRICE = "price"
    """It costs more than the request may."""
    NO_FALLBACK = "no_fallback"
    """Another was tried, and the request said that then nobody else is to be."""
    EXCLUDED = "excluded"
    """Already tried for this request."""
    DRAINING = "draining"
    BARRED = "barred"
    """Its reputation is below the bound."""
    EJECTED = "ejected"
    NO_CAPACITY = "no_capacity"
    SUPPLIER_SHARE = "supplier_share"
    """Its supplier has as much of the model's traffic as it may, and another has room."""
    WARMING_UP = "warming_up"
    """It is new, or was ejected, and another has room."""
    TOO_LATE = "too_late"
    """Where it would be served first, it would have to wait too long."""


class Ask(msgspec.Struct, frozen=True):
    """What a choice is asked for: all that filters and scorers may look at beside a node."""

    features: RequestFeatures
    now_ns: int
    excluded: frozenset[str] = frozenset()
    """Node ids that this request was already tried on."""
    preferred: int = -1
    """Where in `Decision.seen` the node is that served its session last; -1: none."""
    matches: tuple[Match, ...] = ()
    """Who has how many blocks of the prompt in cache, by `NodeView.slot`; the longest first."""
    champions: tuple[int, ...] = ()
    """Where in `Decision.seen` some of those are."""
    cached_most: int = 0
    """Of the prompt, what the one that has most of it has, in tokens."""
    expected_tokens: float = 0.0
    """How long the answer will be, as answers go."""
    prompt_tokens: int = 0
    """Likely; told to a policy that learns."""
    crowded: frozenset[str] | None = None
    """Suppliers to be spared while others have room, as nodes are that warm up; None: nobody is."""

    def cached_tokens(self, slot: int) -> int:
        """Of the prompt, what the node of this slot has in its cache."""
        for blocks, mask in self.matches:
            if mask >> slot & 1:
                return min(blocks * self.features.block_tokens, self.prompt_tokens)
        return 0


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A choice and everything it was made from, so that it can be replayed and explained later.

    `Policy.explain` and `Policy.replay` derive the rest: making a decision stays cheap.
    """

    node: NodeRecord | None
    """None when refused; `reason` says why."""
    reason: Reason
    ask: Ask
    seen: tuple[NodeView, ...]
    """Every node of the model, as it was."""
    draw: int
    """The random bits used."""
    refused: dict[Reason, int] = {}
    """When refused: how many nodes each reason left out."""
    retry_after_ns: int = 0
    """When refused: how long until another try makes sense."""

    @property
    def node_id(self) -> str | None:
        """The chosen node's id, None when refused."""
        return None if self.node is None else self.node.node_id
