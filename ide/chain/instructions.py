"""Instructions of the programs a payment calls, and the transaction they make."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from solders import system_program
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import Transaction

from ide.chain.address import (
    ASSOCIATED_TOKEN_PROGRAM,
    MEMO_PROGRAM,
    SYSTEM_PROGRAM,
    TOKEN_PROGRAM,
    nonce_address,
    nonce_seed,
    token_address,
)
from metering.money import IO_DECIMALS

NONCE_SIZE = 80
TRANSACTION_BYTES_MAX = 1232
_SIGNATURE_BYTES = 64

_TRANSFER_CHECKED = 12
_BURN_CHECKED = 15
_CREATE_IDEMPOTENT = 1


def create_token_account(payer: Pubkey, wallet: Pubkey, mint: Pubkey) -> Instruction:
    """Make the wallet's associated token account; nothing if it is there."""
    return Instruction(
        ASSOCIATED_TOKEN_PROGRAM,
        bytes([_CREATE_IDEMPOTENT]),
        [
            AccountMeta(payer, True, True),
            AccountMeta(token_address(wallet, mint), False, True),
            AccountMeta(wallet, False, False),
            AccountMeta(mint, False, False),
            AccountMeta(SYSTEM_PROGRAM, False, False),
            AccountMeta(TOKEN_PROGRAM, False, False),
        ],
    )


def transfer(authority: Pubkey, wallet: Pubkey, mint: Pubkey, amount: int) -> Instruction:
    """Move base units from the authority's token account to the wallet's."""
    return Instruction(
        TOKEN_PROGRAM,
        struct.pack("<BQB", _TRANSFER_CHECKED, amount, IO_DECIMALS),
        [
            AccountMeta(token_address(authority, mint), False, True),
            AccountMeta(mint, False, False),
            AccountMeta(token_address(wallet, mint), False, True),
            AccountMeta(authority, True, False),
        ],
    )


def burn(authority: Pubkey, mint: Pubkey, amount: int) -> Instruction:
    """Destroy base units of the authority's token account: the supply falls by as much."""
    return Instruction(
        TOKEN_PROGRAM,
        struct.pack("<BQB", _BURN_CHECKED, amount, IO_DECIMALS),
        [
            AccountMeta(token_address(authority, mint), False, True),
            AccountMeta(mint, False, True),
            AccountMeta(authority, True, False),
        ],
    )


def memo(authority: Pubkey, text: str) -> Instruction:
    """A text in the chain's history, signed by the authority."""
    return Instruction(MEMO_PROGRAM, text.encode(), [AccountMeta(authority, True, False)])


def budget(units: int, price_micro_lamports: int) -> list[Instruction]:
    """Compute units to ask for, and what to offer for each beside the fee."""
    limit = [set_compute_unit_limit(units)]
    return [*limit, set_compute_unit_price(price_micro_lamports)] if price_micro_lamports else limit


def nonce_message(
    authority: Pubkey, nonce: Pubkey, value: Hash, instructions: Sequence[Instruction]
) -> Message:
    """A message that stays valid until the nonce moves, which it does itself: so it lands once."""
    advance = system_program.advance_nonce_account(
        {"nonce_pubkey": nonce, "authorized_pubkey": authority}
    )
    return Message.new_with_blockhash([advance, *instructions], authority, value)


def create_nonce(authority: Pubkey, number: int, lamports: int) -> list[Instruction]:
    """Make the authority's durable nonce account of this number."""
    address = nonce_address(authority, number)
    create = system_program.create_account_with_seed(
        {
            "from_pubkey": authority,
            "to_pubkey": address,
            "base": authority,
            "seed": nonce_seed(number),
            "lamports": lamports,
            "space": NONCE_SIZE,
            "owner": SYSTEM_PROGRAM,
        }
    )
    initialize = system_program.initialize_nonce_account(
        {"nonce_pubkey": address, "authority": authority}
    )
    return [create, initialize]


def transaction_size(message: Message) -> int:
    """Bytes of the message once signed."""
    return 1 + _SIGNATURE_BYTES * message.header.num_required_signatures + len(bytes(message))


def signed(key: Keypair, message: Message) -> Transaction:
    return Transaction([key], message, message.recent_blockhash)
