# make demo    watch it work
# make test    the tests
# make lint    format, style, types, import order
#
# The virtual environment is made when it is missing and refreshed when pyproject.toml changes.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: demo test lint clean

demo: $(READY)
	@clip=$$($(BIN)/python examples/demo_clip.py) \
	  && $(BIN)/dtsvibe run "$$clip" --out demo --overwrite \
	  && echo "Now watch the video in the folder demo: the input, and beside it the same with bodies." \
	  && echo "The files next to it hold the motion; README.md says what is in them."

test: $(READY)
	$(BIN)/pytest -n auto

lint: $(READY)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "dtsvibe needs Python 3.11 or newer; this is $$($(PYTHON) --version 2>&1)." \
	       "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Making .venv, once: some minutes and about 6 GB, most of it PyTorch."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $(READY)

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
