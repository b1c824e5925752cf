# make demo    see it work: no key, no Docker, no root (KEEP=1 to stay up, INPUT=file for your own text)
# make backfill  a CSV of ROWS=1000 lines through examples/backfill.py, on the emulator
# make test    the tests, then the capture tests again under openai 2
# make steady  the tests again and again beside a process that burns a core: which is ever red?
# make long    those that take longer: partitions, sweeps, chaos, demo, examples
# make clients libraries built on the SDK, each with and without the decorator
# make check   what CI checks: ruff, mypy, pyright, luacheck
# make clean   remove what the others made
# make valkey | emulator | worker | beat | flower   one service of the demo by itself

PYTHON ?= python3
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
VENV := .venv
VENV_OPENAI2 := .venv-openai2
OPENAI2 := openai==2.54.0
VENV_CELERY57 := .venv-celery57
# One for each tests/clients/*.in: what resolves together.
VENVS_CLIENTS := $(patsubst tests/clients/%.in,.venv-clients-%,$(wildcard tests/clients/*.in))
BIN := $(VENV)/bin
# Most tests wait for other processes, so more of them than there are cores run at once.
TEST_ARGS ?= -n 4 --dist loadfile --no-loadscope-reorder -m "not long"

# The services by themselves. Set here and not taken from your shell: a REDIS_URL or an
# OPENAI_BASE_URL that you have exported belongs to something real. Name one on the command line
# to use it (make worker REDIS_URL=...).
VALKEY_PORT := 6390
EMULATOR_PORT := 8390
FLOWER_PORT := 5555
REDIS_URL := redis://127.0.0.1:$(VALKEY_PORT)/0
OPENAI_BASE_URL := http://127.0.0.1:$(EMULATOR_PORT)/v1
OPENAI_API_KEY := sk-demo
# Seconds; the default of 15 minutes is for production.
FLUSH_AFTER := 3
SERVICE = REDIS_URL=$(REDIS_URL) OPENAI_BASE_URL=$(OPENAI_BASE_URL) \
  OPENAI_API_KEY=$(OPENAI_API_KEY) BATCHQ_FLUSH_AFTER=$(FLUSH_AFTER) $(BIN)

.PHONY: demo backfill test test-main test-openai2 steady long fidelity clients mutants faults chaos check format clean valkey emulator worker beat flower
.DEFAULT_GOAL := help

.PHONY: help
help:
	@sed -n 's/^# make/make/p' Makefile

demo: $(VENV)/.demo
	@$(BIN)/python -m demo $(if $(INPUT),--input "$(INPUT)") $(if $(KEEP),--keep)

ROWS := 1000
backfill: $(VENV)/.demo
	@$(BIN)/python -m demo.backfill --rows $(ROWS)

test: test-main test-openai2

test-main: $(VENV)/.compiled
	$(BIN)/python -m pytest $(TEST_ARGS)

# Red by chance is red: each test that fails in any of the runs is printed with its output.
RUNS := 10
steady: $(VENV)/.compiled
	$(BIN)/python -m tests.steady --runs $(RUNS) -- $(TEST_ARGS)

long: $(VENV)/.compiled
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m long

test-openai2: $(VENV_OPENAI2)/.test
	$(VENV_OPENAI2)/bin/python -m pytest -n 3 --dist loadfile tests/capture tests/test_webhook.py

# What Celery's users rely on, where it takes longer: RabbitMQ, results in a database, other
# settings, gevent, Celery 5.7.
fidelity: $(VENV)/.dev $(VENV_CELERY57)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/fidelity/more_*.py
	$(VENV_CELERY57)/bin/python -m pytest tests/fidelity/test_redis_prefork.py \
	  tests/test_install.py tests/test_keepalive_keys.py tests/test_seams.py \
	  tests/bulk/test_messages.py

# Libraries that people ask OpenAI through, each as it is used, with and without the decorator;
# writes docs/clients.md. ONLY=with_litellm runs some, and writes nothing.
clients: $(VENV)/.dev $(VENVS_CLIENTS:=/.made)
	$(BIN)/python -m tests.clients $(if $(ONLY),--only "$(ONLY)",--write)

# Each guard of the recovery code taken away, one at a time; writes docs/reliability.md.
mutants: $(VENV)/.dev
	$(BIN)/python -m tests.mutants --write

# Every side effect cut off, on each of its sides; writes docs/reliability.md.
faults: $(VENV)/.dev
	$(BIN)/python -m tests.faults $(if $(ONLY),--only "$(ONLY)",--write) $(if $(SEED),--seed $(SEED))

# Random kills; SEED=n replays the decisions of a run. Writes docs/reliability.md.
TASKS := 20000
chaos: $(VENV)/.dev
	$(BIN)/python -m tests.chaos --write --tasks $(TASKS) $(if $(SEED),--seed $(SEED))

# The two that read all types take their minute side by side.
check: $(VENV)/.dev
	@$(MAKE) --no-print-directory --jobs 2 check-style check-mypy check-pyright

.PHONY: check-style check-mypy check-pyright
check-style:
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	@command -v luacheck >/dev/null || { echo >&2 "make check: luacheck is missing. Install it:" \
	  "apt-get install lua-check (Debian, Ubuntu), brew install luacheck (macOS)"; exit 1; }
	luacheck --quiet batchq

check-mypy:
	$(BIN)/mypy

check-pyright:
	$(BIN)/pyright --warnings --pythonpath $(BIN)/python

format: $(VENV)/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

valkey: $(VENV)/.demo
	$(BIN)/python -m demo.valkey --port $(VALKEY_PORT) --dir .run/valkey

emulator: $(VENV)/.demo
	$(BIN)/python -m batchq.emulator --port $(EMULATOR_PORT)

worker: $(VENV)/.demo
	$(SERVICE)/celery -A demo.tasks worker --queues celery,batchq --loglevel info

beat: $(VENV)/.demo
	@mkdir -p .run
	$(SERVICE)/celery -A demo.tasks beat --schedule .run/beat --loglevel info

flower: $(VENV)/.demo
	$(SERVICE)/celery -A demo.tasks flower --address=127.0.0.1 --port=$(FLOWER_PORT)

clean:
	rm -rf .venv .venv-openai2 .venv-celery57 .venv-clients-* .run .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find batchq demo tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Batchq needs Python 3.11 or later; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	@# The one that came with Python takes more than twice as long to find out what to install.
	@$(BIN)/python $(PIP_INSTALL) --upgrade pip

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing into $(VENV), once ..."
	@$(BIN)/python $(PIP_INSTALL) --constraint constraints.txt --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python $(PIP_INSTALL) --no-compile --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.demo

# What the tests import is compiled once, and not by each of the processes that share them: all of
# them begin by importing it. pip would compile a lot besides.
$(VENV)/.compiled: $(VENV)/.dev
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --collect-only -qq > $@ || true

# A virtual environment $(1) that has what $(VENV) has, by links, but for $(2).
define share
	rm -rf $(1)
	$(PYTHON) -m venv --without-pip $(1)
	cd $(1)/lib/python*/site-packages && ln -s $(abspath $(VENV))/lib/python*/site-packages/* . && rm $(2)
endef

$(VENV_OPENAI2)/.test: $(VENV)/.dev
	$(call share,$(VENV_OPENAI2),openai openai-*)
	grep -v '^openai==' constraints.txt > $(VENV_OPENAI2)/constraints.txt
	$(VENV_OPENAI2)/bin/python $(PIP_INSTALL) --constraint $(VENV_OPENAI2)/constraints.txt $(OPENAI2)
	@touch $@

# The newest 5.7 there is. The metadata excludes 5.7.0, and no other, for how it ends when Redis is
# killed; while that is the newest, it is what runs here. CELERY57=5.7.1 names one.
CELERY57 := 5.7.*
$(VENV_CELERY57)/.test: $(VENV)/.dev
	$(call share,$(VENV_CELERY57),celery celery-5*)
	$(VENV_CELERY57)/bin/python $(PIP_INSTALL) --no-deps 'celery==$(CELERY57)'
	@touch $@

.venv-clients-%/.made: tests/clients/%.in tests/clients/%.txt pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python $(PIP_INSTALL) --constraint tests/clients/$*.txt --editable '.[test]' \
	  --requirement tests/clients/$*.in
	@touch $@
