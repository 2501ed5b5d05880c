# Each target does one thing and sets up what it needs; `make` alone lists them.
MAKEFLAGS += --no-print-directory
SHELL := /bin/sh
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# What a target writes stays in the checkout.
export ANSIBLE_HOME := $(CURDIR)/.ansible

.DEFAULT_GOAL := help
.PHONY: help run test lint type unit exhaustive benchmark wheel wheel-check collection python39 debian13 molecule trees lab lab-scenario lab-image lab-shell lab-fleet lab-counts lab-qualify lab-powercuts lab-windows lock-wheels pages docs clean setup-run setup-dev setup-docs

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

run: setup-run ## audit this host, show the plan, run the benchmark; reports in build/run (BENCH_ARGS="--model resnet50 --quick")
	@tools/run-main-job $(BENCH_ARGS)

test: setup-dev ## everything that must hold: lint, type, unit
	@$(MAKE) lint
	@$(MAKE) type
	@$(MAKE) unit

lint: setup-dev ## ruff (rules and format) and ansible-lint at profile production
	$(BIN)/ruff check --output-format concise .
	$(BIN)/ruff format --check .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ansible-lint --offline --strict

type: setup-dev ## mypy, strict; the core once more as the oldest Python that mypy knows
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.10 --cache-dir .mypy_cache/core -p numatune.core

unit: setup-dev ## the tests, on all cores (ARGS="-k name" picks some; ARGS="-n 0 --pdb" one after another)
	$(BIN)/python -m pytest -n auto --maxprocesses 8 $(ARGS)

# What each variable says stands at the head of its tests.
exhaustive: export NUMATUNE_INSTANTS := all
exhaustive: export NUMATUNE_MUTATIONS := full
exhaustive: export NUMATUNE_WALKS := 200
exhaustive: export NUMATUNE_KILLED_ENGINES := 200
exhaustive: export NUMATUNE_KILLED_RUNS := 4
exhaustive: setup-dev ## what `make unit` samples, in full: every instant of a power cut, more kills, walks and mutated inputs
	$(BIN)/python -m pytest -n auto --maxprocesses 8 -m slow $(ARGS)
	$(BIN)/python -m pytest -n auto --maxprocesses 8 $(ARGS) tests/transaction/test_crash_arguments.py \
		tests/transaction/test_undo_walks.py tests/core/test_mutations.py tests/ansible/test_kills.py

benchmark: setup-dev ## numatune's own speed beside what it is held against; asserts nothing
	@$(BIN)/python benchmarks/run.py

wheel: setup-dev ## the sdist and the wheel, in dist/
	@rm -f dist/*.whl dist/numatune-[0-9]*.tar.gz
	$(BIN)/python -m build --no-isolation --outdir dist

wheel-check: wheel ## the wheel in a new environment: it audits, and ansible-playbook finds its playbooks
	@tools/check-wheel dist/*.whl

collection: setup-dev ## the Ansible collection's archive in dist/, installed and played from an empty folder
	@tools/check-collection

python39: setup-dev ## the core and the recorder under a real Python 3.9
	@tools/check-python39

trees: setup-dev ## Debian 12's and 13's own GRUB tools in root trees (needs root; build/trees)
	@NUMATUNE_TREES=required $(BIN)/python -m pytest -m trees $(ARGS)

debian13: setup-dev ## the playbooks with ansible-core 2.21 in a Debian 13 root tree (needs root; build/debian13)
	@tools/check-debian13

molecule: setup-dev ## the playbooks on fake hosts over a loopback sshd of their own, by molecule (build/molecule)
	@tools/check-molecule

lab-image: setup-dev ## the base images of the virtual machines, Debian 12 and 13 (needs root; build/lab)
	@tools/lab-image bookworm
	@tools/lab-image trixie

lab-shell: setup-dev lab-image ## a shell in a new virtual machine with NUMA nodes, P-states and C-states (LAB_ARGS="--suite trixie")
	@tools/lab shell $(LAB_ARGS)

lab: setup-dev ## jitter, tune through trial boot and revert, six power cuts in virtual machines (needs root; build/lab)
	@tools/check-lab

lab-scenario: setup-dev ## of it, molecule's scenario vm alone
	@tools/check-lab scenario

lab-fleet: setup-dev ## there, too: a trial that hangs, a rolling run over three hosts, TuneD (needs root; half an hour)
	@tools/check-lab fleet

lab-counts: setup-dev ## in a guest: NUMA balancing leaves memory under an explicit policy alone (needs root; minutes)
	@tools/check-lab counts

lab-qualify: setup-dev ## there, too: qualify.yml on a guest (needs root; three quarters of an hour)
	@tools/check-lab qualify

lab-powercuts: setup-dev ## 30 power cuts during tune.yml, at seeded random instants (NUMATUNE_CUTS=30 NUMATUNE_CUTS_SEED=1)
	@tools/check-lab powercuts

lab-windows: setup-dev ## power cuts while a trial boot is armed and while its arguments are made permanent (NUMATUNE_WINDOW_CUTS=10)
	@tools/check-lab windows

lock-wheels: setup-dev ## the table of numatune/bench/packages/locks.py: fetches each wheel and holds it against the index (needs a network)
	@$(BIN)/python tools/lock_wheels.py

pages: setup-dev ## docs/settings and the options of the role tune, from what the settings declare
	@$(BIN)/python tools/settings_pages.py
	@$(BIN)/python tools/tune_role.py

docs: setup-docs ## the documentation as a site in build/site; a dead link fails
	@$(BIN)/sphinx-build -q -W --keep-going -c tools/site -d build/doctrees . build/site
	@cp build/site/README.html build/site/index.html
	@echo build/site/index.html

clean: ## remove what the targets made (.venv, build, dist, caches)
	rm -rf .venv build dist .ansible .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup-run:
	@tools/setup bench

setup-dev:
	@tools/setup bench dev

setup-docs:
	@tools/setup docs
