# `make` lists what there is. Each target installs what it needs: Python packages into .venv, Debian's packages (the
# browsers, curl and nginx, for the tests) only if they are missing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# the package as its wheel has it, with the hot path compiled
COMPILED := build/compiled
# the servers of PyPI and npm that it is measured beside
BENCH := build/bench
# programs that look for faults, each in an environment of its own
SCHEMATHESIS := build/schemathesis
AUTOBAHN := build/autobahn
PYTHON2 ?= python2.7
# node and npm come with the development packages; js/ and the tests find them there
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/runtime ## play tic-tac-toe in two browser windows
	$(BIN)/pushline demo $(DEMO)

.PHONY: test
test: check js unit e2e coverage ## everything that has to pass, about half an hour

.PHONY: check
check: $(VENV)/development ## format, lint, types, layers, generated files
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/generate.py --check

.PHONY: unit
unit: $(VENV)/development ## tests without sockets, and the conformance suites
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest --ignore=tests/e2e

.PHONY: wheel
wheel: $(COMPILED) ## the wheel in dist/, its hot path compiled; needs a C compiler
	@mkdir -p dist && cp build/wheel/*.whl dist/ && ls dist/*.whl

.PHONY: compiled
compiled: $(COMPILED) ## unit once more, against the compiled hot path; needs a C compiler
	PYTHONPATH=$(COMPILED) $(BIN)/python -c 'import pushline.hub as hub; assert hub.__file__.endswith(".so"), hub'
	PYTHONPATH=$(COMPILED) $(BIN)/python -m pytest --ignore=tests/e2e -m "not patches"

.PHONY: js
js: $(VENV)/development js/node_modules/.package-lock.json ## the page's script: types, tests, a fresh bundle
	cd js && npm run --silent check && npm test --silent
	cd js && npm run --silent build -- --check

.PHONY: e2e
e2e: $(VENV)/development js/node_modules/.package-lock.json system ## tests with real browsers, processes and sockets
	$(BIN)/coverage run -m pytest tests/e2e

.PHONY: schemathesis
schemathesis: $(VENV)/development $(SCHEMATHESIS)/installed ## hold the description of the API against a real server
	$(BIN)/python -m tools.schemathesis $(SCHEMATHESIS)/bin/st $(SCHEMATHESIS_OPTIONS)

.PHONY: autobahn
autobahn: $(VENV)/development $(AUTOBAHN)/installed ## the WebSocket against Autobahn's test suite; needs Python 2.7
	$(BIN)/python -m tools.autobahn $(AUTOBAHN)/suite/bin/wstest

.PHONY: coverage
coverage: $(VENV)/development ## what the tests before it have covered
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

.PHONY: system
system:
	@tools/system-packages curl chromium firefox-esr fonts-dejavu-core nginx-light caddy haproxy openssl golang-go php-cli ruby default-jdk-headless

.PHONY: bench
bench: $(VENV)/development $(BENCH)/installed ## measure Pushline beside other servers, about a hundred minutes
	@tools/system-packages nginx-light libnginx-mod-nchan nats-server
	@! command -v cc >/dev/null || $(MAKE) -s $(COMPILED)
	$(BIN)/python -m bench.compare $(BENCHMARK)

.PHONY: fix
fix: $(VENV)/development ## format, and mend what a tool can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: generate
generate: $(VENV)/development ## write every file that is made from another
	$(BIN)/python tools/generate.py
	cd js && npm ci --silent && npm run --silent build

.PHONY: lock
lock: $(VENV)/development ## choose versions anew and pin them with their hashes
	$(BIN)/pip install --quiet --upgrade uv
	for options in "--group dev -o requirements-dev.txt" "--extra demo --extra run --group build -o requirements.txt"; do \
	  $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command "make lock" pyproject.toml $$options || exit 1; done
	cd js && npm update --silent
	cd tests/e2e/vite && npm update --silent --package-lock-only

.PHONY: audit
audit: $(VENV)/development ## look for known weaknesses in what is installed (asks advisory services)
	$(BIN)/pip install --quiet --upgrade pip-audit
	tools/audit

.PHONY: clean
clean: ## forget what was installed and made
	rm -rf $(VENV) js/node_modules js/dist js/types js/LICENSE build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis

# -- what the targets stand on -------------------------------------------------------------------------------------------

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Pushline needs Python 3.11 or newer: make PYTHON=python3.13 …"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv is missing: apt-get install -y python3-venv"; exit 1; }

$(VENV)/runtime: requirements.txt pyproject.toml | $(BIN)/python
	@echo "Installing Pushline and what it stands on into $(VENV) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/development: requirements-dev.txt $(VENV)/runtime
	@echo "Installing what the tests and checks need into $(VENV) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

$(COMPILED): $(VENV)/development pyproject.toml tools/hatch_build.py $(shell find src -name '*.py')
	@echo "Compiling the hot path, about a minute …"
	@rm -rf build/wheel $@
	@PUSHLINE_COMPILE=1 $(BIN)/pip wheel --quiet --disable-pip-version-check --no-build-isolation --no-deps --wheel-dir build/wheel .
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target $@ build/wheel/*.whl
	@touch $@

$(BENCH)/installed: bench/compare/requirements.txt bench/compare/package-lock.json $(VENV)/development
	@echo "Installing the servers to measure beside into $(BENCH) …"
	@$(PYTHON) -m venv $(BENCH)/venv
	@$(BENCH)/venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r bench/compare/requirements.txt
	@cp bench/compare/package.json bench/compare/package-lock.json bench/compare/.npmrc $(BENCH)
	@cd $(BENCH) && npm ci --silent
	@touch $@

$(SCHEMATHESIS)/installed: tools/schemathesis/requirements.txt
	@$(PYTHON) -m venv $(SCHEMATHESIS)
	@$(SCHEMATHESIS)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(AUTOBAHN)/installed: tools/autobahn/requirements.txt tools/autobahn/requirements-virtualenv.txt
	@$(PYTHON2) -c '' || { echo "The suite runs on Python 2.7 alone: make autobahn PYTHON2=/path/to/python2.7"; exit 1; }
	@$(PYTHON) -m venv $(AUTOBAHN)/virtualenv
	@$(AUTOBAHN)/virtualenv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r tools/autobahn/requirements-virtualenv.txt
	@$(AUTOBAHN)/virtualenv/bin/virtualenv --quiet --python $$(command -v $(PYTHON2)) $(AUTOBAHN)/suite
	@$(AUTOBAHN)/suite/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

js/node_modules/.package-lock.json: js/package-lock.json
	cd js && npm ci --silent
	@touch $@
