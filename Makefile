# What can be typed here; `make` alone lists it. Each target first sets up what it needs in .venv.
.DEFAULT_GOAL := help
.PHONY: help demo demo-clean test fuzz gameday stores lint bench server server-clean
python := .venv/bin/python
# more workers than there are processors, see CONTRIBUTING.md; one by one: ARGS="-n0"
parallel := -n auto --dist loadgroup
# what images of containers forbid for their size: else each of thousands of processes compiles the program again
unexport PYTHONDONTWRITEBYTECODE

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 20

demo: ## a database of its own is backed up, destroyed and restored, here and without root
	@sh bootstrap.sh --demo
	@.venv/bin/ansible-playbook playbooks/demo.yml

demo-clean: ## stop what the demo started and remove every trace of it
	@if [ -x $(python) ]; then $(python) -m demo.clean; elif [ -e .demo ]; then sh bootstrap.sh --demo && $(python) -m demo.clean; fi

test: ## all tests; those that boot servers need root. Some: make test ARGS="tests/unit -k retention"
	@sh bootstrap.sh --dev
	@$(python) -m pytest $(parallel) --durations=10 $(ARGS)

fuzz: ## the property tests, looking twenty times as long as in make test
	@sh bootstrap.sh --dev
	@$(python) -m pytest $(parallel) -m hypothesis --hypothesis-profile=long --timeout=3600 $(ARGS)

gameday: ## faults on purpose, whole: what make test takes samples of (half an hour and more)
	@sh bootstrap.sh --dev
	@$(python) -m pytest $(parallel) -m gameday --timeout=3600 --durations=10 $(ARGS)

stores: ## the life of a backup on every S3 store that can be had here, Ceph too (root, a quarter of an hour); writes docs/stores.md
	@sh bootstrap.sh --dev
	@STORES_RECORD=1 $(python) -m pytest $(parallel) -m stores --timeout=3600 --durations=10 $(ARGS)
	@PYTHONPATH=module_utils:. $(python) -m docs.make_tables

lint: ## ruff, mypy, yamllint, ansible-lint (profile production), shell syntax
	@sh bootstrap.sh --dev
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy
	$(python) -m yamllint --strict .
	PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/ansible-lint --strict
	sh -n bootstrap.sh && bash -n .ci/run

bench: ## how fast, beside pg_dump alone and the shell scripts (about 1 GB; ARGS="--scale 4" for less)
	@sh bootstrap.sh --demo
	@$(python) -m bench $(ARGS)

server: ## a brand-new Debian server on this machine to try things on (root); SUITE=bookworm or trixie
	@sh bootstrap.sh --dev
	@$(python) -m tests.servers deps
	@$(python) -m tests.servers up $(SUITE)

server-clean: ## remove those servers
	@sh bootstrap.sh --dev
	@$(python) -m tests.servers down
