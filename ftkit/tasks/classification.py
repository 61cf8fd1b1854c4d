"""Texts into classes: `reviews`, the course's own data, and `table`, the learner's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .. import metrics
from ..setup import SCALES, data_folder, scale_name
from . import files
from .chunked import UNKNOWN
from .store import Stored, encode, lengths, prepared

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Example:
    """One text, its tokens and its label. `number` is unique in the task, over all splits."""

    number: int
    text: str
    ids: numpy.ndarray  # (tokens,)
    label: int
    row: dict[str, str] = field(default_factory=dict)  # the file's other columns

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Classification:
    """Sequence classification by softmax cross-entropy."""

    kind: ClassVar[str] = "classification"
    tokenizer: object
    labels: tuple[str, ...]
    train: Sequence[Example]
    validation: Sequence[Example]
    test: Sequence[Example]
    max_tokens: int
    cut: int = 0  # texts that were longer than max_tokens

    def encode(self, texts: Sequence[str]) -> list[Example]:
        """Examples without a label, for prediction."""
        return _encode(self.tokenizer, [{"text": t} for t in texts], None, max_tokens=self.max_tokens)[0]

    def collate(self, examples: Sequence[Example], device) -> Batch:
        """Pad to the longest: input_ids, attention_mask (batch, tokens); labels, numbers (batch,)."""
        shape = len(examples), max(map(len, examples))
        ids = numpy.full(shape, self.tokenizer.pad_token_id, dtype=numpy.int64)
        mask = numpy.zeros(shape, dtype=numpy.int64)
        for row, example in enumerate(examples):
            ids[row, : len(example)] = example.ids
            mask[row, : len(example)] = 1
        batch = {
            "input_ids": ids,
            "attention_mask": mask,
            "labels": numpy.array([e.label for e in examples]),
            "numbers": numpy.array([e.number for e in examples]),
        }
        return {name: torch.from_numpy(array).to(device) for name, array in batch.items()}

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """(batch, labels), in fp32."""
        return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.float()

    def terms(self, batch: Batch) -> Tensor:
        """How many labels the loss counts."""
        return (batch["labels"] != UNKNOWN).sum()

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy in nats, summed over the batch."""
        return cross_entropy(
            self.logits(model, batch), batch["labels"], reduction="sum", ignore_index=UNKNOWN
        )

    @torch.inference_mode()
    def outputs(self, model: nn.Module, examples: Sequence[Example], *, batch_size: int = 64) -> Tensor:
        """Logits (examples, labels) on the CPU, in the order given; computed in batches of similar length."""
        model.eval()
        device = next(model.parameters()).device
        order = lengths(examples).argsort(kind="stable").tolist()
        found = torch.empty(len(examples), len(self.labels))
        for start in range(0, len(order), batch_size):
            part = order[start : start + batch_size]
            batch = self.collate([examples[i] for i in part], device)
            found[part] = self.logits(model, batch).cpu()
        return found

    def probabilities(self, model: nn.Module, examples: Sequence[Example], *, batch_size: int = 64) -> Tensor:
        """(examples, labels), each row adding up to 1."""
        return self.outputs(model, examples, batch_size=batch_size).softmax(-1)

    def score(self, model: nn.Module, examples: Sequence[Example]) -> dict[str, float]:
        """Mean cross-entropy in nats, accuracy and macro F1."""
        logits = self.outputs(model, examples)
        truth = torch.tensor([e.label for e in examples])
        guessed = logits.argmax(-1)
        return {
            "loss": float(cross_entropy(logits, truth)),
            "accuracy": metrics.accuracy(truth, guessed),
            "f1": metrics.macro_f1(truth, guessed),
        }


def reviews(tokenizer, *, max_tokens: int | None = None) -> Classification:
    """The course's reviews: positive or negative, in eight domains, written for it (data/README.md)."""
    folder = data_folder() / "reviews"
    files = {name: folder / f"{name}.csv" for name in ("train", "validation", "test")}
    return table(
        tokenizer,
        files["train"],
        text="text",
        label="label",
        validation=files["validation"],
        test=files["test"],
        max_tokens=max_tokens,
    )


def table(
    tokenizer,
    file: str | Path,
    *,
    text: str,
    label: str,
    validation: str | Path | None = None,
    test: str | Path | None = None,
    max_tokens: int | None = None,
    max_characters: int = 20_000,
    seed: int = 0,
) -> Classification:
    """A task from the learner's own CSV, TSV, JSONL or Parquet file.

    What is not given as a file of its own is split off `file`: a tenth of each label for validation, a tenth
    for test, the same rows for the same `seed`. Raises ValueError that names file, row and remedy for
    whatever cannot be used; nothing is skipped.
    """
    longest = min(max_tokens or SCALES[scale_name()].max_tokens, tokenizer.model_max_length)
    given = {"train": file} | {n: f for n, f in (("validation", validation), ("test", test)) if f is not None}
    keys = {"text": text, "label": label, "max_tokens": longest, "max_characters": max_characters}
    stored = {name: prepared(path, tokenizer, **keys) for name, path in given.items()}
    rows = {name: numpy.arange(len(content)) for name, content in stored.items()}
    absent = [name for name in ("validation", "test") if name not in given]
    train = stored["train"]
    if absent:
        rows |= files.split(train.labels, train.names, absent, file=file, seed=seed)
    labels = tuple(sorted(train.names))
    if len(labels) < 2:
        raise ValueError(
            f"{file}: expected at least two different labels in column {label!r}, found only {labels[0]!r}; "
            "add rows of another label"
        )
    splits, first = {}, 0
    for name in ("train", "validation", "test"):
        content = stored.get(name, train)
        strange = [i for i, found in enumerate(content.names) if found not in labels]
        if strange:
            row = numpy.flatnonzero(content.labels == strange[0])[0]
            raise ValueError(
                f"{given[name]}, row {row + 1}: label {content.names[strange[0]]!r} is not in training, "
                f"which has {', '.join(labels)}; correct it or add training rows for it"
            )
        places = numpy.array([labels.index(found) for found in content.names])
        numbers = range(first, first + len(rows[name]))
        splits[name] = Stored(content, rows[name].astype(numpy.int32), numbers, places)
        first = numbers.stop
    cut = sum(content.cut for content in stored.values())
    return Classification(tokenizer, labels, **splits, max_tokens=longest, cut=cut)


def examples(
    texts: Mapping[str, Sequence[tuple[str, str]]], tokenizer, *, max_tokens: int = 128
) -> Classification:
    """A task from (text, label) pairs: {"train": […], "validation": […], "test": […]}.

    Raises ValueError for fewer than two labels in training and for a label that training does not have.
    """
    labels = tuple(sorted({label for _, label in texts["train"]}))
    strange = sorted({label for pairs in texts.values() for _, label in pairs} - set(labels))
    if len(labels) < 2 or strange:
        raise ValueError(
            "expected at least two labels in training and no others elsewhere, found "
            f"{', '.join(labels) or 'none'}" + (f" and elsewhere {', '.join(strange)}" if strange else "")
        )
    splits, cut, first = {}, 0, 0
    for name in ("train", "validation", "test"):
        rows = [{"text": text, "label": label} for text, label in texts.get(name, ())]
        splits[name], over = (
            _encode(tokenizer, rows, labels, max_tokens=max_tokens, first=first) if rows else ([], 0)
        )
        cut, first = cut + over, first + len(rows)
    return Classification(tokenizer, labels, **splits, max_tokens=max_tokens, cut=cut)


def _encode(tokenizer, rows, labels, *, max_tokens: int, first: int = 0) -> tuple[list[Example], int]:
    tokens, over = encode(tokenizer, [r["text"] for r in rows], max_tokens=max_tokens)
    place = {name: i for i, name in enumerate(labels or ())}
    return [
        Example(
            number=first + i,
            text=row["text"],
            ids=numpy.array(ids, dtype=numpy.int64),
            label=place.get(row.get("label"), UNKNOWN),
        )
        for i, (row, ids) in enumerate(zip(rows, tokens, strict=True))
    ], over
