"""The joint reader in files: the untrained encoder it stands on, whole, and what it has learnt beside."""

import errno
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from counterpoint.core.files import read_json, write_json
from counterpoint.model.compute import Compute
from counterpoint.model.encoder import Encoder, load_encoder
from counterpoint.model.reader import JointReader


def save_reader(directory: Path, reader: JointReader, untrained: Encoder) -> None:
    """Write encoder/, the same for every run so that DVC keeps it once, learnt.safetensors and reader.json."""
    learnt = {name: value.cpu().contiguous() for name, value in reader.learnt().items()}
    directory.mkdir(parents=True)
    try:
        untrained.transformer.save_pretrained(directory / "encoder")
        untrained.tokenizer.save_pretrained(directory / "encoder")
        save_file(learnt, directory / "learnt.safetensors")
    except SafetensorError as error:  # no space left, say
        raise OSError(errno.EIO, str(error), str(directory)) from None
    own = reader.encoder
    prompts = dict(zip(("point", "counter"), own.prompts, strict=True))
    write_json(directory / "reader.json", {"freeze": own.frozen, "max_length": own.max_length, "prompts": prompts})


def load_reader(directory: Path, compute: Compute) -> JointReader:
    """Read a reader as `save_reader` wrote it, in eval mode."""
    about = read_json(directory / "reader.json")
    prompts = about["prompts"]["point"], about["prompts"]["counter"]
    encoder = load_encoder(directory / "encoder", "mean", about["max_length"], prompts=prompts)
    encoder.freeze(about["freeze"])
    reader = JointReader(encoder, compute)
    reader.take(load_file(directory / "learnt.safetensors", device=str(compute.device)))
    return reader.eval()
