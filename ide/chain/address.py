"""Addresses: which can be a supplier's wallet, and those that follow from others."""

from __future__ import annotations

from solders import compute_budget, system_program, token
from solders.pubkey import Pubkey
from solders.token.associated import get_associated_token_address

TOKEN_PROGRAM = token.ID
SYSTEM_PROGRAM = system_program.ID
ASSOCIATED_TOKEN_PROGRAM = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
MEMO_PROGRAM = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")

_PROGRAMS = frozenset(
    {
        TOKEN_PROGRAM,
        SYSTEM_PROGRAM,
        ASSOCIATED_TOKEN_PROGRAM,
        MEMO_PROGRAM,
        compute_budget.ID,
        Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"),
        Pubkey.from_string("1nc1nerator11111111111111111111111111111111"),
    }
)
"""Whatever is paid to one of these is lost."""


class AddressError(ValueError):
    """A text that is no address, or an address that cannot be paid."""


def parse_address(text: str) -> Pubkey:
    """Raises AddressError unless it is the base58 of 32 bytes."""
    try:
        return Pubkey.from_string(text)
    except ValueError:
        raise AddressError(
            f"'{text[:100]}' is no Solana address: that is 32 bytes in base58, 32 to 44 of"
            " 1-9, A-Z, a-z without 0, O, I, l"
        ) from None


def parse_wallet(text: str) -> Pubkey:
    """An address that somebody can hold the key of. Raises AddressError.

    A token account or another program's address has no key: tokens sent to a token account of such
    an owner could not be moved by the supplier.
    """
    address = parse_address(text)
    if address in _PROGRAMS:
        raise AddressError(f"{text} is a program: whatever is paid to it is lost")
    if not address.is_on_curve():
        raise AddressError(
            f"{text} is off the curve: an account of a program, such as a token account, and no"
            " wallet; give the address of the wallet that owns it"
        )
    return address


def token_address(wallet: Pubkey, mint: Pubkey) -> Pubkey:
    """Where a wallet keeps the tokens of a mint: its associated token account."""
    return get_associated_token_address(wallet, mint)


def token_address_misses(wallet: Pubkey, mint: Pubkey) -> int:
    """How many tries the chain needs to find `token_address`: each costs compute units."""
    seeds = [bytes(wallet), bytes(TOKEN_PROGRAM), bytes(mint)]
    _, bump = Pubkey.find_program_address(seeds, ASSOCIATED_TOKEN_PROGRAM)
    return 255 - bump


def nonce_seed(number: int) -> str:
    return f"tollgate-nonce-{number}"


def nonce_address(authority: Pubkey, number: int) -> Pubkey:
    """Of a durable nonce account: it follows from the authority, so no key is kept for it."""
    return Pubkey.create_with_seed(authority, nonce_seed(number), SYSTEM_PROGRAM)
