"""Predict words, the next one or hidden ones, by softmax cross-entropy over the vocabulary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from .chunked import in_chunks
from .task import UNKNOWN, Batch, batched, in_order, mean_loss, pad, tensors, warn_shortened

MASKED = 0.15  # share of the tokens that are predicted; of these 80% become the mask, 10% a random token


@dataclass(frozen=True)
class Tokens:
    """One text as tokens. `number` is unique in the task, over all splits."""

    number: int
    ids: numpy.ndarray  # (tokens,)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Surprise:
    """How unexpected a text is to a language model."""

    loss: float  # -ln p, summed over the tokens that are predicted, in nats
    terms: int  # how many those are

    @property
    def perplexity(self) -> float:
        return math.exp(min(self.loss / max(1, self.terms), 700.0))


@dataclass(frozen=True)
class LanguageModelling:
    """Softmax cross-entropy over the vocabulary, of the next token or of hidden ones.

    With `seed` None every token is predicted from those before it. With a seed, 15% of the tokens are hidden
    and predicted from all others (Devlin et al. 2018); which ones is a function of (seed, number of the
    example), so that micro-batches, processes and a resumed run hide the same ones.
    """

    divisible: ClassVar[bool] = True
    tokenizer: object
    train: Sequence[Tokens]
    validation: Sequence[Tokens]
    test: Sequence[Tokens]
    max_tokens: int
    shortened: int = 0  # texts that were longer than max_tokens
    seed: int | None = None

    @property
    def auto_class(self) -> type:
        return AutoModelForCausalLM if self.seed is None else AutoModelForMaskedLM

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Texts as examples, to score or to continue; warns of texts that were shortened."""
        examples, longer = encode(self.tokenizer, texts, self.max_tokens)
        warn_shortened(longer, of=len(texts), max_tokens=self.max_tokens)
        return examples

    def collate(self, examples: Sequence[Tokens], device) -> Batch:
        """Pad to the longest: input_ids, attention_mask, labels (batch, tokens); -100 is not predicted.

        Labels of next tokens are not shifted: each stands at its own place.
        """
        pairs = [(e.ids, e.ids) if self.seed is None else self.hidden(e) for e in examples]
        ids, mask = pad([ids for ids, _ in pairs], self.tokenizer.pad_token_id)
        labels, _ = pad([labels for _, labels in pairs], UNKNOWN)
        return tensors({"input_ids": ids, "attention_mask": mask, "labels": labels}, device)

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

    def targets(self, batch: Batch) -> Tensor:
        """(batch, tokens): what is to be predicted at each place, -100 for nothing."""
        if self.seed is not None:
            return batch["labels"]
        following = batch["labels"].roll(-1, dims=1)  # labels are shifted, not logits, which are far larger
        following[:, -1] = UNKNOWN
        return following

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """(-ln p of the predicted tokens, summed; how many they are)."""
        targets = self.targets(batch)
        loss = in_chunks(model, batch, targets) if type(self).losses is LanguageModelling.losses else None
        if loss is None:  # the vocabulary is small
            loss = self.losses(model, batch).sum()
        return loss, (targets != UNKNOWN).sum()

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """(batch, tokens): at each place -ln p of the token that is predicted there, else 0; in fp32."""
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        logits, targets = logits.flatten(0, 1).float(), self.targets(batch)
        each = cross_entropy(logits, targets.flatten(), ignore_index=UNKNOWN, reduction="none")
        return each.view(targets.shape)

    def predict(self, model: nn.Module, examples: Sequence[Tokens]) -> list[Surprise]:
        """How unexpected each text is."""

        def compute(batch: Batch) -> list[Surprise]:
            losses = self.losses(model, batch).sum(1).tolist()
            terms = (self.targets(batch) != UNKNOWN).sum(1).tolist()
            return [Surprise(*pair) for pair in zip(losses, terms, strict=True)]

        return in_order(batched(self, model, examples, compute), count=len(examples))

    def score(self, model: nn.Module, examples: Sequence[Tokens]) -> dict[str, float]:
        """Mean loss per predicted token in nats, and perplexity."""
        loss = mean_loss(self, model, examples)
        return {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}

    def grades(self, model: nn.Module, examples: Sequence[Tokens]) -> list[float]:
        """1 / perplexity of each text: the geometric mean of its tokens' probabilities."""
        return [1 / surprise.perplexity for surprise in self.predict(model, examples)]


def encode(tokenizer, texts: Sequence[str], max_tokens: int) -> tuple[list[Tokens], int]:
    """(examples of at most `max_tokens` tokens, how many texts were longer); ValueError for an empty text."""
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise ValueError(f"text {number} is empty; there is nothing to predict in it: remove it")
    rows = tokenizer(list(texts), verbose=False)["input_ids"] if texts else []
    longer = sum(len(ids) > max_tokens for ids in rows)  # without an end token at the place they break off
    return [Tokens(i, numpy.array(ids[:max_tokens], numpy.int64)) for i, ids in enumerate(rows)], longer
