"""Enrolled nodes, their keys, leases and invitations in the ledger's database.

A node's message is one or two statements of their own, which wait for no booking; whatever changes
who may say something is one transaction with its entry in the audit log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.enrolment.node import AuditEntry, Invitation, Node, Terms
from metering.database import Database, Session
from serving.enrolment.messages import Hardware, Lease

OPERATOR = "operator"

_encode = msgspec.json.encode
_lease = msgspec.json.Decoder(Lease)
_hardware = msgspec.json.Decoder(Hardware)
_NODES = (
    "SELECT n.node_id, n.supplier_id, n.tier, n.region, n.gpu, n.hardware, n.enrolled_ns, "
    "n.revoked_ns, l.said, l.until_ns, l.told_ns, n.price_ppm FROM node n "
    "LEFT JOIN node_lease l ON l.node_id = n.node_id"
)
_NOT_FROZEN = "NOT EXISTS (SELECT 1 FROM node_freeze)"


class InvitationError(ValueError):
    """The invitation is unknown, over, or was used by another key."""


class UnknownNodeError(ValueError):
    """No such node ever enrolled."""


class NodeStore:
    """Thread-safe. Raises LedgerError when the database cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- nodes' messages --------------------------------------------------------------------------

    def take_counter(self, public_key: str, counter: int) -> str | None:
        """The id of the node whose key this is, and its counter raised: None if the key is none,
        not good any more, or has had this counter.
        """
        rows = self._database.note(
            "UPDATE node_key SET counter = ? WHERE public_key = ? AND counter < ?"
            " AND ended_ns IS NULL RETURNING node_id",
            counter,
            public_key,
            counter,
        )
        return rows[0][0] if rows else None

    def counter(self, public_key: str) -> int | None:
        """The last counter that a good key used; None: it is not one."""
        rows = self._database.query(
            "SELECT counter FROM node_key WHERE public_key = ? AND ended_ns IS NULL", public_key
        )
        return rows[0][0] if rows else None

    def enrol(
        self,
        public_key: str,
        counter: int,
        *,
        digest: bytes,
        node_id: str,
        hardware: Hardware,
        now_ns: int,
    ) -> Node:
        """Make a node of a key and an invitation. Raises InvitationError."""
        with self._database.transaction() as session:
            rows = session.query(
                "SELECT supplier_id, tier, region, gpu, expires_ns, node_id, price_ppm"
                " FROM node_invitation WHERE digest = ?",
                digest,
            )
            used = session.query("SELECT 1 FROM node_key WHERE public_key = ?", public_key)
            if used or not rows or rows[0][4] <= now_ns or rows[0][5] is not None:
                raise InvitationError
            supplier_id, tier, region, gpu, *_, price_ppm = rows[0]
            terms = Terms(
                supplier_id=supplier_id, tier=tier, region=region, gpu=gpu, price_ppm=price_ppm
            )
            session.query(
                "UPDATE node_invitation SET node_id = ? WHERE digest = ?", node_id, digest
            )
            session.query(
                "INSERT INTO node (node_id, supplier_id, tier, region, gpu, hardware, enrolled_ns,"
                " price_ppm, revoked_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                node_id,
                terms.supplier_id,
                terms.tier,
                terms.region,
                terms.gpu,
                _encode(hardware).decode(),
                now_ns,
                terms.price_ppm,
            )
            _add_key(session, public_key, node_id, counter, now_ns)
            _audit(
                session, now_ns, node_id, "enrolled", node_id, {"key": public_key, "terms": terms}
            )
        return Node(
            node_id=node_id, terms=terms, hardware=hardware, enrolled_ns=now_ns, revoked_ns=None
        )

    def lease(self, node_id: str, said: Lease, *, now_ns: int, until_ns: int) -> bool:
        """Take what a node says for true until then; False while nodes' writes are frozen, or if
        it was revoked meanwhile.
        """
        before = self._database.query("SELECT said FROM node_lease WHERE node_id = ?", node_id)
        rows = self._database.note(
            "INSERT INTO node_lease (node_id, until_ns, told_ns, said)"
            " SELECT node_id, CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS TEXT) FROM node"
            f" WHERE node_id = ? AND revoked_ns IS NULL AND {_NOT_FROZEN}"
            " ON CONFLICT (node_id) DO UPDATE SET until_ns = excluded.until_ns,"
            " told_ns = excluded.told_ns, said = excluded.said RETURNING node_id",
            until_ns,
            now_ns,
            _encode(said).decode(),
            node_id,
        )
        if rows and (not before or _lasting(_lease.decode(before[0][0])) != _lasting(said)):
            with self._database.transaction() as session:
                _audit(session, now_ns, node_id, "leased", node_id, _lasting(said))
        return bool(rows)

    def rotate(self, node_id: str, old: str, new: str, counter: int, now_ns: int) -> bool:
        """False if the new key was a node's before, or the old one is not any more."""
        with self._database.transaction() as session:
            if session.query("SELECT 1 FROM node_key WHERE public_key = ?", new):
                return False
            ended = session.query(
                "UPDATE node_key SET ended_ns = ? WHERE public_key = ? AND ended_ns IS NULL"
                f" AND {_NOT_FROZEN} RETURNING node_id",
                now_ns,
                old,
            )
            if not ended:
                return False
            _add_key(session, new, node_id, counter, now_ns)
            _audit(session, now_ns, node_id, "rotated", node_id, {"old": old, "new": new})
        return True

    # -- the operator's ---------------------------------------------------------------------------

    def invite(self, invitation: Invitation, now_ns: int) -> None:
        terms = invitation.terms
        with self._database.transaction() as session:
            session.query(
                "INSERT INTO node_invitation (digest, supplier_id, tier, region, gpu, expires_ns,"
                " price_ppm, node_id) VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
                invitation.digest,
                terms.supplier_id,
                terms.tier,
                terms.region,
                terms.gpu,
                invitation.expires_ns,
                terms.price_ppm,
            )
            _audit(session, now_ns, OPERATOR, "invited", "", {"terms": terms})

    def set_terms(self, node_id: str, now_ns: int, **terms: str | int) -> Node:
        """Change what is given of tier, region, gpu and price_ppm. Raises UnknownNodeError."""
        sets = ", ".join(f"{name} = ?" for name in terms)
        with self._database.transaction() as session:
            session.query(f"UPDATE node SET {sets} WHERE node_id = ?", *terms.values(), node_id)
            node = _find(session, node_id)
            _audit(session, now_ns, OPERATOR, "set", node_id, terms)
        return node

    def revoke(self, node_id: str, reason: str, now_ns: int) -> Node:
        """None of its keys is good any more, and its lease is over. Raises UnknownNodeError."""
        with self._database.transaction() as session:
            node = _find(session, node_id)
            if node.revoked_ns is None:
                session.query("UPDATE node SET revoked_ns = ? WHERE node_id = ?", now_ns, node_id)
                session.query(
                    "UPDATE node_key SET ended_ns = ? WHERE node_id = ? AND ended_ns IS NULL",
                    now_ns,
                    node_id,
                )
                session.query("DELETE FROM node_lease WHERE node_id = ?", node_id)
                _audit(session, now_ns, OPERATOR, "revoked", node_id, {"reason": reason})
            return _find(session, node_id)

    def freeze(self, now_ns: int) -> None:
        """Until `thaw` nothing that nodes say changes anything, and no lease ends."""
        with self._database.transaction() as session:
            made = session.query(
                "INSERT INTO node_freeze (name, frozen_ns) VALUES ('nodes', ?)"
                " ON CONFLICT (name) DO NOTHING RETURNING name",
                now_ns,
            )
            if made:
                _audit(session, now_ns, OPERATOR, "frozen", "", {})

    def thaw(self, now_ns: int) -> None:
        """Leases that were good when it froze have as long to go as they had then."""
        with self._database.transaction() as session:
            rows = session.query("DELETE FROM node_freeze RETURNING frozen_ns")
            if rows:
                session.query(
                    "UPDATE node_lease SET until_ns = until_ns + ? WHERE until_ns > ?",
                    max(0, now_ns - rows[0][0]),
                    rows[0][0],
                )
                _audit(session, now_ns, OPERATOR, "thawed", "", {})

    def frozen_ns(self) -> int | None:
        """Since when nodes' writes are frozen; None: they are not."""
        rows = self._database.query("SELECT frozen_ns FROM node_freeze")
        return rows[0][0] if rows else None

    # -- who there is -----------------------------------------------------------------------------

    def find(self, node_id: str) -> Node:
        """Raises UnknownNodeError."""
        return _find(self._database, node_id)

    def page(self, *, after: str = "", limit: int) -> list[Node]:
        rows = self._database.query(
            f"{_NODES} WHERE n.node_id > ? ORDER BY n.node_id LIMIT ?", after, limit
        )
        return [_node(row) for row in rows]

    def live(self, now_ns: int) -> list[Node]:
        """Those whose lease is good now, or was when nodes' writes were frozen."""
        rows = self._database.query(
            f"{_NODES} WHERE n.revoked_ns IS NULL AND l.until_ns >"
            " coalesce((SELECT frozen_ns FROM node_freeze), CAST(? AS BIGINT))",
            now_ns,
        )
        return [_node(row) for row in rows]

    # -- the audit log ----------------------------------------------------------------------------

    def record(self, entries: Sequence[AuditEntry]) -> None:
        with self._database.transaction() as session:
            for entry in entries:
                _write(session, entry)

    def audit(
        self, *, node_id: str | None = None, before_seq: int | None = None, limit: int
    ) -> list[tuple[int, AuditEntry]]:
        """Entries with their place, the newest first; `before_seq` pages on."""
        wanted = {"node_id = ?": node_id, "seq < ?": before_seq}
        given = {condition: value for condition, value in wanted.items() if value is not None}
        where = f" WHERE {' AND '.join(given)}" if given else ""
        columns = AuditEntry.__struct_fields__
        rows = self._database.query(
            f"SELECT seq, {', '.join(columns)} FROM node_audit{where} ORDER BY seq DESC LIMIT ?",
            *given.values(),
            limit,
        )
        return [(row[0], AuditEntry(**dict(zip(columns, row[1:], strict=True)))) for row in rows]

    # -- gateways ---------------------------------------------------------------------------------

    def show_certificate(self, writer: str, certificate: str, now_ns: int) -> None:
        self._database.note(
            "INSERT INTO gateway_certificate (writer, certificate, seen_ns) VALUES (?, ?, ?)"
            " ON CONFLICT (writer) DO UPDATE SET certificate = excluded.certificate,"
            " seen_ns = excluded.seen_ns",
            writer,
            certificate,
            now_ns,
        )

    def certificates(self, since_ns: int) -> tuple[str, ...]:
        """Of the gateways that were seen since then."""
        rows = self._database.query(
            "SELECT DISTINCT certificate FROM gateway_certificate WHERE seen_ns >= ?"
            " ORDER BY certificate",
            since_ns,
        )
        return tuple(row[0] for row in rows)


def _lasting(said: Lease) -> Lease:
    """Without what changes from one heartbeat to the next."""
    return msgspec.structs.replace(said, in_flight=0)


def _add_key(session: Session, key: str, node_id: str, counter: int, now_ns: int) -> None:
    session.query(
        "INSERT INTO node_key (public_key, node_id, counter, added_ns, ended_ns)"
        " VALUES (?, ?, ?, ?, NULL)",
        key,
        node_id,
        counter,
        now_ns,
    )


def _find(session: Session, node_id: str) -> Node:
    rows = session.query(f"{_NODES} WHERE n.node_id = ?", node_id)
    if not rows:
        raise UnknownNodeError(f"there is no enrolled node '{node_id[:100]}'")
    return _node(rows[0])


def _audit(
    session: Session, now_ns: int, actor: str, action: str, node_id: str, detail: object
) -> None:
    text = _encode(detail).decode()
    _write(
        session,
        AuditEntry(at_ns=now_ns, actor=actor, action=action, node_id=node_id, detail=text),
    )


def _write(session: Session, entry: AuditEntry) -> None:
    session.query(
        f"INSERT INTO node_audit ({', '.join(AuditEntry.__struct_fields__)})"
        " VALUES (?, ?, ?, ?, ?, ?)",
        *msgspec.structs.astuple(entry),
    )


def _node(row: tuple[Any, ...]) -> Node:
    return Node(
        node_id=row[0],
        terms=Terms(supplier_id=row[1], tier=row[2], region=row[3], gpu=row[4], price_ppm=row[11]),
        hardware=_hardware.decode(row[5]),
        enrolled_ns=row[6],
        revoked_ns=row[7],
        lease=None if row[8] is None else _lease.decode(row[8]),
        leased_until_ns=row[9] or 0,
        told_ns=row[10] or 0,
    )
