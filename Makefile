# What can be done here; `make` alone lists it. Needs Python 3.11 or newer, git and make; everything else goes into .venv.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test test-all bench check format clean venv install install-dev browser

PYTHON ?=
ARGS ?=
PY := .venv/bin/python
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

# $(call needs,NAME,FILES): install what FILES ask for, unless NAME says that these very lines are installed already.
define needs
	@sum=$$(cat $(2) | cksum) && stamp=.venv/$(1).installed && \
	if [ "$$(cat $$stamp 2>/dev/null)" != "$$sum" ]; then \
		echo "Installing $(2) into .venv; the first time takes minutes." && \
		$(PY) -m pip install --disable-pip-version-check $(addprefix -r ,$(2)) && echo "$$sum" > $$stamp; \
	fi
endef

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@echo "PYTHON=python3.12 chooses the Python; ARGS='-k chat' goes to pytest, ARGS=startup to the bench."

run: install ## install what is missing and serve the app; port 7860, or GRADIO_SERVER_PORT, or PORT
	@echo "Atelier starts on http://$${GRADIO_SERVER_NAME:-127.0.0.1}:$${GRADIO_SERVER_PORT:-$${PORT:-7860}} (Ctrl+C stops it)."
	@exec $(PY) app.py

test: install-dev browser ## the tests, with a real browser
	$(PY) -m pytest $(ARGS)

test-all: install-dev browser ## the same and the long ones
	$(PY) -m pytest -m "" $(ARGS)

bench: install-dev ## the figures of the README, measured here
	$(PY) -m tests.bench $(ARGS)

check: install-dev ## lint, format, types, packages that fit together
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pip check --disable-pip-version-check

format: install-dev ## put the code into its form
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean: ## remove .venv and caches; runs and the starter stay
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache
	find app.py backend ui tests -name __pycache__ -type d -prune -exec rm -rf {} +

venv:
	@bare=; if $(PY) -c '$(NEW_ENOUGH)' 2>/dev/null; then exit 0; fi; \
	for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3); do \
		"$$python" -c '$(NEW_ENOUGH)' 2>/dev/null || continue; \
		bare=$$python; \
		"$$python" -c 'import ensurepip, venv' 2>/dev/null || continue; \
		echo "Making .venv with $$("$$python" --version)."; \
		"$$python" -m venv --clear .venv; exit; \
	done; \
	if [ -n "$$bare" ]; then \
		echo "$$bare can't make virtual environments. On Debian or Ubuntu: apt-get install python3-venv" >&2; \
	else \
		name=$(or $(PYTHON),python3); \
		echo "No Python 3.11 or newer here; $$name is $$("$$name" --version 2>/dev/null || echo missing)." >&2; \
		echo "Install one, or name it: make run PYTHON=/path/to/python3.12" >&2; \
	fi; exit 1

install: venv
	$(call needs,run,requirements.txt)

install-dev: install
	$(call needs,dev,requirements.txt requirements-dev.txt)

browser: install-dev
	@$(PY) -m tests.chromium
