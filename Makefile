# Everything needs only Python >= 3.11, make and a package index; each target makes what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLIENTS := .venv-clients
PEERS := .venv-peers
LOGGERS := .venv-loggers
RAY := .venv-ray

.PHONY: demo test test-ci test-all lint format lock clean

demo: $(VENV)/.ready
	$(BIN)/offjax demo

test: $(VENV)/.ready lint
	$(BIN)/pytest -m "not slow and not ci"

test-ci: $(VENV)/.ready $(CLIENTS)/.ready
	$(BIN)/pytest -m ci

test-all: test test-ci $(PEERS)/.ready $(LOGGERS)/.ready $(RAY)/.ready
	$(BIN)/pytest -m slow -n 2
	$(LOGGERS)/bin/pytest -n 0 tests/test_loggers.py

lint: $(VENV)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(VENV)/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(VENV)/.ready
	$(BIN)/pip install uv
	$(BIN)/uv pip compile pyproject.toml --extra test --python-version 3.11 --universal --no-emit-index-url --no-emit-find-links -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra clients --python-version 3.11 --universal --no-emit-index-url --no-emit-find-links -o requirements-clients.lock
	$(BIN)/uv pip compile pyproject.toml --extra test --extra tensorboard --extra wandb --extra mlflow --python-version 3.11 --universal --no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet -o requirements-loggers.lock
	# Libraries for a GPU are left to the build of torch that is installed: one for a CPU has none.
	$(BIN)/uv pip compile pyproject.toml --extra peers --python-version 3.11 --universal --no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet | grep -vE '^(nvidia|cuda|triton)' > requirements-peers.lock
	$(BIN)/uv pip compile pyproject.toml --extra ray --extra search --python-version 3.11 --universal --no-emit-index-url --no-emit-find-links -o requirements-ray.lock

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "offjax needs Python 3.11 or newer: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

$(CLIENTS)/.ready: requirements-clients.lock pyproject.toml
	test -x $(CLIENTS)/bin/python || $(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/pip install --quiet --disable-pip-version-check -r requirements-clients.lock
	$(CLIENTS)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

$(PEERS)/.ready: requirements-peers.lock pyproject.toml
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check -r requirements-peers.lock
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

$(LOGGERS)/.ready: requirements-loggers.lock pyproject.toml
	test -x $(LOGGERS)/bin/python || $(PYTHON) -m venv $(LOGGERS)
	$(LOGGERS)/bin/pip install --quiet --disable-pip-version-check -r requirements-loggers.lock
	$(LOGGERS)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

$(RAY)/.ready: requirements-ray.lock pyproject.toml
	test -x $(RAY)/bin/python || $(PYTHON) -m venv $(RAY)
	$(RAY)/bin/pip install --quiet --disable-pip-version-check -r requirements-ray.lock
	$(RAY)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

clean:
	rm -rf $(VENV) $(CLIENTS) $(PEERS) $(LOGGERS) $(RAY) .pytest_cache .mypy_cache .ruff_cache *.egg-info
