# Every command of the project. `make help` lists them. Nothing here hides work: .ci/run calls `make test`.
SHELL := /bin/bash
# The first that runs, the oldest first: a command on the path may be pyenv's, which only says that it is not chosen.
PYTHON ?= $(shell for found in python3.11 python3.12 python3.13; do $$found -c '' 2>/dev/null && break; found=python3.11; done; echo $$found)
VENV   := .venv
BIN    := $(VENV)/bin

# Where it is set, as in many containers, every process of every test compiles all sources anew: half of the time.
unexport PYTHONDONTWRITEBYTECODE

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
lock: ## Renew the lock files (versions and hashes, no addresses)
	$(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/pip install --quiet 'uv==0.13.9'
	for list in sidecar/requirements sidecar/requirements-build operator/requirements benchmarks/requirements requirements; do \
	  $(VENV)-lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-annotate --no-header $$list.in -o $$list.lock || exit 1; done
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

# One worker more than there are processors: some tests wait for a second or two.
.PHONY: test-unit
test-unit: $(VENV) ## The quick tests: no process, no cluster
	$(BIN)/pytest -q -n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --dist worksteal -m "not live and not cluster" \
	  --hypothesis-profile=$(or $(EXAMPLES),quick)

.PHONY: search
search: $(VENV) ## Ten times the examples of every property, others each time: for whom has changed a state machine
	$(BIN)/pytest -q -n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --dist worksteal -m hypothesis --hypothesis-profile=search

# A command on the path may be pyenv's, which only says that it is not chosen: what counts is whether it runs.
.PHONY: test-pythons
test-pythons: $(VENV) ## The quick tests on every supported Python that is there; on ours with all examples
	@for version in 3.11 3.12 3.13; do \
	  python=; for found in python$$version $$(ls -d $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$$version.*/bin/python 2>/dev/null | sort -rV); do \
	    if $$found -c '' 2>/dev/null; then python=$$found; break; fi; done; \
	  if [ -z "$$python" ]; then echo "NOT RUN: quick tests on Python $$version: install python$$version and run make test again"; continue; fi; \
	  venv=$(VENV)-$$version; if $(BIN)/python -c "import sys; sys.exit('$$version' != '%d.%d' % sys.version_info[:2])"; then venv=$(VENV); fi; \
	  examples=quick; if [ $$venv = $(VENV) ]; then examples=whole; fi; \
	  $(MAKE) --no-print-directory VENV=$$venv PYTHON=$$python EXAMPLES=$$examples test-unit || exit 1; done

# The form that ships, in an environment of its own, made anew when a source has changed.
SHIPPED := sidecar/shipped.py sidecar/setup.py sidecar/pyproject.toml sidecar/requirements-build.lock $(shell find sidecar/src -name '*.py')
$(VENV)-compiled/.complete: $(SHIPPED) requirements.lock $(VENV)/.complete
	$(BIN)/python sidecar/shipped.py "$$(readlink -f $(BIN)/python)" $(VENV)-compiled requirements.lock
	touch $@

.PHONY: test-compiled
test-compiled: $(VENV) ## The sidecar's quick tests against the compiled build
	@lacking=$$($(BIN)/python sidecar/shipped.py "$$(readlink -f $(BIN)/python)"); \
	  if [ -n "$$lacking" ]; then echo "NOT RUN: the sidecar's tests against the compiled build: $$lacking"; exit 0; fi; \
	  $(MAKE) --no-print-directory $(VENV)-compiled/.complete && \
	  COMPILE_SIDEWINDER=1 $(VENV)-compiled/bin/pytest tests/sidecar -q -m "not live and not cluster" -o pythonpath=". operator/src"

.PHONY: test-live
test-live: $(VENV) ## Real processes, real sockets; who needs a second try is told (UNSTEADY)
	$(BIN)/pytest -q -m live --reruns 1

.PHONY: chaos
chaos: $(VENV) ## Every fault of the matrix under load, nine minutes: the table, here and in docs/chaos.md
	$(BIN)/python -m tests.chaos $(ONLY)

.PHONY: test
test: check test-pythons test-compiled test-live test-cluster ## Everything that this machine can run; what it cannot, it names
	@echo "make test: all that could run has passed; lines that begin with NOT RUN name the rest."

.PHONY: demo
demo: $(VENV) ## The main job, live: a canary split by weight, with spans
	$(BIN)/python examples/demo.py

.PHONY: golden
golden: $(VENV) ## Rewrite the golden folders; read the diff before you commit it
	$(BIN)/pytest -q tests/golden --rewrite

.PHONY: crds
crds: $(VENV) ## Write crds/ and docs/reference/ from the resource types and settings
	$(BIN)/python -m sidewinder_operator.resources.crd crds
	$(BIN)/python -m sidewinder_operator.resources.reference docs/reference
	$(BIN)/python -m sidewinder_sidecar.settings > docs/reference/settings.md
	$(MAKE) --no-print-directory chart

-include tests/cluster/cluster.mk

.PHONY: bench-routes
bench-routes: $(VENV) ## What 10 000 routes cost: one match, and how long a new snapshot holds the loop
	PYTHONPATH=.:sidecar/src $(BIN)/python benchmarks/routes.py

.PHONY: bench-authorization
bench-authorization: $(VENV) ## What 1 000 rules about who may call cost, and lists of 100 000 CIDRs
	PYTHONPATH=.:sidecar/src $(BIN)/python benchmarks/authorization.py

.PHONY: bench-balancing
bench-balancing: $(VENV) ## What choosing one of 10 to 10 000 endpoints costs
	PYTHONPATH=.:sidecar/src $(BIN)/python benchmarks/balancing.py

.PHONY: bench-crowd
bench-crowd: $(VENV) ## What a thousand endpoints and a hundred open breakers cost, beside Envoy; BENCH_PYTHON names what is measured
	$(MAKE) --no-print-directory $(VENV)-bench/.complete
	BENCH_PYTHON=$${BENCH_PYTHON:-$(VENV)-bench/bin/python} $(BIN)/python benchmarks/crowd.py

.PHONY: bench-discovery
bench-discovery: $(VENV) ## 1 000 Services, 2 000 sidecars: apply to last acknowledgement, CPU and memory of a replica (as root)
	PYTHONPATH=.:sidecar/src:operator/src $(BIN)/python -m benchmarks.scale.bench

# Benchmarks: the peers from Debian and PyPI, and an interpreter built as the image's is.
BENCH_SYSTEM_PYTHON ?= $(firstword $(wildcard /usr/bin/python3.13 /usr/bin/python3.12 /usr/bin/python3.11) $(PYTHON))
ONLY ?=
ROUNDS ?= 5
JSON ?=
$(VENV)-bench/.complete: $(SHIPPED) sidecar/requirements.lock $(VENV)/.complete
	$(BIN)/python sidecar/shipped.py $(BENCH_SYSTEM_PYTHON) $(VENV)-bench sidecar/requirements.lock --or-pure
	touch $@

.PHONY: bench
bench: $(VENV) ## Beside Envoy, nginx, HAProxy: make bench ONLY=plain,features ROUNDS=3 JSON=FILE
	@for program in wrk nginx haproxy; do PATH=$$PATH:/usr/sbin command -v $$program >/dev/null || missing="$$missing $$program"; done; \
	  if [ -n "$$missing" ]; then echo "installing$$missing with apt-get"; apt-get update -q >/dev/null && apt-get install -y -q $$missing >/dev/null; fi
	$(BIN)/pip install --quiet --require-hashes -r benchmarks/requirements.lock
	$(MAKE) --no-print-directory $(VENV)-bench/.complete
	BENCH_PYTHON=$${BENCH_PYTHON:-$(VENV)-bench/bin/python} $(BIN)/python benchmarks/bench.py --rounds $(ROUNDS) \
	  $(if $(ONLY),--only $(ONLY),--keep) $(if $(JSON),--json $(JSON))
