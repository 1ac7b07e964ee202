"""The rules, one row an event with the answer it must get: every answer occurs.

`id kind debit credit amount pending_id -> answer`; `-` is nothing; a row ending in `&` is linked to
the next. `= account debits_pending debits_posted credits_pending credits_posted` is a balance.
`pending:50` is a hold that may expire from 50 on; `@ 50` sets the clock.
"""

from __future__ import annotations

import pytest
from books import closed, opened, single, used

from metering.expiry import expire_group, expiry_detail
from metering.ledger import Balance
from metering.posting import HOLD_NS, close_group, hold_group, whole_group
from metering.reference_ledger import ReferenceLedger
from metering.transfer import Group, PostResult, Transfer, TransferKind

ACCOUNTS = {
    "E": "usd:external",
    "A": "usd:customer:a",
    "B": "usd:customer:b",
    "V": "usd:fee_vault",
    "S": "usd:shortfall",
    "I": "io:issuance",
    "U": "io:unemitted",
    "-": "",
}
MAX = str(2**63 - 1)

SCENARIOS = {
    "a transfer is booked once": f"""
        t1 single E A 100 -      -> ok
        t1 single E A 100 -      -> exists
        t1 pending E A 100 -     -> exists_with_different_kind
        t1 single V A 100 -      -> exists_with_different_debit
        t1 single E B 100 -      -> exists_with_different_credit
        t1 single E A 101 -      -> exists_with_different_amount
        t1 single E A 100 t0     -> exists_with_different_pending_id
        = E 0 100 0 0
        = A 0 0 0 100
        t2 single E A 0 -        -> ok
        t3 single E A {MAX} -    -> exceeds_int64
        t4 pending S B {MAX} -   -> ok
        t5 single S A 1 -        -> exceeds_int64
        t5 single E B 1 -        -> exceeds_int64
    """,
    "what is no transfer": """
        - single E A 1 -         -> invalid_id
        t1 single E A -1 -       -> invalid_amount
        t1 single E A 9223372036854775808 - -> invalid_amount
        t1 single E E 1 -        -> invalid_same_account
        t1 single E U 1 -        -> invalid_assets
        t1 single E - 1 -        -> invalid_account
        t1 single usd:nobody A 1 - -> invalid_account
        t1 single E A 1 t0       -> invalid_pending_id
        t1 post - - 1 -          -> invalid_pending_id
        t1 single I U 1 -        -> ok
    """,
    "nobody spends what is not there": """
        d single E A 100 -       -> ok
        t1 single A V 101 -      -> exceeds_credits
        t1 single A V 60 -       -> ok
        t2 pending A V 41 -      -> exceeds_credits
        t2 pending A V 40 -      -> ok
        t3 single A V 1 -        -> exceeds_credits
        t4 single V B 61 -       -> exceeds_credits
        t4 single V B 60 -       -> ok
        = A 40 60 0 100
        = V 0 60 40 60
    """,
    "a hold is posted in part and the rest comes free": """
        d single E A 100 -       -> ok
        h pending A V 80 -       -> ok
        p post - - 81 h          -> exceeds_pending_amount
        p post - - 30 h          -> ok
        p post - - 30 h          -> exists
        p post A V 30 h          -> exists
        p post B V 30 h          -> exists_with_different_debit
        q post - - 30 h          -> pending_already_posted
        v void - - 0 h           -> pending_already_posted
        = A 0 30 0 100
        = V 0 0 0 30
        s single A B 70 -        -> ok
    """,
    "a hold is voided": """
        d single E A 100 -       -> ok
        h pending A V 100 -      -> ok
        v void - - 1 h           -> invalid_amount
        v void V A 0 h           -> pending_has_different_accounts
        v void A V 0 h           -> ok
        v void - - 0 h           -> exists
        w void - - 0 h           -> pending_already_voided
        p post - - 1 h           -> pending_already_voided
        = A 0 0 0 100
    """,
    "a resolution needs a hold": """
        p post - - 1 h           -> pending_not_found
        d single E A 100 -       -> ok
        p post - - 1 d           -> pending_not_pending
        v void - - 0 d           -> pending_not_pending
    """,
    "a hold expires when its time is over, and only if it has one": """
        d single E A 100 -       -> ok
        h pending:50 A V 60 -    -> ok
        i pending A V 20 -       -> ok
        e expire - - 0 x         -> pending_not_found
        e expire - - 0 d         -> pending_not_pending
        e expire - - 0 -         -> invalid_pending_id
        @ 49
        e expire - - 0 h         -> pending_not_expired
        @ 50
        e expire - - 1 h         -> invalid_amount
        e expire V A 0 h         -> pending_has_different_accounts
        e expire - - 0 i         -> pending_not_expired
        = A 80 0 0 100
        e expire - - 0 h         -> ok
        e expire - - 0 h         -> exists
        @ 49
        e expire - - 0 h         -> exists
        f expire - - 0 h         -> pending_expired
        p post - - 1 h           -> pending_expired
        v void - - 0 h           -> pending_expired
        = A 20 0 0 100
        = V 0 0 20 0
    """,
    "a hold that was not expired yet is posted, however late": """
        d single E A 100 -       -> ok
        h pending:50 A V 60 -    -> ok
        @ 1000
        p post - - 60 h          -> ok
        e expire - - 0 h         -> pending_already_posted
        g pending:50 A V 40 -    -> ok
        v void - - 0 g           -> ok
        e expire - - 0 g         -> pending_already_voided
        = A 0 60 0 100
    """,
    "linked transfers are all or nothing": """
        a single E A 5 -    &
        b single A B 6 -         -> exceeds_credits
        = A 0 0 0 0
        a single E A 5 -    &
        b single A B 5 -         -> ok
        a single E A 5 -    &
        b single A B 5 -         -> exists
        a single E A 5 -    &
        c single A B 0 -         -> linked_failed
        c single A B 0 -         -> ok
        h pending B V 5 -   &
        p post - - 5 h      &
        x single B V 1 -         -> exceeds_credits
        = B 0 0 0 5
        h pending B V 5 -   &
        p post - - 2 h           -> ok
        = B 0 2 0 5
    """,
}


def read(line: str) -> Transfer:
    name, kind, debit, credit, amount, pending_id = line.split()
    kind, _, ends_ns = kind.partition(":")
    return Transfer(
        id="" if name == "-" else name,
        kind=TransferKind(kind),
        debit=ACCOUNTS.get(debit, debit),
        credit=ACCOUNTS.get(credit, credit),
        amount=int(amount),
        code="test",
        pending_id=None if pending_id == "-" else pending_id,
        detail=expiry_detail(int(ends_ns)) if ends_ns else "",
    )


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario, ledger, clock):
    linked: list[Transfer] = []
    for line in filter(None, map(str.strip, SCENARIOS[scenario].splitlines())):
        if line.startswith("="):
            _, account, *counters = line.split()
            assert ledger.balance(ACCOUNTS[account]) == Balance(*map(int, counters)), line
        elif line.startswith("@"):
            clock.now_ns = int(line[1:])
        elif line.endswith("&"):
            linked.append(read(line[:-1]))
        else:
            event, _, answer = line.partition("->")
            linked.append(read(event))
            assert ledger.post("w", [Group(transfers=tuple(linked))]) == [answer.strip()], line
            linked = []
    assert ledger.verify().ok


def test_every_answer_that_a_transfer_can_get_is_in_a_scenario():
    seen = {row.split("->")[1].strip() for text in SCENARIOS.values() for row in text.splitlines()
            if "->" in row}  # fmt: skip
    elsewhere = {
        PostResult.EXISTS_WITH_DIFFERENT_CODE,
        PostResult.EXISTS_WITH_DIFFERENT_DETAIL,
        PostResult.EXISTS_WITH_DIFFERENT_CHARGE,
        PostResult.EXISTS_WITH_DIFFERENT_EPOCH,
        PostResult.INVALID_EPOCH,
        PostResult.INVALID_GROUP,
    }
    assert seen | elsewhere == set(PostResult)


def test_code_and_detail_are_part_of_a_transfer(ledger):
    def group(**fields):
        transfer = single("t", "usd:external", "usd:customer:a", 1).transfers[0]
        return Group(
            transfers=(
                Transfer(**{f: getattr(transfer, f) for f in transfer.__struct_fields__} | fields),
            )
        )

    assert ledger.post("w", [group()]) == [PostResult.OK]
    assert ledger.post("w", [group(code="x")]) == [PostResult.EXISTS_WITH_DIFFERENT_CODE]
    assert ledger.post("w", [group(detail="{}")]) == [PostResult.EXISTS_WITH_DIFFERENT_DETAIL]
    assert ledger.post("w", [Group(transfers=())]) == [PostResult.INVALID_GROUP]


def test_a_refused_hold_is_borne_by_the_shortfall_and_the_customer_pays_nothing(ledger):
    opening = opened("c", account="a")
    groups = [hold_group(opening), close_group(opening, closed("c", used(5)))]
    assert ledger.post("w", groups) == [PostResult.OK, PostResult.OK]
    (record,) = ledger.charges()
    assert record.cost_nano_usd == 5000
    assert record.charged_nano_usd == 0
    assert ledger.balance("usd:shortfall") == Balance(0, 5000, 0, 0)
    assert ledger.balance("usd:fee_vault") == Balance(0, 0, 0, 5000)
    assert ledger.post("w", groups) == [PostResult.EXISTS, PostResult.EXISTS]


def test_a_charge_booked_whole_is_borne_too_if_it_must_be(ledger):
    opening = opened("c", account="a", hold=4000)
    group = whole_group(opening, closed("c", used(5)))
    assert ledger.post("w", [group]) == [PostResult.OK]
    assert ledger.post("w", [group]) == [PostResult.EXISTS]
    (record,) = ledger.charges()
    assert (record.cost_nano_usd, record.charged_nano_usd) == (5000, 0)
    assert ledger.balance("usd:shortfall") == Balance(0, 5000, 0, 0)


def test_a_repeat_of_a_borne_hold_is_known_even_if_there_is_money_now(ledger):
    hold = hold_group(opened("c", account="a"))
    assert ledger.post("w", [hold]) == [PostResult.OK]
    ledger.post("w", [single("d", "usd:external", "usd:customer:a", 10**9)])
    assert ledger.post("w", [hold]) == [PostResult.EXISTS]
    assert ledger.balance("usd:customer:a").debits_pending == 0


@pytest.mark.parametrize(("balance", "paid"), [(10**6, 4000), (4000, 4000), (3999, 0)])
def test_a_charge_that_ends_after_its_hold_expired_is_paid_without_it(ledger, clock, balance, paid):
    """By the customer as far as the hold went, if the balance has it; else by the network."""
    opening = opened("c", account="a", hold=4000)
    close = close_group(opening, closed("c", used(5)))
    ledger.post("w", [single("d", "usd:external", "usd:customer:a", 4000), hold_group(opening)])
    clock.now_ns = opening.created_ns + HOLD_NS
    expire = expire_group(hold_group(opening).transfers[0])
    assert ledger.post("x", [expire]) == [PostResult.OK]
    if balance > 4000:
        more = single("e", "usd:external", "usd:customer:a", balance - 4000)
        ledger.post("w", [more])
    elif balance < 4000:
        ledger.post("w", [single("e", "usd:customer:a", "usd:treasury", 4000 - balance)])
    assert ledger.post("w", [close]) == [PostResult.OK]
    ledger.post("w", [single("f", "usd:external", "usd:customer:a", 10**6)])
    assert ledger.post("w", [close]) == [PostResult.EXISTS]
    (record,) = ledger.charges()
    assert (record.cost_nano_usd, record.charged_nano_usd) == (5000, paid)
    assert ledger.balance("usd:shortfall").debits_posted == 5000 - paid
    assert ledger.balance("usd:fee_vault").posted == 5000
    assert ledger.balance("usd:customer:a").debits_pending == 0
    assert ledger.verify().ok


def test_a_charge_voided_after_its_hold_expired_is_kept_and_frees_nothing_twice(ledger, clock):
    opening = opened("c", account="a")
    ledger.post("w", [single("d", "usd:external", "usd:customer:a", 10**6), hold_group(opening)])
    clock.now_ns = opening.created_ns + HOLD_NS
    assert ledger.post("x", [expire_group(hold_group(opening).transfers[0])]) == [PostResult.OK]
    close = close_group(opening, closed("c"))
    assert ledger.post("w", [close, close]) == [PostResult.OK, PostResult.EXISTS]
    assert [record.charge_id for record in ledger.charges()] == ["c"]
    assert ledger.balance("usd:customer:a") == Balance(0, 0, 0, 10**6)
    assert ledger.verify().ok


def test_a_charge_is_part_of_its_group(ledger):
    opening = opened("c", account="a")
    ledger.post("w", [single("d", "usd:external", "usd:customer:a", 10**9), hold_group(opening)])
    group = close_group(opening, closed("c", used(5)))
    other = close_group(opening, closed("c", used(4, prompt=13)))
    assert group.transfers == other.transfers
    assert ledger.post("w", [group]) == [PostResult.OK]
    assert ledger.post("w", [group]) == [PostResult.EXISTS]
    assert ledger.post("w", [other]) == [PostResult.EXISTS_WITH_DIFFERENT_CHARGE]


def test_the_reference_notices_books_that_do_not_balance():
    ledger = ReferenceLedger()
    ledger.post("w", [single("d", "usd:external", "usd:customer:a", 5)])
    ledger._books.balances["usd:external"][1] += 1
    assert not ledger.verify().ok
