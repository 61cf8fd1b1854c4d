"""Predict words: the next one (`causal`) or the hidden ones (`masked`). Losses are sums, in nats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..surgery import before_output, ends_with, output_layer
from . import chunked
from .chunked import UNKNOWN
from .classification import Batch

MASKED = 0.15  # share of the tokens that are predicted; of these 80% become the mask, 10% a random token


@dataclass(frozen=True)
class Tokens:
    """One text as tokens. `number` is unique in the task, over all splits."""

    number: int
    ids: numpy.ndarray  # (tokens,)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Causal:
    """Every token from those before it: softmax cross-entropy over the vocabulary, shifted by one."""

    kind: ClassVar[str] = "causal"
    tokenizer: object
    train: Sequence[Tokens]
    validation: Sequence[Tokens]
    test: Sequence[Tokens]
    max_tokens: int
    cut: int = 0  # texts that were longer than max_tokens

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Texts as examples, to score or to continue."""
        return _encode(self.tokenizer, texts, self.max_tokens)[0]

    def collate(self, examples: Sequence[Tokens], device) -> Batch:
        """Pad to the longest: input_ids, attention_mask, labels (batch, tokens). Labels are not shifted."""
        ids, mask = _padded([e.ids for e in examples], self.tokenizer.pad_token_id)
        return _tensors(
            {"input_ids": ids, "attention_mask": mask, "labels": numpy.where(mask, ids, UNKNOWN)}, device
        )

    def terms(self, batch: Batch) -> Tensor:
        """How many tokens the loss counts: all but the first of every text, and no padding."""
        return (batch["labels"][:, 1:] != UNKNOWN).sum()

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        """-ln p(token | tokens before), summed over the batch."""
        layer = _large_output(model) if type(self).losses is Causal.losses else None
        if layer is None:
            return self.losses(model, batch).sum()
        return _in_chunks(model, layer, batch, _following(batch))

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """(batch, tokens): at each place -ln p of the token that follows there; 0 at ends and on padding."""
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        return _losses(logits, _following(batch))

    def score(self, model: nn.Module, examples: Sequence[Tokens]) -> dict[str, float]:
        """Mean loss per token in nats, and perplexity."""
        return _score(self, model, examples)


@dataclass(frozen=True)
class Masked:
    """Hidden tokens from all others (Devlin et al. 2018): 15% are predicted.

    Which tokens are hidden is a function of (seed, number of the example), so that micro-batches, processes
    and a resumed run hide the same ones. As in BERT's own data, a text is in training several times
    (`copies`), each time with other tokens hidden.
    """

    kind: ClassVar[str] = "masked"
    tokenizer: object
    train: Sequence[Tokens]
    validation: Sequence[Tokens]
    test: Sequence[Tokens]
    max_tokens: int
    cut: int = 0
    seed: int = 0

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Texts as examples, to score."""
        return _encode(self.tokenizer, texts, self.max_tokens)[0]

    def collate(self, examples: Sequence[Tokens], device) -> Batch:
        """Pad to the longest: input_ids with hidden tokens, attention_mask, labels (batch, tokens)."""
        hidden = [self.hidden(e) for e in examples]
        ids, mask = _padded([ids for ids, _ in hidden], self.tokenizer.pad_token_id)
        labels, _ = _padded([labels for _, labels in hidden], UNKNOWN)
        return _tensors({"input_ids": ids, "attention_mask": mask, "labels": labels}, device)

    def hidden(self, example: Tokens) -> tuple[numpy.ndarray, numpy.ndarray]:
        """(what the model sees, labels), (tokens,) each; labels are -100 where nothing is asked."""
        rng = numpy.random.default_rng([self.seed, example.number])
        ids, labels = example.ids.copy(), numpy.full_like(example.ids, UNKNOWN)
        words = numpy.flatnonzero(~numpy.isin(ids, self.tokenizer.all_special_ids))
        chosen = rng.choice(words, size=max(1, round(MASKED * len(words))), replace=False)
        labels[chosen] = ids[chosen]
        fate = rng.random(len(chosen))
        ids[chosen[fate < 0.8]] = self.tokenizer.mask_token_id
        swapped = chosen[(fate >= 0.8) & (fate < 0.9)]
        ids[swapped] = rng.integers(len(self.tokenizer), size=len(swapped))
        return ids, labels

    def terms(self, batch: Batch) -> Tensor:
        """How many tokens are asked for."""
        return (batch["labels"] != UNKNOWN).sum()

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        """-ln p(token | what is seen), summed over the tokens asked for."""
        layer = _large_output(model) if type(self).losses is Masked.losses else None
        if layer is None:
            return self.losses(model, batch).sum()
        return _in_chunks(model, layer, batch, batch["labels"])

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """(batch, tokens): -ln p of each token asked for, 0 elsewhere."""
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        return _losses(logits, batch["labels"])

    def score(self, model: nn.Module, examples: Sequence[Tokens]) -> dict[str, float]:
        """Mean loss per hidden token in nats, and perplexity."""
        return _score(self, model, examples)


def causal(texts: Mapping[str, Sequence[str]], tokenizer, *, max_tokens: int = 128) -> Causal:
    """A task from texts: {"train": […], "validation": […], "test": […]}; the last two may be missing."""
    splits, cut = _splits(texts, tokenizer, max_tokens, copies=1)
    return Causal(tokenizer, **splits, max_tokens=max_tokens, cut=cut)


def masked(
    texts: Mapping[str, Sequence[str]], tokenizer, *, max_tokens: int = 128, copies: int = 1, seed: int = 0
) -> Masked:
    """A task from texts as for `causal`; every training text is there `copies` times, hidden differently."""
    if tokenizer.mask_token_id is None:
        raise ValueError(
            "expected a tokenizer with a mask token, found none; use tiny-bert's or another encoder's"
        )
    splits, cut = _splits(texts, tokenizer, max_tokens, copies=copies)
    return Masked(tokenizer, **splits, max_tokens=max_tokens, cut=cut, seed=seed)


def _splits(texts, tokenizer, max_tokens: int, *, copies: int) -> tuple[dict[str, list[Tokens]], int]:
    names = ("train", "validation", "test")
    unknown = set(texts) - set(names)
    if unknown or not texts.get("train"):
        raise ValueError(
            f"expected texts under {', '.join(map(repr, names))}, "
            f"found {', '.join(map(repr, texts)) or 'none'}" + ("" if unknown else " and no training text")
        )
    splits, cut, first = {}, 0, 0
    for name in names:
        found, over = _encode(tokenizer, texts.get(name, ()), max_tokens)
        repeated = [e.ids for e in found for _ in range(copies if name == "train" else 1)]
        splits[name] = [Tokens(first + i, ids) for i, ids in enumerate(repeated)]
        cut, first = cut + over, first + len(repeated)
    return splits, cut


def _encode(tokenizer, texts: Sequence[str], max_tokens: int) -> tuple[list[Tokens], int]:
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise ValueError(
                f"text {number} is empty; a language model predicts nothing from nothing: remove it"
            )
    if not texts:
        return [], 0
    encoded = tokenizer(list(texts), verbose=False)["input_ids"]
    over = sum(len(ids) > max_tokens for ids in encoded)
    return [
        Tokens(i, numpy.array(ids[:max_tokens], dtype=numpy.int64)) for i, ids in enumerate(encoded)
    ], over


def _padded(rows: Sequence[numpy.ndarray], filling: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """(rows, mask), (batch, longest) each, padded on the right."""
    shape = len(rows), max(map(len, rows))
    ids, mask = numpy.full(shape, filling, dtype=numpy.int64), numpy.zeros(shape, dtype=numpy.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
    return ids, mask


def _tensors(arrays: dict[str, numpy.ndarray], device) -> Batch:
    return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}


def _following(batch: Batch) -> Tensor:
    """(batch, tokens): the token that follows; labels are shifted, not logits, which are far larger."""
    following = batch["labels"].roll(-1, dims=1)
    following[:, -1] = UNKNOWN
    return following


def _large_output(model: nn.Module) -> nn.Linear | None:
    """The layer whose logits are too many to be there at once, where they are made by it alone."""
    layer = output_layer(model)
    large = layer is not None and len(layer.weight) >= chunked.LARGE
    return layer if large and ends_with(model, layer) else None


def _in_chunks(model: nn.Module, layer: nn.Linear, batch: Batch, labels: Tensor) -> Tensor:
    """Cross-entropy of the labelled tokens, summed, without all logits at once."""
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    hidden = before_output(model, layer, **inputs)
    return chunked.summed_cross_entropy(hidden.flatten(0, 1), layer, labels.flatten())


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    """(batch, tokens): cross-entropy where there is a label, 0 elsewhere; in fp32."""
    found = cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=UNKNOWN, reduction="none"
    )
    return found.view(labels.shape)


@torch.inference_mode()
def _score(task, model: nn.Module, examples: Sequence[Tokens], *, batch_size: int = 64) -> dict[str, float]:
    model.eval()
    device = next(model.parameters()).device
    order = sorted(examples, key=len)
    total, terms = 0.0, 0
    for start in range(0, len(order), batch_size):
        batch = task.collate(order[start : start + batch_size], device)
        total += task.loss_sum(model, batch).item()
        terms += task.terms(batch).item()
    if not terms:
        raise ValueError("expected tokens to score, found none; give the split some texts")
    return {"loss": total / terms, "perplexity": math.exp(min(total / terms, 700.0))}
