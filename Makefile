# Everything here works on Debian with Python 3.11 or newer; .ci/run calls `make test` and nothing else.
# A recipe that fails says what to do about it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TEST_WORKERS ?= 2
PYTEST_ARGS ?=
BENCH_ARGS ?=
PAGES_ARGS ?=
COMPANY_ID ?=
FORMAT ?= csv
PERIOD ?=
LOCALE ?=

PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --quiet
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

.PHONY: help setup run test test-long lint bench bench-full report screenshots lock browser clean

help: ## Show this help
	@echo "Usage: make TARGET"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.dev ## Create .venv with everything the tests and linters need

run: $(VENV)/.runtime ## Start PostgreSQL, Valkey, the panel and a demo; Ctrl-C stops them, data is kept in ./var
	@exec $(BIN)/secretaria up --demo

test: $(VENV)/.dev browser lint ## Linters, then the suite against real PostgreSQL and Valkey
	@$(BIN)/python -m pytest -rs -n $(TEST_WORKERS) --dist loadfile -m "not long" $(PYTEST_ARGS)

test-long: $(VENV)/.dev browser ## What takes minutes more: kills at every named point, two web processes, backup drills, axe
	@$(BIN)/python -m pytest -rs -m long $(PYTEST_ARGS)

lint: $(VENV)/.dev ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: $(VENV)/.dev ## Ingest over HTTP against a bare COPY of the same rows; from a crossing to its webhook; reading
	@$(BIN)/python bench/ingest.py $(BENCH_ARGS)
	@$(BIN)/python bench/alerts.py
	@$(BIN)/python bench/pages.py $(PAGES_ARGS)

bench-full: $(VENV)/.dev ## Pages, API, exports and recomputation with 10 million events of one company
	@$(BIN)/python bench/pages.py --events 10000000 $(PAGES_ARGS)

report: $(VENV)/.runtime ## Write a report into ./reports: make report COMPANY_ID=1 FORMAT=pdf (csv, xlsx; PERIOD, LOCALE)
	@if [ -z "$(COMPANY_ID)" ]; then echo "Say which company: make report COMPANY_ID=1 FORMAT=pdf" >&2; exit 2; fi
	@$(BIN)/secretaria report --company "$(COMPANY_ID)" --format "$(FORMAT)" \
		$(if $(PERIOD),--period "$(PERIOD)") $(if $(LOCALE),--locale "$(LOCALE)")

screenshots: $(VENV)/.dev browser ## Redraw docs/images from a demo
	@$(BIN)/python -m tests.browser.screenshots

lock: $(VENV)/.dev ## Write requirements*.txt anew from requirements*.in (pins, hashes, no host names)
	@$(LOCK) requirements.in requirements-build.in -o requirements.txt
	@$(LOCK) requirements-dev.in requirements-build.in -o requirements-dev.txt

clean: ## Remove .venv and caches; ./var and ./reports stay
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build src/*.egg-info
	@find src tests bench docs -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian ships venv in a package of its own; as root it is fetched, otherwise the message says how.
$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "python3 is missing. Install Python 3.11 or newer" \
		"(Debian: apt-get install python3 python3-venv)." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed;" \
		"$(PYTHON) is $$($(PYTHON) -V 2>&1). Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
		version=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "Installing Debian's python$$version-venv"; \
			{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "python$$version-venv"; } >/dev/null \
				|| { echo "apt-get could not install python$$version-venv." >&2; exit 1; }; \
		else \
			echo "Python's venv module is missing. Install it: sudo apt-get install python$$version-venv" >&2; exit 1; \
		fi; \
	fi
	@echo "Creating $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv --clear $(VENV)

# The stamps: pins are installed again only when they or the package's metadata change.
$(VENV)/.runtime: requirements.txt pyproject.toml | $(BIN)/python
	@echo "Installing pinned requirements (a minute or so the first time)"
	@$(PIP_INSTALL) --require-hashes -r requirements.txt
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	@echo "Installing pinned requirements of tests and linters"
	@$(PIP_INSTALL) --require-hashes -r requirements-dev.txt
	@touch $@

# For tests/browser only: the system's Chromium, else Debian's, else Playwright's; else those tests say they did not run.
browser: $(VENV)/.dev
	@if command -v chromium chromium-browser google-chrome >/dev/null; then exit 0; fi; \
	if [ -n "$$(ls -d $${PLAYWRIGHT_BROWSERS_PATH:-$$HOME/.cache/ms-playwright}/chromium* 2>/dev/null)" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing Debian's chromium for the browser tests"; \
		if apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends chromium >/dev/null; then exit 0; fi; \
	fi; \
	echo "Downloading Chromium for the browser tests"; \
	$(BIN)/playwright install chromium >/dev/null \
		|| echo "No Chromium could be installed: the browser tests will be skipped." >&2
