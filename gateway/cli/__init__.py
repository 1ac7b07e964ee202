"""The `tollgate` command. Each subcommand is a file here, imported only when it is called."""

from __future__ import annotations

import importlib

import click

_COMMANDS = {
    "up": "Start everything on this machine: engine, gateway, ledger.",
    "serve": "Start a gateway over nodes that run already.",
    "key": "API keys: make, change, rotate, revoke.",
    "account": "Customers' accounts: create, deposit, lend, warn, show.",
    "price": "Prices of models: set, list, look up by the version on a charge.",
    "node": "Suppliers' nodes: run one; invite, list, revoke, reputations.",
    "pools": "Models on a Ray cluster: apply the configuration, show, remove.",
    "drain": "Nodes and models that get no new requests.",
    "audit": "What operators did, by console, admin API and commands.",
    "usage": "Charges, one a request.",
    "ledger": "The books: verify, back up, restore, export, reconcile.",
    "doctor": "Examine everything a gateway stands on; say what to do.",
    "route": "Why a node was chosen; policies in simulated worlds.",
    "metrics": "The list of metrics: type, labels, unit, meaning.",
    "scorecard": "How an aggregator sees this provider, and what threatens.",
    "sla": "Judge objectives, credit what was missed.",
    "oracle": "The price of IO, read once from its sources.",
    "stake": "Stakes of devices: the least, what is held, slashing.",
    "settle": "Epochs: close, explain, prove, replay, pay.",
    "simulate": "The engine through a scenario, beside the old schedule.",
}


class _LazyGroup(click.Group):
    """Lists subcommands without importing them: `tollgate --help` must be quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"gateway.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tollgate")
def main() -> None:
    """Tollgate: an OpenAI-compatible inference gateway whose books always balance.

    Start with: tollgate up
    """
