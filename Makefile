# Every target makes the environment in .venv first, when it is missing or older than the lock: `run` with what runs need,
# `test` with what tests need besides.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
RUNTIME_LOCK := requirements.lock
GPU_LOCK := requirements-gpu.lock
LOCK := requirements-dev.lock
UV_LOCK := sed -n '/^uv==/,/\# via/p' requirements-dev.lock
DEMO := workspace/demo
VARIANT := cpu
IMAGE := genre-pipeline:0.1.0
# As many files at a time as there are cores, in the order of tests/conftest.py. A crashed worker fails the run. A worker has
# one thread for its sums: more than there are cores wait actively, and take time from the others.
PYTEST := OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 $(BIN)/pytest --quiet --numprocesses auto --dist loadfile --no-loadscope-reorder --max-worker-restart 0
# The platform of the containers, so that the lock is the same whoever makes it.
COMPILE := $(BIN)/uv pip compile --quiet --no-header --generate-hashes --python-version 3.11 \
	--python-platform x86_64-unknown-linux-gnu $(if $(UPGRADE),--upgrade)

.DEFAULT_GOAL := help
.PHONY: help run test test-rest soak test-all bench lint lock doctor image clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

run: $(VENV)/.runtime ## Compose a small library, ingest it, and run the whole pipeline on it
	$(BIN)/genre demo-library $(DEMO)/library
	$(BIN)/genre ingest csv $(DEMO)/library/tracks.csv --audio-root $(DEMO)/library --genre-column genre \
	    --group-column artist --split-column split --config configs/demo.yaml
	$(BIN)/genre run --config configs/demo.yaml
	@echo "page to drop songs on: $(BIN)/genre serve --workspace $(DEMO)"

test: lint ## Lint, then run the tests that every change must pass: at most 15 minutes on 2 cores
	$(PYTEST) -m "not long and not soak"

test-rest: $(VENV)/.development ## Run the other tests: at most 50 minutes on 2 cores
	$(PYTEST) -m long

soak: $(VENV)/.development ## Run the tests that watch a process for long: half an hour
	$(PYTEST) -m soak

test-all: test test-rest ## Run every test

bench: $(VENV)/.development ## Measure against what a user would pick instead; NAME=mel measures that alone
	$(BIN)/python -m bench $(NAME)

lint: $(VENV)/.development ## Check style, format, types and the layers of the source
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

# tensorflow is overridden in pyproject.toml, which makes uv forget the extra that setup.py asks for: hence --override.
lock: $(VENV)/.made ## Bring the locks up to setup.py and pyproject.toml; UPGRADE=1 takes newer versions, too
	$(COMPILE) --extra train --extra export setup.py --output-file $(RUNTIME_LOCK)
	echo 'tensorflow[and-cuda]' | $(COMPILE) --extra train --extra export --extra gpu --override - --constraints $(RUNTIME_LOCK) setup.py \
	    --output-file $(GPU_LOCK)
	$(COMPILE) --extra train --extra export --extra dev --constraints $(RUNTIME_LOCK) setup.py --output-file $(LOCK)

doctor: $(VENV)/.runtime ## Say whether this installation is sound
	@$(BIN)/genre doctor

image: ## Build the container image; VARIANT=gpu for NVIDIA's libraries, IMAGE=registry/name:tag
	docker build --file kubeflow/Dockerfile --build-arg VARIANT=$(VARIANT) --tag $(IMAGE) .

clean: ## Remove the environment and all caches; the workspace stays
	rm -rf $(VENV) .pytest_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -type d -not -path './workspace/*' -prune -exec rm -rf {} +

# What runs need, and what tests need besides. An environment that has what tests need keeps it.
$(VENV)/.runtime: $(RUNTIME_LOCK) setup.py pyproject.toml $(VENV)/.made
	$(call install,$(if $(wildcard $(VENV)/.development),$(LOCK),$(RUNTIME_LOCK)),$@ $(wildcard $(VENV)/.development))

$(VENV)/.development: $(LOCK) setup.py pyproject.toml $(VENV)/.made
	$(call install,$(LOCK),$@ $(VENV)/.runtime)

# A killed installation leaves packages in halves. Without .made the next call starts anew, with what is downloaded.
define install
@echo "Installing $(1) into $(VENV): some minutes and 3 GB the first time."
@rm $(VENV)/.made
@$(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes --python $(BIN)/python $(1) || { \
    echo "uv could not, perhaps for settings that only pip has; pip takes a few minutes."; \
    $(BIN)/python -m pip install --quiet --no-deps --require-hashes -r $(1); }
@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
@touch $(VENV)/.made $(2)
endef

# An environment of its own, as a system's Python may refuse to install anything (PEP 668). In it only uv, as locked.
$(VENV)/.made: $(BIN)/python
	@python=$$(.ci/python $(LOCK) $(PYTHON) python3) && echo "Making $(VENV) with $$($$python --version)." \
	    && $$python -m venv --clear $(VENV)
	@$(UV_LOCK) > $(VENV)/uv.txt
	@$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r $(VENV)/uv.txt
	@touch $@

# Not made here. That there is a rule has .made made again when this is missing, or a link to a Python that is gone.
$(BIN)/python: ;
