"""The price of IO that epochs close at."""

from __future__ import annotations

import time

from gateway.doctor.patient import Patient
from gateway.doctor.remark import Remark, fault, note, ok, warning
from gateway.settlement.config import price_of_io
from ide.oracle import next_rounds, price_nano_usd
from ide.price_sources import read_quotes
from metering.money import format_usd

CHECK = "oracle"


def examine(patient: Patient) -> list[Remark]:
    if patient.config is None:
        return []
    price = price_of_io(patient.config.settlement, patient.config.oracle)
    if price.fixed_nano_usd is not None:
        said = f"the price of IO is fixed at {format_usd(price.fixed_nano_usd)} USD"
        return [note(CHECK, "[settlement]", said)]
    oracle = price.oracle
    if oracle is None:
        return [note(CHECK, "none", "no price of IO: epochs pay in USD, nothing is burned")]
    now_ns = time.time_ns()
    quotes, failures = read_quotes(oracle.sources, now_ns)
    found = [
        warning(CHECK, failure.source, failure.problem, "mend its entry, or add another source")
        for failure in failures
    ]
    settled = price_nano_usd(next_rounds((), quotes, now_ns, oracle), now_ns, oracle)
    if settled is None:
        said = f"no price: {oracle.sources_min} fresh sources are needed, {len(quotes)} answered"
        advice = "see `tollgate oracle`; until there is one, epochs pay in USD and burn nothing"
        return [*found, fault(CHECK, "[oracle]", said, advice)]
    return [*found, ok(CHECK, "[oracle]", f"one IO is {format_usd(settled)} USD")]
