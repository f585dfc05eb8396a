#!/usr/bin/env bash
# Show what a branch changes on the sample: tools/pull_request.sh BASE OUT, where BASE is a revision. It runs BASE and HEAD in a
# clone, and writes OUT/summary.md and the branch's pictures. BASE runs here, too, since processors round differently.
set -euo pipefail
base=$(git rev-parse --verify "$1^{commit}") head=$(git rev-parse --verify "HEAD^{commit}") out=$(mkdir -p "$2" && cd "$2" && pwd)
here=$PWD
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
git clone --quiet --no-local . "$place/run"
cd "$place/run"
git config user.name "Counterpoint" && git config user.email "ci@localhost"
run() { # revision, name: run it, and commit and tag its results
  git checkout --quiet --detach "$1"
  dvc repro >&2
  git add --all dvc.lock metrics plots
  git commit --quiet --allow-empty --no-verify --message "$2"
  git tag "$2"
}
run "$base" base-run
run "$head" branch-run
{
  echo "## What the branch changes on the sample"
  echo
  echo "Query by query, $(git -C "$here" rev-parse --short "$base") against $(git -C "$here" rev-parse --short "$head"):"
  echo
  python src/compare.py base-run branch-run --setting epa --setting epc --md
  echo
  echo "<details><summary>dvc metrics diff</summary>"
  echo
  dvc metrics diff base-run branch-run --md
  echo
  echo "</details>"
} > "$out/summary.md"
cp plots/pictures/*.png "$out/"
if [ -e plots/report.html ]; then cp plots/report.html "$out/"; fi
