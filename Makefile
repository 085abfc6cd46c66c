# One task runner for people, CI and hooks. Every target does its own set-up: a fresh machine needs Python 3.10+ and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9

IMAGES := data train predict

.DEFAULT_GOAL := help
.PHONY: help install demo dev test test-quick lint format types check lock bench clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(VENV)/installed ## Make .venv from requirements.lock, with this package in editable mode

# Bytecode is compiled once here, so that neither the first command of a user nor a read-only
# installation pays for it (importing Dagster, MLflow and scikit-learn is four times slower without).
$(VENV)/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: install ## Two weeks of data arrive, models are trained, the better one scores every day
	$(BIN)/mlops-assets demo

dev: install ## Dagster's UI on http://127.0.0.1:3000 and MLflow's on http://127.0.0.1:5000
	$(BIN)/mlops-assets dev

test: install ## All tests
	$(BIN)/python -m pytest

test-quick: install ## The tests that take under three minutes
	$(BIN)/python -m pytest -m "not slow"

lint: install ## Ruff: format and rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: install ## Let ruff mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: install ## mypy, strict
	$(BIN)/mypy

check: lint types test ## What CI runs

lock: install ## Resolve requirements.lock anew from pyproject.toml, for every supported Python
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
		--group pyproject.toml:dev pyproject.toml --output-file requirements.lock $(ARGS)
	@set -e; for image in $(IMAGES); do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
			--constraints requirements.lock \
			--group pyproject.toml:image-$$image --output-file docker/$$image.lock; \
	done

bench: install ## The figures in the README
	$(BIN)/python -m benchmarks.run

clean: ## Remove the virtual environment and caches (never data)
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
