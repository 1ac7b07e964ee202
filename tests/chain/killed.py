"""A process that pays an epoch, killed by SIGKILL at a statement of its database or its chain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from chain_world import SUPPLY_IO, World, due_of

from ide.chain.payment import TransactionState
from ide.chain.payment_store import PaymentStore

_ROOT = Path(__file__).parents[2]
_TIMEOUT_S = 120
_NEVER = 0


def paid_by_child(world_folder: Path, suppliers: int, killed_at: int) -> bool:
    """Whether it lived to the end."""
    paths = [str(_ROOT), str(_ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
    child = subprocess.run(
        [sys.executable, __file__, str(world_folder), str(suppliers), str(killed_at)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        timeout=_TIMEOUT_S,
        check=False,
    )
    if child.returncode not in (0, -signal.SIGKILL):
        raise AssertionError(f"the child ended with {child.returncode}")
    return child.returncode == 0


def world_in(folder: Path) -> World:
    return World(folder / "ledger.db", folder / "vm.db")


def made_world(folder: Path, suppliers: int) -> World:
    """With wallets and nonce accounts, and nothing paid yet."""
    folder.mkdir()
    world = world_in(folder)
    world.set_wallets(suppliers)
    with world.chain():
        return world


def paid_once(world: World, suppliers: int) -> bool:
    """Nobody twice, nobody missed, to the base unit, as chain and books tell it."""
    due = due_of(1, suppliers)
    with world.chain() as chain, world.database() as database:
        store = PaymentStore(database, chain.identity())
        funds = world.funds(chain, database)
        paid = store.payments(1)
        left = SUPPLY_IO - due.burn_io
        return (
            world.balances(chain, suppliers) == list(due.payouts.values())
            and funds.supply_io == left
            and funds.vault_io == left - sum(due.payouts.values())
            and len(paid) == suppliers + 1
            and {each.state for each in paid} == {TransactionState.FINALIZED}
        )


def balances_sane(world: World, suppliers: int) -> bool:
    """At any moment: each was paid all or nothing."""
    due = due_of(1, suppliers)
    with world.chain() as chain:
        held = world.balances(chain, suppliers)
    return all(io in (0, owed) for io, owed in zip(held, due.payouts.values(), strict=True))


def _pay(folder: Path, suppliers: int, killed_at: int) -> None:
    """In the child."""
    world, left = world_in(folder), killed_at

    def count(_: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    with world.chain() as chain, world.database() as database:
        for db in (chain._db, database._db):  # type: ignore[attr-defined]
            db.set_trace_callback(count)
        world.payer(chain, database).pay(due_of(1, suppliers))
    (folder / "statements").write_text(str(_NEVER - left))


if __name__ == "__main__":
    _pay(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
