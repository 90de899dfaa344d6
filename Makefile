# `make demo` and `make test` set up what is missing first. No environment has to be activated.
PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.ready .venv-lava/.ready

.PHONY: demo test suite slow quick check coverage bench docs setup clean
demo: $(SETUP)
	$(BIN)/spikeport demo --out demo

# The checks run beside the tests.
test: $(SETUP)
	$(MAKE) --no-print-directory --jobs 2 check suite

# A process per core and one more, each with one thread: many tests wait for other processes. The
# tests of a file stay together, the longest files come first. These processes and the hundreds that
# tests start find sources (even where Python writes no bytecode) and kernels compiled.
suite: $(SETUP)
	$(BIN)/python -m compileall -q spikeport trainer export simulators backends
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.helpers.kernels
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not scale' --numprocesses auto --dist loadfile \
	  --no-loadscope-reorder -p tests.helpers.in_parallel

# Larger cases of what the suite shows in small, and property tests with all their examples.
slow: $(SETUP)
	SPIKEPORT_THOROUGH=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'scale or hypothesis' \
	  --numprocesses auto --dist loadfile -p tests.helpers.in_parallel

# The tests of what changed and a core set, within a minute; lists what it skips.
# For example: make quick QUICK='--since HEAD~3 -x'
quick: $(SETUP)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.quick $(QUICK)

# Slow. Compiled kernels and code in other processes (Lava's worker, most verbs) count as missed.
coverage: $(SETUP)
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadfile --cov --cov-report=term

check: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# For example: make bench BENCH='--quick --networks mlp --json bench.json'
bench: $(SETUP) .venv-peers/.ready
	$(BIN)/python -m benchmarks.simulators $(BENCH)

# The site, in build/site. Docstrings are read from the source, so that this needs neither .venv nor torch.
docs: .venv-docs/.ready
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet

setup: $(SETUP)

# Rebuilt when the requirements change; an interrupted set-up leaves no .ready and is repeated.
.venv/.ready: pyproject.toml constraints.txt benchmarks/frameworks.txt
	rm -f $@
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --requirement benchmarks/frameworks.txt
	touch $@

.venv-lava/.ready: backends/lava/requirements.txt backends/lava/environment.py | .venv/.ready
	rm -f $@
	$(BIN)/python -m spikeport.backends.lava.environment .venv-lava
	touch $@

# The list is complete, so that nothing unpinned is installed.
.venv-peers/.ready: benchmarks/requirements.txt
	rm -f $@
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --requirement $<
	touch $@

.venv-docs/.ready: docs/_site/requirements.txt
	rm -f $@
	test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --requirement $<
	touch $@

clean:
	rm -rf .venv .venv-lava .venv-peers .venv-docs build demo *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
