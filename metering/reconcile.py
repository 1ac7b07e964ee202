"""A node's own counters against what the ledger has of it, between two readings. Pure.

    read_ns .. done_ns        charges made and ended in between         read_ns .. done_ns
    the first reading    |<--------------------------------------->|    the second one

A counter has everything that the node ran: other gateways' requests too, answers nobody waited for,
a prompt once for each of its choices. So it may well be above the ledger; it cannot honestly be
below. Only charges that began after the first reading and ended before the second one count, for
those are certainly between them. Counters begin anew when a node restarts: then nothing can be
said, and who restarts before each reading is told as never verified.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from metering.finding import Finding, FindingKind

LAG_NS = 1_000_000_000
"""An engine's counters may be that far behind its answers."""

EXCESS_PERMILLE = 5
"""What the ledger may have above a counter: less than that is nobody's profit."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A node's counters at one time."""

    node_id: str
    supplier_id: str
    model: str
    read_ns: int
    """Wall clock when they were asked for."""
    done_ns: int
    """Wall clock when they were here."""
    epoch: int
    """When its counters began, in ns of its own clock; 0 if it does not say."""
    prompt_tokens: int
    completion_tokens: int
    ledger_seq: int
    """Where the ledger ended then: what is charged later is booked behind it."""


class NodeSum(msgspec.Struct, frozen=True, kw_only=True):
    """Of the charges whose usage a node told: what they come to."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    charges: int = 0


class Verdict(StrEnum):
    AGREES = "agrees"
    EXCEEDS = "exceeds"
    """The ledger has more than the node ever counted: the node claimed it, and did not do it."""
    FIRST = "first"
    """There was no reading before this one."""
    RESTARTED = "restarted"
    UNREAD = "unread"
    """The node did not tell."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One node between two readings. Of one that could not be compared the counts are 0."""

    node_id: str
    supplier_id: str
    model: str
    verdict: Verdict
    from_ns: int = 0
    to_ns: int = 0
    charges: int = 0
    ledger_prompt_tokens: int = 0
    ledger_completion_tokens: int = 0
    node_prompt_tokens: int = 0
    node_completion_tokens: int = 0
    problem: str = ""

    @property
    def finding(self) -> Finding | None:
        """Of the kind of token that exceeds by more."""
        if self.verdict is not Verdict.EXCEEDS:
            return None
        prompt = self.ledger_prompt_tokens - self.node_prompt_tokens
        completion = self.ledger_completion_tokens - self.node_completion_tokens
        of_prompt = prompt > completion
        return Finding(
            finding_id=f"{FindingKind.NODE_COUNTERS}:{self.node_id}:{self.to_ns}",
            kind=FindingKind.NODE_COUNTERS,
            node_id=self.node_id,
            supplier_id=self.supplier_id,
            model=self.model,
            request_id=None,
            expected=self.node_prompt_tokens if of_prompt else self.node_completion_tokens,
            claimed=self.ledger_prompt_tokens if of_prompt else self.ledger_completion_tokens,
            evidence={
                "from_ns": self.from_ns,
                "to_ns": self.to_ns,
                "charges": self.charges,
                "ledger_prompt_tokens": self.ledger_prompt_tokens,
                "ledger_completion_tokens": self.ledger_completion_tokens,
                "node_prompt_tokens": self.node_prompt_tokens,
                "node_completion_tokens": self.node_completion_tokens,
            },
            found_ns=self.to_ns,
        )


def unread(node_id: str, supplier_id: str, model: str, problem: str) -> Comparison:
    return Comparison(
        node_id=node_id,
        supplier_id=supplier_id,
        model=model,
        verdict=Verdict.UNREAD,
        problem=problem,
    )


def span_ns(before: Reading, after: Reading) -> tuple[int, int]:
    """Charges made from the first time on and ended until the second are to be summed."""
    return before.done_ns, after.read_ns - LAG_NS


def compare(before: Reading | None, after: Reading, of_ledger: NodeSum) -> Comparison:
    """`of_ledger`: the node's charges within `span_ns` of the two readings."""
    found = Comparison(
        node_id=after.node_id,
        supplier_id=after.supplier_id,
        model=after.model,
        verdict=Verdict.FIRST,
        to_ns=after.read_ns,
    )
    if before is None:
        return found
    prompt = after.prompt_tokens - before.prompt_tokens
    completion = after.completion_tokens - before.completion_tokens
    restarted = before.epoch != after.epoch or prompt < 0 or completion < 0
    if restarted:
        return msgspec.structs.replace(found, verdict=Verdict.RESTARTED, from_ns=before.read_ns)
    exceeds = _exceeds(of_ledger.prompt_tokens, prompt) or _exceeds(
        of_ledger.completion_tokens, completion
    )
    return msgspec.structs.replace(
        found,
        verdict=Verdict.EXCEEDS if exceeds else Verdict.AGREES,
        from_ns=before.read_ns,
        charges=of_ledger.charges,
        ledger_prompt_tokens=of_ledger.prompt_tokens,
        ledger_completion_tokens=of_ledger.completion_tokens,
        node_prompt_tokens=prompt,
        node_completion_tokens=completion,
    )


def _exceeds(of_ledger: int, of_node: int) -> bool:
    return of_ledger > of_node + of_node * EXCESS_PERMILLE // 1000
