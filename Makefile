# One task runner for people, CI and hooks. Every target does its own set-up: a fresh machine needs Python 3.10+ and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9

DOCKER ?= docker
# A registry of your own: `make images IMAGE_PREFIX=registry.example.com/team`.
IMAGE_PREFIX ?= mlops-assets
IMAGES := data model
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' mlops_assets/__init__.py)
# Files that git does not know are copied into the images, too.
REVISION = $(shell git rev-parse HEAD 2>/dev/null)$(if $(shell git status --porcelain 2>/dev/null),-dirty)
FROM_ENVIRONMENT := HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy \
	PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PYTHON_IMAGE
comma := ,

# Which project `make dev` shows: the one here, else the demo.
DIR ?= $(if $(wildcard .env data),.,$(if $(wildcard demo/.env),demo,.))

.DEFAULT_GOAL := help
.PHONY: help install demo dev test test-quick lint format types check docs lock images bench clean

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
	@echo "The project in $(abspath $(DIR)); another one: make dev DIR=FOLDER"
	$(BIN)/mlops-assets dev --dir $(DIR)

test: install ## All tests
	$(BIN)/python -m pytest -n 2 --dist loadscope

test-quick: install ## The tests that take under three minutes
	$(BIN)/python -m pytest -n 2 --dist loadscope -m "not slow"

lint: install ## Ruff: format and rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: install ## Let ruff fix what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: install ## mypy, strict
	$(BIN)/mypy

check: lint types test ## What CI runs

docs: install ## Generate docs/settings.md from the declarations
	$(BIN)/python -m mlops_assets.settings > docs/settings.md

lock: install ## Resolve requirements.lock anew from pyproject.toml, for every supported Python
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
		--group pyproject.toml:dev pyproject.toml --output-file requirements.lock $(ARGS)
	@set -e; for image in $(IMAGES); do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
			--constraints requirements.lock \
			--group pyproject.toml:image-$$image --output-file docker/$$image.lock; \
	done

# The network is the caller's: proxies and an index from the environment, a pip.conf as a secret (see docker/Dockerfile).
images: ## Build the images of the steps
	@set -e; set -- $$($(PYTHON) -m mlops_assets.fingerprint); for image in $(IMAGES); do \
		DOCKER_BUILDKIT=1 $(DOCKER) build --file docker/Dockerfile --target $$image --tag $(IMAGE_PREFIX)/$$image:$(VERSION) \
			$(foreach name,$(FROM_ENVIRONMENT),$(if $($(name)),--build-arg $(name))) \
			$(if $(PIP_CONF),--secret id=pipconf$(comma)src=$(PIP_CONF)) \
			--build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) \
			--build-arg CODE=$$1 --build-arg CONTRACT=$$2 $(ARGS) .; \
	done

bench: install ## The figures in the README
	$(BIN)/python -m benchmarks.run

clean: ## Remove the virtual environment and caches (never data)
	rm -rf $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache
