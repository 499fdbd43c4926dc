# Everything from a bare python3 (3.11 or later) and a checkout. `make` alone lists what there is.
PYTHON ?= python3
SEEDS  ?= 1500
UV      = 0.13.9

BIN      := .venv/bin
INSTALLED := .venv/installed
CLIENTS := .venv/clients/installed
MESSAGES := $(shell find src -name '*.po' 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help venv run test check coverage proof bench lock assets clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

venv: $(INSTALLED) ## install everything that is locked into .venv

$(INSTALLED): requirements.lock pyproject.toml hatch_build.py $(MESSAGES)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps uv==$(UV)
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(CLIENTS): $(INSTALLED) requirements-clients.lock  # what others wrote, in an environment that disturbs nobody's
	test -x .venv/clients/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python .venv/clients
	$(BIN)/uv pip sync --quiet --python .venv/clients/bin/python --require-hashes requirements-clients.lock
	@touch $@

run: venv ## start the whole system on this machine, with a database and simulated partners
	$(BIN)/refill up

test: venv $(CLIENTS) ## run the whole test suite
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: venv $(CLIENTS) ## what must hold before a change is accepted: format, lint, types, imports, tests, branches of the money's path
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(MAKE) --no-print-directory coverage
	$(BIN)/python -m pytest -n 2 --dist worksteal --ignore=tests/ledger --ignore=tests/topup

coverage: venv ## the tests of the ledger and of top-ups, which must take every branch
	$(BIN)/python -m pytest -n 2 -q tests/ledger tests/topup --cov=refill.ledger --cov=refill.topup --cov-branch --cov-fail-under=100

proof: venv ## live through many seeded days with planted faults (SEEDS=1500)
	SEEDS=$(SEEDS) $(BIN)/python -m pytest -q tests/proof

bench: venv ## measure the hot path against references in the same run
	$(BIN)/refill bench all

lock: ## write both locks again, from pyproject.toml and requirements-clients.in
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps uv==$(UV)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	    --no-annotate pyproject.toml --group dev --output-file requirements.lock $(LOCK_OPTIONS)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	    --no-annotate requirements-clients.in --output-file requirements-clients.lock $(LOCK_OPTIONS)

assets: venv ## build the style sheet and the translations again
	$(BIN)/python hatch_build.py

clean: ## throw away what can be made again
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage htmlcov build dist
