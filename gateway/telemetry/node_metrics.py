"""The metrics of nodes and their suppliers. Pure.

At most `NODES_MAX` nodes are told by name; what is beyond goes under the name `other`.
"""

from __future__ import annotations

from gateway.telemetry.definition import OverWorkers, counter, gauge, summary

NODES_MAX = 1000
OTHER = "other"

_NODE = ("node", "supplier", "model")

NODE_STATE = gauge(
    "tollgate_node_state",
    "1 for the state a node is in: ready, draining, ejected, half_open",
    *_NODE,
    "state",
    over_workers=OverWorkers.MAX,
)
NODE_CAPACITY = gauge(
    "tollgate_node_capacity",
    "Requests that a node may run at one time",
    *_NODE,
    unit="requests",
    over_workers=OverWorkers.MAX,
)
NODE_IN_FLIGHT = gauge(
    "tollgate_node_in_flight", "Requests this gateway has on a node", *_NODE, unit="requests"
)
NODE_STANDING = gauge(
    "tollgate_node_standing_ratio",
    "What a node's reputation makes of its place in a choice: 1 changes nothing, 0: it is barred",
    *_NODE,
    over_workers=OverWorkers.MIN,
)
NODE_REPUTATION = gauge(
    "tollgate_node_reputation",
    "A node's score, 0 to 1000; below the bound it gets nothing of customers",
    *_NODE,
    unit="points",
    over_workers=OverWorkers.MIN,
)
NODE_WAITING = gauge(
    "tollgate_node_requests_waiting",
    "Requests in a node's own queue, when its counters were read last",
    *_NODE,
    unit="requests",
    over_workers=OverWorkers.MAX,
)
NODE_RUNNING = gauge(
    "tollgate_node_requests_running",
    "Requests that a node runs, whoever sent them, when its counters were read last",
    *_NODE,
    unit="requests",
    over_workers=OverWorkers.MAX,
)
NODE_KV_USE = gauge(
    "tollgate_node_kv_cache_usage_ratio",
    "Part of a node's KV cache in use, when its counters were read last",
    *_NODE,
    over_workers=OverWorkers.MAX,
)
NODE_REQUESTS = counter(
    "tollgate_node_requests",
    "Requests that ended on a node: ok, client_gone, refused (the request was at fault), failed",
    *_NODE,
    "result",
)
NODE_GIVEN_UP = counter(
    "tollgate_node_given_up",
    "Tries of this node that failed, after which another was tried or gave the answer",
    "node",
)
NODE_TOKENS = counter("tollgate_node_tokens", "Tokens charged, by who made them", *_NODE, "kind")
NODE_COST = counter("tollgate_node_cost_usd", "Charged to customers, by who served", *_NODE)
NODE_TTFT = summary(
    "tollgate_node_time_to_first_token_seconds",
    "From acceptance to the first byte of a stream, by who served",
    *_NODE,
)
NODE_ITL = summary(
    "tollgate_node_inter_token_latency_seconds",
    "Mean time between tokens of a stream, one observation a stream, by who served",
    *_NODE,
)
RECOUNTS = counter(
    "tollgate_recounts",
    "Answers counted again with the model's tokenizer, by what came of it",
    "node",
    "result",
)
FINDINGS = counter(
    "tollgate_findings",
    "Claims of nodes beyond what they can have done, by kind",
    "node",
    "kind",
)
CANARIES = counter(
    "tollgate_canaries",
    "Questions of ours whose answers were compared with other nodes', by what came of it",
    "node",
    "result",
)
GAPS_NATS = ("0.002", "0.005", "0.01", "0.02", "0.05")
CANARY_GAPS = counter(
    "tollgate_canary_gaps",
    "Their answers, by how many nats at most the logprobs are off the right ones in the mean",
    "node",
    "within",
)

NODE_METRICS = (
    NODE_STATE,
    NODE_CAPACITY,
    NODE_IN_FLIGHT,
    NODE_STANDING,
    NODE_REPUTATION,
    NODE_WAITING,
    NODE_RUNNING,
    NODE_KV_USE,
    NODE_REQUESTS,
    NODE_GIVEN_UP,
    NODE_TOKENS,
    NODE_COST,
    NODE_TTFT,
    NODE_ITL,
    RECOUNTS,
    FINDINGS,
    CANARIES,
    CANARY_GAPS,
)
