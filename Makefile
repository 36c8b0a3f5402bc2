# `make run` and `make test` do all their own set-up; the rest is for working on Antiphon.

SHELL := /bin/bash
.DEFAULT_GOAL := help
PACKAGES := schemas relay transceiver signaling inference_bridge cli
SERVICES := relay transceiver signaling inference-bridge
BIN := .venv/bin

.PHONY: help run test check lint format set-up test-packages fuzz compose-test lock vectors clean

help:
	@echo 'make run           start the whole stack; options of `antiphon up` go into ARGS="..."'
	@echo 'make test          everything continuous integration runs: lint, types, tests'
	@echo 'make compose-test  bring the containers up, hold one spoken conversation, take them down'
	@echo 'make fuzz          fuzz all readers of network bytes, SECONDS=60 each; findings go to .fuzz/'
	@echo 'make lint          ruff and mypy only          make format   let ruff put the code in order'
	@echo 'make lock          pin the requirements anew   make vectors  write schemas/vectors anew'
	@echo 'make clean         remove what these targets have made'

run: set-up
	@exec $(BIN)/antiphon up $(ARGS)

test: set-up test-packages lint
	$(BIN)/pytest $(ARGS)

lint: set-up
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(foreach package,$(PACKAGES),-p antiphon.$(package))
	$(BIN)/mypy tests

format: set-up
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

set-up:
	@deploy/set-up.sh

test-packages:
	@deploy/install-test-packages.sh

SECONDS := 60
fuzz: set-up
	@mkdir -p .fuzz
	cd .fuzz && PYTHONPATH=../tests ../$(BIN)/python -m fuzz all $(SECONDS)

compose-test: set-up
	$(BIN)/python tests/compose/conversation.py

lock:
	@deploy/lock.sh $(SERVICES)

vectors: set-up
	PYTHONPATH=tests $(BIN)/python -m support.vectors

clean:
	rm -rf .venv .antiphon .fuzz .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
