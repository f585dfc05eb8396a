.DEFAULT_GOAL := help
.PHONY: help setup repro restore compare sweep report experiments bench test quick lint golden docs constraints

PYTHON ?= python3
VENV := .venv
LONG := device|precision|unseen_by_both.*|(data|src|plots|metrics)/.*|models|published|reranker|kind|weight|depth|constant|n|re(trieved|ranked)_top1|Created|.*_seconds|epc.*|epa.*(top5|top10|mrr)|loss|hardness|(training|validation)_top1|selection_n
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 13

setup: ## make .venv when it is missing or stale
	@cat requirements.txt constraints.txt | cmp -s - $(VENV)/installed.txt && $(VENV)/bin/python -c '' 2>/dev/null || { \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or later is needed; got {sys.version.split()[0]}")' && \
	  rm -rf $(VENV) && $(PYTHON) -m venv $(VENV) && \
	  $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt && \
	  cat requirements.txt constraints.txt > $(VENV)/installed.txt; }

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
	@python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt -c constraints.txt
	@python benchmarks/run.py $(ARGS)

test: setup ## the whole test suite
	@python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

quick: setup ## the tests without DVC runs and what else takes long
	@python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not dvc and not slow'

lint: setup ## rules, format, types
	@ruff check . && ruff format --check . && mypy

golden: setup ## write tests/golden.json anew, after RESULTS_VERSION was raised
	@WRITE_GOLDEN=1 python -m pytest -q tests/test_golden.py

docs: setup ## renew params.schema.json and docs/params.md
	@python tools/params_docs.py

constraints: ## renew constraints.txt: all that a fresh environment gets, but for torch's own CUDA packages
	@rm -rf $(VENV)-fresh && $(PYTHON) -m venv $(VENV)-fresh
	@$(VENV)-fresh/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-faiss.txt -r requirements-parquet.txt -r benchmarks/requirements.txt
	@{ echo '# Every version as tested, by make constraints; torch is the one whose build may differ.'; \
	  $(VENV)-fresh/bin/python -m pip freeze --disable-pip-version-check | grep -vE '^(nvidia|cuda|triton)' | sed 's/+.*//'; } > constraints.txt
	@rm -rf $(VENV)-fresh
