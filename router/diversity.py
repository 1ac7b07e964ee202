"""How much of a model's traffic each supplier got lately, so that none gets too much. Pure.

Tokens count half as much for each minute that passes, which needs no window to slide: what is sent
now is counted as more than what was, by as much, and shares are what they would be.
"""

HALF_NS = 60_000_000_000
_DOUBLINGS_MAX = 64.0
_NOBODY: frozenset[str] = frozenset()


class Traffic:
    """Of one model. `share_max`: of 1."""

    __slots__ = ("_by_supplier", "_share_max", "_since_ns", "_total", "crowded")

    def __init__(self, share_max: float) -> None:
        self._share_max = share_max
        self._by_supplier: dict[str, float] = {}
        self._total = 0.0
        self._since_ns = 0
        self.crowded = _NOBODY
        """Suppliers that have more than they may."""

    def sent(self, supplier_id: str, tokens: int, now_ns: int) -> None:
        doublings = (now_ns - self._since_ns) / HALF_NS
        if doublings > _DOUBLINGS_MAX:
            self._begin_anew(now_ns)
            doublings = 0.0
        weight = tokens * 2.0**doublings
        by_supplier = self._by_supplier
        own = by_supplier[supplier_id] = by_supplier.get(supplier_id, 0.0) + weight
        self._total += weight
        most = self._total * self._share_max
        if own > most or self.crowded:
            crowded = {each for each in self.crowded if by_supplier[each] > most}
            if own > most:
                crowded.add(supplier_id)
            if crowded != self.crowded:
                self.crowded = frozenset(crowded)

    def _begin_anew(self, now_ns: int) -> None:
        shrunk = 2.0 ** -min((now_ns - self._since_ns) / HALF_NS, 1000.0)
        self._by_supplier = {each: known * shrunk for each, known in self._by_supplier.items()}
        self._total = sum(self._by_supplier.values())
        self._since_ns = now_ns
