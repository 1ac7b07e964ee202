"""The states of an exchange; `exchange.py` says what leads from one to the next."""

from __future__ import annotations

from enum import Enum, auto


class State(Enum):
    NEW = auto()
    DIALLED = auto()
    REFUSED = auto()
    ANSWERING = auto()
    SETTLING = auto()
    ENDED = auto()


WAITING_FOR_NODE = frozenset({State.DIALLED, State.REFUSED, State.ANSWERING})
