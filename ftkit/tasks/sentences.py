"""Sentences of words as tokens: which token is the first of each word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy


@dataclass(frozen=True)
class Sentence:
    """Words, their tokens and their tags. `number` is unique in the task, over all splits."""

    number: int
    words: tuple[str, ...]
    ids: numpy.ndarray  # (tokens,)
    firsts: numpy.ndarray  # (words,) place of each word's first token; -1 for a word that has none
    tags: tuple[str, ...] = ()  # of the words; none where they are asked for

    def __len__(self) -> int:
        return len(self.ids)


def encode(
    tokenizer, sentences: Sequence[Sequence[str]], *, max_tokens: int, first: int = 0
) -> tuple[list[Sentence], int]:
    """(sentences of at most `max_tokens` tokens, numbered from `first`; how many were longer).

    The words are joined by spaces, and tokens are told apart by the characters that they stand for: so every
    tokenizer sees a text as it was trained on. Raises ValueError for a sentence without words, and for a
    tokenizer that does not tell the characters.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"expected a tokenizer that tells which characters a token stands for, got "
            f"{type(tokenizer).__name__}; use a fast one (with a tokenizer.json)"
        )
    empty = [i for i, words in enumerate(sentences) if not words or not all(w.strip() for w in words)]
    if empty:
        raise ValueError(
            f"sentence {empty[0] + 1}: expected words, got {list(sentences[empty[0]])}; remove empty ones"
        )
    if not sentences:
        return [], 0
    texts = [" ".join(words) for words in sentences]
    keys = {"truncation": True, "max_length": max_tokens, "return_offsets_mapping": True}
    tokens = tokenizer(texts, **keys)
    encoded = [
        Sentence(first + i, tuple(words), numpy.array(ids, numpy.int64), _firsts(words, spans))
        for i, (words, ids, spans) in enumerate(
            zip(sentences, tokens["input_ids"], tokens["offset_mapping"], strict=True)
        )
    ]
    return encoded, sum(bool(encoding.overflowing) for encoding in tokens.encodings)


def _firsts(words: Sequence[str], spans: Sequence[tuple[int, int]]) -> numpy.ndarray:
    """(words,) the first token that ends with a character of the word; it may begin with the space before."""
    ends = numpy.cumsum([len(word) + 1 for word in words])  # each word's, and the space after it
    firsts = numpy.full(len(words), -1, dtype=numpy.int64)
    for place, (start, end) in enumerate(spans):
        if end > start:
            word = int(numpy.searchsorted(ends, end - 1, side="right"))
            in_space = end == ends[word]  # the token is a space
            if firsts[word] < 0 and not in_space:
                firsts[word] = place
    return firsts
