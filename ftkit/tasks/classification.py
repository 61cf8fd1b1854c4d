"""Texts into classes, by softmax cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .. import metrics
from ..heads import Classifier
from .task import (
    UNKNOWN,
    Batch,
    batched,
    encode,
    in_order,
    pad,
    refuse_none,
    tensors,
    warn_shortened,
)


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
class Prediction:
    """What a classifier answers to one text."""

    label: str
    probability: float
    probabilities: dict[str, float]


@dataclass(frozen=True)
class Classification:
    """Sequence classification by softmax cross-entropy."""

    auto_class: ClassVar[type] = Classifier
    divisible: ClassVar[bool] = True
    tokenizer: object
    labels: tuple[str, ...]
    train: Sequence[Example]
    validation: Sequence[Example]
    test: Sequence[Example]
    max_tokens: int
    shortened: int = 0  # texts that were longer than max_tokens

    @property
    def outputs(self) -> int:
        """Numbers that the head gives for a text: one a label."""
        return len(self.labels)

    def encode(self, texts: Sequence[str]) -> list[Example]:
        """Examples without a label, for prediction; warns of texts that were shortened."""
        rows, longer = encode(self.tokenizer, texts, max_tokens=self.max_tokens)
        warn_shortened(int(longer.sum()), of=len(texts), max_tokens=self.max_tokens)
        return [Example(i, text, ids, UNKNOWN) for i, (text, ids) in enumerate(zip(texts, rows, strict=True))]

    def collate(self, examples: Sequence[Example], device) -> Batch:
        """Pad to the longest: input_ids, attention_mask (batch, tokens); labels, numbers (batch,)."""
        ids, mask = pad([e.ids for e in examples], self.tokenizer.pad_token_id)
        labels, numbers = ([getattr(e, name) for e in examples] for name in ("label", "number"))
        arrays = {"labels": numpy.array(labels), "numbers": numpy.array(numbers)}
        return tensors({"input_ids": ids, "attention_mask": mask} | arrays, device)

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """(batch, labels), in fp32."""
        return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.float()

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """(cross-entropy in nats, summed over the labelled texts; how many they are)."""
        labels = batch["labels"]
        total = cross_entropy(self.logits(model, batch), labels, reduction="sum", ignore_index=UNKNOWN)
        return total, (labels != UNKNOWN).sum()

    def probabilities(self, model: nn.Module, examples: Sequence[Example]) -> Tensor:
        """(examples, labels), each row adding up to 1."""
        return self.logits_of(model, examples).softmax(-1)

    def predict(self, model: nn.Module, examples: Sequence[Example]) -> list[Prediction]:
        """The likeliest label of each text, and the probabilities of all."""
        rows = self.probabilities(model, examples).tolist()
        answers = [dict(zip(self.labels, row, strict=True)) for row in rows]
        return [Prediction(best := max(a, key=a.get), a[best], a) for a in answers]

    def score(self, model: nn.Module, examples: Sequence[Example]) -> dict[str, float]:
        """Mean cross-entropy in nats, accuracy and macro F1."""
        refuse_none(len(examples))
        logits, truth = self.logits_of(model, examples), _labels(examples)
        answers = logits.argmax(-1)
        return {
            "loss": float(cross_entropy(logits, truth)),
            "accuracy": metrics.accuracy(truth, answers),
            "f1": metrics.macro_f1(truth, answers),
        }

    def grades(self, model: nn.Module, examples: Sequence[Example]) -> list[float]:
        """1.0 for each right answer, 0.0 for a wrong one."""
        return (self.logits_of(model, examples).argmax(-1) == _labels(examples)).double().tolist()

    def logits_of(self, model: nn.Module, examples: Sequence[Example]) -> Tensor:
        """Logits (examples, labels), on the CPU, in the order of the examples."""
        results = batched(self, model, examples, lambda batch: self.logits(model, batch).cpu())
        rows = in_order(results, count=len(examples))
        return torch.stack(rows) if rows else torch.empty(0, self.outputs)


def _labels(examples: Sequence[Example]) -> Tensor:
    return torch.tensor([example.label for example in examples])
