# Everything runs in .venv, installed from the lock files with hashes. Needs make, a POSIX shell
# and Python 3.11 or newer; pip's own configuration (index, proxy, certificates) is respected.

SHELL := /bin/sh
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet install
PYTHONS := python3 python3.13 python3.12 python3.11

# Nothing of the user's own Python may leak in, and nothing may be installed outside .venv.
export PYTHONNOUSERSITE := 1
export PIP_USER := 0
unexport PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX PIP_ROOT VIRTUAL_ENV

# A .venv that is broken, half made or was moved here from another place is made again.
PROBE := import pip, sys; print(sys.version_info >= (3, 11))
ifneq ($(shell cat $(VENV)/.place 2>/dev/null)$(shell $(PY) -I -c '$(PROBE)' 2>/dev/null),$(CURDIR)True)
$(VENV)/.place: remake
endif

.PHONY: help run test test-slow check words bench chaos lock clean remake
.DELETE_ON_ERROR:

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

run: $(VENV)/.run ## install what is needed and start IT0 (one process, SQLite, no account needed)
	@exec $(VENV)/bin/it0 up

test: check ## install, check, and run the fast tests (under 10 minutes)
	@$(PY) -m pytest -m "not slow" -n 3 --dist loadfile

test-slow: $(VENV)/.dev ## the slow tests: short chaos runs, benchmarks' limits, the install itself
	@$(PY) -m pytest -m slow

check: $(VENV)/.dev ## lint, format, types and architecture
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(PY) -c 'from importlinter.cli import lint_imports_command as main; main()' --no-logo

words: $(VENV)/.dev ## bring the translations up to date; fails when one is missing or unsure
	@set -e; pot=$$(mktemp); trap 'rm -f "$$pot"' EXIT; \
	$(PY) -m babel.messages.frontend -q extract -F pyproject.toml --no-default-keywords -k sentence -k words \
		--no-location --sort-output --project=IT0 -o "$$pot" core billing bots storage; \
	for po in core/locales/*/LC_MESSAGES/it0.po; do \
		$(PY) -m babel.messages.frontend -q update -i "$$pot" -o "$$po" -l "$$(echo "$$po" | cut -d/ -f3)" \
			--ignore-obsolete --omit-header --ignore-pot-creation-date; \
	done
	@$(PY) -m pytest -q tests/core/test_words.py

bench: $(VENV)/.dev ## the benchmarks, each beside the bare library it is compared with
	@set -e; for script in bench/[a-z]*.py; do \
		name=$$(basename $$script .py); echo "== $$name"; $(PY) -m bench.$$name; \
	done

chaos: $(VENV)/.dev ## the full chaos runs: kill -9 at random, both databases, then Slack and Telegram
	@$(PY) -m tests.chaos
	@$(PY) -m tests.chaos.chat

lock: $(VENV)/.place ## resolve the dependencies again and write both lock files
	@$(PY) -m venv $(VENV)/locker && $(VENV)/locker/bin/python -m pip --quiet install uv
	@set -e; compile() { $(VENV)/locker/bin/python -m uv pip compile --quiet --upgrade --universal \
		--generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 \
		pyproject.toml --group build "$$@" >/dev/null; }; \
	compile -o requirements.lock; compile --group dev -o requirements-dev.lock

clean: ## remove the environment and every cache; ./data stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: each is written last, so that an interrupted install is done again.

$(VENV)/.run: requirements.lock pyproject.toml $(VENV)/.place
	@echo "Installing (once, about half a minute) ..."
	@$(PIP) --no-deps --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	@echo "Installing what the tests need (once) ..."
	@$(PIP) --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.place:
	@set -e; found=; novenv=; \
	for name in $(PYTHONS); do \
		"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		if "$$name" -c 'import venv, ensurepip' 2>/dev/null; then found=$$name; break; fi; \
		novenv=$$name; \
	done; \
	if [ -z "$$found" ]; then \
		if [ -n "$$novenv" ]; then \
			echo "$$novenv cannot make virtual environments." \
				"On Debian and Ubuntu: apt-get install python3-venv" >&2; \
		else \
			echo "IT0 needs Python 3.11 or newer. Found: $$(python3 --version 2>&1 || true)." >&2; \
		fi; \
		exit 1; \
	fi; \
	rm -rf $(VENV); "$$found" -m venv $(VENV); printf '%s' '$(CURDIR)' > $@
