"""Overview and SLO; models; nodes and suppliers."""

from __future__ import annotations

from panels import OF_MODEL, dashboard, panel, stat, table

OVERVIEW = dashboard(
    "tollgate-overview",
    "Tollgate: overview and SLO",
    {},
    [
        [
            stat("Requests a second", "reqps", "sum(model:tollgate_requests:rate5m)"),
            stat("In flight", "none", "sum(tollgate_requests_in_flight)"),
            stat(
                "Tokens a second", "none", 'sum(model_kind:tollgate_tokens:rate5m{kind!="cached"})'
            ),
            stat("Revenue an hour", "currencyUSD", "3600 * sum(model:tollgate_cost_usd:rate5m)"),
            stat("Gateways up", "none", 'sum(up{job="tollgate"})'),
            stat("Alerts", "none", 'count(ALERTS{alertstate="firing"}) or vector(0)'),
        ],
        [
            panel(
                "Requests by how they ended",
                "reqps",
                ("sum by (outcome) (rate(tollgate_requests_total[5m]))", "{{outcome}}"),
            ),
            panel(
                "Refusals by reason",
                "reqps",
                (
                    "sum by (status, code) (rate(tollgate_refusals_total[5m]))",
                    "{{status}} {{code}}",
                ),
            ),
        ],
        [
            panel(
                "Error budget: burn (1 uses it up in 30 days)",
                "none",
                ("max(model:tollgate_errors:ratio_rate1h) / 0.001", "1 h"),
                ("max(model:tollgate_errors:ratio_rate6h) / 0.001", "6 h"),
                ("max(model:tollgate_errors:ratio_rate3d) / 0.001", "3 d"),
            ),
            panel(
                "Streams that begin later than 2.5 s",
                "percentunit",
                ("model:tollgate_slow_starts:ratio_rate5m", "{{model}} 5 min"),
                ("model:tollgate_slow_starts:ratio_rate1h", "{{model}} 1 h"),
            ),
        ],
        [
            panel(
                "Time to first token",
                "s",
                ("max(model:tollgate_time_to_first_token_seconds:p50_5m)", "p50, worst model"),
                ("max(model:tollgate_time_to_first_token_seconds:p99_5m)", "p99, worst model"),
            ),
            panel(
                "Requests by class of key",
                "reqps",
                ("sum by (key_class) (rate(tollgate_requests_total[5m]))", "{{key_class}}"),
            ),
            panel(
                "Failovers, resumed streams, hedges",
                "reqps",
                ("sum by (model) (rate(tollgate_failovers_total[5m]))", "{{model}} failovers"),
                ("sum(rate(tollgate_resumes_total[5m])) or vector(0)", "resumes"),
                ("sum(rate(tollgate_hedges_total[5m])) or vector(0)", "hedges"),
            ),
        ],
        [
            panel(
                "Memory of each process",
                "bytes",
                ('process_resident_memory_bytes{job="tollgate"}', "{{instance}} {{worker}}"),
            ),
            panel(
                "CPU of each process, cores",
                "none",
                ('rate(process_cpu_seconds_total{job="tollgate"}[5m])', "{{instance}} {{worker}}"),
            ),
        ],
    ],
)

MODELS = dashboard(
    "tollgate-models",
    "Tollgate: models",
    {"model": "tollgate_requests_total"},
    [
        [
            panel("Requests", "reqps", (f"model:tollgate_requests:rate5m{OF_MODEL}", "{{model}}")),
            panel(
                "Tokens a second",
                "none",
                (f"model_kind:tollgate_tokens:rate5m{OF_MODEL}", "{{model}} {{kind}}"),
            ),
            panel(
                "Prompt tokens that were in a prefix cache",
                "percentunit",
                (
                    'model_kind:tollgate_tokens:rate5m{kind="cached", model=~"$model"} '
                    "/ ignoring (kind) "
                    'model_kind:tollgate_tokens:rate5m{kind="prompt", model=~"$model"}',
                    "{{model}}",
                ),
            ),
        ],
        [
            panel(
                "Time to first token",
                "s",
                (f"model:tollgate_time_to_first_token_seconds:p50_5m{OF_MODEL}", "{{model}} p50"),
                (f"model:tollgate_time_to_first_token_seconds:p99_5m{OF_MODEL}", "{{model}} p99"),
            ),
            panel(
                "Time between tokens",
                "s",
                (f"model:tollgate_inter_token_latency_seconds:p50_5m{OF_MODEL}", "{{model}} p50"),
                (f"model:tollgate_inter_token_latency_seconds:p99_5m{OF_MODEL}", "{{model}} p99"),
            ),
            panel(
                "Duration, p95",
                "s",
                (
                    "histogram_quantile(0.95, sum by (model, le) "
                    f"(rate(tollgate_request_duration_seconds_bucket{OF_MODEL}[5m])))",
                    "{{model}}",
                ),
            ),
        ],
        [
            panel(
                "Time to first token by class of key, p95",
                "s",
                (
                    "histogram_quantile(0.95, sum by (key_class, le) "
                    f"(rate(tollgate_time_to_first_token_seconds_bucket{OF_MODEL}[5m])))",
                    "{{key_class}}",
                ),
            ),
            panel(
                "Revenue an hour",
                "currencyUSD",
                (f"3600 * model:tollgate_cost_usd:rate5m{OF_MODEL}", "{{model}}"),
            ),
            panel(
                "Errors of ours",
                "percentunit",
                (f"model:tollgate_errors:ratio_rate5m{OF_MODEL}", "{{model}}"),
            ),
        ],
        [
            panel(
                "Refusals by reason",
                "reqps",
                (
                    f"sum by (model, code) (rate(tollgate_refusals_total{OF_MODEL}[5m]))",
                    "{{model}} {{code}}",
                ),
            ),
            panel(
                "Nodes by state",
                "none",
                (
                    "sum by (model, state) "
                    f"(max by (node, model, state) (tollgate_node_state{OF_MODEL}))",
                    "{{model}} {{state}}",
                ),
            ),
        ],
    ],
)


def _mean(summary: str) -> str:
    """By node, over 5 minutes."""
    return (
        f"sum by (node) (rate({summary}_sum{_OF_NODE}[5m])) "
        f"/ sum by (node) (rate({summary}_count{_OF_NODE}[5m]))"
    )


_OF_NODE = '{supplier=~"$supplier", node=~"$node"}'
NODES = dashboard(
    "tollgate-nodes",
    "Tollgate: nodes and suppliers",
    {"supplier": "tollgate_node_state", "node": "tollgate_node_state"},
    [
        [
            panel(
                "State",
                "none",
                ("count by (state) (max by (node, state) (tollgate_node_state) == 1)", "{{state}}"),
            ),
            panel(
                "In flight, of what each may run",
                "percentunit",
                (
                    f"sum by (node) (tollgate_node_in_flight{_OF_NODE}) "
                    f"/ max by (node) (tollgate_node_capacity{_OF_NODE})",
                    "{{node}}",
                ),
            ),
            panel(
                "Reputation, 0 to 1000",
                "none",
                (f"min by (node) (tollgate_node_reputation{_OF_NODE})", "{{node}}"),
            ),
            panel(
                "Its part of a fair share",
                "percentunit",
                (f"min by (node) (tollgate_node_standing_ratio{_OF_NODE})", "{{node}}"),
            ),
        ],
        [
            panel(
                "Requests by what came of them",
                "reqps",
                (
                    f"sum by (node, result) (rate(tollgate_node_requests_total{_OF_NODE}[5m]))",
                    "{{node}} {{result}}",
                ),
            ),
            panel(
                "Given up for another node",
                "reqps",
                ("sum by (node) (rate(tollgate_node_given_up_total[5m]))", "{{node}}"),
            ),
            panel(
                "Claims beyond what was done",
                "none",
                ("sum by (node, kind) (tollgate_findings_total)", "{{node}} {{kind}}"),
            ),
        ],
        [
            panel(
                "Time to first token, mean",
                "s",
                (
                    _mean("tollgate_node_time_to_first_token_seconds"),
                    "{{node}}",
                ),
            ),
            panel(
                "Time between tokens, mean",
                "s",
                (
                    _mean("tollgate_node_inter_token_latency_seconds"),
                    "{{node}}",
                ),
            ),
            panel(
                "Tokens a second",
                "none",
                (
                    "sum by (node) (rate(tollgate_node_tokens_total"
                    '{kind="completion", supplier=~"$supplier", node=~"$node"}[5m]))',
                    "{{node}}",
                ),
            ),
        ],
        [
            panel(
                "Engine: queue",
                "none",
                (f"sum by (node) (vllm:num_requests_waiting{_OF_NODE})", "{{node}} waiting"),
                (f"sum by (node) (vllm:num_requests_running{_OF_NODE})", "{{node}} running"),
            ),
            panel(
                "Engine: KV cache in use",
                "percentunit",
                (f"max by (node) (vllm:kv_cache_usage_perc{_OF_NODE})", "{{node}}"),
            ),
            panel(
                "Engine: prefix cache hits",
                "percentunit",
                (
                    f"sum by (node) (rate(vllm:prefix_cache_hits_total{_OF_NODE}[5m])) "
                    f"/ sum by (node) (rate(vllm:prefix_cache_queries_total{_OF_NODE}[5m]))",
                    "{{node}}",
                ),
            ),
        ],
        [
            panel(
                "Suppliers: tokens a second",
                "none",
                ('supplier:tollgate_node_tokens:rate5m{supplier=~"$supplier"}', "{{supplier}}"),
            ),
            panel(
                "Suppliers: charged for what they served, an hour",
                "currencyUSD",
                (
                    "3600 * sum by (supplier) "
                    '(rate(tollgate_node_cost_usd_total{supplier=~"$supplier"}[5m]))',
                    "{{supplier}}",
                ),
            ),
            table(
                "Recounted answers",
                "none",
                "sum by (node, result) (tollgate_recounts_total)",
            ),
        ],
    ],
)
