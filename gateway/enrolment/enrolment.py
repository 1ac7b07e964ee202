"""The gateway's side of a node's messages: whose it is, whether it may, what comes of it."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

from gateway import errors
from gateway.enrolment.config import EnrolmentConfig
from gateway.enrolment.node import Invitation, Node, Terms
from gateway.enrolment.node_store import InvitationError, NodeStore
from gateway.enrolment.pace import Pace
from gateway.enrolment.refusals import Refusals
from gateway.errors import ApiError
from router.types import NodeRecord
from serving.enrolment import possession
from serving.enrolment.messages import (
    ENROL,
    LEASE,
    ROTATE,
    Asked,
    Enrol,
    Enrolled,
    Lease,
    Leased,
    MessageError,
    Rotate,
    decode,
)
from serving.enrolment.signature import SignatureRefusedError, Signed, check_new_key, verify

_KINDS: dict[str, type[Enrol] | type[Lease] | type[Rotate]] = {
    ENROL: Enrol,
    LEASE: Lease,
    ROTATE: Rotate,
}
_HOST = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*|[0-9a-f:]{2,39}", re.IGNORECASE
)
"""What a resolver takes: others raise ValueError wherever the node is called."""
GATEWAY_SEEN_NS = 60 * 10**9
"""A gateway that was not heard of for so long calls no nodes."""


def invitation(terms: Terms, expires_ns: int) -> tuple[str, Invitation]:
    """A new one, and its secret, which is nowhere else."""
    secret = f"invite-{secrets.token_urlsafe(32)}"
    return secret, Invitation(digest=_digest(secret), terms=terms, expires_ns=expires_ns)


class Enrolment:
    """Thread-safe; methods wait for the database and raise LedgerError when it cannot answer."""

    def __init__(self, settings: EnrolmentConfig, store: NodeStore) -> None:
        self.settings = settings
        self.store = store
        self.refusals = Refusals()
        self._pace = Pace()

    def hear(
        self, path: str, headers: Mapping[str, str], body: bytes, *, source: str, now_ns: int
    ) -> Enrolled | Leased:
        """A node's POST to one of the paths of `serving.enrolment.messages`; `headers` by
        lower-case name. Raises ApiError: what is refused is counted, and changed nothing.
        """
        node_id = ""
        try:
            signed = verify(
                headers,
                method="POST",
                authority=self.settings.authority,
                path=path,
                body=body,
                now_s=now_ns // 10**9,
            )
            if path == ENROL:
                return self._enrol(signed, body, now_ns)
            node_id = self._whose(signed, now_ns)
            said = decode(_KINDS[path], body)
            return self._take(node_id, signed, said, now_ns)
        except SignatureRefusedError as error:
            refusal = errors.node_refused(401, str(error), code=error.reason)
        except MessageError as error:
            refusal = errors.node_refused(400, str(error), code="message")
        except ApiError as error:
            refusal = error
        self.refusals.add(source, refusal.code or "", node_id)
        raise refusal

    def _whose(self, signed: Signed, now_ns: int) -> str:
        if not self._pace.allows(signed.public_key, now_ns):
            raise errors.node_refused(
                429, "the node speaks more than twice a second: say less", code="too_often"
            )
        node_id = self.store.take_counter(signed.public_key, signed.counter)
        if node_id is not None:
            self._pace.heard(signed.public_key, now_ns)
            return node_id
        counter = self.store.counter(signed.public_key)
        if counter is None:
            raise errors.node_refused(
                401,
                "this key is no node's: it never enrolled here, was replaced, or was revoked",
                code="unknown_key",
            )
        raise errors.node_refused(
            409,
            f"the counter {signed.counter} is not above {counter}, which this key has used: "
            "the message is a repetition, or late",
            code="replayed",
        )

    def _enrol(self, signed: Signed, body: bytes, now_ns: int) -> Enrolled:
        said = decode(Enrol, body)
        assert isinstance(said, Enrol)
        if self.store.counter(signed.public_key) is not None:  # the first answer was lost
            node = self.store.find(self._whose(signed, now_ns))
            return Enrolled(node_id=node.node_id, supplier_id=node.terms.supplier_id)
        if self.store.frozen_ns() is not None:
            raise _frozen()
        node = self._new_node(signed, said, now_ns)
        return Enrolled(node_id=node.node_id, supplier_id=node.terms.supplier_id)

    def _new_node(self, signed: Signed, said: Enrol, now_ns: int) -> Node:
        try:
            return self.store.enrol(
                signed.public_key,
                signed.counter,
                digest=_digest(said.invitation),
                node_id=_node_id(signed.public_key),
                hardware=said.hardware,
                now_ns=now_ns,
            )
        except InvitationError:
            raise errors.node_refused(
                403,
                "the invitation is unknown, expired, or was used by another node: ask the operator "
                "for one (`tollgate node invite`)",
                code="invitation",
            ) from None

    def _take(self, node_id: str, signed: Signed, said: Asked, now_ns: int) -> Enrolled | Leased:
        if isinstance(said, Lease):
            return self._lease(node_id, signed, said, now_ns)
        assert isinstance(said, Rotate)
        check_new_key(said.public_key, said.proof, signed.public_key)
        if not self.store.rotate(
            node_id, signed.public_key, said.public_key, signed.counter, now_ns
        ):
            if self.store.frozen_ns() is not None:
                raise _frozen()
            raise errors.node_refused(409, "the new key was a node's before", code="used_key")
        node = self.store.find(node_id)
        return Enrolled(node_id=node_id, supplier_id=node.terms.supplier_id)

    def _lease(self, node_id: str, signed: Signed, said: Lease, now_ns: int) -> Leased:
        check_address(said, signed.public_key, allow_http=self.settings.allow_http)
        _check_record(node_id, said)
        lease_s = 0 if said.state == "gone" else self.settings.lease_s
        until_ns = now_ns + lease_s * 10**9
        if not self.store.lease(node_id, signed.counter, said, now_ns=now_ns, until_ns=until_ns):
            if self.store.frozen_ns() is not None:
                raise _frozen()
            raise errors.node_refused(
                409, "a newer message of this node was heard meanwhile", code="replayed"
            )
        return Leased(
            node_id=node_id,
            lease_s=lease_s,
            certificates=self.store.certificates(now_ns - GATEWAY_SEEN_NS),
        )


def check_address(said: Lease, public_key: str, *, allow_http: bool) -> None:
    """A node's word must not send the gateway's requests to where the node is not: with https
    whoever answers has to have the key of the certificate that the node showed to be its own.

    Raises MessageError.
    """
    try:
        parts = urlsplit(said.url)
        port = parts.port
    except ValueError as error:
        raise MessageError(f"`url` is none: {error}") from None
    if parts.scheme == "http" and not allow_http:
        raise MessageError("`url` must be https: this gateway takes no unencrypted nodes")
    if parts.scheme not in ("http", "https"):
        raise MessageError("`url` must be https://host:port")
    if not parts.hostname or port is None or parts.username or parts.password is not None:
        raise MessageError("`url` must be https://host:port, with a port and no user")
    if not _HOST.fullmatch(parts.hostname) or port == 0:
        raise MessageError("`url` must be https://host:port, the host a name or an address")
    if parts.query or parts.fragment or parts.path not in ("", "/"):
        raise MessageError("`url` must end with the port")
    if parts.scheme == "https" and not said.certificate:
        raise MessageError("`certificate` is missing: with https the node names its own")
    if parts.scheme == "https":
        try:
            possession.check(said.certificate, said.certificate_proof, public_key)
        except possession.PossessionError as error:
            raise MessageError(str(error)) from None


def _check_record(node_id: str, said: Lease) -> None:
    try:
        NodeRecord(
            node_id=node_id,
            supplier_id="any",
            url=said.url,
            model=said.model,
            capacity=said.capacity,
        )
    except ValueError as error:
        raise MessageError(str(error)) from None


def _frozen() -> ApiError:
    return errors.node_refused(
        423,
        "what nodes say changes nothing at the moment: the operator froze it. Leases that are good "
        "stay good",
        code="frozen",
    )


def _node_id(public_key: str) -> str:
    """Follows from the first key; says nothing and proves nothing."""
    digest = hashlib.sha256(public_key.encode()).digest()[:15]
    return f"n-{base64.b32encode(digest).decode().lower()}"


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
