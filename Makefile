# make run     everything on one machine, in the foreground; ARGS go to `tollgate up`
# make test    every test
# make check   style, types, imports
.PHONY: install run test check

ARGS ?=
BIN := .venv/bin

install:
	@deploy/install.sh

run: install
	@exec $(BIN)/tollgate up $(ARGS)

test: install
	$(BIN)/pytest $(ARGS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
