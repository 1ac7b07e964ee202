"""The known nodes, merged from several sources and keyed by id."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec

from router.types import NodeRecord


class RegistryChange(msgspec.Struct, frozen=True, kw_only=True):
    """What one update did, by node id."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    shadowed: tuple[str, ...] = ()
    """Listed by this source while another source holds the id: not used."""

    def __bool__(self) -> bool:
        """True when the set of usable nodes is no longer what it was."""
        return bool(self.added or self.changed or self.removed)


class Registry:
    """Each source replaces its own records and no one else's.

    The source that lists an id first holds it until it stops listing it, so that a newcomer
    cannot take over a node by claiming its id.
    """

    def __init__(self) -> None:
        self._by_source: dict[str, dict[str, NodeRecord]] = {}
        self._nodes: dict[str, NodeRecord] = {}
        self._holder: dict[str, str] = {}
        self.nodes: Mapping[str, NodeRecord] = MappingProxyType(self._nodes)
        """Usable records by node id, a live view."""
        self.version = 0
        """Grows whenever `nodes` changes."""

    def update(self, source: str, records: Iterable[NodeRecord]) -> RegistryChange:
        """Replace the records of `source`. Raises `ValueError` if it lists an id twice."""
        listed = _by_id(source, records)
        self._by_source[source] = listed
        added: list[str] = []
        changed: list[str] = []
        removed: list[str] = []
        shadowed: list[str] = []
        for node_id in [i for i, holder in self._holder.items() if holder == source]:
            if node_id not in listed:
                (changed if self._hand_over(node_id) else removed).append(node_id)
        for node_id, record in listed.items():
            holder = self._holder.setdefault(node_id, source)
            if holder != source:
                shadowed.append(node_id)
                continue
            known = self._nodes.get(node_id)
            if known != record:
                (added if known is None else changed).append(node_id)
                self._nodes[node_id] = record
        change = RegistryChange(
            added=tuple(added),
            changed=tuple(changed),
            removed=tuple(removed),
            shadowed=tuple(shadowed),
        )
        if change:
            self.version += 1
        return change

    def _hand_over(self, node_id: str) -> bool:
        """Give an id that its holder no longer lists to the next source that does, if any."""
        for source, listed in self._by_source.items():
            if node_id in listed:
                self._holder[node_id] = source
                self._nodes[node_id] = listed[node_id]
                return True
        del self._holder[node_id]
        del self._nodes[node_id]
        return False


def _by_id(source: str, records: Iterable[NodeRecord]) -> dict[str, NodeRecord]:
    listed: dict[str, NodeRecord] = {}
    for record in records:
        if record.node_id in listed:
            raise ValueError(
                f"source {source!r} lists node_id {record.node_id!r} twice "
                f"({listed[record.node_id].url} and {record.url}); give each node its own id"
            )
        listed[record.node_id] = record
    return listed
