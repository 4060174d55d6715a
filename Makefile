# Needs Python 3.11+, make and a package registry, nothing else; uv is used where it is there. `make help` lists the targets.
#
#   make test ARGS="-k retry -x"          arguments for pytest
#   make test PYTHON=/opt/py/bin/python3  the Python that .venv is made with

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo dev test quick torture bench screenshots check format-check lint types floors format clean

PY    := .venv/bin/python
PLAIN := .venv/.plain
READY := .venv/.ready
BENCH := .venv-bench/.ready
UV    := $(shell command -v uv 2>/dev/null)
ARGS  ?=

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

demo: $(PLAIN) ## queue a handful of example jobs, run them, show the table and the logs
	@$(PY) -m app.demo

dev: $(READY) ## a small web page that queues jobs, the runner and the logs side by side (Procfile); ends with Ctrl-C
	@$(PY) -m honcho start

test: $(READY) ## all tests
	$(PY) -m pytest -n auto $(ARGS)

quick: $(READY) ## the tests without the slow ones
	$(PY) -m pytest -n auto -m "not slow" $(ARGS)

torture: $(READY) ## kill -9 at random instants, thousands of times, and count what was lost (ARGS="--rounds 200")
	$(PY) -m tests.torture $(or $(ARGS),--rounds 2000)

bench: $(BENCH) ## benchmarks: bgjob beside other queues (ARGS="--quick", ARGS="drain queue", ARGS="--help")
	.venv-bench/bin/python -m benchmarks $(ARGS)

screenshots: $(READY) ## take the pictures of the dashboard in docs/screenshots anew (needs chromium)
	@$(PY) -m tests.screenshots $(ARGS)

check: format-check lint types floors test ## all that CI runs: format, lint, types, import floors, tests

format-check: $(READY) ## is everything formatted?
	$(PY) -m ruff format --check .

lint: $(READY) ## the linter
	$(PY) -m ruff check .

types: $(READY) ## the type checker
	$(PY) -m mypy

floors: $(READY) ## do imports go down only?
	.venv/bin/lint-imports --no-cache

format: $(READY) ## format everything and mend what the linter can mend
	$(PY) -m ruff check --fix-only --quiet .
	$(PY) -m ruff format .

clean: ## remove the environment and all caches; storage/ stays
	rm -rf .venv .venv-bench build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment, made anew only where there is none; installed into again whenever pyproject.toml has changed. The demo
# needs bgjob alone, all else takes what the developers have.
$(PLAIN): pyproject.toml
ifneq ($(UV),)
	@echo "Installing into .venv with uv ..."
	@[ -x $(PY) ] || { rm -rf .venv && "$(UV)" venv --quiet --python "$(or $(PYTHON),>=3.11)" .venv; }
else
	@echo "Installing into .venv with pip ..."
	@[ -x $(PY) ] || { rm -rf .venv; \
	  for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	    "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	    exec "$$python" -m venv .venv; \
	  done; \
	  echo "No Python 3.11 or newer that can make environments: looked for $(or $(PYTHON),python3 python3.13 python3.12 python3.11)." >&2; \
	  echo "Install one (Debian and Ubuntu: apt install python3 python3-venv), or name it: make PYTHON=/path/to/python3.12" >&2; \
	  exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip >/dev/null
endif
	@$(PIP) --editable .
	@touch $@

$(READY): $(PLAIN)
	@echo "Installing what the developers need ..."
	@$(PIP) --editable '.[dev]'
	@touch $@

PIP = $(if $(UV),"$(UV)" pip install --quiet --python,) $(PY) $(if $(UV),,-m pip install --quiet --disable-pip-version-check)

# The other queues have an environment of their own, with the Python of .venv; one that can't be installed is left out.
$(BENCH): $(READY) benchmarks/requirements.txt
	@echo "Installing other job queues into .venv-bench ..."
	@[ -x .venv-bench/bin/python ] || { rm -rf .venv-bench && $(PY) -m venv $(if $(UV),--without-pip) .venv-bench; }
	@$(BENCH_PIP) --editable .
	@grep -v '^#' benchmarks/requirements.txt | while read -r packages; do \
	  $(BENCH_PIP) $$packages || echo "$$packages can't be installed: make bench goes on without"; \
	done
	@touch $@

BENCH_PIP = $(if $(UV),"$(UV)" pip install --quiet --python,) .venv-bench/bin/python \
  $(if $(UV),,-m pip install --quiet --disable-pip-version-check)
