"""Which nodes have the beginning of a prompt in their cache, as far as we sent it there.

A prompt is a chain of block ids, each standing for everything before it too, so the longest match
is a walk from the front. Nodes are bits of a mask (`slot`), so a block that every node has costs no
more than one that none has.

About 155 bytes a block and node: 64 nodes of 2,048 blocks take 20 MB.
"""

from collections import OrderedDict
from collections.abc import Sequence

BLOCKS_MAX = 1_000_000
"""Over all nodes."""
BLOCKS_OF_NODE_MAX = 8_192
Match = tuple[int, int]
"""(blocks, mask of the nodes that have as many)"""


class PrefixIndex:
    """Bounded: of each node the blocks used last are kept."""

    __slots__ = ("_blocks_max", "_blocks_of", "_holders", "count")

    def __init__(self, blocks_max: int = BLOCKS_MAX) -> None:
        self._blocks_max = blocks_max
        self._holders: dict[int, int] = {}
        self._blocks_of: dict[int, OrderedDict[int, None]] = {}
        self.count = 0
        """Blocks kept, over all nodes."""

    def matches(self, blocks: Sequence[int]) -> tuple[Match, ...]:
        """Who has how much of the chain, the longest first; who has nothing is in none."""
        if not blocks:
            return ()
        most = self._holders.get(blocks[-1], 0)
        if most and most == self._holders.get(blocks[0]):  # nobody has only a part
            return ((len(blocks), most),)
        found: list[Match] = []
        have = -1
        for depth, block in enumerate(blocks):
            still = have & self._holders.get(block, 0)
            if still != have:
                if depth:
                    found.append((depth, have))
                have = still
                if not have:
                    break
        if have:
            found.append((len(blocks), have))
        found.reverse()
        return tuple(found)

    def add(self, slot: int, blocks: Sequence[int], blocks_max: int = BLOCKS_OF_NODE_MAX) -> None:
        """The node of `slot` has computed this chain; it can hold `blocks_max`."""
        own = self._blocks_of.get(slot)
        if own is None:
            own = self._blocks_of[slot] = OrderedDict()
        bit = 1 << slot
        holders = self._holders
        before = len(own)
        for block in reversed(blocks):  # the beginning is forgotten last
            if block in own:
                own.move_to_end(block)
            else:
                own[block] = None
                holders[block] = holders.get(block, 0) | bit
        room = max(min(blocks_max, self._blocks_max // len(self._blocks_of)), 1)
        while len(own) > room:
            self._drop(own.popitem(last=False)[0], bit)
        self.count += len(own) - before

    def forget(self, slot: int) -> None:
        """The node's cache is gone."""
        own = self._blocks_of.pop(slot, None)
        for block in own or ():
            self._drop(block, 1 << slot)
        self.count -= len(own or ())

    def _drop(self, block: int, bit: int) -> None:
        left = self._holders[block] & ~bit
        if left:
            self._holders[block] = left
        else:
            del self._holders[block]
