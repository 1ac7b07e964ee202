"""Epochs paid over JSON-RPC: a real socket, the VM behind it, and what RPC nodes do wrong."""

from __future__ import annotations

import contextlib
import json
from base64 import b64decode

import pytest
from chain_world import SUPPLY_IO, World, due_of, settled_books, wallet_of
from click.testing import CliRunner
from held_port import held_port
from solana_rpc import RpcNode
from solders.account_decoder import UiAccountEncoding
from solders.commitment_config import CommitmentLevel
from solders.pubkey import Pubkey
from solders.rpc import requests
from solders.rpc.config import (
    RpcAccountInfoConfig,
    RpcContextConfig,
    RpcSendTransactionConfig,
    RpcSignatureStatusConfig,
    RpcSimulateTransactionConfig,
)
from solders.signature import Signature
from solders.transaction import Transaction

from gateway.cli import main
from ide.chain.chain import ChainAwayError, ChainError
from ide.chain.payment import TransactionState
from ide.chain.payment_store import PaymentStore
from ide.chain.rpc import Rpc
from ide.chain.rpc_chain import RpcChain
from ide.chain.setup import make_nonce_accounts, vm_genesis

SUPPLIERS = 20
POLLS = 40


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "ledger.db", tmp_path / "vm.db", polls_max=POLLS)
    made.set_wallets(SUPPLIERS)
    return made


@pytest.fixture
def node(tmp_path, world):
    return RpcNode(tmp_path / "vm.db", vm_genesis(world.key.pubkey(), SUPPLY_IO))


@contextlib.contextmanager
def cluster(node, world, timeout_s=5):
    with node.serving() as url, world.database() as database:
        chain = RpcChain(Rpc(url, timeout_s), poll_interval_s=0)
        make_nonce_accounts(chain, world.key, world.terms)
        node.asked.clear()
        node.sent.clear()
        yield chain, world.payer(chain, database), PaymentStore(database, chain.identity())


def expect_paid_once(chain, world, store, payer) -> None:
    assert world.balances(chain, SUPPLIERS) == [1_000 + n for n in range(SUPPLIERS)]
    assert payer.funds().supply_io == SUPPLY_IO - 777
    assert {each.state for each in store.payments(1)} == {TransactionState.FINALIZED}
    assert store.live() == []


def test_an_epoch_is_paid_over_rpc(node, world):
    with cluster(node, world) as (chain, payer, store):
        payer.pay(due_of(1, SUPPLIERS))
        expect_paid_once(chain, world, store, payer)
        assert len(node.sent) == 4


def test_confirmed_is_not_paid_only_finalized_is(node, world):
    with cluster(node, world) as (chain, payer, store):
        node.confirms_for = 3
        ended = []
        end = store.end

        def ending(signature, state, **told):
            ended.append(node.asked.count("getSignatureStatuses"))
            end(signature, state, **told)

        payer._courier._store.end = ending
        payer.pay(due_of(1, SUPPLIERS))
        expect_paid_once(chain, world, store, payer)
        assert min(ended) > 3


def test_what_the_node_drops_is_sent_again_the_same_bytes(node, world):
    with cluster(node, world) as (chain, payer, store):
        node.drops = 2
        payer.pay(due_of(1, SUPPLIERS))
        expect_paid_once(chain, world, store, payer)
        assert len(node.sent) == 6
        assert len(set(node.sent)) == 4


def test_a_node_that_is_away_for_a_while_is_waited_for(node, world):
    with cluster(node, world) as (chain, payer, store):
        behind = b'{"jsonrpc":"2.0","id":0,"error":{"code":-32005,"message":"Node is behind"}}'
        send = chain.send

        def sending(transaction):
            node.refusals.extend([(429, b""), (503, b""), (200, behind)])
            chain.send = send

        chain.send = sending
        payer.pay(due_of(1, SUPPLIERS))
        expect_paid_once(chain, world, store, payer)


def test_what_never_lands_in_time_is_told_and_finished_by_the_next_run(node, world):
    with cluster(node, world) as (chain, payer, store):
        node.drops = 10**6
        with pytest.raises(ChainError, match=r"2 transactions are sent but not final.*Run again"):
            payer.pay(due_of(1, SUPPLIERS))
        signed = {attempt.signature for attempt in store.live()}
        assert len(signed) == 2
        node.drops = 0
        payer.pay(due_of(1, SUPPLIERS))
        expect_paid_once(chain, world, store, payer)
        assert signed < {each.signature for each in store.payments(1)}


def test_a_node_without_history_pays_nothing_more_until_it_is_known(node, world):
    with cluster(node, world) as (chain, payer, store):
        node.forgets = True
        with pytest.raises(ChainError, match=r"has moved.*does not know what became of it"):
            payer.pay(due_of(1, SUPPLIERS))
        sent = len(set(node.sent))
        with pytest.raises(ChainError, match="does not know"):
            payer.pay(due_of(1, SUPPLIERS))
        assert len(set(node.sent)) == sent
        node.forgets = False
        payer.pay(due_of(1, SUPPLIERS))
        expect_paid_once(chain, world, store, payer)


def test_a_silent_node_is_given_up_on_and_its_key_is_not_told(node, world):
    with cluster(node, world, timeout_s=1) as (chain, _, _):
        node.away = True
        with pytest.raises(ChainAwayError, match=r"127.0.0.1, getGenesisHash: no answer") as told:
            chain.identity()
        assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("status", "body", "kind", "problem"),
    [
        (403, b"no", ChainError, "HTTP status 403"),
        (429, b"", ChainAwayError, "HTTP status 429"),
        (502, b"<html>", ChainAwayError, "HTTP status 502"),
        (200, b"<html>", ChainError, "no JSON-RPC answer"),
        (200, b'{"id":77,"result":"x"}', ChainError, "answer is to question 77"),
        (200, b'{"id":1,"error":{"code":-32602,"message":"bad"}}', ChainError, "-32602: bad"),
        (200, b'{"id":1,"error":{"code":-32016,"message":"x"}}', ChainAwayError, "-32016"),
    ],
)
def test_an_answer_that_is_none_is_named(node, status, body, kind, problem):
    with node.serving() as url:
        chain = RpcChain(Rpc(url, 5), poll_interval_s=0)
        node.refusals.append((status, body))
        with pytest.raises(ChainError, match=problem) as told:
            chain.identity()
        assert type(told.value) is kind
        assert "secret" not in str(told.value)


def test_nobody_listening_is_away():
    with pytest.raises(ChainAwayError, match="no answer"):
        RpcChain(Rpc(f"http://127.0.0.1:{held_port()}", 1), poll_interval_s=0).identity()


def test_a_count_of_answers_that_does_not_fit_is_refused(node, world):
    with node.serving() as url:
        chain = RpcChain(Rpc(url, 5), poll_interval_s=0)
        node.refusals.append((200, b'{"id":1,"result":{"context":{"slot":1},"value":[]}}'))
        with pytest.raises(ChainError, match="0 answers to 1 questions"):
            chain.accounts([world.terms.mint])
        node.refusals.append((200, b'{"id":2,"result":{"context":{"slot":1}}}'))
        with pytest.raises(ChainError, match="answer out of order"):
            chain.accounts([world.terms.mint])


def test_a_missing_nonce_account_names_the_command(node, world):
    with node.serving() as url, world.database() as database:
        payer = world.payer(RpcChain(Rpc(url, 5), poll_interval_s=0), database)
        with pytest.raises(ChainError, match="run `tollgate settle chain-setup`"):
            payer.pay(due_of(1, SUPPLIERS))


def test_a_lagging_node_is_not_signed_for_twice(node, world):
    """It still tells the nonces before: nothing is signed with them again."""
    with cluster(node, world) as (chain, payer, _):
        addresses = world.terms.nonce_addresses()
        old = chain.accounts(addresses)
        payer.pay(due_of(1, 0))
        accounts = chain.accounts
        chain.accounts = lambda asked: (
            [old[addresses.index(each)] for each in asked]
            if set(asked) <= set(addresses)
            else accounts(asked)
        )
        lagging = due_of(2, 0)
        payer.pay(lagging)  # with the nonce account that was not used before
        with pytest.raises(ChainError, match=r"no nonce account has moved on.*lags behind"):
            payer.pay(due_of(3, 0))
        chain.accounts = accounts
        payer.pay(due_of(3, 0))
        assert payer.funds().supply_io == SUPPLY_IO - 3 * 777


def test_the_commands_pay_over_rpc(node, world, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    settled_books(home / "ledger.db", 3)
    key_file = home / "payer.json"
    key_file.write_text(json.dumps(list(bytes(world.key))))
    key_file.chmod(0o600)

    def tollgate(*arguments):
        command = ["settle", *arguments, "--home", str(home), "--json"]
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    with node.serving() as url:
        (home / "rpc_url").write_text(url)
        (home / "tollgate.toml").write_text(
            f"""
            [solana]
            url_file = "{home / "rpc_url"}"
            mint = "{world.terms.mint}"
            authority_key_file = "{key_file}"
            io_per_epoch_max = "1"
            nonce_accounts = 2
            poll_interval_s = 1
            """
        )
        made = tollgate("chain-setup")
        assert [nonce["made"] for nonce in made["nonce_accounts"]] == [True, True]
        assert made["vault_io"] == SUPPLY_IO
        for number in range(3):
            tollgate("wallet", "set", f"s{number:05}", str(wallet_of(number)))
        paid = tollgate("pay", "--epoch", "1")
        assert paid["chain"] == "the RPC node 127.0.0.1"
        assert {row["state"] for row in paid["payments"]} == {"paid"}
        checked = tollgate("chain-check")
        assert checked["agrees"]
        assert checked["owed_io"] == checked["burn_owed_io"] == checked["topped_up_io"] == 0
        assert not (home / "solana-vm.db").exists()


def test_requests_are_those_that_solders_would_make(node, world):
    with cluster(node, world) as (_, payer, _):
        payer.pay(due_of(1, 1))
    asked = node.bodies
    finalized = CommitmentLevel.Finalized
    sent = Transaction.from_bytes(node.sent[-1])
    keys = [Pubkey.from_string(key) for key in asked["getMultipleAccounts"]["params"][0]]
    signatures = [
        Signature.from_string(each) for each in asked["getSignatureStatuses"]["params"][0]
    ]
    simulated = Transaction.from_bytes(b64decode(asked["simulateTransaction"]["params"][0]))
    made = {
        "getGenesisHash": requests.GetGenesisHash(),
        "getMultipleAccounts": requests.GetMultipleAccounts(
            keys, RpcAccountInfoConfig(UiAccountEncoding.Base64, None, finalized)
        ),
        "getSignatureStatuses": requests.GetSignatureStatuses(
            signatures, RpcSignatureStatusConfig(search_transaction_history=True)
        ),
        "simulateTransaction": requests.SimulateLegacyTransaction(
            simulated,
            RpcSimulateTransactionConfig(sig_verify=True, commitment=CommitmentLevel.Confirmed),
        ),
        "sendTransaction": requests.SendLegacyTransaction(
            sent, RpcSendTransactionConfig(skip_preflight=True)
        ),
        "getLatestBlockhash": requests.GetLatestBlockhash(RpcContextConfig(finalized)),
        "getMinimumBalanceForRentExemption": requests.GetMinimumBalanceForRentExemption(165),
    }
    assert set(made) == set(asked)
    for method, request in made.items():
        theirs = json.loads(request.to_json()).get("params", [])
        assert [meant(each) for each in asked[method]["params"]] == [meant(each) for each in theirs]


def meant(param):
    """Without what is the default."""
    if not isinstance(param, dict):
        return param
    return {name: value for name, value in param.items() if value not in (None, False)}
