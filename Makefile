# make demo    compare strategies on small scenarios and write a report (3 to 5 minutes)
# make test    ruff, mypy and every test
# make lint    ruff and mypy only
# make bench   benchmarks, each against a bound or a peer measured in the same run
# make docs    build the documentation into docs/_build
# make pictures  run the demo and put the README's pictures in docs/images
# make clean   remove what the other targets made (runs/ and data/ stay)
#
# Each target makes .venv when it is not there; PYTHON is any Python from 3.11 on.

PYTHON ?= python3
TORCH ?= torch==2.13.0
JOBS ?= auto
BIN := .venv/bin
RUNTIME := .venv/.runtime
STAMP := .venv/.installed
# Data sets are looked for in data/; without one, in a folder beside the checkout, so that several
# checkouts can share one copy.
FEDSIM_DATA ?= $(firstword $(wildcard data ../shared/data) data)
export FEDSIM_DATA
export FLWR_TELEMETRY_ENABLED = 0
export RAY_USAGE_STATS_ENABLED = 0

.PHONY: demo test lint bench docs pictures clean
.DEFAULT_GOAL := test

$(RUNTIME): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("fedsim needs Python 3.11 or later, not " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(STAMP): $(RUNTIME)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadgroup

bench: $(STAMP)
	$(BIN)/python -m pytest tests/benchmarks -q -s -p no:xdist -p no:cacheprovider

demo: $(RUNTIME)
	$(BIN)/fedsim compare quickstart --strategies static,full_download,fedavg,diet,dieting,long_diet
	$(BIN)/fedsim report runs/quickstart/compare
ifneq ($(wildcard $(FEDSIM_DATA)/ml-100k/u.data),)
	$(BIN)/fedsim compare ml100k --strategies static,diet,long_diet --set train.epochs=6
	$(BIN)/fedsim report runs/ml100k/compare
else
	@echo "no MovieLens 100K in $(FEDSIM_DATA): get it with $(BIN)/fedsim data fetch ml-100k"
endif

pictures: demo
	mkdir -p docs/images
	cp runs/quickstart/compare/figures/pareto.png runs/quickstart/compare/figures/accuracy.png docs/images/

docs: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	$(BIN)/python -m sphinx -W -b html docs docs/_build/html

clean:
	rm -rf .venv build dist docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
