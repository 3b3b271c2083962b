# Every command of the project. `make help` lists them. Nothing here hides work: .ci/run calls `make test`.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

# The development environment: hash-pinned packages, then the two distributions in place.
$(VENV): $(VENV)/.complete
$(VENV)/.complete: requirements.lock sidecar/pyproject.toml operator/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e sidecar -e operator
	touch $@

.PHONY: lock
lock: ## Renew the three lock files (versions and hashes, no addresses)
	$(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/pip install --quiet 'uv==0.13.9'
	for image in sidecar operator .; do $(VENV)-lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-annotate --no-header $$image/requirements.in -o $$image/requirements.lock || exit 1; done
	rm -rf $(VENV)-lock

.PHONY: check
check: $(VENV) ## Format, lint, strict types, import layers
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

.PHONY: format
format: $(VENV) ## Rewrite the code in the house's format
	$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

.PHONY: test-unit
test-unit: $(VENV) ## The quick tests: no process, no cluster
	$(BIN)/pytest -q -m "not live and not cluster"

-include tests/cluster/cluster.mk
