"""A proof convinces, and no change to it does; nor does it convince the checker of the docs."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from books import closed, deposit, opened, used

from ide.canonical import canonical_json, text_hash
from ide.params import IdeParams
from ide.proof import ProofError, check_proof
from ide.proving import BLOCK_LEAVES, PayoutTree, prove
from ide.settlement import SettlementError, settle
from metering.epoch_seal import SealedEpoch
from metering.posting import close_group, hold_group
from metering.reference_ledger import ReferenceLedger

DOCS = Path(__file__).parents[3] / "docs" / "settlement.md"
CENTS_16 = 160_000_000
SUPPLIERS = ["a", "b", "c.1_x-Y", "d", "e"]
MODELS = ["m/plain", 'm "quoted" \\ \t ünï 😀']


@pytest.fixture(scope="module")
def ledger() -> ReferenceLedger:
    """Two epochs: five suppliers in the first, of which the second serves two models; then one."""
    made = ReferenceLedger()
    made.post("cli", [deposit("alice", 10**12)])
    for number in range(40):
        serve(made, f"c{number}", SUPPLIERS[number % 5], MODELS[number % 10 == 1], number + 1)
    settle(made, IdeParams(), io_price_nano_usd=CENTS_16, now_ns=7)
    serve(made, "late", "a", MODELS[0], 5)
    settle(made, IdeParams(), io_price_nano_usd=None, now_ns=9)
    return made


def serve(ledger: ReferenceLedger, name: str, supplier: str, model: str, tokens: int) -> None:
    opening = msgspec.structs.replace(opened(name, hold=10**8), model=model)
    closing = msgspec.structs.replace(closed(name, used(tokens)), supplier_id=supplier)
    results = ledger.post("g", [hold_group(opening), close_group(opening, closing)])
    assert all(result.booked for result in results)


def proof_of(ledger: ReferenceLedger, supplier: str, epoch: int = 1) -> dict[str, Any]:
    row = ledger.epoch(epoch)
    assert row is not None
    proof = prove(ledger, row, supplier, with_charges=True)
    made: dict[str, Any] = json.loads(msgspec.json.encode(proof))
    return made


def run_checker(
    tmp_path: Path, proof: dict[str, Any], *root: str
) -> subprocess.CompletedProcess[str]:
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert code.count("\n") < 100
    (tmp_path / "check.py").write_text(code, encoding="utf-8")
    (tmp_path / "proof.json").write_text(json.dumps(proof, indent=3), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-I", "-S", "check.py", "proof.json", *root],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize("supplier", SUPPLIERS)
def test_every_supplier_can_check_its_payout(
    ledger: ReferenceLedger, supplier: str, tmp_path: Path
) -> None:
    proof = proof_of(ledger, supplier)
    root = ledger.seals(before=2)[0].root
    found = check_proof(json.dumps(proof, indent=2).encode(), root.upper())
    assert (found.epoch, found.supplier_id, found.charges, found.root) == (1, supplier, 8, root)
    (payout,) = ledger.payouts(1, after_leaf=SUPPLIERS.index(supplier) - 1, limit=1)
    assert payout.io_paid == found.payout.io_paid > 0
    done = run_checker(tmp_path, proof, root)
    assert (done.returncode, done.stdout[:6]) == (0, "right:"), done.stdout + done.stderr


def test_a_proof_without_charges_and_one_of_a_debt(ledger: ReferenceLedger) -> None:
    row = ledger.epoch(1)
    assert row is not None
    found = check_proof(msgspec.json.encode(prove(ledger, row, "a", with_charges=False)))
    assert found.charges is None
    without_price = check_proof(json.dumps(proof_of(ledger, "a", 2)).encode())
    assert (without_price.payout.io_paid, without_price.charges) == (0, 1)


Change = Callable[[dict[str, Any]], object]
CHANGES: dict[str, Change] = {
    "more IO": lambda proof: proof["leaf"]["payout"].update(io_paid=10**9),
    "another leaf": lambda proof: proof.update(leaf_index=proof["leaf_index"] ^ 1),
    "no such leaf": lambda proof: proof.update(leaf_index=99),
    "a path cut short": lambda proof: proof["path"].pop(),
    "a path bent": lambda proof: proof["path"].reverse(),
    "another epoch": lambda proof: proof["head"].update(epoch=2),
    "more leaves": lambda proof: proof["head"].update(payouts=9),
    "fewer tokens of a charge": lambda proof: proof["charges"][0].update(prompt_tokens=0),
    "a charge left out": lambda proof: proof["charges"].pop(),
    "a charge twice": lambda proof: proof["charges"].append(proof["charges"][0]),
    "charges turned round": lambda proof: proof["charges"].reverse(),
    "another's charge": lambda proof: proof["charges"][0].update(supplier_id="z"),
    "a cheaper price": lambda proof: proof["head"].update(io_price_nano_usd=CENTS_16 * 2),
    "more in a charge": lambda proof: proof["charges"][0].update(refund_nano_usd=1),
    "other parameters": lambda proof: proof["params"].update(usage_share_ppm=1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_change_to_a_proof_convinces(
    ledger: ReferenceLedger, change: str, tmp_path: Path
) -> None:
    proof = proof_of(ledger, "b")
    CHANGES[change](proof)
    with pytest.raises(ProofError):
        check_proof(json.dumps(proof).encode())
    done = run_checker(tmp_path, proof)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda proof: proof["params"].update(usage_share_ppm=1), "not those that the epoch"),
        (lambda proof: proof["params"].update(nonsense=1), "cannot be read as a proof"),
        (lambda proof: proof.update(tollgate_proof=2), "format 2"),
        (lambda proof: proof.pop("head"), "cannot be read as a proof"),
        (lambda proof: proof["path"].append("zz"), "cannot be read as a proof"),
        (lambda proof: proof["charges"][0].pop("seq"), "charges cannot be read"),
    ],
)
def test_what_is_wrong_is_said(ledger: ReferenceLedger, change: Change, says: str) -> None:
    proof = proof_of(ledger, "b")
    change(proof)
    with pytest.raises(ProofError, match=says):
        check_proof(json.dumps(proof).encode())


def test_a_file_that_nests_without_end_is_no_proof() -> None:
    with pytest.raises(ProofError, match="cannot be read as a proof"):
        check_proof(b'{"tollgate_proof": 1, "head": {"epoch": ' + b"[" * 100_000)


def sealed_anew(ledger: ReferenceLedger, change: Change) -> tuple[bytes, str]:
    """A proof whose root was made over what was changed, as a dishonest operator could."""
    from ide.commitment import text_leaf
    from ide.merkle import MerkleTree

    proof = proof_of(ledger, "b")
    change(proof)
    tree = MerkleTree([text_leaf(canonical_json(proof["leaf"]))])
    proof["head"].update(root=tree.root.hex(), payouts=1)
    proof.update(path=[], leaf_index=0)
    return json.dumps(proof).encode(), tree.root.hex()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda proof: proof["leaf"]["payout"].update(unpaid_nano_usd=1), "does not add up"),
        (lambda proof: proof["leaf"]["payout"].update(io_paid=1), "are worth"),
        (lambda proof: proof["leaf"]["usage"][0].update(prompt_tokens=1), "other tokens"),
        (lambda proof: proof["leaf"]["usage"][0].update(cost_nano_usd=1), "the usage earns"),
        (lambda proof: proof["leaf"]["usage"][0].update(supplier_id="a"), "another supplier"),
        (lambda proof: proof["leaf"]["payout"].update(io_paid=2**63), "the payout cannot be"),
        (lambda proof: proof["head"].update(from_seq=60), "not of this epoch"),
        (lambda proof: proof["head"].update(epoch=3), "the root of epoch 3"),
    ],
)
def test_a_root_over_something_wrong_does_not_make_it_right(
    ledger: ReferenceLedger, change: Change, says: str
) -> None:
    data, root = sealed_anew(ledger, change)
    with pytest.raises(ProofError, match=says):
        check_proof(data, root)


def all_is_rounding(proof: dict[str, Any]) -> None:
    payout = proof["leaf"]["payout"]
    owed = payout["io_value_nano_usd"] + payout["rounding_nano_usd"]
    payout.update(io_paid=0, io_value_nano_usd=0, rounding_nano_usd=owed)


def paid_below_nothing(proof: dict[str, Any]) -> None:
    payout = proof["leaf"]["payout"]
    payout.update(usd_paid_nano_usd=-5, unpaid_nano_usd=payout["unpaid_nano_usd"] + 5)


def usage_twice(proof: dict[str, Any]) -> None:
    payout, usage = proof["leaf"]["payout"], proof["leaf"]["usage"]
    more = usage[0]["cost_nano_usd"] * proof["params"]["usage_share_ppm"] // 10**6
    usage.insert(0, usage[0])
    payout["obligation_nano_usd"] += more
    payout["unpaid_nano_usd"] += more


@pytest.mark.parametrize("change", [all_is_rounding, paid_below_nothing, usage_twice])
def test_who_is_cheated_under_an_honest_looking_root_finds_out(
    ledger: ReferenceLedger, change: Change, tmp_path: Path
) -> None:
    data, root = sealed_anew(ledger, change)
    with pytest.raises(ProofError, match=r"no rounding|below 0|other tokens"):
        check_proof(data, root)
    done = run_checker(tmp_path, json.loads(data), root)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stdout


def test_a_head_that_was_published_stands_for_price_and_parameters(
    ledger: ReferenceLedger, tmp_path: Path
) -> None:
    """The root is that of the books; what it is not over, the head is."""
    proof, seal = proof_of(ledger, "b"), ledger.seals(before=2)[0]
    assert check_proof(json.dumps(proof).encode(), seal.root, seal.hash.upper()).epoch == 1
    assert run_checker(tmp_path, proof, seal.hash).returncode == 0
    proof["params"]["burn_share_ppm"] = 10**6
    proof["head"]["params_hash"] = text_hash(canonical_json(proof["params"]))
    assert check_proof(json.dumps(proof).encode(), seal.root).head_hash != seal.hash
    with pytest.raises(ProofError, match=r"of head .*, not of the one given"):
        check_proof(json.dumps(proof).encode(), seal.root, seal.hash)
    assert run_checker(tmp_path, proof, seal.hash).returncode == 1


def test_heads_are_chained(ledger: ReferenceLedger) -> None:
    second, first = ledger.seals(limit=5)
    assert (first.epoch, second.epoch) == (1, 2)
    assert json.loads(first.head)["previous"] == ""
    assert json.loads(second.head)["previous"] == first.hash
    changed = copy.deepcopy(json.loads(first.head)) | {"io_burned": 0}
    assert msgspec.json.encode(changed, order="sorted").decode() != first.head
    writers = {end["writer"] for end in json.loads(first.head)["writers"]}
    assert writers == {"cli", "g"}


def test_every_block_of_many_payouts_leads_to_the_root() -> None:
    """A gateway keeps one hash of each block, and reads the others when somebody asks."""
    made, count = ReferenceLedger(), 2 * BLOCK_LEAVES + 7
    made.post("cli", [deposit("alice", 10**12)])
    for number in range(count):
        serve(made, f"c{number}", f"s{number:05}", MODELS[0], 1)
    settle(made, IdeParams(), io_price_nano_usd=CENTS_16, now_ns=7)
    row, root = made.epoch(1), made.seals()[0].root
    assert row is not None
    tree = PayoutTree(made, 1)
    for leaf in (0, 1, BLOCK_LEAVES - 1, BLOCK_LEAVES, 2 * BLOCK_LEAVES, count - 1):
        proof = prove(made, row, f"s{leaf:05}", with_charges=True, tree=tree)
        assert check_proof(msgspec.json.encode(proof), root).supplier_id == f"s{leaf:05}"


def test_who_was_not_paid_has_no_proof(ledger: ReferenceLedger) -> None:
    with pytest.raises(SettlementError, match="nothing to 'nobody'"):
        proof_of(ledger, "nobody")


def test_an_epoch_without_a_seal_has_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ReferenceLedger()
    keeps = made.post_epoch

    def forgets(row: Any, groups: Any, writer: str, _: SealedEpoch | None) -> Any:
        return keeps(row, groups, writer)

    monkeypatch.setattr(made, "post_epoch", forgets)
    settle(made, IdeParams(), io_price_nano_usd=None, now_ns=1, even_if_empty=True)
    with pytest.raises(SettlementError, match="sealed none"):
        proof_of(made, "a")
