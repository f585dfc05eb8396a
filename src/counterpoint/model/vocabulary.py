"""What an encoder does not see of texts: what is cut, what it has no token for, what it cannot tell apart."""

from collections.abc import Iterator, Sequence

import numpy as np

from counterpoint.arguments.text import text_key
from counterpoint.model.encoder import Encoder, Tokens

MANY_UNKNOWN = 0.05  # of all tokens


def blind_spots(texts: Sequence[str], tokens: Tokens, encoder: Encoder) -> Iterator[str]:
    """A line for each kind of loss that there is; tokens are those of the texts, as cut."""
    lengths, prompt = tokens.lengths[: len(texts)], encoder.prompts[0] or ""
    full = np.flatnonzero(lengths >= encoder.max_length)
    whole = encoder.tokenizer([prompt + texts[i] for i in full.tolist()], verbose=False)["input_ids"] if full.size else []
    lost = np.array([len(ids) for ids in whole], dtype=int) - lengths[full]
    if cut := int((lost > 0).sum()):
        share = lost.sum() / (lengths.sum() + lost.sum())
        yield f"{cut:,} of {len(texts):,} texts are cut at model.max_length {encoder.max_length}: {share:.1%} of all tokens"
    if (unknown := encoder.tokenizer.unk_token_id) is not None:
        share = float((tokens.flat == unknown).float().mean())
        if share > MANY_UNKNOWN:
            yield f"the encoder has no token for {share:.0%} of what stands in the texts: is it made for this language?"
    keys = np.unique([text_key(text) for text in texts], return_inverse=True)[1]
    kinds = np.unique(np.stack([tokens.group, keys]), axis=1)[0]  # the token list of each text, twins once
    sizes = np.bincount(kinds)
    if alike := int(sizes[sizes > 1].sum()):
        yield f"{alike:,} different texts have the same tokens as another, as cut: the encoder cannot tell them apart"
