# Bandstand: `make up` runs the shop, `make test` tests that it works. Both run on a bare machine.
PYTHON ?= python3
VENV ?= .venv
REQUIREMENTS ?= requirements/dev.txt
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BUILD := .venv-build
SECONDS ?= 120
BROKER ?= nats
EXPORTS := dockerfile compose envoy kong kubernetes monitoring
# The stages of the tests (tests/stages/definition.py). RECORD names a file in which several runs share one summary.
TEST := unit shop integration purchase
REST := faults benchmarks platform export containers newest
LONG := restarts
# BUSY=1 keeps every core busy with other work meanwhile.
STAGES := $(BIN)/python -m tests.stages $(if $(RECORD),--record $(RECORD)) $(if $(BUSY),--busy)
# The newest Python that is supported, for the stage that runs on it: from the PATH, or one of pyenv's.
NEWEST = $(firstword $(shell python3.13 -c 'import sys; print(sys.executable)' 2>/dev/null) \
           $(lastword $(sort $(wildcard $(HOME)/.pyenv/versions/3.13*/bin/python))))
NEWEST_VENV := .venv-django61
export BANDSTAND_NEWEST_PYTHON = $(if $(NEWEST),$(CURDIR)/$(NEWEST_VENV)/bin/python)

.DEFAULT_GOAL := help
.PHONY: help up down venv venv-newest test test-all test-rest test-long test-unit test-shop test-integration test-platform test-docker lint format bench figures chaos deploy wheel lock clean

help: ## Show this help
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP) ## Make the virtual environment with the hash-locked dependencies

define CHECK_PYTHON
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Bandstand needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another with: make PYTHON=python3.13 $(MAKECMDGOALS)"; exit 1; }
@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "This Python cannot make virtual environments. On Debian: apt-get install python3-venv"; exit 1; }
endef

$(STAMP): $(REQUIREMENTS) pyproject.toml
	$(CHECK_PYTHON)
	@echo "Making $(VENV) with $$($(PYTHON) -V) and the packages of $(REQUIREMENTS) (about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --only-binary :all: -r $(REQUIREMENTS)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

up: $(STAMP) ## Start the shop on real servers (Ctrl-C stops it)
	@cd shop && ../$(BIN)/bandstand up

down: $(STAMP) ## Stop a shop that was started with `bandstand up --detach`
	@cd shop && ../$(BIN)/bandstand down

test: $(STAMP) ## Test that the product works: units, the shop, real servers, and a purchase on the whole platform
	@$(STAGES) $(TEST)

test-all: $(STAMP) venv-newest ## `make test`, then faults, the whole platform, exports, containers, and the newest Python and Django
	@$(STAGES) $(TEST) $(REST)

test-rest: $(STAMP) venv-newest ## What `make test-all` runs after `make test`
	@$(STAGES) $(REST)

test-long: $(STAMP) venv-newest ## Everything at full length, for hours: 30 s outages, 10,000 requests and cases, chaos on both brokers
	@seed=$${SEED:-$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}; echo "== SEED=$$seed"; \
	export BANDSTAND_TEST_LONG=1 BANDSTAND_FAULT_SECONDS=30 BANDSTAND_FAULT_REQUESTS=10000 BANDSTAND_FAULT_CONSUL_SECONDS=60; \
	status=0; $(STAGES) --seed $$seed $(TEST) $(REST) $(LONG) || status=1; \
	for broker in nats rabbitmq; do \
	  $(BIN)/python -m tests.chaos --seconds 1800 --broker $$broker --seed $$seed || status=1; \
	done; echo "== SEED=$$seed"; exit $$status

test-unit: $(STAMP) ## Run the tests that need no server
	@$(STAGES) unit

test-shop: $(STAMP) ## Run each service's own tests on a real PostgreSQL
	@$(STAGES) shop

test-integration: $(STAMP) ## Run the tests on real servers
	@$(STAGES) integration faults

test-platform: $(STAMP) ## Start the whole shop with `bandstand up`, buy something, and restart it under load
	@$(STAGES) purchase platform

test-docker: $(STAMP) ## Build the images and buy something through Docker Compose (needs root and .ci/install-docker)
	@$(STAGES) containers

venv-newest:
	@$(if $(NEWEST),$(MAKE) --no-print-directory venv PYTHON=$(NEWEST) VENV=$(NEWEST_VENV) REQUIREMENTS=requirements/django61.txt,echo "There is no Python 3.13 on this machine: the stage newest will not run.")

lint: $(STAMP) ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format the code and apply safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## Run the benchmarks (half an hour; each prints its figures and the targets that it missed)
	@mkdir -p .benchmarks
	@for bench in benchmarks/bench_*.py; do echo "== $$bench"; $(BIN)/python $$bench --json .benchmarks/$$(basename $$bench .py).json; done

figures: $(STAMP) ## Write docs/reference/figures.md from what `make bench` measured
	@$(BIN)/python benchmarks/page.py .benchmarks/*.json > .benchmarks/figures.md
	@mv .benchmarks/figures.md docs/reference/figures.md

chaos: $(STAMP) ## Kill the shop at random while it sells, and count (SECONDS=120 SEED= BROKER=nats|rabbitmq TOOTH=)
	@$(BIN)/python -m tests.chaos --seconds $(SECONDS) --broker $(BROKER) $(if $(SEED),--seed $(SEED)) $(if $(TOOTH),--tooth $(TOOTH))

deploy: $(STAMP) ## Render the shop for production into deploy/
	@for kind in $(EXPORTS); do $(BIN)/bandstand -C shop export $$kind --out deploy/$$kind; done

wheel: $(BUILD)/.installed ## Build the wheel and the source distribution into dist/
	@$(BUILD)/bin/python -m hatchling build --clean --directory dist

$(BUILD)/.installed: requirements/build.txt
	$(CHECK_PYTHON)
	@$(PYTHON) -m venv $(BUILD)
	@$(BUILD)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes --only-binary :all: -r $<
	@touch $@

lock: ## Write the hash-locked requirements anew (needs uv)
	requirements/lock.sh

clean: ## Remove the environment, what was built and caches (keeps .bandstand/, the shop's data)
	rm -rf $(VENV) $(BUILD) dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
