"""Money and ledger; epochs; the aggregator scorecard."""

from __future__ import annotations

from panels import OF_MODEL, dashboard, panel, stat, table

MONEY = dashboard(
    "tollgate-money",
    "Tollgate: money and ledger",
    {},
    [
        [
            stat(
                "Fee Vault", "currencyUSD", 'max(tollgate_ledger_balance_usd{account="fee_vault"})'
            ),
            stat("Held for requests", "currencyUSD", "sum(tollgate_held_usd)"),
            stat(
                "Not paid by anybody",
                "currencyUSD",
                'max(-tollgate_ledger_balance_usd{account="shortfall"})',
            ),
            stat("Customers with low credit", "none", "max(tollgate_accounts_low)"),
            stat("Ledger rows", "none", "max(tollgate_ledger_rows)"),
        ],
        [
            panel(
                "Revenue an hour",
                "currencyUSD",
                ("3600 * model:tollgate_cost_usd:rate5m", "{{model}}"),
            ),
            panel(
                "Revenue an hour by class of key",
                "currencyUSD",
                ("3600 * sum by (key_class) (rate(tollgate_cost_usd_total[5m]))", "{{key_class}}"),
            ),
            panel(
                "Refused for money or limits",
                "reqps",
                (
                    'sum by (code) (rate(tollgate_refusals_total{status=~"402|403|429"}[5m]))',
                    "{{code}}",
                ),
            ),
        ],
        [
            panel(
                "Ledger lag",
                "s",
                ("max by (instance) (tollgate_ledger_lag_seconds)", "{{instance}}"),
            ),
            panel("Spool: rows that wait", "none", ("tollgate_spool_backlog_rows", "{{instance}}")),
            panel(
                "Spool: full", "percentunit", ("instance:tollgate_spool:fill_ratio", "{{instance}}")
            ),
        ],
        [
            panel(
                "Well? (1: yes)",
                "none",
                ("min(tollgate_ledger_up)", "ledger answers"),
                ("min(tollgate_posting)", "posting"),
                ("min(tollgate_recording)", "recording"),
                ("1 - max(tollgate_redis_away)", "Redis answers"),
            ),
            panel(
                "The network's own accounts",
                "currencyUSD",
                ("max by (account) (tollgate_ledger_balance_usd)", "{{account}}"),
            ),
            panel(
                "Rows booked a second", "none", ("deriv(tollgate_ledger_rows[5m])", "{{instance}}")
            ),
        ],
        [
            panel(
                "Keys by how full their spend cap is",
                "none",
                ("max by (use) (tollgate_spend_caps)", "{{use}}"),
            ),
            panel(
                "Credit lines by how much is drawn",
                "none",
                ("max by (use) (tollgate_credit_lines)", "{{use}}"),
            ),
            panel(
                "Daily quotas: the account that used most",
                "percentunit",
                ("max by (quota) (tollgate_quota_use_ratio)", "{{quota}}"),
            ),
        ],
    ],
)

IDE = dashboard(
    "tollgate-ide",
    "Tollgate: epochs (IDE)",
    {},
    [
        [
            stat("Epoch", "none", "max(tollgate_epoch)"),
            stat(
                "Closed", "dateTimeFromNow", "1000 * max(tollgate_epoch_closed_timestamp_seconds)"
            ),
            stat("Psi, smoothed", "percentunit", 'max(tollgate_epoch_psi_ratio{kind="smoothed"})'),
            stat("Runway", "s", "max(tollgate_epoch_runway_seconds)"),
            stat("IO price", "currencyUSD", "max(tollgate_oracle_price_usd)"),
            stat("Owed on", "currencyUSD", "max(tollgate_epoch_debt_usd)"),
        ],
        [
            panel(
                "Psi: revenue / obligation",
                "percentunit",
                ("max by (kind) (tollgate_epoch_psi_ratio)", "{{kind}}"),
            ),
            panel(
                "An epoch's money",
                "currencyUSD",
                ("max(tollgate_epoch_revenue_usd)", "revenue"),
                ("max(tollgate_epoch_obligation_usd)", "obligation"),
                ("max(tollgate_epoch_stipend_usd)", "of that stipend"),
                ("max(tollgate_epoch_surplus_usd)", "surplus"),
            ),
            panel(
                "Paid to suppliers",
                "currencyUSD",
                ("max by (asset) (tollgate_epoch_paid_usd)", "in {{asset}}"),
                ("max(tollgate_epoch_unpaid_usd)", "unpaid"),
            ),
        ],
        [
            panel(
                "IO moved by the epoch", "none", ("max by (moved) (tollgate_epoch_io)", "{{moved}}")
            ),
            panel(
                "Buyback and the part of the surplus for it",
                "currencyUSD",
                ("max(tollgate_epoch_buyback_usd)", "buyback"),
                ("max(tollgate_epoch_burn_share_ratio)", "part of the surplus"),
            ),
            panel(
                "Vaults",
                "currencyUSD",
                ('max(tollgate_ledger_balance_usd{account="fee_vault"})', "Fee Vault"),
                ("max(tollgate_epoch_reserve_usd)", "reserve at the last close"),
            ),
        ],
        [
            panel(
                "Supply of IO",
                "none",
                ("max by (account) (tollgate_ledger_balance_io)", "{{account}}"),
            ),
            panel(
                "Price of IO",
                "currencyUSD",
                ("max(tollgate_oracle_price_usd)", "now"),
                ("max(tollgate_epoch_io_price_usd)", "of the epoch"),
            ),
            panel(
                "Alarms of the epoch, and of the oracle",
                "none",
                ("max by (alarm) (tollgate_epoch_alarm)", "{{alarm}}"),
                ("max(tollgate_oracle_stale)", "oracle: no price"),
                ("max(tollgate_oracle_sources_failing)", "oracle: sources failing"),
            ),
        ],
        [
            table(
                "Suppliers: owed",
                "currencyUSD",
                "max by (supplier) (tollgate_epoch_supplier_owed_usd)",
            ),
            table(
                "Suppliers: paid",
                "currencyUSD",
                "max by (supplier) (tollgate_epoch_supplier_paid_usd)",
            ),
        ],
    ],
)

SCORECARD = dashboard(
    "tollgate-scorecard",
    "Tollgate: aggregator scorecard",
    {"model": "tollgate_scorecard_uptime_ratio"},
    [
        [
            panel(
                "Uptime as OpenRouter counts it",
                "percentunit",
                (
                    f"min by (model, window) (tollgate_scorecard_uptime_ratio{OF_MODEL})",
                    "{{model}} {{window}}",
                ),
            ),
            table("Band", "none", f"max by (model, band) (tollgate_scorecard_band{OF_MODEL}) == 1"),
            panel(
                "Failures in a row to a worse band",
                "none",
                (
                    f"min by (model) (tollgate_scorecard_failures_to_demotion{OF_MODEL})",
                    "{{model}}",
                ),
            ),
        ],
        [
            panel(
                "Requests of 30 minutes by how they count",
                "none",
                ("sum by (counted) (tollgate_scorecard_requests)", "{{counted}}"),
            ),
            panel(
                "Time to first token, 5 minutes",
                "s",
                (
                    f"max by (model, quantile) (tollgate_scorecard_ttft_seconds{OF_MODEL})",
                    "{{model}} {{quantile}}",
                ),
            ),
            panel(
                "Throughput, 5 minutes",
                "none",
                (
                    "min by (model, quantile) "
                    f"(tollgate_scorecard_throughput_tokens_per_second{OF_MODEL})",
                    "{{model}} {{quantile}}",
                ),
            ),
            panel(
                "Answers with a bad tool call",
                "percentunit",
                (f"max by (model) (tollgate_scorecard_tool_error_ratio{OF_MODEL})", "{{model}}"),
            ),
        ],
    ],
)
