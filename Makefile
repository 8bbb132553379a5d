# Bandstand: `make up` runs the shop, `make test` passes everything. Both work on a bare machine.
PYTHON ?= python3
VENV ?= .venv
REQUIREMENTS ?= requirements/dev.txt
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LANES ?= 3
SECONDS ?= 120
BROKER ?= nats
EXPORTS := dockerfile compose envoy kong kubernetes monitoring
# Lanes: tests on real servers that wait more than they compute, side by side. The output of each is held until it ends,
# and none writes pytest's cache, which they would share. What measures times is in no lane: it has the machine for
# itself, and so has any folder that nobody put into a lane.
LANE := -p no:cacheprovider
PROCESSES := $(addprefix tests/integration/,discovery optional runtime)
SHOP_SERVICES := user-service product-service order-service notification-service

.DEFAULT_GOAL := help
.PHONY: help up down venv test test-unit test-shop test-integration lane-events lane-rabbitmq lane-processes test-platform test-docker lint format bench chaos faults deploy lock clean

help: ## Show this help
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP) ## Make the virtual environment with the hash-locked dependencies

$(STAMP): $(REQUIREMENTS) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Bandstand needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another with: make PYTHON=python3.13 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "This Python cannot make virtual environments. On Debian: apt-get install python3-venv"; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) -V) and the packages of $(REQUIREMENTS) (about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --only-binary :all: -r $(REQUIREMENTS)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

up: $(STAMP) ## Start the shop on real servers (Ctrl-C stops it)
	@cd shop && ../$(BIN)/bandstand up

down: $(STAMP) ## Stop a shop that was started with `bandstand up --detach`
	@cd shop && ../$(BIN)/bandstand down

test: test-unit test-shop test-integration test-platform ## Run all tests

test-unit: $(STAMP) ## Run the tests that need no server
	$(BIN)/python -m pytest tests --ignore=tests/integration --ignore=tests/platform --ignore=tests/docker

test-shop: $(STAMP) ## Run each service's own tests on a real PostgreSQL
	@set -e; for service in $(SHOP_SERVICES); do echo "== $$service"; (cd shop/$$service && ../../$(BIN)/python -m pytest); done

test-integration: $(STAMP) ## Run the tests on real servers, three lanes of them side by side (LANES=1: one by one)
	@$(BIN)/python -m tests.lanes "$(MAKE)" $(LANES) lane-events lane-rabbitmq lane-processes
	$(BIN)/python -m pytest tests/integration $(addprefix --ignore=,tests/integration/events $(PROCESSES))

lane-events: $(STAMP)
	$(BIN)/python -m pytest $(LANE) tests/integration/events --ignore-glob='*/test_rabbitmq*'

lane-rabbitmq: $(STAMP)
	$(BIN)/python -m pytest $(LANE) tests/integration/events/test_rabbitmq*

lane-processes: $(STAMP)
	$(BIN)/python -m pytest $(LANE) $(PROCESSES)

test-platform: $(STAMP) ## Start the whole shop with `bandstand up` and buy something
	$(BIN)/python -m pytest tests/platform

test-docker: $(STAMP) ## Build the images and buy something through Docker Compose (needs root and .ci/install-docker)
	$(BIN)/python -m pytest tests/docker

lint: $(STAMP) ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format the code and apply safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## Run the benchmarks (each prints its figures; none is a test)
	@for bench in benchmarks/bench_*.py; do echo "== $$bench"; $(BIN)/python $$bench; done

chaos: $(STAMP) ## Kill the shop at random while it sells, and count (SECONDS=120 SEED= BROKER=nats|rabbitmq TOOTH=)
	@$(BIN)/python -m tests.chaos --seconds $(SECONDS) --broker $(BROKER) $(if $(SEED),--seed $(SEED)) $(if $(TOOTH),--tooth $(TOOTH))

deploy: $(STAMP) ## Render the shop for production into deploy/
	@for kind in $(EXPORTS); do $(BIN)/bandstand -C shop export $$kind --out deploy/$$kind; done

faults: $(STAMP) ## Run the fault tests at full length: 30 s outages, 10,000 requests during restarts, a minute without Consul
	BANDSTAND_FAULT_SECONDS=30 BANDSTAND_FAULT_REQUESTS=10000 BANDSTAND_FAULT_CONSUL_SECONDS=60 \
		$(BIN)/python -m pytest -s tests/integration/resilience tests/integration/discovery/test_calls.py tests/platform/test_restart.py

lock: ## Write the hash-locked requirements anew (needs uv)
	requirements/lock.sh

clean: ## Remove the environment and caches (keeps .bandstand/, the shop's data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
