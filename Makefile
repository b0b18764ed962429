# What a person types. Each target sets up what it needs, on a machine with Python and make only.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# The first Python that is new enough, the one that everything was tested on before others; PYTHON=/path/to/python names another one.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo "$$python"; break; }; done)

# Tests run in so many processes, file by file; most of them wait for brokers. LANES=0: in this one.
LANES ?= 2

# Further words for the command behind a target: make demo ARGS=--json, make test ARGS="tests/unit -x"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint format chaos bench kafka install clean

help:  ## this list
	@echo "make <target> [ARGS=...] [PYTHON=...]"
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12
	@echo
	@echo "The first target that needs it creates $(VENV). torch's CPU build instead of the large"
	@echo "default: make <target> PIP_EXTRA_INDEX_URL=<PyTorch's CPU wheel index>; see README.md."

demo: $(STAMP)  ## broker, training, worker, traffic with attacks, alerts: in two minutes
	@$(BIN)/anoean demo $(ARGS)

test: $(STAMP)  ## all tests; those on real Kafka need Java 17 and Maven, else they are skipped
	@echo "==> pytest: unit, agents, embedded broker, real Kafka, end to end" >&2
	@$(BIN)/python -m pytest -n $(LANES) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(STAMP)  ## formatting, ruff, mypy --strict
	@echo "==> ruff format --check" >&2
	@$(BIN)/ruff format --check .
	@echo "==> ruff check" >&2
	@$(BIN)/ruff check .
	@echo "==> mypy --strict (package, trainer, tests, benchmarks)" >&2
	@$(BIN)/mypy

format: $(STAMP)  ## rewrite the formatting, and what ruff can repair by itself
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

chaos: $(STAMP)  ## the fault suite on real Kafka in full length, 200 random schedules: 30 minutes
	@$(BIN)/python -m tests.chaos --report docs/delivery-results.md $(ARGS)

bench: $(STAMP)  ## records a second, beside a plain Faust agent, on real Kafka
	@$(BIN)/python -m benchmarks $(ARGS)

kafka: $(STAMP)  ## a real single-node Kafka in the foreground, until Ctrl-C
	@$(BIN)/python -m tests.support.kafka_broker $(ARGS)

install: $(STAMP)  ## the virtual environment only

clean:  ## remove what make created (.venv, caches, builds); models stay
	@echo "==> removing $(VENV), caches and builds" >&2
	@rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt deploy/bootstrap.py
	@test -n "$(PYTHON)" || { echo "error: Anoean needs Python 3.11 or newer and found none" \
		"(looked for python3.11, python3.12, python3.13, python3, python); install one," \
		"or name it: make PYTHON=/path/to/python3.11 ..." >&2; exit 2; }
	@"$(PYTHON)" deploy/bootstrap.py $(VENV)
	@touch $@
