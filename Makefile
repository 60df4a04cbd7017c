# Every target says what it does in its `##`; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The first Python that is new enough and can make environments; PYTHON=... takes another one.
USABLE := -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python $(USABLE) && echo $$python && break; done 2>/dev/null)
VENV := .venv
BIN := $(VENV)/bin
KUBRAFT := $(BIN)/kubraft
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq
SOURCES := kubraft store apiserver agents

MEMBER ?=
SEED ?=
N ?=
# pytest's own arguments: make test ARGS="tests/store -k wal"
ARGS ?=

count = $(if $($(1)),--$(2)=$($(1)))

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' \
		| while IFS=$$'\t' read -r target text; do printf '  make %-10s %s\n' "$$target" "$$text"; done

# --- the cluster ---

.PHONY: up status kill start down clean demo chaos
up: setup ## start a cluster and wait until it is ready: MEMBERS=3 NODES=2 APISERVERS=1 HOLLOW=0 RUNTIME=process
	@$(KUBRAFT) up $(call count,MEMBERS,members) $(call count,NODES,nodes) \
		$(call count,APISERVERS,apiservers) $(call count,HOLLOW,hollow-nodes) \
		$(call count,RUNTIME,runtime)

status: setup ## show what runs, and what each member says of itself
	@$(KUBRAFT) status

kill: setup ## SIGKILL a process; it stays down: MEMBER=store-1, or apiserver-0, node-1, ...
	@[ -n "$(MEMBER)" ] || { echo "say which one: make kill MEMBER=store-1" >&2; exit 1; }
	@$(KUBRAFT) kill $(MEMBER)

start: setup ## start a process that is down: MEMBER=store-1
	@[ -n "$(MEMBER)" ] || { echo "say which one: make start MEMBER=store-1" >&2; exit 1; }
	@$(KUBRAFT) start $(MEMBER)

down: setup ## stop everything; the data stays
	@$(KUBRAFT) down

clean: setup ## remove a cluster that is down, with its data
	@$(KUBRAFT) clean

demo: setup ## tell the story of a cluster that is killed and heals, and check all that it says
	@$(BIN)/python -m scripts.demo

chaos: setup ## kill processes of every kind under load, and check what was promised: SEED= MINUTES=10
	@$(BIN)/python -m scripts.chaos $(if $(SEED),--seed=$(SEED)) $(if $(MINUTES),--minutes=$(MINUTES))

# --- the project ---

.PHONY: setup tools check test sim robustness fuzz-api soak bench bench-api bench-crowd bench-store bench-workloads
.PHONY: bench-scheduler bench-services fmt lock
setup: $(VENV)/.installed ## make .venv with what a cluster needs

tools: $(VENV)/.tools ## add to .venv what tests need: pytest, ruff, mypy, etcdctl, grpcurl, kubectl

check: tools ## lint, format, types, layers, locks
	@scripts/check.sh $(BIN)

test: tools ## the whole suite: unit, property, simulation, real processes: ARGS= for pytest
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n 2 --dist loadgroup -q $(ARGS)

sim: tools ## simulate the store's consensus: SEED=41 replays one, N=300 explores
	@$(BIN)/python -m tests.sim $(if $(SEED),--seed=$(SEED)) $(if $(N),--n=$(N))

robustness: tools ## hurt real store clusters under traffic and judge their histories: SEED= ROUNDS=4
	@$(BIN)/python -m tests.robustness $(if $(SEED),--seed=$(SEED)) $(if $(ROUNDS),--rounds=$(ROUNDS))

fuzz-api: tools ## send the API server nonsense of all kinds, always new: SECONDS_EACH=60
	@KUBRAFT_FUZZ_SECONDS=$(or $(SECONDS_EACH),60) $(BIN)/python -m pytest -q tests/apiserver/hostile

soak: tools ## the same for HOURS=1, or for as many as you say
	@$(BIN)/python -m tests.robustness --hours=$(or $(HOURS),1) $(if $(SEED),--seed=$(SEED))

bench: tools ## measure the store beside etcd, the API and the scheduler
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.bench

bench-store: tools ## the store beside the real etcd, as ratios, in 8 minutes: ARGS="--markdown"
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.bench.bench_store_ratios $(ARGS)

bench-api: tools ## the API server beside kube-apiserver's figures, as ratios, in 2 minutes: ARGS="--scale"
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.bench.bench_api $(ARGS)

bench-crowd: tools ## one API server with 50,000 objects, 1,000 watchers, 2,000 idle connections
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.bench.bench_api_crowd $(ARGS)

bench-workloads: tools ## a whole cluster: how soon Pods are ready, what it uses: ARGS="--hollow"
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.bench.bench_workloads $(ARGS)

bench-services: tools ## a Service's cost by rules and in user space, beside a direct connection, in a minute: root
	@$(BIN)/python -m tests.bench.bench_services

bench-scheduler: tools ## 5,000 Pods on 1,000 nodes, by quarter, on a whole cluster: ARGS="--mix=plain"
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.bench.bench_scheduler $(ARGS)

fmt: tools ## format, and fix what ruff can fix
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

lock: tools ## resolve the dependencies anew into the lock files
	@scripts/lock.sh $(BIN)

$(VENV)/bin/python:
	@[ -n "$(PYTHON)" ] && $(PYTHON) $(USABLE) 2>/dev/null || { \
		echo "Kubraft needs Python 3.11 or newer with ensurepip (Debian: python3-venv):" \
			"$(or $(PYTHON),no python3 here) is not; PYTHON=... names one" >&2; \
		exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.requirements: requirements.lock | $(VENV)/bin/python
	@echo "installing what requirements.lock names"
	@$(PIP) --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.installed: pyproject.toml $(shell find proto -name '*.proto') $(VENV)/.requirements
	@$(PIP) --no-deps --no-build-isolation --editable .
	@$(BIN)/python scripts/generate.py
	@$(BIN)/python -m compileall -q $(SOURCES)
	@touch $@

$(VENV)/.tools: requirements-dev.lock $(VENV)/.installed
	@echo "installing what requirements-dev.lock names"
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@
