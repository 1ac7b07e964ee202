"""The nodes that the configuration names, and those that enrolled: reached, asked, looked at."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from gateway.config import NodeConfig
from gateway.config_error import ConfigError
from gateway.doctor.clock import compare
from gateway.doctor.patient import Patient
from gateway.doctor.remark import Grade, Remark, fault, note, ok, warning
from gateway.enrolment.node_store import NodeStore
from gateway.nodes.door import Door
from metering.backend import open_database
from metering.ledger import LedgerError

CHECK, ENGINE, TLS = "node", "engine", "tls"
ANSWER_S = 5.0
AT_ONCE = 32
_ANSWER_BYTES = 1 << 20
EXPIRES_SOON_S = 14 * 86_400
ENROLLED_SHOWN = 1000


def examine(patient: Patient) -> list[Remark]:
    if patient.config is None:
        return []
    found = _served(patient)
    nodes = patient.config.node
    if nodes:
        with ThreadPoolExecutor(min(AT_ONCE, len(nodes))) as askers:
            for of_one in askers.map(_node, nodes):
                found += of_one
    return found


def _served(patient: Patient) -> list[Remark]:
    """Models that no node serves, and how those that enrolled are."""
    config = patient.config
    assert config is not None
    named = {node.model for node in config.node}
    if config.enrolment is None:
        if config.ray is not None:
            return []
        return [
            fault(
                CHECK,
                model.id,
                "no [[node]] serves it",
                "add a [[node]] with this model, start its engine (`tollgate up`), or take the "
                "[[model]] out: /readyz stays 503",
            )
            for model in config.model
            if model.id not in named
        ]
    return _enrolled(patient)


def _enrolled(patient: Patient) -> list[Remark]:
    where = patient.where
    if where is None:
        return []
    try:
        with contextlib.closing(open_database(where)) as database:
            store = NodeStore(database)
            nodes = [node for node in store.page(limit=ENROLLED_SHOWN) if node.revoked_ns is None]
            frozen = store.frozen_ns()
    except LedgerError:
        return []  # which the ledger's own lines tell
    found = []
    if frozen is not None:
        said = "enrolment is frozen: nodes change nothing"
        found.append(warning(CHECK, "enrolled", said, "tollgate node thaw, once you have looked"))
    now_ns = time.time_ns()
    silent = [node for node in nodes if node.leased_until_ns < now_ns]
    for node in silent:
        ago_s = (now_ns - node.told_ns) // 10**9
        said = f"said nothing for {ago_s} s" if node.told_ns else "has never served"
        advice = "ask its supplier to look at `tollgate node run`, or revoke it"
        found.append(warning(CHECK, node.node_id, said, advice))
    said = f"{len(nodes) - len(silent)} of {len(nodes)} nodes hold a lease"
    return [*found, ok(CHECK, "enrolled", said)]


def _node(node: NodeConfig) -> list[Remark]:
    try:
        door = Door(node.record().url, tls=node.tls(), key=node.api_key(), timeout_s=ANSWER_S)
    except (ConfigError, ValueError) as error:
        return [fault(CHECK, node.id, str(error), "mend its [[node]]")]
    with contextlib.closing(door):
        try:
            before_ns = time.time_ns()
            answer, body = door.get("/v1/models", _ANSWER_BYTES)
            ends_s = door.certificate_ends_s
            found = [_models(node, answer.status, body), *_clock(node, answer, before_ns)]
            if ends_s is not None:
                found.append(_certificate(node, ends_s))
            found.append(_engine(node, door))
            return found
        except ssl.SSLCertVerificationError as error:
            advice = "renew its certificate, or name the one to trust in ca_file"
            return [fault(TLS, node.id, f"{node.url}: {error.verify_message}", advice)]
        except (OSError, http.client.HTTPException, ValueError) as error:
            advice = "start it, open the way to it, or take it out: others are used meanwhile"
            return [fault(CHECK, node.id, f"GET {node.url}/v1/models: {error}", advice)]


def _models(node: NodeConfig, status: int, body: bytes) -> Remark:
    if status in (401, 403):
        advice = "put the node's key into its api_key_file or api_key_env"
        return fault(CHECK, node.id, f"refuses us: {status}", advice)
    wanted = node.served_model or node.model
    try:
        listed: Any = msgspec.json.decode(body)["data"]
        models = [str(each["id"]) for each in listed]
    except (msgspec.DecodeError, KeyError, TypeError):
        said = f"GET /v1/models answered {status} and no list of models"
        return fault(CHECK, node.id, said, "its url is to end where /v1/... begins")
    if wanted not in models:
        said = f"serves {', '.join(models[:5])}; not '{wanted}'"
        return fault(CHECK, node.id, said, "write served_model = ... of what it serves")
    return ok(CHECK, node.id, f"serves '{wanted}' at {node.url}")


def _clock(node: NodeConfig, answer: http.client.HTTPResponse, before_ns: int) -> list[Remark]:
    date = answer.getheader("date")
    if date is None:
        return []
    try:
        told_s = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return []
    middle_ns = (before_ns + time.time_ns()) // 2
    remark = compare(f"node {node.id}", int(told_s * 10**9) + 500_000_000 - middle_ns)
    return [] if remark.grade is Grade.OK else [remark]


def _certificate(node: NodeConfig, ends_s: float) -> Remark:
    left_s = ends_s - time.time()
    said = f"its certificate is good for {left_s / 86_400:.0f} days"
    if left_s < EXPIRES_SOON_S:
        return warning(TLS, node.id, said, "renew it: once it is over the node gets no requests")
    return ok(TLS, node.id, said)


def _engine(node: NodeConfig, door: Door) -> Remark:
    if node.engine != "vllm":
        return note(ENGINE, node.id, f"{node.engine}: a stream that is cut is billed by estimate")
    answer, body = door.get("/version", _ANSWER_BYTES)
    if answer.status != 200:
        said = f'engine = "vllm", but GET /version answers {answer.status}'
        return warning(ENGINE, node.id, said, 'write engine = "openai" if it is no vLLM')
    told: Any = msgspec.json.decode(body)
    health, _ = door.get("/health", _ANSWER_BYTES)
    if health.status != 200:
        said = f"vLLM says that it is not well: GET /health answers {health.status}"
        return fault(ENGINE, node.id, said, "read the engine's log and start it again")
    return ok(ENGINE, node.id, f"vLLM {told.get('version', '')}")
