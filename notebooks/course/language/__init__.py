"""A language whose truth is known: texts drawn from a probabilistic grammar, and every probability exact.

`load()` gives the course's language, `read(rules, words)` a small one. All logarithms are natural (nats).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy

from ftkit.scales import data_folder

from . import annotate
from .annotate import Question
from .draw import Labelled, Text, leaves
from .grammar import parse
from .lexicon import COMMON, Entry, Weights, WordClass, classes, entries, word_class
from .truth import END, START, Entropy, Language, Reader

__all__ = [
    "END",
    "START",
    "Entropy",
    "Labelled",
    "Language",
    "Question",
    "Reader",
    "Text",
    "entities",
    "french",
    "leaves",
    "load",
    "questions",
    "read",
    "written",
]

OWN = 0.7  # share of a topic's own words in a class that has common words as well


def load() -> Language:
    """The course's language, from data/language."""
    return _loaded(data_folder() / "language")


@functools.cache
def _loaded(folder: Path) -> Language:
    rows = entries(folder)
    topics = tuple(dict.fromkeys(row.topic for row in rows if row.topic != COMMON))
    try:
        return read((folder / "grammar.txt").read_text(encoding="utf-8"), classes(rows), topics=topics)
    except ValueError as error:
        raise ValueError(f"{folder / 'grammar.txt'}, {error}") from None


@functools.cache
def _lexicon() -> tuple[Entry, ...]:
    return tuple(entries(data_folder() / "language"))


def entities(text: Text) -> list[str]:
    """A BIO tag (PER, LOC, ORG) per word of a text of the course's language."""
    return annotate.entities(text)


def questions(text: Text) -> list[Question]:
    """Questions with answers from a text of the course's language; see `annotate.questions`."""
    return annotate.questions(text, _lexicon())


def french(text: Text) -> tuple[str, ...]:
    """A text of the course's language in French; see `annotate.french`."""
    return annotate.french(text, _lexicon())


def written(words: Sequence[str]) -> str:
    """Words of the course's language as people write them: capitals, no space before a full stop."""
    return annotate.written(words, _lexicon())


def read(
    rules: str,
    words: Mapping[str, Weights | Mapping[str, Weights]],
    *,
    topics: Sequence[str] | Mapping[str, float] = (COMMON,),
) -> Language:
    """A language from rules (see `grammar`) and word classes.

    `words` gives for each class a list, frequent words first, or a dict word -> weight; or a dict topic ->
    such a list, where the topic "" holds the words of all topics. `topics` may give shares.

    >>> toy = read('1.0 text -> noun verb', {"noun": {"cats": 0.5, "dogs": 0.5}, "verb": ["sleep", "bark"]})
    >>> round(toy.next_word(["cats"])["sleep"], 3)
    0.6
    """
    grammar = parse(rules)
    shares = dict(topics) if isinstance(topics, Mapping) else {t: 1 / len(topics) for t in topics}
    if not topics or min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-9:
        raise ValueError(f"expected topics whose shares add up to 1, found {shares}")
    found = {
        name: WordClass((name[1:-1],), numpy.ones((len(shares), 1)))
        for name in grammar.classes
        if name.startswith('"')
    }
    for name, given in words.items():
        by_topic = given if _is_by_topic(given) else {COMMON: given}
        found[name] = word_class(name, by_topic, tuple(shares), OWN)
    return Language(grammar, found, tuple(shares), numpy.array(list(shares.values())))


def _is_by_topic(given) -> bool:
    return isinstance(given, Mapping) and not any(isinstance(value, int | float) for value in given.values())
