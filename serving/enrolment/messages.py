"""What nodes and gateways tell each other, as JSON. Pure.

A node may say what it measures and where it is reached. Whose it is, in which region and tier, of
which GPU class it counts, is not its to say: those fields are refused by name.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

PREFIX = "/nodes/v1"
ENROL, LEASE, ROTATE = f"{PREFIX}/enrol", f"{PREFIX}/lease", f"{PREFIX}/rotate"
BODY_BYTES_MAX = 64 * 1024

OPERATOR_FIELDS = frozenset(
    {
        "account",
        "gpu",
        "node_id",
        "owner",
        "price",
        "price_ppm",
        "region",
        "reputation",
        "status",
        "supplier",
        "supplier_id",
        "tier",
        "user_id",
        "verified",
    }
)
"""Set by the invitation, or by the operator later."""

_Count = Annotated[int, Meta(ge=0, le=2**31)]
_PRINTABLE = r"^[ -~]*\Z"
"""What nodes say is shown on operators' terminals and logged: no control characters."""
_Word = Annotated[str, Meta(max_length=200, pattern=_PRINTABLE)]


class _Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Hardware(_Message, frozen=True, kw_only=True):
    """What the node says it is made of. It is kept, and nobody is paid for it."""

    gpu: _Word = ""
    gpus: _Count = 0
    gpu_memory_mib: _Count = 0
    cpus: _Count = 0
    memory_mib: _Count = 0
    engine: _Word = ""
    """Its name and version."""


class Enrol(_Message, frozen=True, kw_only=True):
    """The first message of a key: an invitation, which no other key can use after it."""

    invitation: Annotated[str, Meta(min_length=20, max_length=200)]
    hardware: Hardware = Hardware()


class Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    node_id: str
    supplier_id: str


class Lease(_Message, frozen=True, kw_only=True):
    """A heartbeat: where the node is reached and what it serves, until the next one."""

    state: Literal["ready", "draining", "gone"]
    """Gone: it ends now; its lease ends with it."""
    url: Annotated[str, Meta(max_length=500, pattern=_PRINTABLE)]
    """`https://host:port`, served with `certificate`."""
    certificate: Annotated[str, Meta(max_length=8000, pattern=r"^[ -~\r\n]*\Z")] = ""
    """PEM; the gateway trusts this one and no other."""
    certificate_proof: _Word = ""
    """That it is the node's own: `possession.py`."""
    model: Annotated[str, Meta(min_length=1, max_length=200, pattern=_PRINTABLE)]
    served_model: _Word = ""
    capacity: Annotated[int, Meta(ge=1, le=100_000)]
    engine: Literal["vllm", "openai"] = "vllm"
    block_size: _Count = 0
    in_flight: _Count = 0
    hardware: Hardware = Hardware()


class Leased(msgspec.Struct, frozen=True, kw_only=True):
    node_id: str
    lease_s: int
    """Without another message the gateway forgets the node after so long."""
    certificates: tuple[str, ...]
    """PEM: who may call the node. Each gateway has one."""


class Rotate(_Message, frozen=True, kw_only=True):
    """Signed with the old key; `proof` is the new key's."""

    public_key: str
    proof: str


class MessageError(ValueError):
    """The body is no message, or says what is not the node's to say."""


Asked = Enrol | Lease | Rotate


def decode(kind: type[Enrol] | type[Lease] | type[Rotate], body: bytes) -> Asked:
    """Raises MessageError."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        field = str(error).partition("unknown field `")[2].partition("`")[0]
        if field in OPERATOR_FIELDS:
            problem = f"`{field}` is not the node's to write: the operator sets it"
            raise MessageError(problem) from None
        raise MessageError(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MessageError(f"the body is not JSON: {error}") from None
