# `make run` and `make test` set everything up on a machine that has Python 3.11+, g++, make and perl.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# What a run needs is installed first; tests, linters and clusters need more.
RUN    := $(VENV)/.run
STAMP  := $(VENV)/.installed

# Real data and cell libraries, where they lie beside the checkout, let more tests run.
ifneq ($(wildcard ../shared/data),)
export INTARSIA_DATA ?= $(abspath ../shared/data)
endif
ifneq ($(wildcard ../shared/pdk),)
export PDK_ROOT ?= $(abspath ../shared/pdk)
endif

.PHONY: run test test-anywhere fuzz soak lint study docs clean help

help:
	@echo "make run    install, then train, freeze, compile, verify and report the digits network (runs/digits/report.html)"
	@echo "make test   install, then linters, types, import rules and the test suite"
	@echo "make test-anywhere"
	@echo "            the test suite as other machines run it: other Pythons, PyTorch kernels, threads and draws"
	@echo "make fuzz   50,000 damaged files for all readers (COUNT=...), outside the test suite"
	@echo "make lint   only linters, types and import rules"
	@echo "make study  the long experiments, outside the test suite"
	@echo "make docs   install, then the documentation with the API reference (build/docs/index.html)"

$(RUN): pyproject.toml constraints.txt
	@command -v g++ >/dev/null && command -v perl >/dev/null || { echo "g++ and perl are needed: install them with your system's package manager." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[all]'
	touch $@

$(STAMP): $(RUN)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[all,cluster,dev]'
	touch $@

run: $(RUN)
	$(BIN)/intarsia run digits

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Files of tests run side by side, each process with one thread: PyTorch's would wait for each other.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not study" -n auto --maxprocesses 8 --dist loadfile

# PYTHONS="python3.12 python3.13" chooses; each gets a virtual environment of its own.
test-anywhere:
	.ci/anywhere $(PYTHONS)

fuzz: $(STAMP)
	PYTHONPATH=tests:tests/networks/importers OMP_NUM_THREADS=1 $(BIN)/python -m fuzz --count $(or $(COUNT),50000)

soak: $(STAMP)
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python -m soak $(if $(MINUTES),--minutes $(MINUTES)) --seed $(or $(SEED),0)

study: $(STAMP)
	$(BIN)/python -m pytest -m study

# The site reads the packages' docstrings, so it needs them all; its own tools are added to the same environment.
$(VENV)/.docs: $(STAMP)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[all,docs]'
	touch $@

docs: $(VENV)/.docs
	rm -rf build/docs
	$(BIN)/python -m sphinx -q -W --keep-going -c docs/site -d build/doctrees . build/docs
	@echo "wrote build/docs/index.html"

clean:
	rm -rf $(VENV) .venv-python* runs build
