# Each target sets up all that it needs; `make run` and `make test` are the two to know.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test test-long check bench format clean

run: $(VENV)/.run
	@$(BIN)/headgate serve $(ARGS)

test: $(VENV)/.dev
	$(BIN)/pytest $(ARGS)

test-long: $(VENV)/.dev
	$(BIN)/pytest -m long $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check src tests bench
	$(BIN)/ruff check src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format src tests bench
	$(BIN)/ruff check --fix src tests bench

bench: $(VENV)/.dev
	$(BIN)/python -m bench $(ARGS)

$(VENV)/bin/python:
	@PYTHON="$(PYTHON)" sh deploy/make-venv.sh $(VENV)

# The demonstration engine is an extra: where its wheel cannot be had, headgate runs without it.
$(VENV)/.run: $(VENV)/bin/python pyproject.toml
	@echo "Installing headgate into $(VENV) (once; some 200 MB, mostly the llama.cpp engine) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[local]' \
	  || { echo "The extra 'local' (the embedded llama.cpp engine) cannot be installed here; going on without it."; \
	       $(BIN)/python -m pip install --quiet --disable-pip-version-check -e .; }
	@sh deploy/check-engine.sh $(BIN)/python
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "Installing the development tools ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .bootstrap .mypy_cache .ruff_cache .pytest_cache .hypothesis
