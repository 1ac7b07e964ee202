"""What a client asks of the node that serves it. Pure."""

from enum import StrEnum

import msgspec

PPM = 1_000_000
_ANY: frozenset[str] = frozenset()


class Sort(StrEnum):
    """What counts first among the nodes that will do."""

    LATENCY = "latency"
    """When the first token comes."""
    THROUGHPUT = "throughput"
    """How fast the others follow."""
    PRICE = "price"


class Wants(msgspec.Struct, frozen=True, kw_only=True):
    """Of one request. One that wants nothing has none of these."""

    regions: frozenset[str] = _ANY
    """Empty: any."""
    tier_min: int = 0
    price_ppm_max: int = PPM
    """In millionths of the model's price."""
    only: frozenset[str] = _ANY
    """Suppliers; empty: all."""
    ignored: frozenset[str] = _ANY
    """Suppliers that it is not sent to."""
    sort: Sort | None = None
    fallbacks: bool = True
    """False: where the first node fails, nobody else is asked."""
