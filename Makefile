# Each target sets up .venv by itself, and again only when pyproject.toml has changed.
# PYTHON=/path/to/python chooses the interpreter; otherwise the first below that is >= 3.11.
# JOBS=1 runs the tests one after another; otherwise in a process for each core.

PYTHON   ?=
CHOICES  := $(or $(PYTHON),python3 python3.13 python3.12 python3.11)
FUZZ_SECONDS ?= 60
JOBS     ?= auto
VERSIONS := 3.11 3.12 3.13
VENV     := .venv
BIN      := $(VENV)/bin
READY    := .installed

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# $(call install,folder,python): make the environment if its python does not run, and install into it.
define install
	if ! $(1)/bin/python -m pip --version >/dev/null 2>&1; then \
	  echo "setting up $(1) with $$($(2) --version)"; \
	  rm -rf $(1); \
	  $(2) -m venv $(1) || { rm -rf $(1); echo "error: $(2) cannot make a virtual environment (see above)" >&2; exit 1; }; \
	else \
	  echo "updating $(1)"; \
	fi; \
	$(1)/bin/python -m pip install -qq --disable-pip-version-check --editable '.[dev]'; \
	touch $(1)/$(READY)
endef

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: $(VENV)/$(READY) ## Index this Python's standard library on worker processes; ENGINE=nats: over NATS
	@$(BIN)/trouper run examples.code_index $(if $(ENGINE),--engine $(ENGINE))

.PHONY: test
test: $(VENV)/$(READY) ## Run the tests with the Python at hand
	@$(BIN)/python -m pytest -q --numprocesses $(JOBS) --dist worksteal

.PHONY: test-all
test-all: ## Run the tests with each of Python 3.11, 3.12 and 3.13 that is found
	@tested=""; \
	for version in $(VERSIONS); do \
	  python=""; \
	  for choice in python$$version "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version.*/bin/python; do \
	    if "$$choice" -c 'import venv' >/dev/null 2>&1; then python="$$choice"; break; fi; \
	  done; \
	  if [ -z "$$python" ]; then echo "== python$$version: not found, skipped"; continue; fi; \
	  echo "== $$("$$python" --version)"; \
	  $(MAKE) test VENV=.venv-$$version PYTHON="$$python"; \
	  tested="$$tested $$version"; \
	done; \
	if [ -z "$$tested" ]; then echo "error: no Python of $(VERSIONS) was found" >&2; exit 1; fi; \
	echo "tested with:$$tested"

.PHONY: check
check: $(VENV)/$(READY) ## Lint, check the format, and check the types
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "error: run '$(BIN)/ruff format'" >&2; exit 1; }
	@$(BIN)/mypy

.PHONY: bench
bench: $(VENV)/$(READY) ## Measure against the limits, and write benchmarks/RESULTS.md
	@$(BIN)/python -m benchmarks

.PHONY: soak
soak: $(VENV)/$(READY) ## Messages and faults by the million, and processes killed: each message is accounted for
	@$(BIN)/python -m benchmarks.soak
	@$(BIN)/python -m benchmarks.soak_nodes
	@for app in Stamps Presses Shelves Drawers; do for scheduler in fair pct random-walk; do \
		$(BIN)/trouper simulate tests.simulation.apps_of_clusters:$$app --scheduler $$scheduler --seeds 200; done; done
	@TROUPER_EVERY_FRAME=1 $(BIN)/python -m pytest -q tests/contract/test_cut_at_every_frame.py
	@TROUPER_LONG=1 $(BIN)/python -m pytest -q -m long
	@TROUPER_EXAMPLES=2000 $(BIN)/python -m pytest -q --timeout 1200 tests/properties/test_random_worlds.py
	@$(BIN)/python -m benchmarks.soak_processes
	@$(BIN)/python -m benchmarks.soak_processes --engine nats --kills 40 --messages 40000
	@$(BIN)/python -m benchmarks.soak_processes --engine nats --kills 40 --messages 40000 --servers 3
	@$(BIN)/python -m benchmarks.soak_connections

.PHONY: fuzz
fuzz: $(VENV)/$(READY) ## Attack all decoders with changed bytes for FUZZ_SECONDS (60)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[fuzz]'
	@$(BIN)/python -m tests.fuzz.decoders .fuzz -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1

.PHONY: clean
clean: ## Remove the virtual environments and everything generated
	@rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .fuzz
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/$(READY): pyproject.toml
	@for choice in $(CHOICES); do \
	  if $$choice -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    python=$$choice; break; \
	  fi; \
	done; \
	if [ -z "$${python:-}" ]; then \
	  echo "error: Trouper needs Python 3.11 or later; none of these is: $(CHOICES)" >&2; \
	  echo "       Install one, or name it: make PYTHON=/path/to/python ..." >&2; \
	  exit 1; \
	fi; \
	$(call install,$(VENV),$$python)
