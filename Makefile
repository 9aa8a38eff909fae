# Every target sets itself up: only Python 3.11 (or newer) and make are needed.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
export HEADSTART_CACHE ?= $(CURDIR)/.data/cache
# Test files go to two processes, in the order that tests/conftest.py gives them; make test WORKERS=0 runs them in one.
WORKERS ?= 2
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: help venv demo check test test-slow test-all bench docs lock clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

venv: $(VENV)/ready ## Make the virtual environment from the lock

$(VENV)/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: venv ## Fit the textile defects and name the report
	$(BIN)/headstart demo

check: venv ## Format, lint, types, import contracts, fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -m "not medium and not slow"

test: venv ## Fast and medium tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -m "not slow" $(PARALLEL) --durations=15

test-slow: venv ## Slow tests: every model family, soak, clean environments
	$(BIN)/python -m pytest -m slow $(PARALLEL) --durations=15

test-all: test test-slow ## All tests

bench: venv ## Print the figures that the README and docs quote
	$(BIN)/python -m benchmarks

docs: venv ## Write the API reference anew
	$(BIN)/python docs/write_api.py

lock: venv ## Resolve the dependencies anew
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --generate-hashes --universal --python-version 3.11 \
	  --custom-compile-command "make lock" --no-annotate --quiet --output-file requirements.lock

clean: ## Remove the virtual environment and the local cache
	rm -rf $(VENV) .data build dist
