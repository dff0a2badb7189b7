# One word runs everything; each word does all its own set-up, from a bare clone on Debian with Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export PYTHONDONTWRITEBYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types architecture bench conformance agentdojo lock soak clean

help: ## what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

$(READY): pyproject.toml requirements.lock
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
		uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.lock && \
		uv pip install --quiet --no-deps --python $(BIN)/python --editable .; \
	else \
		$(PYTHON) -m venv $(VENV) && \
		$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock && \
		$(BIN)/python -m pip install --quiet --no-deps --editable .; \
	fi
	@touch $@

lock: ## what is installed, anew from pyproject.toml; needs uv
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--no-emit-index-url --group dev --output-file requirements.lock pyproject.toml

demo: $(READY) ## the main job on real servers, then attacks; CONTROL=open must fail, KEEP=1 leaves it running
	@$(BIN)/python examples/demo/run.py

test: $(READY) ## every test; fails on a skip that tests/skips.toml does not list
	@$(BIN)/python tests/run.py

lint: $(READY)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(READY)
	@$(BIN)/mypy src tests examples bench conformance

architecture: $(READY)
	@$(BIN)/lint-imports

check: lint types architecture test ## lint, types, architecture, tests

bench: $(READY) ## what governing a call costs, against direct and a raw pass-through, in one run
	@$(BIN)/python bench/run.py

conformance: $(READY) ## the official suite directly and through Remit; needs npm, and EVERYTHING= a checkout of its server
	@$(BIN)/python conformance/run.py

AGENTDOJO := build/agentdojo
$(AGENTDOJO)/.ready: pyproject.toml
	@$(PYTHON) -m venv $(AGENTDOJO) && $(AGENTDOJO)/bin/python -m pip install --quiet --editable '.[agentdojo]'
	@touch $@

agentdojo: $(AGENTDOJO)/.ready ## AgentDojo's tasks and attacks through Remit, without a model; CONTROL=open must land them all
	@$(AGENTDOJO)/bin/python -m remit.lab.agentdojo.run $(ARGS)

soak: $(READY) ## mixed load on one process for SECONDS (600): no wrong answer, no growth; build/soak.json
	@SECONDS=$(or $(SECONDS),600) $(BIN)/python bench/soak.py

clean: ## remove what was built
	rm -rf build .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
