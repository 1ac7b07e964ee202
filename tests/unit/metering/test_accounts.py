"""The chart: which ids are accounts, and who may be overdrawn."""

from __future__ import annotations

import pytest

from metering import accounts
from metering.accounts import AccountError, Asset, Limit


@pytest.mark.parametrize(
    "account_id",
    [
        "usd:external",
        "usd:customer:alice",
        "usd:customer:a.b-c_9",
        "usd:supplier:Node.7",
        "io:supplier:7xKXtg2CW87d97TXJSDpbD5jBkheTqA83TZRuJosgAsU",
        "io:unemitted",
    ],
)
def test_accounts_of_the_chart(account_id):
    assert accounts.asset_of(account_id) is Asset(account_id.partition(":")[0])


@pytest.mark.parametrize(
    "account_id",
    [
        "",
        "usd",
        "usd:",
        "usd:customer",
        "usd:customer:",
        "usd:customer:Alice",
        "usd:customer:a b",
        "usd:customer:a\n",
        "usd:customer:" + "a" * 65,
        "usd:customer:a:b",
        "io:customer:alice",
        "eur:external",
        "usd:fee_vault2",
        "usd:supplier:",
        "usd:supplier:ü",
    ],
)
def test_anything_else_is_no_account(account_id):
    assert accounts.asset_of(account_id) is None


@pytest.mark.parametrize("name", ["", "Alice", "a/b", "a" * 65, "a\n"])
def test_bad_names_are_refused_with_the_rule(name):
    with pytest.raises(AccountError, match="use 1 to 64"):
        accounts.customer(name)


def test_ids_carry_their_asset():
    assert accounts.customer("alice") == "usd:customer:alice"
    assert accounts.supplier(Asset.IO, "s1") == "io:supplier:s1"
    assert accounts.asset_of("io:supplier:s1") == Asset.IO
    assert accounts.customer_name("usd:customer:alice") == "alice"
    assert accounts.customer_name("usd:fee_vault") is None
    with pytest.raises(AccountError, match="supplier id"):
        accounts.supplier(Asset.USD, "a:b")


@pytest.mark.parametrize(
    "source", ["usd:external", "usd:shortfall", "usd:exchange", "io:issuance", "io:exchange"]
)
def test_sources_may_be_overdrawn(source):
    assert accounts.limit_of(source) is Limit.NONE


@pytest.mark.parametrize(
    "holder",
    ["usd:customer:a", "usd:fee_vault", "usd:treasury", "usd:supplier:a", "io:unemitted",
     "io:circulating", "io:reward_vault", "io:supplier:a", "io:burned", "io:retired"],
)  # fmt: skip
def test_everyone_else_spends_what_is_there(holder):
    assert accounts.limit_of(holder) is Limit.DEBITS_WITHIN_CREDITS
