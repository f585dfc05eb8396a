"""The fixture corpus, ready to be trained on in this process."""

from dataclasses import replace
from types import SimpleNamespace

import torch
import yaml

from conftest import fixture_params
from counterpoint.core.group import ALONE
from counterpoint.core.params import load_params
from counterpoint.core.seeds import seed_torch
from counterpoint.model.bi_encoder import build
from counterpoint.model.compute import Compute
from counterpoint.model.hidden_states import HiddenStateCache
from counterpoint.negatives.eligible import initial_negatives
from counterpoint.negatives.sampler import NegativeSampler
from counterpoint.negatives.schedule import Schedule
from counterpoint.training.selection import Split


def ready(file, encoder, pairs, group=ALONE, provided=None, **changes):
    """Return params (written to file), model, splits and sampler; pairs are by split, changes as of fixture_params.

    provided makes the negatives of people and of a file, for a pool.
    """
    file.write_text(yaml.safe_dump(fixture_params(encoder, **changes)))
    params = load_params(file)
    seed_torch(params.seed, 0, "weights")
    model = build(params.model, encoder, Compute(torch.device("cpu"), False, group), with_head=params.trains_head)
    model.recompute = params.train.gradient_cache
    splits = {name: Split.of(members, model.point.encoder) for name, members in pairs.items()}
    cache = HiddenStateCache([text for split in splits.values() for text in split.pool.texts])
    inputs = cache.read(model.point.encoder, model.compute, [split.tokens for split in splits.values()])
    splits = {name: replace(split, texts=texts) for (name, split), texts in zip(splits.items(), inputs, strict=True)}
    pool = splits["training"].pool
    initial = initial_negatives(pool, params.negatives.per_point, params.prepare.seed)
    sampler = NegativeSampler(pool, Schedule.of(params), params, initial, group, provided and provided(pool))
    return SimpleNamespace(params=params, model=model, splits=splits, sampler=sampler)
