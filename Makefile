.DEFAULT_GOAL := help
.PHONY: help setup repro restore compare sweep report experiments bench test quick lint

PYTHON ?= python3
VENV := .venv
LONG := (data|src|plots|metrics)/.*|models|Created|.*_seconds|epc.*|epa.*(top5|top10|mrr)|loss|hardness|(training|validation)_top1|selection_n
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 13

setup: ## make .venv when it is missing or stale
	@cmp -s requirements.txt $(VENV)/requirements.txt && $(VENV)/bin/python -c '' 2>/dev/null || { \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or later is needed; got {sys.version.split()[0]}")' && \
	  rm -rf $(VENV) && $(PYTHON) -m venv $(VENV) && \
	  $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt && \
	  cp requirements.txt $(VENV)/requirements.txt; }

repro: setup ## the main job: prepare, train, evaluate, plot
	@python src/check.py
	@dvc repro
	@python src/show.py

restore: setup ## bring the committed params.yaml and results back
	@python src/restore.py

compare: setup ## two runs query by query: make compare A=HEAD B=slow ARGS='--queries unseen'
	@python src/compare.py $(A) $(B) $(ARGS)

sweep: setup ## an experiment for every decay and seed: make sweep ARGS='--seeds 13 1 2 --dry-run'
	@python src/sweep.py $(ARGS)

report: setup ## what the experiments of this commit say: reports/report.md and pictures
	@python src/report.py $(ARGS)

experiments: setup ## dvc exp show, short
	@dvc exp show --no-pager --only-changed --drop '$(LONG)'

bench: setup ## how fast, against what: make bench ARGS='--corpus ZIP' (with it 15 minutes, else 3)
	@python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@python benchmarks/run.py $(ARGS)

test: setup ## the whole test suite
	@python -m pytest -n 2 --dist loadfile

quick: setup ## the tests without DVC runs
	@python -m pytest -m 'not dvc'

lint: setup ## ruff: rules and format
	@ruff check . && ruff format --check .
