"""Tagging tasks from sentences: pairs in memory, and CoNLL files, a word and its tag on each line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from ..scales import SCALES, scale_name
from .entities import from_iob1, misplaced, spell_entities
from .sentences import encode
from .tables import lines, opened, with_splits
from .tagging import Tagging
from .task import split_names

SCHEMES = ("IOB2", "IOB1")


def examples(
    sentences: Mapping[str, Sequence[tuple[Sequence[str], Sequence[str]]]],
    tokenizer,
    *,
    max_tokens: int = 128,
) -> Tagging:
    """A task from (words, tags) pairs: {"train": […], "validation": […], "test": […]}.

    Raises ValueError for a sentence with more or fewer tags than words, and for a tag that training lacks.
    """
    names = list(split_names(sentences))
    tags = tuple(sorted({tag for _, row in sentences["train"] for tag in row}))
    splits, shortened, first = {}, 0, 0
    for name in names:
        pairs = sentences.get(name, ())
        for number, (words, row) in enumerate(pairs, 1):
            strange = sorted(set(row).difference(tags))
            if len(words) != len(row) or strange:
                raise ValueError(
                    f"{name}, sentence {number}: expected a tag for each of {len(words)} words, out of "
                    f"{', '.join(tags)}, got {len(row)}" + (f" and {strange[0]!r}" if strange else "")
                )
        rows, longer = encode(tokenizer, [words for words, _ in pairs], max_tokens=max_tokens, first=first)
        splits[name] = [replace(e, tags=tuple(row)) for e, (_, row) in zip(rows, pairs, strict=True)]
        shortened, first = shortened + longer, first + len(pairs)
    return Tagging(tokenizer, tags, **splits, max_tokens=max_tokens, shortened=shortened)


def conll(
    tokenizer,
    file: str | Path,
    *,
    validation: str | Path | None = None,
    test: str | Path | None = None,
    scheme: str = "IOB2",
    max_tokens: int | None = None,
    seed: int = 0,
) -> Tagging:
    """A task from CoNLL files; what is not given is split off `file`, a tenth each, the same for a `seed`.

    Raises ValueError as `read` and `examples` do.
    """
    given = {name: path for name, path in (("validation", validation), ("test", test)) if path is not None}
    parts = {name: read(path, scheme=scheme) for name, path in ({"train": file} | given).items()}
    sentences = with_splits(parts, file=file, seed=seed)
    most = SCALES[scale_name()].max_tokens if max_tokens is None else max_tokens
    return examples(sentences, tokenizer, max_tokens=min(most, tokenizer.model_max_length))


def read(file: str | Path, *, scheme: str = "IOB2") -> list[tuple[list[str], list[str]]]:
    """(words, tags) of every sentence. The word is the line's first column, the tag its last.

    Tags of entities come out as IOB2, whichever of `SCHEMES` the file uses; any other tags stay as they are.
    Raises ValueError with file, line and remedy.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"expected a scheme {' or '.join(SCHEMES)}, got {scheme!r}")
    sentences = list(_sentences(file))
    if not sentences:
        raise ValueError(f"{file}: expected sentences, found none; write a word and its tag on each line")
    if not spell_entities(tag for _, _, tags in sentences for tag in tags):
        return [(words, tags) for _, words, tags in sentences]
    if scheme == "IOB1":
        return [(words, from_iob1(tags)) for _, words, tags in sentences]
    for line, _, tags in sentences:
        place = misplaced(tags)
        if place is not None:
            before = f"after {tags[place - 1]!r}" if place else "at the beginning of a sentence"
            raise ValueError(
                f"{file}, line {line + place}: {tags[place]!r} cannot stand {before}; write "
                f"'B-{tags[place][2:]}' where an entity begins, or name the scheme IOB1 if the file uses it"
            )
    return [(words, tags) for _, words, tags in sentences]


def _sentences(file: str | Path) -> Iterator[tuple[int, list[str], list[str]]]:
    """(line of the first word, words, tags) of every sentence."""
    start, words, tags, columns = 1, [], [], 0
    with opened(file) as content:
        for number, line in enumerate(chain(lines(file, content), [""]), 1):
            cells = line.split()
            columns = columns or len(cells)
            if cells and (len(cells) != columns or columns < 2):
                raise ValueError(
                    f"{file}, line {number}: expected {max(columns, 2)} columns, found {len(cells)}; write a "
                    "word, a space and its tag"
                )
            if cells and cells[0] != "-DOCSTART-":
                start = start if words else number
                words.append(cells[0])
                tags.append(cells[-1])
            elif words:
                yield start, words, tags
                words, tags = [], []
