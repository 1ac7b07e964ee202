"""A link covers the one before it and every fact of the transfer."""

from __future__ import annotations

import hashlib

import msgspec
from books import closed, opened, single, used

from metering import chain
from metering.charge import finished


def test_a_link_is_what_the_documentation_says():
    """Recomputed by hand: an auditor needs nothing of ours."""
    transfer = single("t1", "usd:external", "usd:customer:a", 5).transfers[0]
    facts = (
        b'[7,9,{"id":"t1","kind":"single","debit":"usd:external","credit":"usd:customer:a",'
        b'"amount":5,"code":"test","pending_id":null,"detail":""},null]'
    )
    assert chain.link(chain.GENESIS, 7, 9, transfer) == hashlib.sha256(bytes(32) + facts).digest()


def test_every_fact_changes_the_link():
    transfer = single("t1", "usd:external", "usd:customer:a", 5).transfers[0]
    links = {
        chain.link(chain.GENESIS, 7, 9, transfer),
        chain.link(b"\x01" * 32, 7, 9, transfer),
        chain.link(chain.GENESIS, 8, 9, transfer),
        chain.link(chain.GENESIS, 7, 8, transfer),
        chain.link(chain.GENESIS, 7, 9, transfer, finished(opened("c"), closed("c", used(1)))),
        chain.link(chain.GENESIS, 7, 9, transfer, finished(opened("c"), closed("c", used(2)))),
    }
    for field, value in {
        "id": "t2",
        "kind": "pending",
        "debit": "usd:shortfall",
        "credit": "usd:customer:b",
        "amount": 6,
        "code": "x",
        "pending_id": "h",
        "detail": "{}",
    }.items():
        changed = msgspec.structs.replace(transfer, **{field: value})
        links.add(chain.link(chain.GENESIS, 7, 9, changed))
    assert len(links) == 6 + len(transfer.__struct_fields__)
