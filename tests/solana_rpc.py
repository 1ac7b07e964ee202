"""An RPC node over the embedded VM, on a real socket, for tests of what talks to a cluster.

Answers are held to Solana's own definitions, as solders carries them.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import threading
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from solders.pubkey import Pubkey
from solders.rpc import responses
from solders.signature import Signature
from solders.transaction import Transaction

from ide.chain.chain import AccountState
from ide.chain.vm_chain import VmChain

_ANSWERS: dict[str, Any] = {
    "getGenesisHash": responses.GetGenesisHashResp,
    "getMultipleAccounts": responses.GetMultipleAccountsResp,
    "getSignatureStatuses": responses.GetSignatureStatusesResp,
    "simulateTransaction": responses.SimulateTransactionResp,
    "sendTransaction": responses.SendTransactionResp,
    "getLatestBlockhash": responses.GetLatestBlockhashResp,
    "getMinimumBalanceForRentExemption": responses.GetMinimumBalanceForRentExemptionResp,
}
_SLOT = {"slot": 1, "apiVersion": "2.1.0"}


class RpcNode:
    """What a test may set is read at each request."""

    def __init__(self, vm_file: Path, genesis: dict[Pubkey, AccountState]) -> None:
        self._vm_file = vm_file
        self._genesis = genesis
        self.asked: list[str] = []
        self.bodies: dict[str, Any] = {}
        """The last request of each method."""
        self.sent: list[bytes] = []
        self.drops = 0
        """So many transactions more are taken and forgotten."""
        self.confirms_for = 0
        """How often a transaction's status is `confirmed` before it is final."""
        self.forgets = False
        """It keeps no history of statuses."""
        self.refusals: deque[tuple[int, bytes]] = deque()
        """HTTP status and body of the next answers."""
        self.away = False
        """It takes requests and never answers."""
        self._waiting: dict[str, tuple[int, bytes]] = {}
        self.stopped = threading.Event()

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        """Its URL."""
        ready = threading.Event()
        servers: list[http.server.HTTPServer] = []

        def serve() -> None:
            with contextlib.closing(VmChain(self._vm_file, self._genesis)) as chain:
                server = http.server.HTTPServer(("127.0.0.1", 0), _handler(self, chain))
                servers.append(server)
                ready.set()
                server.serve_forever(poll_interval=0.01)
                server.server_close()

        thread = threading.Thread(target=serve)
        thread.start()
        assert ready.wait(10)
        try:
            yield f"http://127.0.0.1:{servers[0].server_port}/?api-key=secret"
        finally:
            self.stopped.set()
            servers[0].shutdown()
            thread.join()

    def answer(self, chain: VmChain, body: bytes) -> bytes:
        asked = json.loads(body)
        method, params = asked["method"], asked["params"]
        self.asked.append(method)
        self.bodies[method] = asked
        handler = re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), f"_{method}")
        result = getattr(self, handler)(chain, *params)
        raw = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result})
        told = _ANSWERS[method].from_json(raw)
        assert isinstance(told, _ANSWERS[method]), told
        return raw.encode()

    def _get_genesis_hash(self, chain: VmChain) -> str:
        return chain.identity()

    def _get_multiple_accounts(self, chain: VmChain, addresses: list[str], how: Any) -> Any:
        assert how == {"commitment": "finalized", "encoding": "base64"}
        assert len(addresses) <= 100
        found = chain.accounts([Pubkey.from_string(address) for address in addresses])
        return {"context": _SLOT, "value": [_account(account) for account in found]}

    def _get_signature_statuses(self, chain: VmChain, signatures: list[str], how: Any) -> Any:
        assert how == {"searchTransactionHistory": True}
        return {"context": _SLOT, "value": [self._status(chain, each) for each in signatures]}

    def _status(self, chain: VmChain, signature: str) -> Any:
        if self.forgets:
            return None
        if signature in self._waiting:
            left, transaction = self._waiting[signature]
            if left:
                self._waiting[signature] = (left - 1, transaction)
                return _told(1, None, "confirmed")
            del self._waiting[signature]
            chain.send(transaction)
        (status,) = chain.statuses([Signature.from_string(signature)])
        return status and _told(status.slot, status.error, "finalized")

    def _simulate_transaction(self, chain: VmChain, encoded: str, how: Any) -> Any:
        assert how == {"encoding": "base64", "sigVerify": True, "commitment": "confirmed"}
        problem = chain.simulate(b64decode(encoded))
        logs = ["Program 1111 invoke [1]"]
        value = {"err": problem and "AccountNotFound", "logs": logs, "accounts": None}
        return {"context": _SLOT, "value": {**value, "unitsConsumed": 1, "returnData": None}}

    def _send_transaction(self, chain: VmChain, encoded: str, how: Any) -> str:
        assert how == {"encoding": "base64", "skipPreflight": True}
        transaction = b64decode(encoded)
        self.sent.append(transaction)
        signature = str(Transaction.from_bytes(transaction).signatures[0])
        if self.drops:
            self.drops -= 1
        elif self.confirms_for and chain.statuses([Signature.from_string(signature)]) == [None]:
            self._waiting.setdefault(signature, (self.confirms_for, transaction))
        else:
            chain.send(transaction)
        return signature

    def _get_latest_blockhash(self, chain: VmChain, how: Any) -> Any:
        assert how == {"commitment": "finalized"}
        value = {"blockhash": str(chain.latest_blockhash()), "lastValidBlockHeight": 1}
        return {"context": _SLOT, "value": value}

    def _get_minimum_balance_for_rent_exemption(self, chain: VmChain, size: int) -> int:
        return chain.rent_lamports(size)


def _account(account: AccountState | None) -> Any:
    if account is None:
        return None
    return {
        "lamports": account.lamports,
        "owner": str(account.owner),
        "data": [b64encode(account.data).decode(), "base64"],
        "executable": False,
        "rentEpoch": 0,
        "space": len(account.data),
    }


def _told(slot: int, error: str | None, how_sure: str) -> Any:
    failed = {"InstructionError": [1, {"Custom": 17}]} if error else None
    status = {"Err": failed} if failed else {"Ok": None}
    sure = {"confirmations": None, "confirmationStatus": how_sure}
    return {"slot": slot, "err": failed, "status": status, **sure}


def _handler(node: RpcNode, chain: VmChain) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if node.away:
                node.stopped.wait(30)
                return
            status, answer = node.refusals.popleft() if node.refusals else (200, None)
            answer = node.answer(chain, body) if answer is None else answer
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
