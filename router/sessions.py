"""Which node served a session last: its prefix cache has the beginning of the next prompt."""

from collections import OrderedDict

SESSIONS_MAX = 65_536
"""The ones served last; about 12 MB. A session that is forgotten is routed like a new one."""


class Sessions:
    __slots__ = ("_max", "_node_of")

    def __init__(self, sessions_max: int = SESSIONS_MAX) -> None:
        self._max = sessions_max
        self._node_of: OrderedDict[int, str] = OrderedDict()

    def node_of(self, key: int) -> str | None:
        return self._node_of.get(key)

    def served(self, key: int, node_id: str) -> None:
        """This node has it from now on."""
        self._node_of[key] = node_id
        self._node_of.move_to_end(key)
        if len(self._node_of) > self._max:
            self._node_of.popitem(last=False)

    def __len__(self) -> int:
        return len(self._node_of)
