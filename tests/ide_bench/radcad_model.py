"""The engine's epoch as a radCAD model, beside `step`: the same figures, timed in one process.

Runs under an interpreter that has radcad and msgspec. Policies and state updates are written the
way radCAD asks for, with the functions that `step` is made of; what differs is the framework. Both
end in the same vaults and supplies, or nothing is told.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from operator import add
from random import Random
from typing import Any

import msgspec
from radcad import Engine, Model, Simulation
from radcad.engine import Backend

from ide import burn, health, payouts
from ide.params import DAY_S, IdeParams
from ide.proposal import proposal
from ide.simulator.scenario import built_in
from ide.simulator.world import Fleet, days_of
from ide.state import IdeState, opening_state
from ide.step import totals
from metering.money import PPM

Values = dict[str, Any]
COMPARED = (
    "unemitted_io",
    "supplier_io",
    "burned_circulating_io",
    "retired_unemitted_io",
    "fee_vault_nano_usd",
    "buyback_due_nano_usd",
)


def owed(params: Values, _substep: int, _history: object, state: Values) -> Values:
    ide: IdeParams = params["ide"]
    usage, outside = params["inputs"][state["timestep"]]
    earned = payouts.earned(usage, outside.availability, ide)
    suppliers = sorted({**earned.obligation, **state["debts"]})
    obligation = [earned.obligation.get(name, 0) for name in suppliers]
    revenue = sum(usage.charged_nano_usd)
    return {
        "suppliers": suppliers,
        "owed": [
            new + state["debts"].get(name, 0)
            for new, name in zip(obligation, suppliers, strict=True)
        ],
        "revenue": revenue,
        "price": outside.io_price_nano_usd,
        "smoothed": health.smooth(
            state["smoothed"],
            revenue,
            sum(obligation),
            sum(earned.stipend.values()),
            earned.list_share,
            ide,
        ),
    }


def pay(params: Values, _substep: int, _history: object, state: Values) -> Values:
    ide: IdeParams = params["ide"]
    now = engine_state(state)
    limit = payouts.release_limit_io(now, ide)
    spendable = max(
        0, state["fee_vault_nano_usd"] - state["buyback_due_nano_usd"] + state["revenue"]
    )
    io = payouts.pay_io(state["owed"], limit, state["reward_vault_io"], state["price"], now.cap_io)
    usd, unpaid = payouts.pay_usd(io.left_nano_usd, spendable)
    released, paid = io.released_io, sum(io.io)
    return {
        "retiring": payouts.retired_io(now, ide),
        "reserve": max(0, state["fee_vault_nano_usd"] - state["buyback_due_nano_usd"]),
        "unemitted_io": state["unemitted_io"] - released,
        "reward_vault_io": state["reward_vault_io"] + released - paid,
        "supplier_io": state["supplier_io"] + paid,
        "fee_vault_nano_usd": state["fee_vault_nano_usd"] + state["revenue"] - sum(usd),
        "paid": list(map(add, io.value_nano_usd, usd)) if usd else io.value_nano_usd,
        "usd_paid": sum(usd),
        "left": spendable - sum(usd),
        "debts": dict(zip(state["suppliers"], unpaid, strict=True)) if unpaid else {},
    }


def buy(params: Values, _substep: int, _history: object, state: Values) -> Values:
    ide: IdeParams = params["ide"]
    month = health.a_month(state["smoothed"].obligation_nano_usd, ide)
    surplus = burn.surplus_nano_usd(state["revenue"], state["usd_paid"], state["left"])
    share = burn.burn_share_ppm(state["reserve"], month, ide)
    due = state["buyback_due_nano_usd"] + burn.burn_share_nano_usd(surplus, share)
    spent, bought = burn.buy_back(due, state["price"], state["circulating_io"])
    return {
        "buyback_due_nano_usd": due - spent,
        "fee_vault_nano_usd": state["fee_vault_nano_usd"] - spent,
        "circulating_io": state["circulating_io"] - bought,
        "burned_circulating_io": state["burned_circulating_io"] + bought,
    }


def retire(_params: Values, _substep: int, _history: object, state: Values) -> Values:
    return {
        "unemitted_io": state["unemitted_io"] - state["retiring"],
        "retired_unemitted_io": state["retired_unemitted_io"] + state["retiring"],
    }


def judge(params: Values, _substep: int, _history: object, state: Values) -> Values:
    ide: IdeParams = params["ide"]
    reserve = (
        state["fee_vault_nano_usd"] - state["buyback_due_nano_usd"] - sum(state["debts"].values())
    )
    limit = payouts.release_limit_io(engine_state(state), ide)
    return {
        "runway": health.runway_months(state["smoothed"], reserve, limit, state["price"], ide),
        "proposal": proposal(state["smoothed"], ide),
    }


def engine_state(state: Values) -> IdeState:
    fields = {name: state[name] for name in IdeState.__struct_fields__ if name in state}
    return IdeState(**{**fields, "epoch": 0, "debts": ()})


def put(
    name: str, _params: Values, _substep: int, _history: object, _state: Values, signal: Values
) -> tuple[str, Any]:
    return name, signal[name]


def block(policy: Any, *names: str) -> Values:
    return {
        "policies": {"policy": policy},
        "variables": {name: partial(put, name) for name in names},
    }


BLOCKS = [
    block(owed, "suppliers", "owed", "revenue", "price", "smoothed"),
    block(
        pay,
        "retiring",
        "reserve",
        "unemitted_io",
        "reward_vault_io",
        "supplier_io",
        "fee_vault_nano_usd",
        "paid",
        "usd_paid",
        "left",
        "debts",
    ),
    block(
        buy, "buyback_due_nano_usd", "fee_vault_nano_usd", "circulating_io", "burned_circulating_io"
    ),
    block(retire, "unemitted_io", "retired_unemitted_io"),
    block(judge, "runway", "proposal"),
]


def opening(params: IdeParams) -> Values:
    state = msgspec.structs.asdict(opening_state(params))
    made = {name: None for made in BLOCKS for name in made["variables"]}
    return {**made, **{k: v for k, v in state.items() if k not in ("epoch", "debts")}, "debts": {}}


def main(epochs: int) -> None:
    scenario = built_in("S4")
    params = msgspec.structs.replace(scenario.params, epoch_s=DAY_S)
    fleet = Fleet(scenario, DAY_S)
    days = days_of(scenario, epochs, Random(1), central=True)
    inputs = [fleet.epoch(day, PPM) for day in days]
    fastest_step = fastest_radcad = float("inf")
    for _ in range(3):
        state, started = opening_state(params), time.process_time()
        for usage, outside in inputs:
            state = totals(state, usage, outside, params)[0].state
        fastest_step = min(fastest_step, time.process_time() - started)
        model = Model(
            initial_state=opening(params),
            state_update_blocks=BLOCKS,
            params={"ide": [params], "inputs": [inputs]},
        )
        simulation = Simulation(model=model, timesteps=epochs, runs=1)
        simulation.engine = Engine(backend=Backend.SINGLE_PROCESS, drop_substeps=True)
        started = time.process_time()
        rows = simulation.run()
        fastest_radcad = min(fastest_radcad, time.process_time() - started)
        for name in COMPARED:
            if rows[-1][name] != getattr(state, name):
                sys.exit(f"{name} is {rows[-1][name]} under radCAD and {getattr(state, name)} here")
    told = {"epochs": epochs, "step_s": fastest_step, "radcad_s": fastest_radcad}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]))
