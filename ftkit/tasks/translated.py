"""Translation tasks from pairs of texts: in memory, and two files whose lines belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy

from ..scales import SCALES, scale_name
from .tables import lines, opened, with_splits
from .task import encode, split_names
from .translation import Pair, Translation


def examples(
    pairs: Mapping[str, Sequence[tuple[str, str]]], tokenizer, *, max_tokens: int = 128
) -> Translation:
    """A task from (source, target) pairs: {"train": […], "validation": […], "test": […]}.

    Raises ValueError for an empty text.
    """
    splits, shortened, first = {}, 0, 0
    as_target = partial(_as_target, tokenizer)
    for name in split_names(pairs):
        rows = pairs.get(name, ())
        for number, row in enumerate(rows, 1):
            if not all(text.strip() for text in row):
                raise ValueError(f"{name}, pair {number}: expected two texts, got {row!r}; remove empty ones")
        sources, targets = [source for source, _ in rows], [target for _, target in rows]
        ids, longer = encode(tokenizer, sources, max_tokens=max_tokens) if rows else ([], numpy.zeros(0))
        target_ids, too = encode(as_target, targets, max_tokens=max_tokens) if rows else ([], numpy.zeros(0))
        columns = enumerate(zip(sources, targets, ids, target_ids, strict=True), first)
        splits[name] = [Pair(number, *cells) for number, cells in columns]
        shortened, first = shortened + int(longer.sum() + too.sum()), first + len(rows)
    return Translation(tokenizer, **splits, max_tokens=max_tokens, shortened=shortened)


def _as_target(tokenizer, texts: list[str], **keys):
    return tokenizer(text_target=texts, **keys)  # some tokenizers mark a target with its language


def parallel(
    tokenizer,
    source: str | Path,
    target: str | Path,
    *,
    validation: tuple[str | Path, str | Path] | None = None,
    test: tuple[str | Path, str | Path] | None = None,
    max_tokens: int | None = None,
    seed: int = 0,
) -> Translation:
    """A task from two text files, line by line; what is not given is split off, a tenth each, by `seed`.

    Raises ValueError for files of different lengths, and for an empty line.
    """
    given = {name: files for name, files in (("validation", validation), ("test", test)) if files is not None}
    parts = {name: _pairs(*files) for name, files in ({"train": (source, target)} | given).items()}
    pairs = with_splits(parts, file=source, seed=seed)
    most = SCALES[scale_name()].max_tokens if max_tokens is None else max_tokens
    return examples(pairs, tokenizer, max_tokens=min(most, tokenizer.model_max_length))


def _pairs(source: str | Path, target: str | Path) -> list[tuple[str, str]]:
    sources, targets = _texts(source), _texts(target)
    if len(sources) != len(targets):
        raise ValueError(
            f"{source} and {target}: expected as many lines in both, found {len(sources)} and "
            f"{len(targets)}; each line needs its translation on the same line of the other"
        )
    for number, pair in enumerate(zip(sources, targets, strict=True), 1):
        for file, text in zip((source, target), pair, strict=True):
            if not text.strip():
                raise ValueError(
                    f"{file}, line {number}: expected a text, found none; remove the line in both"
                )
    return list(zip(sources, targets, strict=True))


def _texts(file: str | Path) -> list[str]:
    with opened(file) as content:
        return [line.rstrip("\n") for line in lines(file, content)]
