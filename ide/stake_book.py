"""Stakes in a ledger: read back from it, and moved. Edge.

They have no table of their own: a stake is its transfers, so the ledger's hash chain covers it and
it cannot say anything else than the balances do.
"""

from __future__ import annotations

from collections.abc import Callable

from ide.epoch import SlashBurn
from ide.stake_journal import (
    CODE_MOVE,
    SLASH_END,
    Move,
    Moved,
    held_slash_of,
    moved_of,
    stake_group,
    staked_io,
)
from ide.staking import Stake, StakeError, StakeParams, advance, total_io
from metering import accounts
from metering.database import Database
from metering.ledger import Ledger
from metering.movements import SEQ_MAX, Movements
from metering.transfer import PostResult


class StakeBook:
    """Thread-safe. Methods raise LedgerError when the ledger cannot answer.

    `writer` names the chain to book on.
    """

    def __init__(
        self, ledger: Ledger, database: Database, writer: str, params: StakeParams
    ) -> None:
        self._ledger = ledger
        self._movements = Movements(database)
        self._writer = writer
        self._params = params

    def find(self, device: str) -> Moved | None:
        """The stake as its last move left it. Raises AccountError."""
        found = self._movements.newest(
            accounts.stake(device), CODE_MOVE, before_seq=SEQ_MAX, limit=1
        )
        return moved_of(found[0].transfer.detail) if found else None

    def get(self, device: str) -> Moved:
        """Raises StakeError if nothing was ever staked behind the device."""
        found = self.find(device)
        if found is None:
            raise StakeError(f"nothing is staked behind '{device}'")
        return found

    def all(self) -> list[Moved]:
        """In the order of the devices."""
        names = [line.account for line in self._ledger.trial_balance()]
        devices = [device for name in names if (device := accounts.staked_device(name))]
        return [self.get(device) for device in devices]

    def move(self, device: str, move: Move, change: Callable[[Stake], Stake], now_ns: int) -> Moved:
        """Change a stake. What is free by then is paid out with it.

        Raises StakeError if the rules do not allow it, if somebody else moved it at the same time,
        or if it would undo what an epoch has booked.
        """
        last = self.get(device)
        stake, paid_io = advance(last.stake, now_ns, self._params)
        after = change(stake)
        if (withdrawn := total_io(stake) - total_io(after)) > 0:
            paid_io[stake.owner] = paid_io.get(stake.owner, 0) + withdrawn
        moved = Moved(number=last.number + 1, move=move, at_ns=now_ns, paid_io=paid_io, stake=after)
        return self._book(last.stake, moved)

    def open(self, stake: Stake, now_ns: int) -> Moved:
        """The first stake behind a device. Raises StakeError if there was one before."""
        moved = Moved(number=1, move=Move.ADD, at_ns=now_ns, paid_io={}, stake=stake)
        return self._book(None, moved)

    def differences(self) -> list[str]:
        """Where stakes and the ledger's balances part: none, or the books were tampered with."""
        moved = self.all()
        names = [accounts.stake(each.stake.device) for each in moved]
        balances = self._ledger.balances(names)
        return [
            f"{each.stake.device}: {staked_io(each.stake)} base units by its moves,"
            f" {balances[name].posted} in its account"
            for each, name in zip(moved, names, strict=True)
            if staked_io(each.stake) != balances[name].posted
        ]

    def _book(self, before: Stake | None, moved: Moved) -> Moved:
        group = stake_group(before, moved)
        (result,) = self._ledger.post(self._writer, [group])
        if result is PostResult.OK:
            return moved
        device = moved.stake.device
        if result is PostResult.EXCEEDS_CREDITS:
            raise StakeError(f"{device}: more IO than circulates, or than is staked; see `settle`")
        raise StakeError(
            f"{device} was moved by somebody else, slashed on that evidence before, or an epoch "
            f"has burned what it is about ({result}): nothing is booked, look again"
        )


def final_slashes(database: Database, now_ns: int) -> tuple[SlashBurn, ...]:
    """What was slashed, can no longer be won back, and is not burned yet."""
    found = []
    for booked in Movements(database).unanswered(accounts.IO_SLASHED, SLASH_END):
        held = held_slash_of(booked.transfer.detail)
        if held.burns_ns <= now_ns:
            taken = booked.transfer
            found.append(SlashBurn(hold_id=taken.id, device=held.device, io=taken.amount))
    return tuple(found)
