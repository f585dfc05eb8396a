"""Print a file of a run: python tests/read.py RUN PATH."""

import sys

import dvc.api

print(dvc.api.read(sys.argv[2], rev=sys.argv[1]))
