# Modelyard. `make help` lists what there is.
# With CONTEXT=<kube context> (and REGISTRY=<registry> for images) everything uses an existing cluster instead of the
# local one and never touches the machine. FLAVOUR=gpu builds the training image with CUDA.
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.SUFFIXES:

export CONTEXT REGISTRY FLAVOUR
export PYTHONPATH := .:operator:serving_image:training_image:local
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PY := $(VENV)/bin/python
LOCAL := $(PY) -m modelyard_local
KUBECTL = $$($(LOCAL) kubectl) --kubeconfig=$$($(LOCAL) kubeconfig)
PARALLEL := --numprocesses=auto --dist=loadfile
CODE := modelyard operator serving_image training_image local tools tests config/samples

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2}'

## ---- the main job

.PHONY: demo
demo: venv ## Everything from nothing: cluster, images, operator, both samples trained, gated, served, asked
	@$(PY) -m tools.demo up

.PHONY: demo-down
demo-down: venv ## Remove the samples, the operator and the local cluster
	@$(PY) -m tools.demo down

.PHONY: cluster
cluster: venv ## Bring up the local cluster (nothing if it is up)
	@$(LOCAL) up

.PHONY: cluster-down
cluster-down: venv ## Stop the local cluster; its objects and images stay for the next start
	@$(LOCAL) down

.PHONY: cluster-status
cluster-status: venv ## Say how the cluster is
	@$(LOCAL) status

.PHONY: images
images: venv ## Build the four images, deliver what changed, write build/deploy
	@$(PY) -m tools.images build

.PHONY: wheels
wheels: venv ## Fetch the Python packages that the Containerfiles install, into build/wheels
	@$(PY) -m tools.images wheels

.PHONY: deploy
deploy: images ## Install the CRDs and the operator with those images, and wait until it is ready
	@$(KUBECTL) apply --server-side --force-conflicts -k build/deploy
	$(KUBECTL) -n modelyard-system rollout status deployment/modelyard-operator --timeout=180s

.PHONY: kubeconfig
kubeconfig: venv ## Print the path of the kubeconfig
	@$(LOCAL) kubeconfig

.PHONY: kubectl
kubectl: venv ## Print the path of a kubectl
	@$(LOCAL) kubectl

## ---- working on Modelyard

$(VENV)/.installed: requirements/development.txt
	@echo "Installing the development environment into $(VENV) (about a minute; TensorFlow is large)"
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --requirement requirements/development.txt
	touch $@

.PHONY: venv
venv: $(VENV)/.installed ## Install what development and tests need into .venv

.PHONY: verify
verify: lint unit ## Format, lint, types, layers, generated files, unit and simulation tests: one to two minutes

.PHONY: lint
lint: venv ## Format, lint, types, layers, generated files
	@mkdir -p build
	@$(VENV)/bin/ruff format --check --quiet $(CODE) || { echo "run \`make format\`"; exit 1; }
	$(VENV)/bin/ruff check --quiet $(CODE)
	$(VENV)/bin/mypy --no-error-summary modelyard operator/modelyard_operator serving_image/modelyard_server \
	    training_image/modelyard_trainer local/modelyard_local tools
	$(VENV)/bin/lint-imports --no-cache >build/layers.log 2>&1 || { cat build/layers.log; exit 1; }
	$(PY) -m tools.generate --check
	$(PY) -m tools.hygiene

.PHONY: unit
unit: venv ## Unit and simulation tests
	@$(PY) -m pytest -q $(PARALLEL) tests/unit tests/simulation

.PHONY: api
api: venv ## Tests against a real etcd and API server
	@$(LOCAL) build >/dev/null
	$(PY) -m pytest -q tests/api

.PHONY: documentation
documentation: venv ## Run the notebook of the documentation: seconds
	@$(PY) -m pytest -q tests/documentation

.PHONY: end-to-end
end-to-end: deploy ## Tests on the real cluster, from manifest to prediction
	@$(PY) -m pytest -v tests/end_to_end

.PHONY: test
test: venv ## Every tier, from nothing
	@mkdir -p build
	$(MAKE) --no-print-directory lint
	$(LOCAL) up
	$(MAKE) --no-print-directory deploy
	$(PY) -m pytest -q $(PARALLEL) tests/unit tests/simulation
	$(PY) -m pytest -q --durations=15 --ignore=tests/unit --ignore=tests/simulation tests

.PHONY: sample-quality
sample-quality: venv ## How good the samples' models are, over three seeds
	@$(PY) tests/benchmarks/sample_quality.py

.PHONY: bench-serving
bench-serving: venv ## What serving costs beside its limits: doors, objectives, batches; needs wrk and h2load
	@$(PY) -m tests.benchmarks.serving $(ARGUMENTS)

.PHONY: faults
faults: venv ## Stores that go away for SECONDS_AWAY (60), answer 503 or late, or are full, while states and packages are stored
	@MODELYARD_OUTAGE_SECONDS=$(or $(SECONDS_AWAY),60) $(PY) -m pytest -v --durations=0 tests/api/test_faults.py

.PHONY: crashes
crashes: venv ## Kill publishing and saving at every file and request, on a folder, a real S3 server and a real HDFS
	@$(PY) -m tests.benchmarks.crashes $(ARGUMENTS)

.PHONY: bench-training
bench-training: venv ## What the run's callback and saving cost beside bare Keras, and what each variant costs and saves
	@$(PY) -m tests.benchmarks.training $(ARGUMENTS)

.PHONY: bench-laptop
bench-laptop: venv ## The README's five lines from nothing to a first local run, timed in a virtualenv of their own
	@$(PY) -m tests.benchmarks.laptop $(ARGUMENTS)

.PHONY: bench-peers
bench-peers: venv ## The same model in other servers, in environments of their own; needs wrk
	@$(PY) -m tests.benchmarks.serving.peers_run $(ARGUMENTS)

.PHONY: hostile
hostile: venv ## A hundred thousand hostile requests over sockets: no internal error, no stall, no memory kept
	@$(PY) -m tests.benchmarks.serving.hostile $(ARGUMENTS)

.PHONY: bench-rollout
bench-rollout: venv ## A million requests while the digits service is replaced again and again; needs wrk and the demo
	@$(PY) tests/benchmarks/rollout.py $(ARGUMENTS)

.PHONY: format
format: venv ## Format and fix what can be fixed
	@$(VENV)/bin/ruff check --quiet --fix $(CODE) || true
	$(VENV)/bin/ruff format --quiet $(CODE)

.PHONY: generate
generate: venv ## Write the CRDs and the API reference from modelyard/contract
	@$(PY) -m tools.generate

.PHONY: lock
lock: venv ## Pin everything in requirements/ from pyproject.toml
	@$(PY) -m tools.lock

.PHONY: clean
clean: ## Remove what was built in this folder (not the caches, not the cluster)
	rm -rf build .mypy_cache .ruff_cache .pytest_cache
