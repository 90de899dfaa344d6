# `make demo` and `make test` set up what is missing, then run. Nothing has to be activated.
PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.ready .venv-lava/.ready

.PHONY: demo test check setup clean
demo: $(SETUP)
	$(BIN)/spikeport demo --out demo

test: $(SETUP) check
	$(BIN)/pytest

check: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(SETUP)

# Remade when the requirements change; an interrupted set-up leaves no .ready and starts anew.
.venv/.ready: pyproject.toml constraints.txt
	rm -f $@
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[dev]'
	touch $@

.venv-lava/.ready: backends/lava/requirements.txt backends/lava/environment.py | .venv/.ready
	rm -f $@
	$(BIN)/python -m spikeport.backends.lava.environment .venv-lava
	touch $@

clean:
	rm -rf .venv .venv-lava build demo *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
