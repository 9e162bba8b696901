# perfcast: `make serve` answers questions, `make test` checks everything, and
# `make train DATA=folder` retrains the shipped model from measurements.

PYTHON ?= python3
VENV ?= .venv
DATA ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: help serve test lint types unit train bench bench-serving page clean

help:
	@echo "make serve            start the service with the shipped models (PERFCAST_HOST, PERFCAST_PORT)"
	@echo "make test             ruff, mypy and pytest, in an environment of their own"
	@echo "make train DATA=DIR   retrain the GEMM model from Parquet or CSV files in DIR"
	@echo "make bench            speed of the Python API against bare onnxruntime"
	@echo "make bench-serving    the service under load beside FastAPI, MLServer and BentoML (needs wrk)"
	@echo "make page             check and rebuild the web page from serving/page (needs npm)"
	@echo "make clean            remove the environment and caches"

serve: $(VENV)/.base
	@echo "perfcast is starting on http://$${PERFCAST_HOST:-127.0.0.1}:$${PERFCAST_PORT:-8000} (documentation: /docs)"
	@exec $(BIN)/perfcast serve

test: lint types unit

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy -p perfcast
	$(BIN)/mypy tests

unit: $(VENV)/.dev
	$(BIN)/python -m pytest

train: $(VENV)/.train
	@test -n "$(DATA)" || { echo "usage: make train DATA=folder-of-measurements"; exit 2; }
	$(BIN)/perfcast train gemm --data "$(DATA)"

bench: $(VENV)/.base
	$(BIN)/perfcast bench

bench-serving: $(VENV)/.fast
	$(BIN)/python -m perfcast.serving.bench.peers

# The built page is committed, so that nobody else needs node.
page:
	cd serving/page && npm ci --no-audit --no-fund && npm run check && npm run build

clean:
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("perfcast needs Python 3.11 or newer, found " + sys.version.split()[0] + "; try: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# One stamp per set of extras; an environment is brought up to date when pyproject.toml changes.
$(VENV)/.base: pyproject.toml | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.fast: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[fast]'
	@touch $@ $(VENV)/.base

$(VENV)/.train: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[train]'
	@touch $@ $(VENV)/.base

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[train,fast,dev]'
	@touch $@ $(VENV)/.train $(VENV)/.base
