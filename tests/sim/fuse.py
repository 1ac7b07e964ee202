"""What fails, and when: all files of a world share one fuse that burns through at some step.

The step that it burns at takes effect, or does not, or does so in memory alone. From then on
nothing can be read or written: the process is dead. A hiccup is one step of the ledger's files that
fails while all others go on: a disk that was full for a moment.
"""

from __future__ import annotations

from collections import Counter

from memory_folder import Moment

CHANGES_NOTHING = ("open", "read")

EVERY, SPOOL, COMMITS = "every", "spool", "commits"
"""Which steps a fuse counts: a ledger makes ten times as many as a spool, and of both those matter
most that make work durable.
"""


class Fuse:
    def __init__(self) -> None:
        self.phase = ""
        """What the gateway is at: told with each kill point."""
        self.killed_at: Counter[str] = Counter()
        self.steps = 0
        self.hiccups = 0
        self.burnt = False
        self._left: int | None = None
        self._moment = Moment.BEFORE
        self._counted = EVERY
        self._hiccup_in: int | None = None

    def arm(
        self,
        steps: int | None,
        moment: Moment,
        *,
        counted: str = EVERY,
        hiccup_in: int | None = None,
    ) -> None:
        """Burn at the step after so many; None: never. The same of a hiccup."""
        self._left, self._moment, self._counted = steps, moment, counted
        self._hiccup_in = hiccup_in
        self.steps = 0
        self.burnt = False

    def blow(self) -> None:
        """Dead, between two steps."""
        self.burnt = True

    def step(self, file: str, step: str) -> Moment | None:
        """Whether this step fails, and when."""
        if self.burnt:
            return Moment.BEFORE
        if step in CHANGES_NOTHING:
            return None
        self.steps += 1
        if self._left is not None and self._counts(file, step):
            self._left -= 1
            if self._left < 0:
                self.burnt = True
                self.killed_at[f"{self.phase}: {file} {step}, {self._moment.value}"] += 1
                return self._moment
        if file != "spool" and self._hiccup_in is not None:
            self._hiccup_in -= 1
            if self._hiccup_in < 0:
                self._hiccup_in = None
                self.hiccups += 1
                return Moment.BEFORE
        return None

    def _counts(self, file: str, step: str) -> bool:
        if self._counted == SPOOL:
            return file == "spool"
        commits = self.phase == "work" and (file, step) in (("spool", "write"), ("wal", "sync"))
        return self._counted == EVERY or commits
