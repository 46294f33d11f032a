# `make demo` first; then `make test`, `make check`. The environment is made on first use, from the lock:
# one folder for each Python version, so that `make test PYTHON=python3.13` stands beside the others.

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$python && break; done)
VERSION := $(shell $(or $(PYTHON),false) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
ifeq ($(VERSION),)
$(error tesnap needs Python 3.11, 3.12 or 3.13, and $(or $(PYTHON),none of them) does not run here. Try: make PYTHON=/path/to/python3.13)
endif

VENV := .venv-$(VERSION)
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.run-ready
DEV_READY := $(VENV)/.dev-ready
PEERS := .venv-peers-$(VERSION)
PEERS_READY := $(PEERS)/.ready
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check
WORKERS ?= 2
SPEED ?= 100
TESTS ?= tests
NEWEST_PYTHON ?= $(PYTHON)
TOOLS := .venv-tools
TOOLS_READY := $(TOOLS)/.ready
ATHERIS := atheris>=3,<4
export PYTHONDONTWRITEBYTECODE = 1

.PHONY: demo test check static format lint types imports bench crash chaos fuzz lock figures reference report-picture architecture tools manifests mails stops container-test deploy-test install-test clean

demo: $(RUN_READY)  ## the example job file becomes snapshots, against the built-in simulator
	$(BIN)/tesnap rehearse jobs.example.yaml --speed $(SPEED)

test: $(DEV_READY)  ## all tests
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup $(TESTS)

check: test static  ## what CI runs

static: format lint types imports

format: $(DEV_READY)
	$(BIN)/ruff format --check .

lint: $(DEV_READY)
	$(BIN)/ruff check .

types: $(DEV_READY)
	$(BIN)/mypy

imports: $(DEV_READY)
	$(BIN)/lint-imports

bench: $(DEV_READY) $(PEERS_READY)  ## the figures in docs/, measured here, and the table of its peers in docs/benchmarks.md
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.peers $(PEERS)/bin/python docs/benchmarks.md

crash: $(DEV_READY)  ## real processes, killed again and again
	$(BIN)/python -m tests.crash

chaos: $(DEV_READY)  ## the program's own processes while everything around them fails at once, ten minutes on each store
	$(BIN)/python -m tests.chaos $(CHAOS)

fuzz: $(DEV_READY)  ## what comes from outside, made up by a coverage-guided fuzzer, through its readers
	$(INSTALL) "$(ATHERIS)"
	$(BIN)/python -m tests.fuzz $(FUZZ)

figures: $(DEV_READY)  ## the tables of docs/dependencies.md, measured here
	$(BIN)/python scripts/dependency_figures.py

reference: $(DEV_READY)  ## the tables of docs/jobfile.md and docs/commands.md, from the grammar and the commands
	$(BIN)/python scripts/reference.py

report-picture: $(DEV_READY)  ## docs/report.png, with a browser
	$(BIN)/python -m scripts.report_picture

architecture: $(DEV_READY)  ## docs/architecture.svg, from the imports, and the figures of the house
	$(BIN)/python -m scripts.architecture_picture
	$(BIN)/python scripts/house_figures.py

stops: $(DEV_READY)  ## the table of docs/container.md: how long a container takes to stop, in each state of a run
	$(BIN)/python -m tests.container

container-test: $(DEV_READY) $(TOOLS_READY)  ## the image, built and run for real: needs root, podman, runc, debootstrap
	TOOLS=$(abspath $(TOOLS)) $(BIN)/pytest -m container tests/container

deploy-test: $(DEV_READY) $(TOOLS_READY)  ## manifests, units, workflow and Dockerfile through all schemas and linters
	TOOLS=$(abspath $(TOOLS)) $(BIN)/pytest -m deploy tests/deploy

install-test: $(DEV_READY)  ## wheel, sdist, pipx, uv tool; a selected suite on the lowest and on the newest versions
	NEWEST_PYTHON=$(NEWEST_PYTHON) $(BIN)/pytest -m install tests/install

tools: $(TOOLS_READY)  ## what looks at manifests and images, in an environment of its own

manifests: $(DEV_READY) $(TOOLS_READY)  ## deploy/kubernetes/job.yaml and look.yaml, and the table of docs/kubernetes.md
	TOOLS=$(abspath $(TOOLS)) $(BIN)/python scripts/manifests.py

mails: $(DEV_READY)  ## the mails of docs/unattended.md, from real runs
	$(BIN)/python -m scripts.cron_mails

lock:  ## resolve all lock files anew, for all supported versions and platforms
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install -qq uv
	.venv-lock/bin/uv pip compile $(LOCK_OPTIONS) --extra postgres --group build pyproject.toml -o requirements.lock
	.venv-lock/bin/uv pip compile $(LOCK_OPTIONS) --extra postgres --group build --group dev \
		--constraints requirements.lock pyproject.toml -o requirements-dev.lock
	.venv-lock/bin/uv pip compile $(LOCK_OPTIONS) --group tools -o requirements-tools.lock
	.venv-lock/bin/uv pip compile $(LOCK_OPTIONS) --resolution lowest-direct --extra postgres --group build \
		pyproject.toml -o requirements-lowest.lock
	.venv-lock/bin/uv pip compile $(LOCK_OPTIONS) --extra postgres --group build \
		pyproject.toml -o requirements-newest.lock

LOCK_OPTIONS := --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links

clean:
	rm -rf .venv-3.* .venv-lock $(TOOLS) .venv-peers-* build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(RUN_READY): requirements.lock pyproject.toml | $(BIN)/python
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

$(TOOLS_READY): requirements-tools.lock
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-tools.lock
	touch $@

$(DEV_READY): requirements-dev.lock $(RUN_READY)
	$(INSTALL) --require-hashes -r requirements-dev.lock
	touch $@

$(PEERS_READY): benchmarks/peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install -qq --disable-pip-version-check -r $<
	touch $@
