# `make demo` and `make test` set everything up by themselves; see CONTRIBUTING.md.

PYTHON ?= python3
JOBS ?= 5

# What runs on every interpreter: the adapters, with CPython's own tests of them. On the newest the homes of queues as well,
# on the oldest its sqlite3, and less of logging; less on one that stands between two others. What is on the disk at each
# moment is the same on all, and so is what becomes of a full one, what a later process finds, and where calls on a database
# are interrupted. So their files are in memory, if there is enough.
SEGMENT_PART := tests/test_signatures.py tests/segment tests/queue tests/mappings tests/aio tests/processes tests/logging
SEGMENT_PART += tests/executors/test_cpython_threads.py tests/executors/test_cpython_processes.py
SAME_ON_ALL := test_crash_states.py test_full_disk.py test_small_disk.py test_room.py test_limits.py mappings/test_interrupts.py
SAME_ON_ALL += queue/test_left_behind.py queue/test_volatile.py processes/test_restarts.py test_sigkill.py mappings/test_damage.py
SAME_ON_ALL += logging/test_processes.py logging/test_left_behind.py logging/test_turns.py logging/test_record_damage.py
SAME_ON_ALL += mappings/test_machine.py mappings/test_processes.py home/test_adoption.py sqlite/test_large_items.py
SAME_ON_ALL += sqlite/test_interrupts.py
PASSED_OVER := $(patsubst %,--ignore-glob='*/%',$(SAME_ON_ALL))
LESS_3.12 := tests/queue tests/aio $(wildcard tests/*/test_cpython*.py)
LESS_3.10 := $(filter-out tests/segment tests/logging,$(SEGMENT_PART)) tests/logging/test_cpython.py tests/logging/test_configured.py
ALSO_3.10 := tests/sqlite
ALSO_3.13 := tests/home

MAIN := .venv/main/bin/python
PYTEST := -m pytest -n $(JOBS) --dist worksteal
SIDE_BY_SIDE = $(MAKE) --no-print-directory --keep-going --jobs=2

.PHONY: help bench demo test alongside tests python environment lint floors types suite clean

help:
	@echo "make demo   index the standard library, SIGKILL it half-way, see what was lost"
	@echo "make bench  side by side with other queues: two minutes (BENCH=\"--rounds 5\" for a whole run)"
	@echo "make test   everything: lint, types, floors, all tests, the other interpreters"
	@echo "make lint | floors | types | suite | segment-3.10 | clean"

demo: python
	@$(PYTHON) -m tools.environment demo demo
	@.venv/demo/bin/python examples/demo.py

BENCH ?= --quick

bench: python
	@$(PYTHON) -m tools.environment bench bench
	@.venv/bench/bin/python -m bench $(BENCH)

# All checks run, whatever fails; then it fails. What takes one core each goes side by side first: making the environments, and
# the linters.
test: python
	@$(SIDE_BY_SIDE) alongside; first=$$?; \
	$(MAKE) --no-print-directory --keep-going tests; second=$$?; \
	$(PYTHON) -m tools.interpreters report; exit $$((first | second))

ifneq ($(filter alongside tests,$(MAKECMDGOALS)),)
OTHERS := $(shell $(PYTHON) -m tools.interpreters others)
endif

alongside: environment types lint floors $(addprefix environment-,$(OTHERS))

tests: suite $(addprefix segment-,$(OTHERS))

lint: environment
	@echo "== ruff"
	@$(MAIN) -m ruff check .

floors: environment
	@echo "== import-linter"
	@.venv/main/bin/lint-imports --no-logo

types: types-3.10 types-3.13

types-%: environment
	@echo "== mypy, as Python $*"
	@$(MAIN) -m mypy --python-version $*

suite: environment
	@echo "== all tests, $$($(MAIN) --version)"
	@$(MAIN) $(PYTEST)

segment-%: environment-%
	@echo "== what runs on every interpreter, $$(.venv/$*/bin/python --version)"
	@$(PYTHON) -m tools.in_memory .venv/$*/bin/python $(PYTEST) $(or $(LESS_$*),$(SEGMENT_PART)) $(ALSO_$*) $(PASSED_OVER)

environment: python
	@$(PYTHON) -m tools.environment main test

environment-%: python
	@$(PYTHON) -m tools.environment $* test $*

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	{ echo "$(PYTHON) must be there and be Python 3.10 or newer: apt-get install python3, or make PYTHON=/path/to/python3" >&2; exit 1; }

clean:
	rm -rf .venv build dist pqadapters.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
