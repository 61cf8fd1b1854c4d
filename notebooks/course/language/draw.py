"""Texts drawn from a language with a seed, and labels with noise whose Bayes-optimal accuracy is known."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from .grammar import Grammar
from .lexicon import WordClass

Tree = tuple  # (symbol, tree, tree, …), or (class, word) for a word


class Language(Protocol):
    """What drawing reads of a language; `truth.Language` has it."""

    grammar: Grammar
    classes: Mapping[str, WordClass]
    topics: Sequence[str]
    topic_shares: Sequence[float]
    running: Mapping[str, Sequence]  # cumulative weights of a symbol's rules, or of a class's words by topic

    def starting_at(self, symbol: str) -> Language: ...

    def posterior(self, words: Sequence[str]) -> dict[str, float]: ...


@dataclass(frozen=True)
class Text:
    """A drawn text, the topic that it is about and how it was derived."""

    words: tuple[str, ...]
    topic: str
    tree: Tree


@dataclass(frozen=True)
class Labelled:
    """A sentence, the label that somebody gave it, and its true one."""

    words: tuple[str, ...]
    label: str
    true: str


def texts(language: Language, count: int, *, seed: int, first: int = 0) -> list[Text]:
    """`count` texts from number `first` on; text i is a function of (seed, i)."""
    return [_text(language, random.Random(f"{seed} {i}")) for i in range(first, first + count)]


def labelled(language: Language, count: int, *, seed: int, noise: float = 0.1) -> list[Labelled]:
    """Single sentences labelled with their topic; with probability `noise` with one of the other topics.

    Raises ValueError when `noise` is no probability.
    """
    _check_noise(noise, language)
    single = language.starting_at("sentence")
    found = []
    for i in range(count):
        rng = random.Random(f"label {seed} {i}")
        text = _text(single, rng)
        others = [t for t in language.topics if t != text.topic]
        label = rng.choice(others) if rng.random() < noise else text.topic
        found.append(Labelled(text.words, label, text.topic))
    return found


def bayes(language: Language, words: Sequence[str], *, noise: float = 0.1) -> dict[str, float]:
    """P(label | sentence), exact. The best possible accuracy is the mean of its maximum over sentences."""
    _check_noise(noise, language)
    posterior = language.starting_at("sentence").posterior(words)
    other = noise / (len(posterior) - 1)
    return {topic: (1 - noise) * p + other * (1 - p) for topic, p in posterior.items()}


def _check_noise(noise: float, language: Language) -> None:
    if not 0 <= noise < 1:
        raise ValueError(f"expected noise from 0 to below 1, found {noise}")
    if len(language.topics) < 2:
        raise ValueError(f"expected at least 2 topics to label with, found {len(language.topics)}")


def _text(language: Language, rng: random.Random) -> Text:
    topic = rng.choices(range(len(language.topics)), language.topic_shares)[0]
    tree = _grown(language, language.grammar.start, topic, rng)
    return Text(tuple(leaves(tree)), language.topics[topic], tree)


def _grown(language: Language, symbol: str, topic: int, rng: random.Random) -> Tree:
    rules = language.grammar.rules.get(symbol)
    if rules is None:
        return symbol, rng.choices(
            language.classes[symbol].words, cum_weights=language.running[symbol][topic]
        )[0]
    rule = rules[0] if len(rules) == 1 else rng.choices(rules, cum_weights=language.running[symbol])[0]
    return symbol, *(_grown(language, part, topic, rng) for part in rule.right)


def leaves(tree: Tree) -> list[str]:
    """The words of a derivation, left to right."""
    if len(tree) == 2 and isinstance(tree[1], str):
        return [tree[1]]
    return [word for part in tree[1:] for word in leaves(part)]
