"""When the open epoch is to be closed, by a clock that may have been wrong. Pure."""

from __future__ import annotations

import msgspec

from ide.closing_time import NextEpoch


class Timetable:
    def __init__(self) -> None:
        self._not_before_ns = 0
        self._seen: NextEpoch | None = None
        """The open epoch, as of when it was first seen, if it began in the future."""

    def closes_ns(self, following: NextEpoch, epoch_s: int, now_ns: int) -> int:
        """A clock that was ahead when the last epoch was closed must not put off all that follow:
        the open one then begins when it is first seen.
        """
        if following.began_ns - now_ns <= epoch_s * 1_000_000_000:
            self._seen = None
        elif (
            self._seen is None
            or self._seen.epoch != following.epoch
            or self._seen.began_ns > now_ns
        ):
            self._seen = msgspec.structs.replace(following, began_ns=now_ns)
        self._not_before_ns = min(self._not_before_ns, boundary_after(now_ns, epoch_s))
        return max((self._seen or following).closes_ns(epoch_s), self._not_before_ns)

    def put_off(self, until_ns: int) -> None:
        """No longer than to the next multiple of an epoch's length."""
        self._not_before_ns = until_ns


def boundary_after(now_ns: int, epoch_s: int) -> int:
    return NextEpoch(epoch=0, began_ns=now_ns).closes_ns(epoch_s)
