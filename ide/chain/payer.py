"""Pays settled epochs on chain, exactly once whatever dies when. Edge.

    plan -> sign with a nonce's value -> simulate -> write down -> send -> wait until final

A transaction is in the database before it is sent, and is valid until its nonce moves, which it
does itself. So after a crash the very same bytes are sent again; another transaction for the same
payments is signed only once the first is known to have failed for good (`verdict.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from ide.chain.account_data import TOKEN_ACCOUNT_SIZE, read_mint, read_nonce, read_vault
from ide.chain.address import parse_wallet, token_address
from ide.chain.chain import AccountState, Chain, ChainError
from ide.chain.check import vault_least
from ide.chain.courier import Courier
from ide.chain.instructions import signed
from ide.chain.payment import Attempt, Opening, Payment
from ide.chain.payment_store import PaymentStore
from ide.chain.plan import (
    CLOSING,
    Batch,
    ChainTerms,
    EpochDue,
    Funds,
    Plan,
    batches_of,
    closing_batch,
    payees_of,
)
from ide.chain.wallet_store import WalletStore

OnProgress = Callable[[int, int], None]
"""Told how many transactions of how many are final."""


class Payer:
    """Raises ChainError and LedgerError; after either `pay` may be called again."""

    def __init__(
        self,
        chain: Chain,
        payments: PaymentStore,
        wallets: WalletStore,
        key: Keypair,
        terms: ChainTerms,
        clock_ns: Callable[[], int],
    ) -> None:
        self._chain = chain
        self._store = payments
        self._wallets = wallets
        self._key = key
        self._terms = terms
        self._clock_ns = clock_ns
        self._courier = Courier(chain, payments, terms, clock_ns)

    def plan(self, due: EpochDue) -> Plan:
        """What is still to be signed of an epoch. Changes nothing."""
        taken = {paid.payment.supplier_id for paid in self._store.payments(due.epoch)}
        wallets = self._wallets.current()
        payouts = {name: io for name, io in due.payouts.items() if name not in taken}
        accounts = self._accounts(wallets[name] for name in payouts if name in wallets)
        payees, held = payees_of(payouts, wallets, self._terms.mint, accounts)
        rent = self._chain.rent_lamports(TOKEN_ACCOUNT_SIZE)
        batches = batches_of(payees, self._terms, rent)
        if CLOSING not in taken:
            batches.append(closing_batch(due, self._terms))
        return Plan(epoch=due.epoch, batches=tuple(batches), held=tuple(held))

    def pay(self, due: EpochDue, on_progress: OnProgress = lambda done, of: None) -> Plan:
        """Pay all that can be paid. Returns the plan that was carried out, and who is held.

        First ends what an earlier run left on its way, of whichever epoch.
        """
        opening = self._check_opening()
        self._courier.finish(self._store.live())
        self._check_vault(opening)
        plan = self.plan(due)
        self._check_affordable(plan)
        done = 0
        while done < len(plan.batches):
            lanes = self._free_nonces()
            chosen = plan.batches[done : done + len(lanes)]
            self._courier.finish(
                [
                    self._sign(due.epoch, batch, *lane)
                    for batch, lane in zip(chosen, lanes, strict=False)
                ]
            )
            done += len(chosen)
            on_progress(done, len(plan.batches))
        return plan

    def funds(self) -> Funds:
        """As of the last finalized block. Raises ChainError if mint or vault is not as needed."""
        terms = self._terms
        vault = token_address(terms.authority, terms.mint)
        found = self._chain.accounts([terms.mint, vault, terms.authority])
        return Funds(
            supply_io=read_mint(terms.mint, found[0]).supply,
            vault_io=read_vault(terms.authority, terms.mint, found[1]),
            lamports=found[2].lamports if found[2] else 0,
        )

    def open(self, reason: str) -> Opening:
        """Note what the chain holds now, from where `chain-check` counts on.

        Raises ChainError while anything is on its way, or if the books are paid in another token.
        """
        before = self._store.opening()
        if before is not None and before.mint != str(self._terms.mint):
            raise ChainError(
                f"on this chain these books are paid in mint {before.mint}: set mint back"
            )
        if self._store.live():
            raise ChainError("transactions are on their way: run `tollgate settle pay` first")
        funds = self.funds()
        paid = self._store.paid_by_supplier()
        burned = paid.pop(CLOSING, 0)
        opening = Opening(
            chain=self._store.chain,
            mint=str(self._terms.mint),
            authority=str(self._terms.authority),
            supply_io=funds.supply_io,
            vault_io=funds.vault_io,
            paid_io=sum(paid.values()),
            burned_io=burned,
            reason=reason,
            opened_ns=self._clock_ns(),
        )
        self._store.open(opening)
        return opening

    def _check_opening(self) -> Opening:
        """On one chain the books are paid in one token by one wallet: else paid looks unpaid."""
        opening = self._store.opening() or self.open("first payment")
        now = (str(self._terms.mint), str(self._terms.authority))
        if now != (opening.mint, opening.authority):
            raise ChainError(
                f"on this chain these books are paid in mint {opening.mint} by {opening.authority},"
                f" not in {now[0]} by {now[1]}: set mint and authority_key_file back"
            )
        return opening

    def _check_vault(self, opening: Opening) -> None:
        """Books that were restored from an older backup would pay again what they forgot."""
        least = vault_least(opening, self._store.paid_by_supplier())
        held = self.funds().vault_io
        if held < least:
            raise ChainError(
                f"the vault holds {held} base units of IO and should hold {least}: something else"
                " took from it, or these books are older than the payments made. Nothing was sent;"
                " look into it before `tollgate settle chain-check --accept`"
            )

    def _check_affordable(self, plan: Plan) -> None:
        """Before anything is signed: caps and funds must do for the whole plan."""
        terms, spent, funds = self._terms, self._store.spent(plan.epoch), self.funds()
        limits = (
            ("IO (base units)", plan.io, funds.vault_io, "the vault holds"),
            ("lamports", plan.lamports, funds.lamports, f"the wallet {terms.authority} holds"),
            ("IO (base units)", spent.io + plan.io, terms.io_per_epoch_max, "the cap is"),
            (
                "lamports",
                spent.lamports + plan.lamports,
                terms.lamports_per_epoch_max,
                "the cap is",
            ),
        )
        for what, needed, most, says in limits:
            if most is not None and needed > most:
                raise ChainError(
                    f"epoch {plan.epoch} needs {needed} {what} and {says} {most}: nothing was sent"
                )

    def _free_nonces(self) -> list[tuple[Pubkey, Hash]]:
        """Nonce accounts with a value that nothing was signed with yet; at least one.

        A node of the chain that lags behind may still tell the value before.
        """
        last = self._store.last_nonces()
        addresses = self._terms.nonce_addresses()
        for _ in range(self._terms.polls_max):
            values = self._nonces(addresses)
            free = [
                (address, value)
                for address, value in zip(addresses, values, strict=True)
                if last.get(str(address)) != str(value)
            ]
            if free:
                return free
            self._chain.pause()
        raise ChainError(
            "no nonce account has moved on, though all that was signed with them is final:"
            f" {self._chain.name} lags behind. Run again later"
        )

    def _nonces(self, addresses: Sequence[Pubkey]) -> list[Hash]:
        found = self._chain.accounts(addresses)
        return [
            read_nonce(address, self._terms.authority, account)
            for address, account in zip(addresses, found, strict=True)
        ]

    def _sign(self, epoch: int, batch: Batch, nonce: Pubkey, value: Hash) -> Attempt:
        message = batch.message(self._terms, nonce, value)
        transaction = signed(self._key, message)
        problem = self._chain.simulate(bytes(transaction))
        if problem is not None:
            whom = ", ".join(payee.supplier_id for payee in batch.payees) or "the burn"
            raise ChainError(
                f"epoch {epoch}: the transaction for {whom} would fail: {problem}."
                " Nothing of it was sent"
            )
        attempt = Attempt(
            signature=str(transaction.signatures[0]),
            epoch=epoch,
            nonce_account=str(nonce),
            nonce=str(value),
            transaction=bytes(transaction),
            io=batch.io,
            lamports=batch.lamports,
        )
        self._store.record(
            attempt,
            _payments(epoch, batch),
            io_max=self._terms.io_per_epoch_max,
            lamports_max=self._terms.lamports_per_epoch_max,
            now_ns=self._clock_ns(),
        )
        return attempt

    def _accounts(self, wallets: Iterator[str]) -> dict[Pubkey, AccountState | None]:
        """Each wallet and its token account."""
        addresses = [parse_wallet(wallet) for wallet in dict.fromkeys(wallets)]
        addresses += [token_address(wallet, self._terms.mint) for wallet in addresses]
        return dict(zip(addresses, self._chain.accounts(addresses), strict=True))


def _payments(epoch: int, batch: Batch) -> list[Payment]:
    if batch.memo is not None:
        return [Payment(epoch=epoch, supplier_id=CLOSING, wallet="", io=batch.burn_io)]
    return [
        Payment(epoch=epoch, supplier_id=payee.supplier_id, wallet=str(payee.wallet), io=payee.io)
        for payee in batch.payees
    ]
