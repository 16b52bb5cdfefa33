# All targets work in a clean clone with Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := bash scripts/pip-install $(BIN)/python

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test check lint format bench lock docs clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(VENV)/run.stamp: requirements/run.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing Everafter into $(VENV) ..."
	@$(PIP) --require-hashes -r requirements/run.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt $(VENV)/run.stamp
	@echo "Installing what the tests need ..."
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

setup: $(VENV)/run.stamp ## install Everafter into .venv
setup-dev: $(VENV)/dev.stamp ## install what the tests need, too

demo: setup ## generate a year of sample data, score it and serve it; half a minute
	@$(BIN)/everafter demo

test: lint ## run all checks and all tests
	@bash scripts/install-test-tools
	@$(BIN)/python -m pytest -n 2 --dist worksteal -q tests

check: lint ## check format, lint, types, architecture, schema, docs
	@$(BIN)/python -m pytest -q -p no:cacheprovider -n 2 tests/test_architecture.py tests/test_schema.py tests/test_words.py tests/test_docs*.py

lint: setup-dev ## check format, lint and types
	@$(BIN)/ruff format --check --quiet src tests benchmarks scripts
	@$(BIN)/ruff check --quiet src tests benchmarks scripts
	@$(BIN)/pyright --pythonpath $(BIN)/python

format: setup-dev ## format the code
	@$(BIN)/ruff check --fix-only --quiet src tests benchmarks scripts
	@$(BIN)/ruff format --quiet src tests benchmarks scripts

bench: setup-dev ## run the benchmarks
	@$(BIN)/python -m benchmarks

lock: setup-dev ## resolve the versions of requirements/ again
	@$(BIN)/uv pip compile --quiet pyproject.toml --extra build --generate-hashes --no-header --no-annotate --universal --python-version 3.11 -o requirements/run.txt
	@$(BIN)/uv pip compile --quiet pyproject.toml --extra build --extra dev --generate-hashes --no-header --no-annotate --universal --python-version 3.11 -o requirements/dev.txt

docs: setup-dev ## write docs/cli.md, docs/signals.md and schema.sql
	@$(BIN)/everafter signals --markdown > docs/new && mv docs/new docs/signals.md
	@$(BIN)/python scripts/cli_page.py > docs/new && mv docs/new docs/cli.md
	@$(BIN)/everafter migrate --print-schema > docs/new && mv docs/new schema.sql

clean: ## remove .venv and .everafter
	rm -rf $(VENV) .everafter
