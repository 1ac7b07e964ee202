# make run     everything on one machine, in the foreground; ARGS go to `tollgate up`
# make test    every test
# make check   style, types, imports
# make bench   what a request costs, beside other gateways; ARGS='--help' lists what else it does
# make endurance   a million requests, silent streams, slow readers, a hung node; ten minutes
# make ledger-bench   how fast the books are, at ten million transfers (PostgreSQL: one); ARGS=--quick for seconds
# make settle-bench   an epoch of 100,000 suppliers and a million charges; ARGS=--quick for seconds
# make batch-bench    what live traffic feels of a batch; two minutes
# make overload   ten times more than there is room for: what is refused, and how fast; half a minute
# make fuzz    200,000 inputs that no client and no node should send; ten minutes
# make sim     5,000 worlds of spool, poster and ledger killed at their writes; two minutes
# make route-sim   policies of choosing a node in simulated worlds; TRACE=a file of requests; a minute
# make route-liars   how soon lying nodes are found in simulated worlds, and how many wrongly; minutes
# make chaos   200 rounds of SIGKILL under load, streams cut; half an hour; ARGS='--ledger postgres'
# make resume  real engines killed in 50 streams, which go on as if nothing had happened; ten minutes; ARGS='--streams 50'
# make rolling   two gateways on PostgreSQL restarted under 200 streams: none may notice; two minutes
# make alerts   the five worst faults under a real Prometheus, ten times as fast as real: when each alert fires; a minute
# make structured  400 tool calls and JSON answers of a gateway that runs; ARGS='--url ... --key ... --model ...'
# make contract    schemathesis with OpenAI's own API document; ARGS='--url ...' for a gateway that runs
# make solana  1,000 suppliers paid on the embedded VM, and a payer killed at every statement; ten minutes
# make pools   models on four labelled Ray nodes: placed, scaled, woken, rolled, a node killed; minutes; ARGS=--no-vllm
# make config-page   docs/configuration.md anew, of the code
# make ide-bench   20 simulated years hourly, 1,000 paths, and the same under radCAD; minutes
# make ide-scenarios   what every built-in scenario comes to; a minute
# make ide-fuzz    20,000 sequences of hostile epochs; minutes
.PHONY: help install resume run test check bench endurance overload ledger-bench batch-bench fuzz sim chaos contract structured settle-bench solana ide-bench ide-fuzz ide-scenarios route-sim pools route-liars alerts rolling config-page

ARGS ?=
TRACE ?=
BIN := .venv/bin

help:
	@sed -n 's/^# //p' Makefile

install:
	@deploy/install.sh

run: install
	@exec $(BIN)/tollgate up $(ARGS)

test: install
	@deploy/test_tools.sh
	$(BIN)/pytest -n 2 --dist loadscope --no-loadscope-reorder $(ARGS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	@PYTHONPATH=tests $(BIN)/python -m tests.bench $(ARGS)

endurance: install
	@PYTHONPATH=tests $(BIN)/python -m tests.bench endurance $(ARGS)

overload: install
	@PYTHONPATH=tests $(BIN)/python -m tests.bench overload $(ARGS)

ledger-bench: install
	@PYTHONPATH=tests $(BIN)/python -m tests.bench ledger $(ARGS)

settle-bench: install
	@PYTHONPATH=tests $(BIN)/python -m tests.bench settle $(ARGS)

batch-bench: install
	@PYTHONPATH=tests $(BIN)/python -m tests.bench batches $(ARGS)

fuzz: install
	@$(BIN)/python -m tests.fuzz $(ARGS)

sim: install
	@PYTHONPATH=tests $(BIN)/python -m tests.sim $(ARGS)

chaos: install
	@PYTHONPATH=tests $(BIN)/python -m tests.chaos $(ARGS)

rolling: install
	@PYTHONPATH=tests $(BIN)/python -m tests.chaos --only rolling $(ARGS)

contract: install
	@PYTHONPATH=tests $(BIN)/python -m tests.contracts $(ARGS)

alerts: install
	@deploy/test_tools.sh
	@PYTHONPATH=tests $(BIN)/python -m tests.alerts $(ARGS)

resume: install
	@PYTHONPATH=tests $(BIN)/python -m tests.resume $(ARGS)

structured: install
	@PYTHONPATH=tests $(BIN)/python -m tests.structured $(ARGS)

solana: install
	@PYTHONPATH=tests $(BIN)/python -m tests.chain $(ARGS)

pools: install
	@PYTHONPATH=tests $(BIN)/python -m tests.pools $(ARGS)

config-page: install
	@PYTHONPATH=tests $(BIN)/python -m tests.config_page

build/radcad:
	@python3 -m venv $@ && $@/bin/pip install --quiet radcad msgspec typing_extensions || { rm -rf $@; exit 1; }

ide-bench: install build/radcad
	@$(BIN)/python -m tests.ide_bench pace --radcad build/radcad/bin/python $(ARGS)

ide-fuzz: install
	@$(BIN)/python -m tests.ide_bench hostile $(ARGS)

ide-scenarios: install
	@$(BIN)/python -m tests.ide_bench scenarios

route-liars: install
	@$(BIN)/tollgate route liars --seeds 40 $(ARGS)

route-sim: install
	@test -n "$(TRACE)" || { echo "name a file of requests: make route-sim TRACE=FILE; docs/routing.md says which" >&2; exit 2; }
	@$(BIN)/tollgate route simulate --trace $(TRACE) --scenario all $(ARGS)
