"""An embedded Solana chain, books to pay from, and ways for either to die, for tests."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from books import closed, deposit, opened, used
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from ide.chain.account_data import read_balance
from ide.chain.address import token_address
from ide.chain.chain import Chain
from ide.chain.payer import Payer
from ide.chain.payment_store import PaymentStore
from ide.chain.plan import ChainTerms, EpochDue, Funds
from ide.chain.setup import make_nonce_accounts, vm_genesis, vm_mint
from ide.chain.vm_chain import VmChain
from ide.chain.wallet_store import WalletEntry, WalletStore
from ide.params import IdeParams
from ide.settlement import settle
from metering.backend import open_database
from metering.database import Database
from metering.posting import close_group, hold_group
from metering.sqlite_ledger import SqliteLedger

SUPPLY_IO = 80_000_000_000_000_000
ROOT = "ab" * 32
HEAD = "cd" * 32


class DiedError(BaseException):
    """A process that is no more: nothing but a test catches it."""


class Fuse:
    """Dies at the n-th of the points it is led past, before or after what happens there."""

    def __init__(self, dies_at: int | None = None, *, after: bool = False) -> None:
        self.points = 0
        self._dies_at = dies_at
        self._after = after

    def burn(self, act: Callable[..., Any], *values: Any, **named: Any) -> Any:
        self.points += 1
        dies = self.points == self._dies_at
        if dies and not self._after:
            raise DiedError
        done = act(*values, **named)
        if dies:
            raise DiedError
        return done


class Fused:
    """Anything, whose methods of these names lead past a fuse."""

    def __init__(self, inner: Any, fuse: Fuse, *names: str) -> None:
        self._inner = inner
        self._fuse = fuse
        self._names = names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in self._names:
            return found
        return lambda *values, **named: self._fuse.burn(found, *values, **named)


def key_of(number: int) -> Keypair:
    return Keypair.from_seed(number.to_bytes(32, "big"))


def wallet_of(number: int) -> Pubkey:
    return key_of(10**6 + number).pubkey()


def due_of(epoch: int, suppliers: int, burn_io: int = 777) -> EpochDue:
    """Everybody is owed another sum."""
    return EpochDue(
        epoch=epoch,
        root=ROOT,
        head_hash=HEAD,
        payouts={f"s{number:05}": 1_000 + number for number in range(suppliers)},
        burn_io=burn_io,
    )


class World:
    """What is left when a process dies: a database, a chain's file, a key."""

    def __init__(self, where: Path | str, vm_file: Path, **terms: Any) -> None:
        self._where = where
        self._vm_file = vm_file
        self.key = key_of(1)
        authority = self.key.pubkey()
        self.terms = ChainTerms(
            authority=authority,
            mint=vm_mint(authority),
            **{"nonce_accounts": 2, **terms},
        )

    def copy(self, folder: Path) -> World:
        """The same once more, in SQLite, to go its own way."""
        folder.mkdir()
        assert isinstance(self._where, Path)
        files = [shutil.copy(file, folder) for file in (self._where, self._vm_file)]
        copied = World(Path(files[0]), Path(files[1]))
        copied.terms = self.terms
        return copied

    @contextlib.contextmanager
    def chain(self) -> Iterator[VmChain]:
        genesis = vm_genesis(self.key.pubkey(), SUPPLY_IO)
        with contextlib.closing(VmChain(self._vm_file, genesis)) as chain:
            make_nonce_accounts(chain, self.key, self.terms)
            yield chain

    @contextlib.contextmanager
    def database(self) -> Iterator[Database]:
        with contextlib.closing(open_database(self._where)) as database:
            yield database

    def payer(self, chain: Chain, database: Database, fuse: Fuse | None = None) -> Payer:
        store: Any = PaymentStore(database, chain.identity())
        seen: Any = chain
        if fuse is not None:
            store = Fused(store, fuse, "record", "end", "open")
            seen = Fused(chain, fuse, "send", "statuses", "simulate", "accounts")
        return Payer(seen, store, WalletStore(database), self.key, self.terms, lambda: 1)

    def set_wallets(self, suppliers: int) -> None:
        with self.database() as database:
            store = WalletStore(database)
            for number in range(suppliers):
                self.set_wallet(store, f"s{number:05}", str(wallet_of(number)))

    def set_wallet(self, store: WalletStore, supplier_id: str, address: str) -> None:
        store.set(
            WalletEntry(
                supplier_id=supplier_id, address=address, set_by="test", reason="", set_ns=1
            )
        )

    def balances(self, chain: Chain, suppliers: int) -> list[int]:
        """What the suppliers' token accounts hold."""
        addresses = [token_address(wallet_of(n), self.terms.mint) for n in range(suppliers)]
        return [read_balance(account) for account in chain.accounts(addresses)]

    def funds(self, chain: Chain, database: Database) -> Funds:
        return self.payer(chain, database).funds()


def settled_books(path: Path, suppliers: int) -> None:
    """A ledger file with one epoch settled at a dollar for an IO: everybody served another sum."""
    ledger = SqliteLedger(path)
    groups = [deposit("alice", 10**12)]
    for number in range(suppliers):
        opening, closing = opened(f"c{number}"), closed(f"c{number}", used(100 + number))
        closing = msgspec.structs.replace(closing, supplier_id=f"s{number:05}")
        groups += [hold_group(opening), close_group(opening, closing)]
    assert all(answer.booked for answer in ledger.post("test", groups))
    settle(ledger, IdeParams(), io_price_nano_usd=10**9, now_ns=1)
    ledger.close()
