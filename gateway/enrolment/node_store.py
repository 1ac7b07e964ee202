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
_TERMS = Terms.__struct_fields__
_NODES = (
    "SELECT n.node_id, n.hardware, n.enrolled_ns, "
    f"n.revoked_ns, l.said, l.until_ns, l.told_ns, {', '.join(f'n.{name}' for name in _TERMS)}"
    " FROM node n "
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
                f"SELECT {', '.join(_TERMS)}, expires_ns, node_id"
                " FROM node_invitation WHERE digest = ?",
                digest,
            )
            used = session.query("SELECT 1 FROM node_key WHERE public_key = ?", public_key)
            if used or not rows or rows[0][-2] <= now_ns or rows[0][-1] is not None:
                raise InvitationError
            terms = Terms(**dict(zip(_TERMS, rows[0][:-2], strict=True)))
            session.query(
                "UPDATE node_invitation SET node_id = ? WHERE digest = ?", node_id, digest
            )
            session.query(
                f"INSERT INTO node (node_id, {', '.join(_TERMS)}, hardware, enrolled_ns,"
                f" revoked_ns) VALUES (?{', ?' * len(_TERMS)}, ?, ?, NULL)",
                node_id,
                *msgspec.structs.astuple(terms),
                _encode(hardware).decode(),
                now_ns,
            )
            _add_key(session, public_key, node_id, counter, now_ns)
            _audit(
                session, now_ns, node_id, "enrolled", node_id, {"key": public_key, "terms": terms}
            )
        return Node(
            node_id=node_id, terms=terms, hardware=hardware, enrolled_ns=now_ns, revoked_ns=None
        )

    def lease(self, node_id: str, counter: int, said: Lease, *, now_ns: int, until_ns: int) -> bool:
        """Take what a node says for true until then; False while nodes' writes are frozen, or if
        meanwhile it was revoked or said something newer.
        """
        before = self._database.query("SELECT said FROM node_lease WHERE node_id = ?", node_id)
        rows = self._database.note(
            "INSERT INTO node_lease (node_id, until_ns, told_ns, said, counter)"
            " SELECT node_id, CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS TEXT),"
            " CAST(? AS BIGINT) FROM node"
            f" WHERE node_id = ? AND revoked_ns IS NULL AND {_NOT_FROZEN}"
            " ON CONFLICT (node_id) DO UPDATE SET until_ns = excluded.until_ns,"
            " told_ns = excluded.told_ns, said = excluded.said, counter = excluded.counter"
            " WHERE node_lease.counter < excluded.counter RETURNING node_id",
            until_ns,
            now_ns,
            _encode(said).decode(),
            counter,
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
                f"INSERT INTO node_invitation (digest, {', '.join(_TERMS)}, expires_ns, node_id)"
                f" VALUES (?{', ?' * len(_TERMS)}, ?, NULL)",
                invitation.digest,
                *msgspec.structs.astuple(terms),
                invitation.expires_ns,
            )
            _audit(session, now_ns, OPERATOR, "invited", "", {"terms": terms})

    def set_terms(self, node_id: str, now_ns: int, **terms: str | int) -> Node:
        """Change what is given of the terms but whose it is. Raises UnknownNodeError."""
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
        terms=Terms(**dict(zip(_TERMS, row[7:], strict=True))),
        hardware=_hardware.decode(row[1]),
        enrolled_ns=row[2],
        revoked_ns=row[3],
        lease=None if row[4] is None else _lease.decode(row[4]),
        leased_until_ns=row[5] or 0,
        told_ns=row[6] or 0,
    )
