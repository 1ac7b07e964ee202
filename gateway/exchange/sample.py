"""The bytes of an answer that will be looked at again. No node can tell which are counted again."""

from __future__ import annotations

SAMPLE_BYTES_MAX = 1024 * 1024
"""A longer answer, with its request, is not counted again."""


class SampleRoom:
    """The memory that all samples share."""

    __slots__ = ("left",)

    def __init__(self, size_bytes: int) -> None:
        self.left = size_bytes
        """Bytes."""


class Sample:
    """What a node sends as the answer of one exchange, kept as it comes."""

    __slots__ = ("_chunks", "_room", "lost", "recount", "size_bytes")

    def __init__(self, room: SampleRoom, *, recount: bool = True) -> None:
        """`recount`: its tokens will be counted; if not, only its tool calls are looked at."""
        self._room = room
        self._chunks: list[bytes] = []
        self.size_bytes = 0
        self.recount = recount
        self.lost = False
        """It grew too large, or all samples together did: there is nothing to count."""

    def add(self, data: bytes) -> None:
        if self.hold(len(data)):
            self._chunks.append(data)

    def hold(self, size_bytes: int) -> bool:
        """Take so much of the room. False if there is not: then the sample is lost."""
        if self.lost:
            return False
        if size_bytes > self._room.left or self.size_bytes + size_bytes > SAMPLE_BYTES_MAX:
            self.clear()
            self.lost = True
            return False
        self._room.left -= size_bytes
        self.size_bytes += size_bytes
        return True

    @property
    def answer(self) -> bytes:
        return b"".join(self._chunks)

    def clear(self) -> None:
        """Forget the bytes: they were another node's, or have been counted."""
        self._room.left += self.size_bytes
        self.size_bytes = 0
        self._chunks = []
