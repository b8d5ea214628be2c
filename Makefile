# `make run`: the main job in its own environment. `make test`: all checks and tests in the same environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STUDY ?= spaces/dsc4.yaml
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run test check clean

run: $(VENV)/installed
	$(BIN)/python -m search.run $(STUDY)

test: check
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

check: $(VENV)/installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 13) else "PYTHON is %s; expected 3.11 or 3.12" % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing into $(VENV), about two minutes"
	$(INSTALL) --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(INSTALL) --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV)
