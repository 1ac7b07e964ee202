"""What the commands that pay on chain share: the chain, the payer, and what an epoch owes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from gateway.cli.home import config_file, open_ledger, open_stores
from gateway.config_error import ConfigError
from gateway.home import Home
from gateway.solana_config import SolanaConfig, solana_config
from ide.chain.address import AddressError, parse_address
from ide.chain.chain import Chain, ChainError
from ide.chain.key_file import make_key, read_key
from ide.chain.payer import Payer
from ide.chain.payment_store import PaymentStore
from ide.chain.plan import ChainTerms
from ide.chain.rpc import Rpc
from ide.chain.rpc_chain import RpcChain
from ide.chain.setup import make_nonce_accounts, vm_genesis, vm_mint
from ide.chain.vm_chain import VmChain
from ide.chain.wallet_store import WalletStore
from ide.params import IdeParams
from metering import accounts
from metering.accounts import AccountError
from metering.ledger import Ledger


class ChainBooks(msgspec.Struct, frozen=True, kw_only=True):
    """All that a command needs to pay or to look."""

    ledger: Ledger
    chain: Chain
    payer: Payer
    payments: PaymentStore
    wallets: WalletStore
    key: Keypair
    terms: ChainTerms


@contextlib.contextmanager
def open_chain_books(home: Path) -> Iterator[ChainBooks]:
    """The home's books beside the chain of `[solana]`. Errors end the command in one line."""
    with named_errors(), open_ledger(home) as ledger, open_stores(home) as database:
        config = _config(home)
        with _chain(config, Home(home), ledger) as (chain, key, terms):
            payments = PaymentStore(database, chain.identity())
            wallets = WalletStore(database)
            yield ChainBooks(
                ledger=ledger,
                chain=chain,
                payer=Payer(chain, payments, wallets, key, terms, time.time_ns),
                payments=payments,
                wallets=wallets,
                key=key,
                terms=terms,
            )


@contextlib.contextmanager
def named_errors() -> Iterator[None]:
    try:
        yield
    except (AccountError, AddressError, ChainError, ConfigError) as error:
        raise click.ClickException(str(error)) from error


def _config(home: Path) -> SolanaConfig:
    file = config_file(home)
    return SolanaConfig() if file is None else solana_config(file)


@contextlib.contextmanager
def _chain(
    config: SolanaConfig, home: Home, ledger: Ledger
) -> Iterator[tuple[Chain, Keypair, ChainTerms]]:
    if not config.embedded:
        key = read_key(Path(config.authority_key_file or ""))
        terms = _terms(config, key, parse_address(config.mint or ""))
        rpc = Rpc(config.address(), config.request_timeout_s)
        yield RpcChain(rpc, config.poll_interval_s), key, terms
        return
    file = home.solana_vm_key_file
    key = read_key(file) if file.exists() else make_key(file)
    terms = _terms(config, key, vm_mint(key.pubkey()))
    issued = -ledger.balance(accounts.IO_ISSUANCE).posted
    genesis = vm_genesis(key.pubkey(), issued or IdeParams().cap_io)
    with contextlib.closing(VmChain(home.solana_vm_file, genesis)) as chain:
        make_nonce_accounts(chain, key, terms)
        yield chain, key, terms


def _terms(config: SolanaConfig, key: Keypair, mint: Pubkey) -> ChainTerms:
    return ChainTerms(
        authority=key.pubkey(),
        mint=mint,
        nonce_accounts=config.nonce_accounts,
        compute_unit_price_micro_lamports=config.compute_unit_price_micro_lamports,
        io_per_epoch_max=config.io_max(),
        lamports_per_epoch_max=config.lamports_per_epoch_max,
        polls_max=max(1, config.finalize_timeout_s // config.poll_interval_s),
    )
