"""Texts into texts (T5, BART): translation, summaries, corrections. The loss is of the target's tokens."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AutoModelForSeq2SeqLM

from .task import (
    UNKNOWN,
    Batch,
    batched,
    encode,
    in_order,
    mean_loss,
    pad,
    refuse_none,
    tensors,
    warn_shortened,
)


@dataclass(frozen=True)
class Pair:
    """A text and what it is to become. `number` is unique in the task, over all splits."""

    number: int
    source: str
    target: str
    ids: numpy.ndarray  # (source tokens,)
    target_ids: numpy.ndarray  # (target tokens,), none where the target is asked for

    def __len__(self) -> int:
        return len(self.ids) + len(self.target_ids)


@dataclass(frozen=True)
class Translated:
    """What a model makes of a text."""

    source: str
    text: str


@dataclass(frozen=True)
class Translation:
    """Each token of the target from the source and the tokens before it, by softmax cross-entropy."""

    auto_class: ClassVar[type] = AutoModelForSeq2SeqLM
    divisible: ClassVar[bool] = True
    tokenizer: object
    train: Sequence[Pair]
    validation: Sequence[Pair]
    test: Sequence[Pair]
    max_tokens: int  # of a source, and of a target
    shortened: int = 0  # sources and targets that were longer than max_tokens

    def encode(self, texts: Sequence[str]) -> list[Pair]:
        """Sources without a target, for prediction; warns of texts that were shortened."""
        rows, longer = encode(self.tokenizer, texts, max_tokens=self.max_tokens)
        warn_shortened(int(longer.sum()), of=len(texts), max_tokens=self.max_tokens)
        none = numpy.zeros(0, dtype=numpy.int64)
        return [Pair(i, text, "", ids, none) for i, (text, ids) in enumerate(zip(texts, rows, strict=True))]

    def collate(self, examples: Sequence[Pair], device) -> Batch:
        """Pad to the longest: input_ids, attention_mask (batch, source tokens) and labels,
        decoder_attention_mask (batch, target tokens).

        Labels are not shifted: how a target begins is for the model to say.
        """
        ids, mask = pad([e.ids for e in examples], self.tokenizer.pad_token_id)
        labels, target_mask = pad([e.target_ids for e in examples], UNKNOWN)
        arrays = {"input_ids": ids, "attention_mask": mask}
        return tensors(arrays | {"labels": labels, "decoder_attention_mask": target_mask}, device)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """(-ln p of the targets' tokens, summed, in fp32; how many they are)."""
        labels = batch["labels"]
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        before = labels.roll(1, dims=1).masked_fill(
            labels.roll(1, dims=1) == UNKNOWN, model.config.pad_token_id
        )
        before[:, 0] = model.config.decoder_start_token_id  # then the labels, one place later
        logits = model(**inputs, decoder_input_ids=before).logits.float()  # (batch, target tokens, words)
        total = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum", ignore_index=UNKNOWN)
        return total, (labels != UNKNOWN).sum()

    def predict(self, model: nn.Module, examples: Sequence[Pair]) -> list[Translated]:
        """What each source becomes when the likeliest token is taken at every place."""
        keys = {"max_new_tokens": self.max_tokens, "do_sample": False, "num_beams": 1}

        def compute(batch: Batch) -> list[str]:
            inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
            return self.tokenizer.batch_decode(model.generate(**inputs, **keys), skip_special_tokens=True)

        texts = in_order(batched(self, model, examples, compute), count=len(examples))
        return [Translated(e.source, text) for e, text in zip(examples, texts, strict=True)]

    def score(self, model: nn.Module, examples: Sequence[Pair]) -> dict[str, float]:
        """Mean loss per target token in nats, perplexity, and the part of the targets that is met exactly."""
        refuse_none(len(examples))
        loss = mean_loss(self, model, examples)
        answers = self.predict(model, examples)
        exact = [a.text.strip() == e.target.strip() for a, e in zip(answers, examples, strict=True)]
        return {"loss": loss, "perplexity": math.exp(min(loss, 700.0)), "exact": sum(exact) / len(exact)}

    def grades(self, model: nn.Module, examples: Sequence[Pair]) -> list[float]:
        """Of each answer, the F1 of the words that it has in common with the target, in any order."""
        answers = self.predict(model, examples)
        return [overlap(a.text.split(), e.target.split()) for a, e in zip(answers, examples, strict=True)]


def overlap(words: Sequence[str], others: Sequence[str]) -> float:
    """F1 of two bags of words: overlap(["a", "b"], ["b", "b", "c"]) is 2 / 5. Two empty ones are equal."""
    common = (Counter(words) & Counter(others)).total()
    return 2 * common / (len(words) + len(others)) if words or others else 1.0
