"""Running src/sweep.py, and reading what it says and what its experiments hold."""

import json

from conftest import command, succeed


def sweep(folder, *words, **options):
    return command(folder, "python", "src/sweep.py", *words, **options)


def states(done):
    """name -> what the plan says of it."""
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    return {words[0]: words[1] for words in lines if len(words) == 2 and "-seed-" in words[0]}


def names(folder):
    return sorted(succeed(folder, "dvc", "exp", "list", "--name-only").split())


def read(folder, name, path):
    return json.loads(text(folder, name, path))


def text(folder, name, path):
    """A file of an experiment."""
    return succeed(folder, "python", "tests/read.py", name, path)
