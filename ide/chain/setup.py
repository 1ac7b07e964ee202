"""What must be on a chain before anything can be paid from it. Edge."""

from __future__ import annotations

from collections.abc import Mapping

from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.token.state import Mint, TokenAccount, TokenAccountState

from ide.chain.account_data import read_nonce
from ide.chain.address import SYSTEM_PROGRAM, TOKEN_PROGRAM, token_address
from ide.chain.chain import AccountState, Chain
from ide.chain.instructions import NONCE_SIZE, create_nonce, signed
from ide.chain.plan import ChainTerms
from metering.money import IO_DECIMALS

_VM_LAMPORTS = 10**15
_VM_RENT_LAMPORTS = 10**7
"""A million SOL to pay fees with, and more than any account needs to stay."""

_VM_MINT = b"tollgate-vm-mint"


def vm_mint(authority: Pubkey) -> Pubkey:
    """The mint of an embedded chain: it follows from who pays there."""
    return Pubkey.find_program_address([_VM_MINT], authority)[0]


def vm_genesis(authority: Pubkey, supply_io: int) -> dict[Pubkey, AccountState]:
    """A chain on which the payer holds all IO there is, and SOL for its fees."""
    mint = vm_mint(authority)
    minted = Mint(
        mint_authority=None,
        supply=supply_io,
        decimals=IO_DECIMALS,
        is_initialized=True,
        freeze_authority=None,
    )
    vault = TokenAccount(
        mint=mint,
        owner=authority,
        amount=supply_io,
        delegate=None,
        state=TokenAccountState.Initialized,
        is_native=None,
        delegated_amount=0,
        close_authority=None,
    )
    return {
        authority: AccountState(owner=SYSTEM_PROGRAM, lamports=_VM_LAMPORTS, data=b""),
        mint: AccountState(owner=TOKEN_PROGRAM, lamports=_VM_RENT_LAMPORTS, data=bytes(minted)),
        token_address(authority, mint): AccountState(
            owner=TOKEN_PROGRAM, lamports=_VM_RENT_LAMPORTS, data=bytes(vault)
        ),
    }


def make_nonce_accounts(chain: Chain, key: Keypair, terms: ChainTerms) -> Mapping[Pubkey, bool]:
    """Make the durable nonce accounts that are missing; whether each was made by this call.

    Raises ChainError if one is not there in the end: then this may be called again.
    """
    addresses = terms.nonce_addresses()
    there = dict(zip(addresses, chain.accounts(addresses), strict=True))
    rent = chain.rent_lamports(NONCE_SIZE)
    for number, address in enumerate(addresses):
        if there[address] is None:
            made = create_nonce(terms.authority, number, rent)
            message = Message.new_with_blockhash(made, terms.authority, chain.latest_blockhash())
            chain.send(bytes(signed(key, message)))
    for _ in range(terms.polls_max):
        if all(chain.accounts(addresses)):
            break
        chain.pause()
    for address, account in zip(addresses, chain.accounts(addresses), strict=True):
        read_nonce(address, terms.authority, account)
    return {address: there[address] is None for address in addresses}
