"""The states of an exchange, and what leads from one to the next.

state      waits for                       event            next
NEW        -                               start            DIALLED | ENDED (no node) | WAKING
WAKING     a node that is being started    expired          WAKING | DIALLED | SETTLING
DIALLED    the node's status               head 200         ANSWERING
                                           head >= 400      REFUSED
                                           failed, expired  DIALLED (next node) | SETTLING
REFUSED    the node's error body           end              DIALLED (next node) | SETTLING
ANSWERING  the answer                      body             ANSWERING | SETTLING ([DONE] seen)
                                           end              SETTLING
                                           failed, expired  DIALLED if nothing was delivered,
                                                            else SETTLING
SETTLING   the charge to be durable        durable          ENDED
any        -                               client_gone      ENDED
"""

from __future__ import annotations

from enum import Enum, auto


class State(Enum):
    NEW = auto()
    WAKING = auto()
    DIALLED = auto()
    REFUSED = auto()
    ANSWERING = auto()
    SETTLING = auto()
    ENDED = auto()


WAITING_FOR_NODE = frozenset({State.WAKING, State.DIALLED, State.REFUSED, State.ANSWERING})
