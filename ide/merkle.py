"""Merkle trees as RFC 6962 (Certificate Transparency) makes them, over SHA-256.

    leaf   SHA-256(0x00 || data)
    node   SHA-256(0x01 || left || right)
    empty  SHA-256("")

A tree of n leaves splits at the largest power of two below n, so leaves are never doubled, and the
two prefixes keep a node from passing for a leaf.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

EMPTY = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class MerkleTree:
    """All levels of a tree over the hashes of its leaves, for paths to any of them."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._levels: list[list[bytes]] = [list(leaves)]
        while len(self._levels[-1]) > 1:
            self._levels.append(_parents(self._levels[-1]))

    @property
    def root(self) -> bytes:
        top = self._levels[-1]
        return top[0] if top else EMPTY

    def path(self, index: int) -> list[bytes]:
        """The hashes beside the way from a leaf up to the root. Raises IndexError."""
        if not 0 <= index < len(self._levels[0]):
            raise IndexError(f"leaf {index} of {len(self._levels[0])}")
        found = []
        for level in self._levels[:-1]:
            beside = index ^ 1
            if beside < len(level):
                found.append(level[beside])
            index >>= 1
        return found


def root_of_path(leaf: bytes, index: int, leaves: int, path: Sequence[bytes]) -> bytes | None:
    """The root to which this path leads from that leaf; None if no tree has such a path."""
    if not 0 <= index < leaves:
        return None
    left = list(path)
    last = leaves - 1
    while last:
        if index & 1 or index < last:
            if not left:
                return None
            beside = left.pop(0)
            leaf = node_hash(beside, leaf) if index & 1 else node_hash(leaf, beside)
        index >>= 1
        last >>= 1
    return None if left else leaf


class GrowingRoot:
    """The root of leaves that come one at a time: it keeps one hash a level, not the leaves."""

    __slots__ = ("_full", "leaves")

    def __init__(self) -> None:
        self.leaves = 0
        self._full: list[bytes] = []
        """Roots of full subtrees, the largest first: one for each bit that `leaves` has set."""

    def add(self, leaf: bytes) -> None:
        size = self.leaves
        while size & 1:
            leaf = node_hash(self._full.pop(), leaf)
            size >>= 1
        self._full.append(leaf)
        self.leaves += 1

    @property
    def root(self) -> bytes:
        if not self._full:
            return EMPTY
        *larger, root = self._full
        for subtree in reversed(larger):
            root = node_hash(subtree, root)
        return root


def _parents(level: list[bytes]) -> list[bytes]:
    """A last node without a neighbour goes up as it is."""
    above = [node_hash(*pair) for pair in zip(level[::2], level[1::2], strict=False)]
    return above + level[-1:] if len(level) % 2 else above
