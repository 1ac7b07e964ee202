"""Nodes enrol, each with its own key; whoever else says to be one changes nothing and is logged."""

from __future__ import annotations

import asyncio
import json
import random
import time

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from served import eventually

from gateway.enrolment.config import EnrolmentConfig
from gateway.enrolment.enrolment import Enrolment, invitation
from gateway.enrolment.node import Terms
from gateway.enrolment.node_store import NodeStore
from gateway.enrolment.pace import BURST
from gateway.enrolment.refusals import KINDS_MAX, Refusals
from gateway.enrolment.roll import Roll
from gateway.errors import ApiError
from gateway.routes.admin.nodes import NewInvitation
from metering.backend import open_database, open_ledger
from metering.ledger import LedgerError
from serving.enrolment.key_files import certificate
from serving.enrolment.messages import ENROL, LEASE, ROTATE, Enrolled, Leased
from serving.enrolment.possession import prove
from serving.enrolment.signature import new_key_proof, public_name, sign

GATEWAY = "gw.example"
SECOND_NS = 10**9
SAID = {"state": "ready", "url": "http://10.0.0.1:1", "model": "m", "capacity": 4}
FUZZED = 10_000


class Supplier:
    """A node's side, by hand: its key, its counter, and what it has sent."""

    def __init__(self, enrolment: Enrolment, gateway: str = GATEWAY) -> None:
        self.enrolment = enrolment
        self.key = Ed25519PrivateKey.generate()
        self.counter = 0
        self.gateway = gateway

    def message(self, path: str, said: object, *, age_s: int = 0) -> tuple[str, dict, bytes]:
        self.counter += 1
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        headers = sign(
            self.key,
            method="POST",
            authority=self.gateway,
            path=path,
            body=body,
            created_s=int(time.time()) - age_s,
            counter=self.counter,
        )
        return path, headers, body

    def send(self, message: tuple[str, dict, bytes]) -> Enrolled | Leased:
        path, headers, body = message
        return self.enrolment.hear(path, headers, body, source="192.0.2.1", now_ns=time.time_ns())

    def say(self, path: str, said: object, **changes) -> Enrolled | Leased:
        return self.send(self.message(path, said, **changes))

    def enrol(self, secret: str) -> str:
        answer = self.say(ENROL, {"invitation": secret})
        assert isinstance(answer, Enrolled)
        return answer.node_id

    def refused(self, message: tuple[str, dict, bytes]) -> tuple[int, str]:
        with pytest.raises(ApiError) as refused:
            self.send(message)
        return refused.value.status, refused.value.code or ""


@pytest.fixture
def enrolment(where):
    open_ledger(where).close()  # makes the tables
    database = open_database(where)
    yield Enrolment(EnrolmentConfig(authority=GATEWAY, allow_http=True), NodeStore(database))
    database.close()


def invited(enrolment: Enrolment, supplier: str = "alice", **terms) -> str:
    now_ns = time.time_ns()
    secret, made = invitation(Terms(supplier_id=supplier, **terms), now_ns + 60 * SECOND_NS)
    enrolment.store.invite(made, now_ns)
    return secret


def enrolled(enrolment: Enrolment, supplier: str = "alice", **terms) -> tuple[Supplier, str]:
    node = Supplier(enrolment)
    return node, node.enrol(invited(enrolment, supplier, **terms))


def live(enrolment: Enrolment) -> dict[str, str]:
    return {node.node_id: node.lease.url for node in enrolment.store.live(time.time_ns())}


def test_a_node_is_listed_as_long_as_it_says_so(enrolment):
    node, node_id = enrolled(enrolment, tier=2, region="eu", gpu="H100", price_ppm=800_000)
    assert live(enrolment) == {}
    leased = node.say(LEASE, {**SAID, "in_flight": 3})
    assert leased.lease_s == 15
    (listed,) = enrolment.store.live(time.time_ns())
    record = listed.record()
    assert (record.node_id, record.supplier_id, record.tier) == (node_id, "alice", 2)
    assert record.price_ppm == 800_000
    cheaper = enrolment.store.set_terms(node_id, time.time_ns(), price_ppm=700_000)
    assert cheaper.record().price_ppm == 700_000
    assert (record.region, record.gpu, record.url) == ("eu", "H100", SAID["url"])
    assert enrolment.store.live(time.time_ns() + 16 * SECOND_NS) == []
    node.say(LEASE, {**SAID, "state": "gone"})
    assert live(enrolment) == {}


def test_an_invitation_is_good_for_one_key_and_one_day(enrolment):
    secret = invited(enrolment)
    first = Supplier(enrolment)
    node_id = first.enrol(secret)
    assert first.enrol(secret) == node_id  # its first answer was lost
    late = invitation(Terms(supplier_id="bob"), time.time_ns())
    enrolment.store.invite(late[1], time.time_ns())
    for refused in (secret, late[0], "x" * 43):
        other = Supplier(enrolment)
        assert other.refused(other.message(ENROL, {"invitation": refused})) == (403, "invitation")
    assert [node.node_id for node in enrolment.store.page(limit=9)] == [node_id]


def test_replayed_reordered_expired_forged_and_crossed_messages_change_nothing(enrolment):
    node, node_id = enrolled(enrolment)
    other, other_id = enrolled(enrolment, "bob")
    early = node.message(LEASE, {**SAID, "url": "http://early:1"})
    taken = node.message(LEASE, SAID)
    node.send(taken)
    other.say(LEASE, {**SAID, "url": "http://bob:1"})
    before = live(enrolment)
    assert node.refused(taken) == (409, "replayed")
    assert node.refused(early) == (409, "replayed")
    old = node.message(LEASE, {**SAID, "url": "http://old:1"}, age_s=61)
    assert node.refused(old) == (401, "expired")
    path, headers, body = node.message(LEASE, SAID)
    assert node.refused((path, headers, body.replace(b"10.0.0.1", b"10.6.6.6"))) == (401, "digest")
    assert node.refused((ROTATE, headers, body)) == (401, "forged")
    mine = public_name(node.key.public_key())
    crossed = headers["signature-input"].replace(mine, public_name(other.key.public_key()))
    assert node.refused((path, {**headers, "signature-input": crossed}, body)) == (401, "forged")
    elsewhere = Supplier(enrolment, "gw2.example")
    elsewhere.key, elsewhere.counter = node.key, 100
    assert elsewhere.refused(elsewhere.message(LEASE, SAID)) == (401, "forged")
    stranger = Supplier(enrolment)
    assert stranger.refused(stranger.message(LEASE, SAID)) == (401, "unknown_key")
    assert live(enrolment) == before == {node_id: SAID["url"], other_id: "http://bob:1"}
    logged = {entry.detail: entry.times for entry in enrolment.refusals.take(1)}
    assert logged == {"replayed": 2, "expired": 1, "digest": 1, "forged": 3, "unknown_key": 1}


def test_a_heartbeat_that_was_held_up_undoes_no_newer_one(enrolment, monkeypatch):
    node, _ = enrolled(enrolment)
    held_up, last = node.message(LEASE, SAID), node.message(LEASE, {**SAID, "state": "gone"})
    lease = enrolment.store.lease

    def late(*said, **times) -> bool:
        monkeypatch.undo()
        node.send(last)
        return lease(*said, **times)

    monkeypatch.setattr(enrolment.store, "lease", late)
    assert node.refused(held_up) == (409, "replayed")
    assert live(enrolment) == {}


def test_the_attack_of_april_2024(enrolment):
    """Metadata of any device could be written with its owner's public id in a header, and a token
    that all devices shared. Here both are known to the attacker, who has enrolled a node too.
    """
    victim, victim_id = enrolled(enrolment, "alice", gpu="H100")
    victim.say(LEASE, SAID)
    attacker, attacker_id = enrolled(enrolment, "mallory")
    before = enrolment.store.find(victim_id)
    path, headers, body = attacker.message(LEASE, {**SAID, "url": "http://evil:1"})
    claims = {"x-user-id": "alice", "x-node-id": victim_id, "authorization": f"Bearer {victim_id}"}
    attacker.send((path, {**headers, **claims}, body))  # heard, of itself alone
    for field in ("node_id", "supplier_id", "owner", "user_id", "gpu", "tier", "status"):
        claimed = attacker.message(LEASE, {**SAID, field: victim_id})
        assert attacker.refused(claimed) == (400, "message")
    assert enrolment.store.find(victim_id) == before
    assert live(enrolment)[attacker_id] == "http://evil:1"
    assert enrolment.store.find(attacker_id).terms.supplier_id == "mallory"


def test_ten_thousand_fuzzed_messages_are_refused_and_counted(enrolment):
    rng = random.Random(5)
    node, node_id = enrolled(enrolment)
    node.say(LEASE, SAID)
    before = enrolment.store.find(node_id)
    for _ in range(FUZZED):
        path, headers, body = node.message(LEASE, {**SAID, "url": "http://fuzzed:1"})
        node.refused((path, *_mutated(headers, body, rng)))
    assert enrolment.store.find(node_id) == before
    entries = enrolment.refusals.take(time.time_ns())
    enrolment.store.record(entries)
    logged = [entry for _, entry in enrolment.store.audit(limit=100) if entry.action == "refused"]
    assert sum(entry.times for entry in logged) == FUZZED


def _mutated(headers: dict[str, str], body: bytes, rng: random.Random) -> tuple[dict, bytes]:
    """One of them is another than was signed, certainly."""
    choice = rng.randrange(4)
    if choice == 0:
        place = rng.randrange(len(body))
        other = bytes([body[place] ^ (1 << rng.randrange(8))])
        return headers, body[:place] + other + body[place + 1 :]
    name = rng.choice(sorted(headers))
    if choice == 1:
        return {key: value for key, value in headers.items() if key != name}, body
    if choice == 2:
        return {**headers, name: rng.randbytes(rng.randrange(90)).decode("latin-1")}, body
    text = headers[name]
    place = rng.randrange(len(text) - 6)  # before the bits of base64 that mean nothing
    other = chr((ord(text[place]) + rng.randrange(1, 90)) % 128)
    return {**headers, name: text[:place] + other + text[place + 1 :]}, body


def test_revoking_one_node_leaves_the_others_untouched(enrolment):
    nodes = [enrolled(enrolment) for _ in range(3)]
    for node, _ in nodes:
        node.say(LEASE, SAID)
    (revoked, revoked_id), *others = nodes
    enrolment.store.revoke(revoked_id, "stolen", time.time_ns())
    assert set(live(enrolment)) == {node_id for _, node_id in others}
    assert revoked.refused(revoked.message(LEASE, SAID)) == (401, "unknown_key")
    again = invited(enrolment)
    assert revoked.refused(revoked.message(ENROL, {"invitation": again})) == (403, "invitation")
    for node, _ in others:
        node.say(LEASE, SAID)


def test_a_key_is_replaced_and_the_old_is_good_for_nothing(enrolment):
    node, node_id = enrolled(enrolment)
    node.say(LEASE, SAID)
    new, old = Ed25519PrivateKey.generate(), node.key
    proof = new_key_proof(new, public_name(old.public_key()))
    unproved = {"public_key": public_name(new.public_key()), "proof": "A" * 86 + "=="}
    assert node.refused(node.message(ROTATE, unproved)) == (401, "forged")
    node.say(ROTATE, {"public_key": public_name(new.public_key()), "proof": proof})
    assert node.refused(node.message(LEASE, SAID)) == (401, "unknown_key")
    node.key = new
    node.say(LEASE, {**SAID, "url": "http://moved:1"})
    assert live(enrolment) == {node_id: "http://moved:1"}


def test_frozen_nothing_changes_and_no_lease_ends(enrolment):
    node, node_id = enrolled(enrolment)
    node.say(LEASE, SAID)
    secret = invited(enrolment)
    enrolment.store.freeze(time.time_ns())
    assert node.refused(node.message(LEASE, {**SAID, "url": "http://x:1"})) == (423, "frozen")
    new = Ed25519PrivateKey.generate()
    proof = new_key_proof(new, public_name(node.key.public_key()))
    rotation = {"public_key": public_name(new.public_key()), "proof": proof}
    assert node.refused(node.message(ROTATE, rotation)) == (423, "frozen")
    fresh = Supplier(enrolment)
    assert fresh.refused(fresh.message(ENROL, {"invitation": secret})) == (423, "frozen")
    later_ns = time.time_ns() + 3600 * SECOND_NS
    assert [each.node_id for each in enrolment.store.live(later_ns)] == [node_id]
    enrolment.store.thaw(later_ns)
    assert [each.node_id for each in enrolment.store.live(later_ns)] == [node_id]
    assert enrolment.store.live(later_ns + 16 * SECOND_NS) == []
    fresh.enrol(secret)


def test_the_audit_log_is_never_changed(where, enrolment):
    _, node_id = enrolled(enrolment)
    enrolment.store.set_terms(node_id, 1, tier=3)
    enrolment.store.revoke(node_id, "gone", 2)
    actions = [entry.action for _, entry in enrolment.store.audit(node_id=node_id, limit=9)]
    assert actions == ["revoked", "set", "enrolled"]
    database = open_database(where)
    for sql in ("UPDATE node_audit SET actor = 'nobody'", "DELETE FROM node_audit"):
        with pytest.raises(LedgerError, match="audit log is never"):
            database.query(sql)
    database.close()


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"url": "http://10.0.0.1:1"}, "must be https"),
        ({"url": "https://n:1"}, "`certificate` is missing"),
        ({"url": "https://n", "certificate": "x"}, "with a port"),
        ({"url": "https://user@n:1", "certificate": "x"}, "no user"),
        ({"url": "https://n:1/v1", "certificate": "x"}, "end with the port"),
        ({"url": "https://n:1?a", "certificate": "x"}, "end with the port"),
        ({"url": "unix:/run/x.sock"}, "must be https://host:port"),
        ({"url": "https://n:99999", "certificate": "x"}, "none"),
        ({"url": "https://a..b:1", "certificate": "x"}, "a name or an address"),
        ({"url": f"https://{'a' * 64}.b:1", "certificate": "x"}, "a name or an address"),
        ({"url": "https://n:0", "certificate": "x"}, "a name or an address"),
        ({"url": "https://n:1", "certificate": "x"}, "in PEM, and one"),
        ({"url": "https://n:1", "certificate": "\u00e9"}, "certificate"),
        ({"capacity": 0}, "capacity"),
        ({"model": "m\x1b[2J"}, "model"),
        ({"hardware": {"gpu": "\x9b2J"}}, "gpu"),
    ],
)
def test_a_node_cannot_point_the_gateway_elsewhere(enrolment, said, problem):
    strict = Enrolment(EnrolmentConfig(authority=GATEWAY), enrolment.store)
    node, _ = enrolled(strict)
    path, headers, body = node.message(LEASE, {**SAID, **said})
    with pytest.raises(ApiError, match=problem):
        node.send((path, headers, body))
    assert live(strict) == {}


def test_a_node_cannot_name_the_door_of_another_as_its_own(tmp_path, enrolment):
    identity = tmp_path / "node_identity.pem"
    shown = certificate(identity, "tollgate node")
    owner, owner_id = enrolled(enrolment)
    thief, _ = enrolled(enrolment, "mallory")
    proof = prove(identity.read_bytes(), public_name(owner.key.public_key()))
    said = {**SAID, "url": "https://10.0.0.1:1", "certificate": shown, "certificate_proof": proof}
    owner.say(LEASE, said)
    for stolen in (said, {**said, "certificate_proof": ""}, {**said, "certificate": shown * 2}):
        assert thief.refused(thief.message(LEASE, stolen)) == (400, "message")
    assert set(live(enrolment)) == {owner_id}


def test_refusals_from_everywhere_do_not_fill_the_audit_log():
    refusals = Refusals()
    for number in range(10 * KINDS_MAX):
        refusals.add(f"2001:db8::{number:x}", "forged")
    entries = refusals.take(1)
    assert len(entries) == KINDS_MAX + 1
    assert sum(entry.times for entry in entries) == 10 * KINDS_MAX


def test_one_node_cannot_keep_the_books_busy(enrolment):
    node, _ = enrolled(enrolment)
    other, _ = enrolled(enrolment, "bob")
    now_ns = time.time_ns()

    def say(who: Supplier, later_ns: int = 0) -> None:
        message = who.message(LEASE, SAID)
        enrolment.hear(*message, source="192.0.2.1", now_ns=now_ns + later_ns)

    for _ in range(BURST):
        say(node)
    with pytest.raises(ApiError, match="more than twice a second"):
        say(node)
    say(other)
    say(node, SECOND_NS)
    say(node, -20 * SECOND_NS)  # the clock was set back


def test_an_invitation_is_for_a_supplier_that_a_node_can_have():
    for supplier in ("alice\\n", "", "Alice"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(f'{{"supplier": "{supplier}"}}', type=NewInvitation)


@pytest.mark.anyio
async def test_a_row_of_another_version_ends_no_gateway(tmp_path, where, enrolment, caplog):
    node, node_id = enrolled(enrolment)
    node.say(LEASE, SAID)
    database = open_database(where)
    ((said,),) = database.query("SELECT said FROM node_lease")
    database.query("UPDATE node_lease SET said = ?", said.replace("{", '{"newer":1,', 1))
    lists: asyncio.Queue = asyncio.Queue()
    roll = Roll(
        enrolment,
        identity=tmp_path / "identity.pem",
        writer="w",
        models=["m"],
        doors={},
        reopen=lambda _: None,
    )
    following = asyncio.create_task(roll.follow(lists.put_nowait))
    await eventually(lambda: "cannot be read" in caplog.text or following.done(), bool)
    database.query("UPDATE node_lease SET said = ?", said)
    (record,) = await asyncio.wait_for(lists.get(), 10)
    assert record.node_id == node_id
    following.cancel()
    database.close()
