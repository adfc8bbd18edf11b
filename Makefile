# Needs Python 3.11, 3.12 or 3.13 and make, nothing else. Everything is installed into .venv.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# The first of these that runs and is recent enough: a name on the path need not be a Python that works.
CANDIDATES := python3.13 python3.12 python3.11 python3 python
PYTHON ?= $(shell for name in $(CANDIDATES); do \
	$$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1 \
	&& { echo $$name; break; }; done)

.PHONY: help demo install test test-slow faults lint study purpose bench bench-networks bench-peers bench-scaling bench-gpu up down ui clean

help:
	@echo "make demo       the quickstart scenario, shown live: a backdoor that fades and one that does not"
	@echo "make test       all checks and tests (make test-slow: tests with servers and workers)"
	@echo "make faults     kill runs, servers and workers, make databases and disks fail; print what happened"
	@echo "make lint       check style and types"
	@echo "make study      play all studies: hours, continues where it was stopped (QUICK=1: a subset, minutes)"
	@echo "make purpose    test that each attack and the quickstart do what they are meant to, by seed: an hour"
	@echo "make bench      seconds by stage of the standard timeline (make bench-networks: speed and accuracy of networks)"
	@echo "make bench-peers  CPU seconds compared with Avalanche and the classic PyTorch loop: an hour"
	@echo "make bench-scaling  cost per period and per image, and memory: some minutes"
	@echo "make bench-gpu  cohorts and ResNet-18 on a CUDA device, compared with its peaks: some minutes"
	@echo "make up         start Prefect, MLflow and workers on this machine; make ui: open their UIs; make down: stop them"
	@echo "make clean      remove what was installed and built; keeps runs"

demo: $(READY)
	@$(BIN)/ebbdoor run quickstart

install: $(READY)

# Two at a time, for tests wait for servers and workers; those of a file stay together, for they share what is played.
test: lint
	$(BIN)/pytest -n 2 --dist loadscope

test-slow: $(READY)
	$(BIN)/pytest -m slow

# The programs print their tables as they go, and all run even when one has found something.
faults: $(READY)
	@failed=0; for program in simulate kill_harness random_kills kill_servers two_at_once resource_faults; do \
	  echo; echo "$$program"; $(BIN)/python tests/faults/$$program.py || failed=1; done; exit $$failed

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Each is played into its folder, found there again, and written down in docs/ only when it is whole.
# CIFAR-10 is played where its files are: data/cifar-10-batches-py.
STUDIES := permanence permanence-attackers permanence-digits permanence-resnet20 \
  $(if $(wildcard data/cifar-10-batches-py),permanence-cifar10)
study: $(READY)
	@for study in $(STUDIES); do $(BIN)/ebbdoor study $$study --no-prefect \
	  $(if $(QUICK),--quick,--document docs/$$study.md) || exit $$?; done

purpose: $(READY)
	$(BIN)/pytest -m study -s

bench: $(READY)
	@$(BIN)/ebbdoor bench

bench-networks: $(READY)
	@$(BIN)/python -m benchmarks.networks --seeds 100-109

bench-scaling: $(READY)
	@$(BIN)/python tests/speed/scaling.py

bench-gpu: $(READY)
	@$(BIN)/python -m benchmarks.gpu

# Avalanche and what it needs: beside everything else, for nothing pinned changes with it.
PEERS := $(VENV)/.peers
bench-peers: $(PEERS)
	@$(BIN)/python -m benchmarks.peers $(if $(ROUNDS),--rounds $(ROUNDS))

$(PEERS): $(READY)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[peers]'
	@touch $@

up: $(READY)
	@$(BIN)/ebbdoor up

down: $(READY)
	@$(BIN)/ebbdoor down

ui: up
	@$(BIN)/ebbdoor ui --open

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

# Written last, so that an installation that was interrupted is done again.
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "expected Python 3.11, 3.12 or 3.13 on the path, got none; install one" >&2; exit 1; }
	@echo "1 of 3: making $(VENV) with $(PYTHON): some seconds" >&2
	@$(PYTHON) -m venv $(VENV)
	@echo "2 of 3: installing ebbdoor and what it needs: about four minutes the first time, and silent" >&2
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@echo "3 of 3: preparing an empty Prefect database for \`make up\`: less than a minute" >&2
	@$(BIN)/python -m flows.servers.blank
	@echo "installed" >&2
	@touch $@
