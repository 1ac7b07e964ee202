"""Identifiers: well-formed, ordered by time, never the same twice."""

from __future__ import annotations

import time
import uuid

from gateway.admission.ids import Ids


def test_charge_ids_are_version_7_uuids_of_now():
    before_ms = time.time_ns() // 1_000_000
    charge_id = uuid.UUID(Ids().charge_id(time.time_ns()))
    assert charge_id.version == 7
    assert charge_id.variant == uuid.RFC_4122
    assert before_ms <= charge_id.int >> 80 <= time.time_ns() // 1_000_000


def test_ids_differ():
    ids = Ids()
    assert len({ids.charge_id(time.time_ns()) for _ in range(10_000)}) == 10_000
    assert len({ids.request_id() for _ in range(10_000)}) == 10_000
    assert ids.request_id() != Ids().request_id()
