"""The losses of tokenization: texts that are cut, unknown words, texts with the same tokens."""

from collections.abc import Iterator, Sequence

import numpy as np

from counterpoint.arguments.text import text_key
from counterpoint.model.encoder import Encoder
from counterpoint.model.texts import Tokens

MANY_UNKNOWN = 0.05  # of all tokens


def blind_spots(texts: Sequence[str], tokens: Tokens, encoder: Encoder) -> Iterator[str]:
    """Yield a line for each kind of loss; tokens are those of the texts, as cut."""
    sides = [(prompt, number * tokens.counters_at) for number, prompt in enumerate(dict.fromkeys(encoder.prompts))]
    lost = np.max([_cut(texts, tokens, encoder, *side) for side in sides], axis=0)
    if cut := int((lost > 0).sum()):
        share = lost.sum() / (tokens.lengths[: len(texts)].sum() + lost.sum())
        yield f"{cut:,} of {len(texts):,} texts are cut at model.max_length {encoder.max_length}: {share:.1%} of all tokens"
    if (unknown := encoder.tokenizer.unk_token_id) is not None:
        share = float((tokens.flat == unknown).float().mean())
        if share > MANY_UNKNOWN:
            yield f"the encoder has no token for {share:.0%} of what stands in the texts: is it made for this language?"
    keys = np.unique([text_key(text) for text in texts], return_inverse=True)[1]
    alike = max(_alike(group, keys) for group in tokens.groups)
    if alike:
        yield f"{alike:,} different texts have the same tokens as another, as cut: the encoder cannot tell them apart"


def _cut(texts: Sequence[str], tokens: Tokens, encoder: Encoder, prompt: str | None, start: int) -> np.ndarray:
    """The number of tokens that each text loses behind a prompt (texts,); its tokens begin at row start."""
    lengths = tokens.lengths[start : start + len(texts)]
    full = np.flatnonzero(lengths >= encoder.max_length)
    lost = np.zeros(len(texts), dtype=int)
    if full.size:
        whole = encoder.tokenizer([(prompt or "") + texts[i] for i in full.tolist()], verbose=False)["input_ids"]
        lost[full] = np.array([len(ids) for ids in whole]) - lengths[full]
    return lost


def _alike(group: np.ndarray, keys: np.ndarray) -> int:
    """The number of distinct texts (by key) whose token list is also that of another text."""
    kinds = np.unique(np.stack([group, keys]), axis=1)[0]  # the token list of each text, duplicates once
    sizes = np.bincount(kinds)
    return int(sizes[sizes > 1].sum())
