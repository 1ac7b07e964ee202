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
# make chaos   200 rounds of SIGKILL under load, streams cut; half an hour; ARGS='--ledger postgres'
# make structured  400 tool calls and JSON answers of a gateway that runs; ARGS='--url ... --key ... --model ...'
# make contract    schemathesis with OpenAI's own API document; ARGS='--url ...' for a gateway that runs
# make solana  1,000 suppliers paid on the embedded VM, and a payer killed at every statement; ten minutes
.PHONY: install run test check bench endurance overload ledger-bench batch-bench fuzz sim chaos contract structured settle-bench solana route-sim

ARGS ?=
TRACE ?= ../shared/data/azure-llm-2023-conversation.csv
BIN := .venv/bin

install:
	@deploy/install.sh

run: install
	@exec $(BIN)/tollgate up $(ARGS)

test: install
	@deploy/test_tools.sh
	$(BIN)/pytest $(ARGS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	@$(BIN)/python -m tests.bench $(ARGS)

endurance: install
	@$(BIN)/python -m tests.bench endurance $(ARGS)

overload: install
	@$(BIN)/python -m tests.bench overload $(ARGS)

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

contract: install
	@PYTHONPATH=tests $(BIN)/python -m tests.contracts $(ARGS)

structured: install
	@PYTHONPATH=tests $(BIN)/python -m tests.structured $(ARGS)

solana: install
	@PYTHONPATH=tests $(BIN)/python -m tests.chain $(ARGS)

route-sim: install
	@$(BIN)/tollgate route simulate --trace $(TRACE) --scenario all $(ARGS)
