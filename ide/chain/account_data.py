"""What the bytes of token, mint and nonce accounts say."""

from __future__ import annotations

from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.token.state import Mint, TokenAccount, TokenAccountState

from ide.chain.address import SYSTEM_PROGRAM, TOKEN_PROGRAM, token_address
from ide.chain.chain import AccountState, ChainError
from ide.chain.instructions import NONCE_SIZE
from metering.money import IO_DECIMALS

TOKEN_ACCOUNT_SIZE = 165

_NONCE_INITIALIZED = bytes([1, 0, 0, 0])
_STATE = slice(4, 8)
_AUTHORITY = slice(8, 40)
_VALUE = slice(40, 72)


def read_mint(address: Pubkey, account: AccountState | None) -> Mint:
    """Raises ChainError unless it is the mint of a token with IO's decimals."""
    if account is None:
        raise ChainError(
            f"there is no mint {address} on this chain: check mint and url of [solana]"
        )
    if account.owner != TOKEN_PROGRAM or len(account.data) != len(bytes(Mint.default())):
        raise ChainError(f"{address} is no mint of the SPL token program: check mint")
    mint = Mint.from_bytes(account.data)
    if not mint.is_initialized or mint.decimals != IO_DECIMALS:
        raise ChainError(
            f"the mint {address} has {mint.decimals} decimals, and the ledger counts IO with"
            f" {IO_DECIMALS}: check mint"
        )
    return mint


def read_vault(authority: Pubkey, mint: Pubkey, account: AccountState | None) -> int:
    """Base units that the payer holds. Raises ChainError if it cannot pay from there."""
    address = token_address(authority, mint)
    if account is None:
        raise ChainError(
            f"the vault {address} does not exist: send IO to the wallet {authority}, which makes it"
        )
    problem = unfit(authority, mint, account)
    if problem:
        raise ChainError(f"the vault {address} cannot pay: {problem}")
    return TokenAccount.from_bytes(account.data).amount


def read_balance(account: AccountState | None) -> int:
    """Base units in a token account; 0 if there is none."""
    if account is None or len(account.data) != TOKEN_ACCOUNT_SIZE:
        return 0
    return TokenAccount.from_bytes(account.data).amount


def unfit(wallet: Pubkey, mint: Pubkey, account: AccountState | None) -> str | None:
    """Why a wallet's token account cannot be paid into; None if it can, or is yet to be made."""
    if account is None or (account.owner == SYSTEM_PROGRAM and not account.data):
        return None
    if account.owner != TOKEN_PROGRAM or len(account.data) != TOKEN_ACCOUNT_SIZE:
        return "its token account's address is taken by something else"
    held = TokenAccount.from_bytes(account.data)
    if held.mint != mint:
        return "its token account is of another mint"
    if held.owner != wallet:
        return "its token account was given to another owner"
    if held.state == TokenAccountState.Frozen:
        return "its token account is frozen"
    return None


def no_wallet(account: AccountState | None) -> str | None:
    """Why an address is no wallet as the chain knows it; None if nothing speaks against it."""
    if account is not None and account.owner != SYSTEM_PROGRAM:
        return f"the address belongs to the program {account.owner}: it is no wallet"
    return None


def read_nonce(address: Pubkey, authority: Pubkey, account: AccountState | None) -> Hash:
    """The value that a transaction has to name. Raises ChainError."""
    if account is None:
        raise ChainError(
            f"the nonce account {address} does not exist: run `tollgate settle chain-setup`"
        )
    data = account.data
    if (
        account.owner != SYSTEM_PROGRAM
        or len(data) != NONCE_SIZE
        or data[_STATE] != _NONCE_INITIALIZED
    ):
        raise ChainError(f"{address} is no nonce account: see `tollgate settle chain-setup`")
    if data[_AUTHORITY] != bytes(authority):
        raise ChainError(f"the nonce account {address} is not {authority}'s to advance")
    return Hash.from_bytes(data[_VALUE])


def with_nonce(data: bytes, value: Hash) -> bytes:
    """The nonce account's bytes once it moved to this value."""
    return data[: _VALUE.start] + bytes(value) + data[_VALUE.stop :]
