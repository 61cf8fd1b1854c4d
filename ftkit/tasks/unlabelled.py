"""Language-modelling tasks from plain texts: next tokens (`causal`) or hidden ones (`masked`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .language_modelling import LanguageModelling, Tokens, encode
from .task import split_names


def causal(texts: Mapping[str, Sequence[str]], tokenizer, *, max_tokens: int = 128) -> LanguageModelling:
    """Next tokens of {"train": […], "validation": […], "test": […]}; the last two may be missing."""
    splits, shortened = _splits(texts, tokenizer, max_tokens, copies=1)
    return LanguageModelling(tokenizer, **splits, max_tokens=max_tokens, shortened=shortened)


def masked(
    texts: Mapping[str, Sequence[str]], tokenizer, *, max_tokens: int = 128, copies: int = 1, seed: int = 0
) -> LanguageModelling:
    """Hidden tokens of texts as for `causal`, every training text `copies` times, hidden differently."""
    if tokenizer.mask_token_id is None:
        raise ValueError(
            "expected a tokenizer with a mask token, got one without; use tiny-bert's or another encoder's"
        )
    splits, shortened = _splits(texts, tokenizer, max_tokens, copies=copies)
    return LanguageModelling(tokenizer, **splits, max_tokens=max_tokens, shortened=shortened, seed=seed)


def _splits(texts, tokenizer, max_tokens: int, *, copies: int) -> tuple[dict[str, list[Tokens]], int]:
    splits, shortened, first = {}, 0, 0
    for name in split_names(texts):
        tokens, longer = encode(tokenizer, texts.get(name, ()), max_tokens)
        repeated = [one.ids for one in tokens for _ in range(copies if name == "train" else 1)]
        splits[name] = [Tokens(first + i, ids) for i, ids in enumerate(repeated)]
        shortened, first = shortened + longer, first + len(repeated)
    return splits, shortened
