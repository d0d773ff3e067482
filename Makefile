# `make` alone lists the targets.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

CARGO ?= cargo
NPM ?= npm
# Further arguments of demo and bench, for example: make demo ARGS="--agents 1000 --events-per-second 50"
ARGS ?=

WEB_TOOLS := web/node_modules/.package-lock.json
PAGE := web/app/dist/index.html
PAGE_SOURCES := $(shell find web/app/src web/app/public web/app/index.html web/app/vite.config.ts web/packages/react/src -type f)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The debug profile: from nothing it is built in minutes, where the release profile with its link-time optimisation takes
# several times as long, and a demo's events are nothing to either.
.PHONY: demo
demo: $(if $(shell command -v $(NPM)),web) ## Run the server with a simulated network; nothing else has to be installed. ARGS="--help" lists its options
	$(CARGO) run --locked -- demo $(ARGS)

.PHONY: build
build: $(if $(shell command -v $(NPM)),web) ## Build the release binary, target/release/living-map, with the page where npm is there
	$(CARGO) build --release --locked

# Most of a test's time goes by waiting for processes that it has started: two tests at once leave two cores half idle.
TEST_THREADS ?= $(shell echo $$(($$(nproc) * 2)))

# The Rust tests come last, so that a log ends with their summary. cargo-nextest runs no examples in documentation.
.PHONY: test
test: setup check test-web test-page check-api fuzz ## Find or install what the tests need, check, and run all tests
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	  set -x; $(CARGO) test --locked --doc; $(CARGO) nextest run --locked --test-threads $(TEST_THREADS); \
	else \
	  set -x; $(CARGO) test --locked; \
	fi

# PREVIOUS_BIN is the binary of the release before. What is stored is read by every later release: the fixtures are written anew
# only to cover more, by the binary of the release that they stand for.
.PHONY: test-update
test-update: setup ## Run a replica of the previous release beside one of this; PREVIOUS_BIN names its binary
	$(CARGO) test --locked --test it previous_release::rolling_update -- --ignored --nocapture

.PHONY: previous-fixtures
previous-fixtures: setup ## Write tests/fixtures/previous_release with the binary that PREVIOUS_BIN names
	$(CARGO) test --locked --test it previous_release::write_fixtures -- --ignored --nocapture

.PHONY: test-web
test-web: $(WEB_TOOLS) ## Run the tests of the page and of the React package, also against the server, and check the package
	$(CARGO) build --locked --bin living-map
	cd web && $(NPM) test

# A server, a browser that draws by software, and all views: minutes on two cores, so a target of its own.
.PHONY: test-page
test-page: web ## Run the page's tests in Chromium, against the server
	$(CARGO) build --locked --bin living-map
	cd web && $(NPM) run test:browser

# Every view in every state, size, theme and language: an hour or two on two cores.
.PHONY: screenshots
screenshots: web ## Write pictures of all views to target/screenshots, with an index.html; ARGS="--view city --state failing" takes some
	$(CARGO) build --locked --bin living-map
	cd web && $(NPM) run screenshots --workspace app -- $(ARGS)

.PHONY: web
web: $(PAGE) ## Build the page that the server embeds, web/app/dist

.PHONY: setup
setup: ## Find or install nats-server, PostgreSQL and Chromium for the tests
	scripts/setup-tests.sh

.PHONY: check
check: check-rust check-web check-deps check-deploy ## Check formatting, lints, types, documentation, dependencies and deploy/

.PHONY: check-rust
check-rust:
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

.PHONY: check-web
check-web: $(WEB_TOOLS)
	cd web && $(NPM) run check

.PHONY: check-deps
check-deps:
	scripts/check-deps.sh

.PHONY: check-deploy
check-deploy: ## Check the files in deploy/ by the programs that read them
	scripts/check-deploy.sh

.PHONY: check-api
check-api: ## Hold the server to its own OpenAPI document; API_SEED=… repeats a run, API_EXAMPLES=… asks more
	scripts/check-api.sh

.PHONY: fuzz
fuzz: ## Run the fuzz targets for a short time each; ARGS names some, FUZZ_SECONDS and FUZZ_SEED say how long and from where
	scripts/fuzz.sh $(ARGS)

.PHONY: fmt
fmt: $(WEB_TOOLS) ## Format everything
	$(CARGO) fmt
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml
	cd web && $(NPM) run fmt

.PHONY: bench
bench: ## Run the load generator; ARGS names the measurement, see docs/benchmarks.md
	$(CARGO) run --release --locked --example load -- $(or $(ARGS),--help)

.PHONY: load
load: ## Measure /health and memory of a release build while clients take all they can get, for minutes
	$(CARGO) build --release --locked --bin living-map --example load
	benches/marks.sh greedy

.PHONY: openapi
openapi: ## Write openapi/openapi.json and openapi/experience.schema.json from the code, and from that the types of the React package
	mkdir -p openapi
	$(CARGO) run --quiet --locked -- openapi > openapi/openapi.json.new
	mv openapi/openapi.json.new openapi/openapi.json
	$(CARGO) run --quiet --locked -- openapi --experience > openapi/experience.schema.json.new
	mv openapi/experience.schema.json.new openapi/experience.schema.json
	node web/packages/react/scripts/generate.js

.PHONY: configuration
configuration: ## Write docs/configuration.md, and the table in docs/limits.md, from the settings in the code
	$(CARGO) run --quiet --locked -- config reference > docs/configuration.md.new
	mv docs/configuration.md.new docs/configuration.md
	$(CARGO) run --quiet --locked -- config reference --limits > docs/limits.md.new
	sed -i -e '/^<!-- begin of limits/,/^<!-- end of limits/{/^<!--/!d}' -e '/^<!-- begin of limits/r docs/limits.md.new' docs/limits.md
	rm docs/limits.md.new

.PHONY: differences
differences: ## Write the list of differences from the old service in docs/replacing.md, from the table of the test that compares them
	UPDATE_DIFFERENCES=1 $(CARGO) test --locked --test it swap::the_guide_lists

.PHONY: book
book: ## Build the documentation as a book, target/book; installs mdBook where it is missing
	scripts/book.sh

.PHONY: clean
clean: ## Remove what was built
	$(CARGO) clean
	rm -rf web/node_modules web/packages/*/node_modules web/packages/*/dist web/app/dist

$(PAGE): $(WEB_TOOLS) $(PAGE_SOURCES)
	cd web && $(NPM) run build --workspace app
	@touch $@

$(WEB_TOOLS): web/package-lock.json web/package.json web/app/package.json $(wildcard web/packages/*/package.json)
	cd web && $(NPM) ci
	@touch $@
