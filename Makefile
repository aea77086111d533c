# Everything happens in .venv, which is made when it is needed; python3 and make are enough.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
TOOLS := .venv/.tools
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable
ARGS ?=
WORKERS ?= 3
# Per cent of lines and branches that the tests have to reach: everywhere, and in the session's core.
FLOOR := 90
CORE_FLOOR := 97

.PHONY: help install run test lint docs soak fuzz bench clean

help:
	@echo "make run      the first job: jobs/rms.yaml on an embedded cluster"
	@echo "make test     the tests, with floors for their branch coverage; not for a part: ARGS='-k name'"
	@echo "make lint     ruff, mypy, import-linter"
	@echo "make docs     the documentation as a site, in build/site; links are checked"
	@echo "make soak     random kills over many rounds"
	@echo "make fuzz     mutated specs, which have to be valid or refused"
	@echo "make bench    arcli beside its peers"
	@echo "make install  only make .venv"
	@echo "make clean    remove .venv, caches and past runs"

install: $(TOOLS)

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit("arcli needs Python 3.11 or newer, and $(PYTHON) is %d.%d: try make PYTHON=python3.12" % v[:2] if v < (3, 11) else 0)'
	@echo "installing into .venv ..."
	@$(PYTHON) -m venv .venv
	@$(PIP) .
	@touch $@

$(TOOLS): $(INSTALLED)
	@echo "installing the tools for tests and lint ..."
	@$(PIP) '.[dev]'
	@touch $@

run: $(INSTALLED)
	@$(BIN)/arcli run jobs/rms.yaml $(ARGS)

# A part of the tests, by ARGS, is not measured: floors are for all of them.
test: $(TOOLS)
ifeq ($(strip $(ARGS)),)
	@rm -rf build/coverage
	@$(BIN)/python -m pytest -n $(WORKERS) --cov --cov-report=
	@$(BIN)/coverage report --fail-under $(FLOOR)
	@$(BIN)/coverage report --fail-under $(CORE_FLOOR) --include 'arcli/session/core/*'
else
	@$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)
endif

lint: $(TOOLS)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy arcli tests
	@$(BIN)/lint-imports --no-cache | tail -n 1

docs: $(TOOLS)
	@$(PIP) '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/site/index.html"

soak: $(TOOLS)
	@$(BIN)/python tests/faults/soak.py $(ARGS)

fuzz: $(TOOLS)
	@$(BIN)/python tests/specfile/fuzz.py $(ARGS)

bench: $(INSTALLED)
	@$(PIP) '.[bench]'
	@$(BIN)/python benchmarks/run.py $(ARGS)

clean:
	rm -rf .venv .arcli .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
