"""Epochs as gauges: every figure, suppliers up to a bound, records of any size."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector
from served import sample_sum

from gateway.telemetry import epoch_figures
from gateway.telemetry.epoch_figures import epoch_families, figures_of_epoch
from gateway.telemetry.epoch_metrics import EPOCH_METRICS, SUPPLIERS_MAX
from ide.canonical import canonical_json
from ide.epoch import EpochInputs, SupplierUsage
from ide.params import MONTH_S, IdeParams
from ide.state import opening_state
from ide.step import step
from metering.ledger import EpochRow

PRICE_NANO_USD = 160_000_000


def settled(suppliers: int, price: int | None = PRICE_NANO_USD) -> EpochRow:
    params = IdeParams()
    usage = tuple(
        SupplierUsage(
            supplier_id=f"s{number}",
            model="m",
            prompt_tokens=10,
            completion_tokens=20,
            cost_nano_usd=1_000_000_000 + number,
            charged_nano_usd=1_000_000_000 + number,
            charges=1,
        )
        for number in range(suppliers)
    )
    result = step(opening_state(params), EpochInputs(usage=usage, io_price_nano_usd=price), params)
    return EpochRow(
        epoch=1,
        from_seq=0,
        to_seq=9,
        params="",
        inputs="",
        result=canonical_json(result.report),
        state="",
        created_ns=1_700_000_000 * 10**9,
        hash="",
    )


def exposed(row: EpochRow) -> str:
    class Fixed(Collector):
        def collect(self):
            return epoch_families(figures_of_epoch(row))

    registry = CollectorRegistry()
    registry.register(Fixed())
    return generate_latest(registry).decode()


def test_an_epoch_in_every_figure():
    text = exposed(settled(3))

    def sample(name: str, **labels: str) -> float:
        return sample_sum(text, name, labels)

    assert sample("tollgate_epoch") == 1
    assert sample("tollgate_epoch_closed_timestamp_seconds") == 1_700_000_000
    assert sample("tollgate_epoch_revenue_usd") == pytest.approx(3.000000003)
    owed, paid = sample("tollgate_epoch_obligation_usd"), sample("tollgate_epoch_paid_usd")
    assert 0 < paid <= owed == pytest.approx(paid + sample("tollgate_epoch_unpaid_usd"), abs=1e-6)
    assert sample("tollgate_epoch_psi_ratio", kind="raw") == pytest.approx(3 / owed, rel=1e-5)
    assert sample("tollgate_epoch_runway_seconds") == 120 * MONTH_S
    assert sample("tollgate_epoch_io", moved="paid") > 0
    assert sample("tollgate_epoch_supplier_owed_usd", supplier="s1") == pytest.approx(owed / 3)
    assert sample("tollgate_epoch_alarm", alarm="no_price") == 0
    of_epoch = [each.name for each in EPOCH_METRICS if each.name.startswith("tollgate_epoch")]
    assert [name for name in of_epoch if f"# TYPE {name} gauge" not in text] == []


def test_without_a_price_there_is_none_and_an_alarm():
    text = exposed(settled(1, price=None))
    assert "# TYPE tollgate_epoch_io_price_usd" not in text
    assert sample_sum(text, "tollgate_epoch_alarm", {"alarm": "no_price"}) == 1


def test_suppliers_beyond_the_bound_are_told_together():
    text = exposed(settled(SUPPLIERS_MAX + 5))
    lines = [line for line in text.splitlines() if line.startswith("tollgate_epoch_supplier_owed")]
    assert len(lines) == SUPPLIERS_MAX + 1
    whole = sample_sum(text, "tollgate_epoch_obligation_usd", {})
    assert sample_sum(text, "tollgate_epoch_supplier_owed_usd", {}) == pytest.approx(whole)


def test_of_a_long_record_the_suppliers_are_left_out(monkeypatch):
    monkeypatch.setattr(epoch_figures, "_WITH_PAYOUTS_BYTES", 100)
    text = exposed(settled(3))
    assert "supplier=" not in text
    assert sample_sum(text, "tollgate_epoch_revenue_usd", {}) > 0
