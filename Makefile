# The same commands for a person and for CI. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
READY_FOR_LOADER := $(VENV)/.ready-bench-loader

.PHONY: help demo serve test check format bench bench-maps bench-precompute bench-service bench-codecs bench-loader bench-feeding bench-losses bench-metrics bench-knees bench-gpu test-gpu soak reference try-images clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is wanted; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "No virtual environment could be made; on Debian and Ubuntu: apt install python3-venv"; exit 2; }
	@echo "Installing into $(VENV): 2.8 GB, most of it PyTorch; it takes a few minutes and says nothing on the way"
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY) ## masks over HTTP, Φ as Zarr, a network trained on it and scored; DATA='folder or pattern' LABELS=5,6,7 take your own
	@$(PY) -m demo $(if $(DATA),--data '$(DATA)') $(if $(LABELS),--labels '$(LABELS)')

serve: $(READY) ## API and one worker on 127.0.0.1:8000, data in ./dmapsvc-data
	@$(PY) -m worker & worker=$$!; $(PY) -m api & api=$$!; \
	trap 'kill $$api $$worker 2>/dev/null; wait' INT TERM EXIT; wait -n $$api $$worker

test: $(READY) ## all tests that need no GPU
	@$(PY) -m pytest -q -m 'not gpu and not soak' -n auto --maxprocesses 4 --dist loadfile

test-gpu: $(READY) ## the tests that need a GPU, and one of the extras gpu-cu12 and gpu-cu13
	@$(PY) -m pytest -q -m gpu

soak: $(READY) ## the long runs: processes killed at random, damaged files for an hour, 50,000 cases
	@$(PY) -m pytest -q -m soak -s

check: $(READY) ## format, lint, types, layers
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

format: $(READY) ## put the code into the project's format
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

reference: $(READY) ## docs/settings.md, commands.md and errors.md, made from the code
	@$(PY) -m tests.docs.reference

bench: bench-maps bench-precompute bench-service bench-codecs bench-loader bench-losses bench-metrics ## every benchmark; FILE=mask LABELS=5,6,7 measure your own

bench-maps: $(READY) ## Φ by everything people use for it, and how the time grows; JSON=file keeps the numbers
	@$(PY) -m benchmarks.maps $(FILE) $(if $(LABELS),--labels '$(LABELS)') $(if $(JSON),--json '$(JSON)')

bench-precompute: $(READY) ## a folder of masks, against the script people write; DATA=folder with files knee… LABELS=5,6,7
	@$(PY) -m benchmarks.precompute $(if $(DATA),--data '$(DATA)' $(if $(LABELS),--labels '$(LABELS)')) \
		$(if $(JSON),--json '$(JSON)')

bench-gpu: $(READY) ## Φ on a GPU: where the time goes, and cuCIM beside it; needs the extra gpu-cu12 or gpu-cu13
	@$(PY) -m benchmarks.gpu $(FILE) $(if $(LABELS),--labels '$(LABELS)') $(if $(JSON),--json '$(JSON)')

bench-service: $(READY) ## what the service costs: jobs a second, latency, uploads, idling; SQLite and Postgres
	@$(PY) -m benchmarks.service $(FILE) $(if $(LABELS),--labels '$(LABELS)') $(if $(JSON),--json '$(JSON)')

$(READY_FOR_LOADER): $(READY)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench-loader]'
	@touch $@

bench-loader: $(READY_FOR_LOADER) ## patches by nnU-Net's loader, others' and dmapsvc's; MASKS=folder IMAGES=folder LABELS=5,6,7
	@$(PY) -m benchmarks.loader $(if $(MASKS),--masks '$(MASKS)') $(if $(IMAGES),--images '$(IMAGES)') \
		$(if $(LABELS),--labels '$(LABELS)') $(if $(JSON),--json '$(JSON)')

bench-feeding: $(READY) ## a V-Net's training fed by the loader, beside one fed from memory; STORE=dataset takes your own
	@$(PY) -m benchmarks.feeding $(STORE) $(if $(JSON),--json '$(JSON)')

bench-losses: $(READY) ## a V-Net's training step with each loss, beside one with plain cross-entropy
	@$(PY) -m benchmarks.losses $(if $(JSON),--json '$(JSON)')

bench-metrics: $(READY) ## a prediction measured by dmapsvc, MONAI and surface-distance; FILE=mask LABELS=5,6,7
	@$(PY) -m benchmarks.metrics $(FILE) $(if $(LABELS),--labels '$(LABELS)') $(if $(JSON),--json '$(JSON)')

bench-knees: $(READY) ## which loss wins on 40 knees: hours; goes on where it stopped; OUT= JOBS= CONFIG= SHAPE= MASKS= LABELS=
	@$(PY) -m benchmarks.knees -o $(or $(OUT),knees-out) $(if $(JOBS),--jobs '$(JOBS)') \
		$(if $(CONFIG),--config '$(CONFIG)') $(if $(SHAPE),--shape '$(SHAPE)') \
		$(if $(MASKS),--masks '$(MASKS)' $(if $(LABELS),--labels '$(LABELS)'))

bench-codecs: $(READY) ## what a case costs to keep and to read, by codec and chunk; IMAGE=file measure your own
	@$(PY) -m benchmarks.codecs $(FILE) $(if $(LABELS),--labels '$(LABELS)') $(if $(IMAGE),--image '$(IMAGE)')

try-images: $(READY) ## the very commands of the images, in a clean virtual environment: no engine is needed
	@$(PY) -m tests.deployment.try_images

clean: ## remove what these commands made, your data folder excepted
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache demo-out demo-out.previous dist build
