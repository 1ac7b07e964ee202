"""What the books must say of every request, by what its client saw and what the nodes did."""

from __future__ import annotations

from collections import defaultdict

from metering.accounts import USD_SHORTFALL, customer
from metering.charge import ChargeOutcome, ChargeRecord
from metering.ledger import Ledger
from serving.fake_node import FakeNode

from .load import Asked

EXPECTED = {0, 200, 402, 429}
"""No matter who dies. A 429 says when to try again."""


class Nodes:
    """What nodes were asked and generated, by the gateway's request id."""

    def __init__(self) -> None:
        self.made: dict[str, int] = defaultdict(int)
        """Completion tokens, over all tries."""
        self.of_mark: dict[str, str] = {}

    def look(self, nodes: list[FakeNode]) -> None:
        """Take what came since; called between rounds, while nothing runs."""
        for node in nodes:
            for request in node.received:
                mark = request.body.partition(b'"content":"ask-')[2].partition(b"-")[0]
                mark = mark or request.body.partition(b'"content": "ask-')[2].partition(b"-")[0]
                self.of_mark[f"ask-{mark.decode()}-"] = request.headers["x-request-id"]
            node.received.clear()
            for generation in node.generations:
                self.made[generation.id.partition("-")[2]] += generation.made_tokens
            node.generations.clear()


def faults(ledger: Ledger, asked: list[Asked], nodes: Nodes, deposits: dict[str, int]) -> list[str]:
    """What is wrong, one line each."""
    found: list[str] = []
    charges: dict[str, list[ChargeRecord]] = defaultdict(list)
    for charge in ledger.charges():
        charges[charge.request_id].append(charge)
    ours: set[str] = set()
    for each in asked:
        request_id = each.request_id or nodes.of_mark.get(each.mark)
        if request_id is not None:
            ours.add(request_id)
            of_it = charges.get(request_id, [])
            found += [f"{each} {request_id}: {wrong}" for wrong in _judge(each, of_it, nodes)]
    for request_id, of_it in charges.items():
        if request_id not in ours and any(charge.cost_nano_usd for charge in of_it):
            found.append(f"{request_id} was charged and nobody asked it")
    return found + _balance_faults(ledger, charges, deposits)


def _judge(asked: Asked, charges: list[ChargeRecord], nodes: Nodes) -> list[str]:
    if asked.status not in EXPECTED or (asked.status == 429 and not asked.retry_after_s):
        return ["no such answer should be"]
    if asked.usage is not None:
        if len(charges) != 1:
            return [f"answered to the end, and charged {len(charges)} times"]
        (charge,) = charges
        billed = charge.prompt_tokens, charge.completion_tokens
        if (charge.outcome, billed) != (ChargeOutcome.COMPLETED, asked.usage):
            return [f"charged as {charge.outcome} for {billed}"]
        return []
    if len(charges) > 1:
        return [f"charged {len(charges)} times"]
    for charge in charges:
        made = nodes.made[charge.request_id]
        if charge.completion_tokens > made:
            return [f"charged for {charge.completion_tokens} tokens, {made} were generated"]
        if asked.status not in (0, 200) and charge.cost_nano_usd:
            return [f"refused and charged {charge.cost_nano_usd}"]
    return []


def _balance_faults(
    ledger: Ledger, charges: dict[str, list[ChargeRecord]], deposits: dict[str, int]
) -> list[str]:
    found: list[str] = []
    verified = ledger.verify()
    if not verified.ok:
        found.append(f"ledger verify: {verified.problem}")
    lines = ledger.trial_balance()
    if total := sum(line.balance.posted for line in lines):
        found.append(f"the trial balance is {total}")
    if short := ledger.balance(USD_SHORTFALL).posted:
        found.append(f"{-short} was served that nobody could pay")
    for account, deposit in deposits.items():
        paid = sum(
            c.charged_nano_usd for of in charges.values() for c in of if c.account == account
        )
        balance = ledger.balance(customer(account))
        if balance.posted != deposit - paid or balance.available < 0:
            found.append(f"{account} has {balance}, paid in {deposit}, was charged {paid}")
        if balance.debits_pending:
            found.append(f"{account} still has {balance.debits_pending} on hold")
    return found
