"""Where findings go: to the ledger's table, the metrics, the log, and the router.

No money moves because of one. A finding is evidence for whoever decides about a node: the router
at once, by sending it less; people and settlement later.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from metering.finding import Finding, FindingKind
from metering.finding_store import FindingStore
from metering.ledger import LedgerError
from router.reputation import Evidence
from router.router import Router

log = logging.getLogger("tollgate")

WRITTEN_PER_HOUR_MAX = 60
"""Of one node. What is beyond is counted: a node that lies in every answer must not fill a disk."""

UNWRITTEN_MAX = 1_000
"""Kept while the ledger cannot be written; later ones are counted only."""

_ONE_ANSWER = frozenset({FindingKind.COMPLETION_COUNT, FindingKind.PROMPT_COUNT})
_HOUR_NS = 3_600_000_000_000


class Findings:
    """Lives on the event loop."""

    def __init__(
        self, findings: FindingStore, router: Router, count: Callable[[str, str], None]
    ) -> None:
        """`count` is told the node and the kind of each finding."""
        self._log = findings
        self._router = router
        self._count = count
        self._unwritten: list[Finding] = []
        self._written: dict[str, tuple[int, int]] = {}
        """By node: an hour, and the findings written in it."""

    def take(self, finding: Finding) -> None:
        """Known to router and metrics at once, to the ledger with the next `write`."""
        self._count(finding.node_id, finding.kind)
        one = finding.kind in _ONE_ANSWER
        evidence = Evidence.COUNT_FAILED if one else Evidence.FALSE_USAGE
        self._router.report(finding.node_id, evidence, time.monotonic_ns())
        hour = finding.found_ns // _HOUR_NS
        known, written = self._written.get(finding.node_id, (hour, 0))
        if known != hour:
            written = 0
        if written >= WRITTEN_PER_HOUR_MAX or len(self._unwritten) >= UNWRITTEN_MAX:
            return
        self._written[finding.node_id] = (hour, written + 1)
        self._unwritten.append(finding)
        log.warning(
            "node %s (supplier %s) claims more than it did: %s, %d tokens where %d are the most",
            finding.node_id,
            finding.supplier_id,
            finding.kind,
            finding.claimed,
            finding.expected,
        )

    async def write(self) -> None:
        """What the ledger does not take now is tried again with the next."""
        if self._unwritten:
            await asyncio.to_thread(self.write_now)

    def write_now(self) -> None:
        """Also at the end, when there is no loop any more."""
        findings = list(self._unwritten)
        try:
            self._log.add(findings)
        except LedgerError as error:
            log.warning("%d findings are not in the ledger yet: %s", len(findings), error)
            return
        del self._unwritten[: len(findings)]
