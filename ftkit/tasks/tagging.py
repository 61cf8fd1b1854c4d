"""Words into tags: entities (IOB2), parts of speech. A word's tag stands on the first of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..heads import TokenClassifier
from .entities import OUTSIDE, Entity, entities, entity_scores, spell_entities
from .sentences import Sentence, encode
from .task import UNKNOWN, Batch, batched, in_order, pad, refuse_none, tensors, warn_shortened


@dataclass(frozen=True)
class Tagged:
    """What a tagger answers to one sentence. A word that was not read is outside."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    entities: tuple[Entity, ...]


@dataclass(frozen=True)
class Tagging:
    """A tag for each word, by softmax cross-entropy at its first token."""

    auto_class: ClassVar[type] = TokenClassifier
    divisible: ClassVar[bool] = True
    tokenizer: object
    tags: tuple[str, ...]
    train: Sequence[Sentence]
    validation: Sequence[Sentence]
    test: Sequence[Sentence]
    max_tokens: int
    shortened: int = 0  # sentences that were longer than max_tokens

    @property
    def outputs(self) -> int:
        """Numbers that the head gives for a token: one a tag."""
        return len(self.tags)

    def encode(self, texts: Sequence[str | Sequence[str]]) -> list[Sentence]:
        """Sentences without tags, for prediction, given as words or as texts that are split at spaces."""
        words = [text.split() if isinstance(text, str) else text for text in texts]
        sentences, shortened = encode(self.tokenizer, words, max_tokens=self.max_tokens)
        warn_shortened(shortened, of=len(texts), max_tokens=self.max_tokens)
        return sentences

    def collate(self, examples: Sequence[Sentence], device) -> Batch:
        """Pad to the longest: input_ids, attention_mask, labels (batch, tokens)."""
        ids, mask = pad([e.ids for e in examples], self.tokenizer.pad_token_id)
        labels = numpy.full_like(ids, UNKNOWN)
        numbers = {tag: number for number, tag in enumerate(self.tags)}
        for row, example in enumerate(examples):
            for place, tag in zip(example.firsts, example.tags, strict=False):
                if place >= 0:
                    labels[row, place] = numbers[tag]
        return tensors({"input_ids": ids, "attention_mask": mask, "labels": labels}, device)

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """(batch, tokens, tags), in fp32."""
        return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.float()

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """(cross-entropy in nats, summed over the tagged words; how many they are)."""
        return _loss(self.logits(model, batch), batch["labels"])

    def predict(self, model: nn.Module, examples: Sequence[Sentence]) -> list[Tagged]:
        """The likeliest tag of each word, and the entities that these tags spell."""
        return self._answers(model, examples)[0]

    def score(self, model: nn.Module, examples: Sequence[Sentence]) -> dict[str, float]:
        """Mean cross-entropy in nats, accuracy over the words, and of entities precision, recall and F1."""
        answers, loss, terms = self._answers(model, examples)
        refuse_none(terms)
        truth, guesses = [e.tags for e in examples], [a.tags for a in answers]
        words = [pair for t, g in zip(truth, guesses, strict=True) for pair in zip(t, g, strict=True)]
        scores = {"loss": loss / terms, "accuracy": sum(t == g for t, g in words) / len(words)}
        return scores | (entity_scores(truth, guesses) if spell_entities(self.tags) else {})

    def grades(self, model: nn.Module, examples: Sequence[Sentence]) -> list[float]:
        """Of each sentence, the part of its words whose tag is right."""
        answers = self.predict(model, examples)
        pairs = [zip(e.tags, a.tags, strict=True) for e, a in zip(examples, answers, strict=True)]
        return [float(numpy.mean([tag == guess for tag, guess in pair])) for pair in pairs]

    def _answers(self, model: nn.Module, examples: Sequence[Sentence]) -> tuple[list[Tagged], float, int]:
        """(answers, the loss summed over the tagged words, how many those are), in one pass."""

        def compute(batch: Batch) -> tuple[list[list[int]], float, int]:
            logits = self.logits(model, batch)
            loss, terms = _loss(logits, batch["labels"])
            return logits.argmax(-1).tolist(), float(loss), int(terms)

        parts = batched(self, model, examples, compute)
        rows = in_order([(places, part[0]) for places, part in parts], count=len(examples))
        answers = []
        for example, row in zip(examples, rows, strict=True):
            tags = tuple(self.tags[row[place]] if place >= 0 else OUTSIDE for place in example.firsts)
            answers.append(Tagged(example.words, tags, tuple(entities(tags))))
        return answers, sum(part[1] for _, part in parts), sum(part[2] for _, part in parts)


def _loss(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    total = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum", ignore_index=UNKNOWN)
    return total, (labels != UNKNOWN).sum()
