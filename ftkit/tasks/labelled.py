"""Classification tasks from labelled texts: the course's reviews, the learner's file, pairs in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy

from ..scales import SCALES, data_folder, scale_name
from . import tables
from .classification import Classification, Example
from .store import Stored, prepared
from .task import encode, split_names


def reviews(tokenizer, *, max_tokens: int | None = None) -> Classification:
    """The course's reviews: positive or negative, in eight domains, written for it (data/README.md)."""
    folder = data_folder() / "reviews"
    files = {name: folder / f"{name}.csv" for name in ("validation", "test")}
    return table(tokenizer, folder / "train.csv", text="text", label="label", **files, max_tokens=max_tokens)


def table(
    tokenizer,
    file: str | Path,
    *,
    text: str,
    label: str,
    validation: str | Path | None = None,
    test: str | Path | None = None,
    max_tokens: int | None = None,
    max_characters: int = tables.MAX_CHARACTERS,
    seed: int = 0,
) -> Classification:
    """A task from the learner's own CSV, TSV, JSONL or Parquet file.

    What is not given as a file of its own is split off `file`: a tenth of each label for validation, a tenth
    for test, the same rows for the same `seed`. Raises ValueError that names file, row and remedy for
    whatever cannot be used; nothing is skipped.
    """
    most = SCALES[scale_name()].max_tokens if max_tokens is None else max_tokens
    longest = min(most, tokenizer.model_max_length)
    files = {"train": file} | {n: f for n, f in (("validation", validation), ("test", test)) if f is not None}
    keys = {
        "columns": {"text": text, "label": label},
        "max_tokens": longest,
        "max_characters": max_characters,
    }
    stored = {name: prepared(path, tokenizer, **keys) for name, path in files.items()}
    rows = {name: numpy.arange(len(content)) for name, content in stored.items()}
    absent = [name for name in ("validation", "test") if name not in files]
    train = stored["train"]
    if absent:
        rows |= tables.split(train.labels, train.names, absent, file=file, seed=seed)
    labels = tuple(sorted(train.names))
    if len(labels) < 2:
        raise ValueError(
            f"{file}: expected at least two different labels in column {label!r}, got only {labels[0]!r}; "
            "add rows of another label"
        )
    splits, first = {}, 0
    for name in ("train", "validation", "test"):
        content = stored.get(name, train)
        places = _places(content, labels, files.get(name, file))
        numbers = range(first, first + len(rows[name]))
        splits[name] = Stored(content, rows[name].astype(numpy.int32), numbers, places)
        first = numbers.stop
    shortened = sum(content.shortened for content in stored.values())
    return Classification(tokenizer, labels, **splits, max_tokens=longest, shortened=shortened)


def _places(content, labels: tuple[str, ...], file: str | Path) -> numpy.ndarray:
    """The task's number of each label of a file. Raises ValueError for one that training does not have."""
    numbers = {name: number for number, name in enumerate(labels)}
    strange = [i for i, name in enumerate(content.names) if name not in numbers]
    if strange:
        row = numpy.flatnonzero(content.labels == strange[0])[0]
        raise ValueError(
            f"{file}, row {row + 1}: label {content.names[strange[0]]!r} is not in training, which has "
            f"{', '.join(labels)}; correct it or add training rows for it"
        )
    return numpy.array([numbers[name] for name in content.names])


def examples(
    texts: Mapping[str, Sequence[tuple[str, str]]], tokenizer, *, max_tokens: int = 128
) -> Classification:
    """A task from (text, label) pairs: {"train": […], "validation": […], "test": […]}.

    Raises ValueError for fewer than two labels in training and for a label that training does not have.
    """
    names = list(split_names(texts))
    labels = tuple(sorted({label for _, label in texts["train"]}))
    strange = sorted({label for pairs in texts.values() for _, label in pairs} - set(labels))
    if len(labels) < 2 or strange:
        raise ValueError(
            "expected at least two labels in training and no others elsewhere, got "
            f"{', '.join(labels)}" + (f" and elsewhere {', '.join(strange)}" if strange else "")
        )
    splits, shortened, first = {}, 0, 0
    for name in names:
        pairs = texts.get(name, ())
        rows, longer = (
            encode(tokenizer, [text for text, _ in pairs], max_tokens=max_tokens) if pairs else ([], [])
        )
        splits[name] = [
            Example(first + i, text, ids, labels.index(label))
            for i, ((text, label), ids) in enumerate(zip(pairs, rows, strict=True))
        ]
        shortened, first = shortened + int(sum(longer)), first + len(pairs)
    return Classification(tokenizer, labels, **splits, max_tokens=max_tokens, shortened=shortened)
