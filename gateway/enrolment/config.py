"""The `[enrolment]` section: with it, suppliers' nodes may enrol themselves."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class EnrolmentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    authority: Annotated[str, Meta(pattern=r"^[a-z0-9.:\[\]-]{1,255}\Z")]
    """This gateway's name in the messages that nodes sign: `host` or `host:port`, as they reach it.
    A message to another gateway is refused. All gateways on one ledger have the same.
    """
    lease_s: Annotated[int, Meta(ge=3, le=600)] = 15
    """A node that says nothing for so long gets no more requests."""
    allow_http: bool = False
    """Nodes may be reached by http, unencrypted, with nothing that shows who answers: only on one
    machine or in a network of one's own.
    """
