"""A Solana cluster behind an RPC node. Edge.

What counts is read at commitment `finalized`: no fork undoes it any more.
"""

from __future__ import annotations

import time
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.signature import Signature

from ide.chain.chain import AccountState, ChainError, TransactionStatus
from ide.chain.rpc import Rpc

_FINALIZED = "finalized"
_ACCOUNTS_MAX = 100
_SIGNATURES_MAX = 256
"""In one question, by Solana's own limits."""
_LOGS_SHOWN = 2

_T = TypeVar("_T")


class _Account(msgspec.Struct, frozen=True):
    owner: str
    lamports: int
    data: tuple[str, str]


class _Accounts(msgspec.Struct, frozen=True):
    value: list[_Account | None]


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    slot: int
    err: Any
    confirmation_status: str | None


class _Statuses(msgspec.Struct, frozen=True):
    value: list[_Status | None]


class _Simulated(msgspec.Struct, frozen=True):
    err: Any
    logs: list[str] | None = None


class _Simulation(msgspec.Struct, frozen=True):
    value: _Simulated


class _Blockhash(msgspec.Struct, frozen=True):
    blockhash: str


class _LatestBlockhash(msgspec.Struct, frozen=True):
    value: _Blockhash


class RpcChain:
    """A `Chain`."""

    def __init__(self, rpc: Rpc, poll_interval_s: int) -> None:
        self._rpc = rpc
        self._poll_interval_s = poll_interval_s
        self.name = rpc.name

    def identity(self) -> str:
        return self._ask("getGenesisHash", [], str)

    def accounts(self, addresses: Sequence[Pubkey]) -> list[AccountState | None]:
        found: list[AccountState | None] = []
        for start in range(0, len(addresses), _ACCOUNTS_MAX):
            asked = [str(address) for address in addresses[start : start + _ACCOUNTS_MAX]]
            how = {"commitment": _FINALIZED, "encoding": "base64"}
            told = self._ask("getMultipleAccounts", [asked, how], _Accounts).value
            self._check_count("getMultipleAccounts", len(told), len(asked))
            found += [None if account is None else _state(account) for account in told]
        return found

    def statuses(self, signatures: Sequence[Signature]) -> list[TransactionStatus | None]:
        found: list[TransactionStatus | None] = []
        for start in range(0, len(signatures), _SIGNATURES_MAX):
            asked = [str(each) for each in signatures[start : start + _SIGNATURES_MAX]]
            how = {"searchTransactionHistory": True}
            told = self._ask("getSignatureStatuses", [asked, how], _Statuses).value
            self._check_count("getSignatureStatuses", len(told), len(asked))
            found += [None if status is None else _status(status) for status in told]
        return found

    def simulate(self, transaction: bytes) -> str | None:
        how = {"encoding": "base64", "sigVerify": True, "commitment": "confirmed"}
        asked = [b64encode(transaction).decode(), how]
        told = self._ask("simulateTransaction", asked, _Simulation).value
        if told.err is None:
            return None
        logs = [line for line in told.logs or () if not line.startswith("Program ")]
        return "; ".join([_text(told.err), *logs[-_LOGS_SHOWN:]])

    def send(self, transaction: bytes) -> None:
        """Without a trial run on the node: one that fails shall get into a block, so that its nonce
        moves and it is known to be over.
        """
        how = {"encoding": "base64", "skipPreflight": True}
        self._ask("sendTransaction", [b64encode(transaction).decode(), how], str)

    def latest_blockhash(self) -> Hash:
        how = {"commitment": _FINALIZED}
        told = self._ask("getLatestBlockhash", [how], _LatestBlockhash)
        return Hash.from_string(told.value.blockhash)

    def rent_lamports(self, size: int) -> int:
        return self._ask("getMinimumBalanceForRentExemption", [size], int)

    def pause(self) -> None:
        time.sleep(self._poll_interval_s)

    def _ask(self, method: str, params: Sequence[object], kind: type[_T]) -> _T:
        told = self._rpc.call(method, params)
        try:
            return msgspec.convert(told, kind)
        except msgspec.ValidationError as error:
            raise ChainError(f"{self.name}, {method}: an answer out of order: {error}") from None

    def _check_count(self, method: str, told: int, asked: int) -> None:
        if told != asked:
            raise ChainError(f"{self.name}, {method}: {told} answers to {asked} questions")


def _state(account: _Account) -> AccountState:
    return AccountState(
        owner=Pubkey.from_string(account.owner),
        lamports=account.lamports,
        data=b64decode(account.data[0]),
    )


def _status(status: _Status) -> TransactionStatus:
    return TransactionStatus(
        finalized=status.confirmation_status == _FINALIZED,
        slot=status.slot,
        error=None if status.err is None else _text(status.err),
    )


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
