"""What a client connection tells of the request that it reads or has answered."""

from __future__ import annotations


class Request:
    """All of it may be ignored."""

    __slots__ = ()

    @property
    def answering(self) -> bool:
        """Something of the answer is written, so there is no refusing it any more."""
        return False

    def body(self, data: bytes, complete: bool) -> None:
        """A part of the body; never called if it was whole when the request began."""

    def pause(self) -> None:
        """The client does not read as fast as it is written to."""

    def resume(self) -> None:
        """It caught up."""

    def is_last(self) -> None:
        """The connection ends with this answer."""

    def lost(self) -> None:
        """The client is gone, or no longer heard."""
