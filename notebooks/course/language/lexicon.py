"""The words of a language: classes, topics, and how likely each word is; forms and French."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy

COMMON = ""  # the topic of words that every topic uses


@dataclass(frozen=True)
class WordClass:
    """The words of one class and P(word | topic)."""

    words: tuple[str, ...]
    given_topic: numpy.ndarray  # (topics, words); rows add up to 1


Weights = Sequence[str] | Mapping[str, float]


def word_class(name: str, lists: Mapping[str, Weights], topics: Sequence[str], own: float) -> WordClass:
    """A class from one list of words per topic. `own` is the share of a topic's own words beside common ones.

    A list without numbers has the k-th word weigh 1 / (k + 1), k from 1: first words are the frequent ones.
    """
    rows = {topic: _normalised(name, words) for topic, words in lists.items() if words}
    words = tuple(dict.fromkeys(w for row in rows.values() for w in row))
    place = {w: i for i, w in enumerate(words)}
    table = numpy.zeros((len(topics), len(words)))
    for t, topic in enumerate(topics):
        mine, common = (rows.get(topic), rows.get(COMMON)) if topic != COMMON else (rows.get(COMMON), None)
        share = own if mine and common else 1.0 if mine else 0.0
        for row, weight in ((mine, share), (common, 1 - share)):
            for word, p in (row or {}).items():
                table[t, place[word]] += weight * p
        if not mine and not common:
            raise ValueError(
                f"word class {name!r}: expected words for the topic {topic!r}, found none; add some, or "
                "common words"
            )
    return WordClass(words, table)


def _normalised(name: str, words: Weights) -> dict[str, float]:
    weights = dict(words) if isinstance(words, Mapping) else {w: 1 / (k + 2) for k, w in enumerate(words)}
    if len(weights) != len(words):
        raise ValueError(
            f"word class {name!r}: expected every word once, found {len(words) - len(weights)} twice"
        )
    if min(weights.values()) < 0 or not sum(weights.values()) > 0:
        raise ValueError(
            f"word class {name!r}: expected weights of at least 0 and one above, found {weights}"
        )
    total = sum(weights.values())
    return {w: p / total for w, p in weights.items()}


@dataclass(frozen=True)
class Entry:
    """A row of the lexicon: the English forms of one word and the French ones."""

    kind: str
    topic: str  # COMMON where every topic uses it
    english: tuple[str, ...]
    french: tuple[str, ...]
    gender: str  # "m" or "f" for nouns, else ""


# file -> (columns of English, of French, class of each English column)
FILES = {
    "nouns.tsv": (2, 2, ("one", "many")),
    "verbs.tsv": (3, 4, ("present.one", "present.many", "past")),
    "adjectives.tsv": (1, 4, ("",)),
    "others.tsv": (1, 1, ("",)),
}


def entries(folder: Path) -> list[Entry]:
    """All rows of the lexicon in `folder`, in the files' order: frequent words first."""
    found = []
    for name, (english, french, _) in FILES.items():
        for number, line in enumerate((folder / name).read_text(encoding="utf-8").splitlines(), 1):
            if number == 1 or not line.strip():
                continue
            kind, topic, *cells = line.split("\t")
            wanted = english + french + (name == "nouns.tsv")
            if len(cells) != wanted:
                raise ValueError(
                    f"{folder / name}, line {number}: expected {wanted + 2} cells with a tab between them, "
                    f"found {len(cells) + 2}"
                )
            gender = cells.pop() if name == "nouns.tsv" else ""
            found.append(Entry(kind, topic, tuple(cells[:english]), tuple(cells[english:]), gender))
    return found


def classes(rows: Sequence[Entry]) -> dict[str, dict[str, list[str]]]:
    """Class -> topic -> words. The noun `person` gives the classes person.one and person.many."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        for form, word in zip(forms(row), row.english, strict=True):
            if word != "-":
                name = f"{row.kind}.{form}" if form else row.kind
                found.setdefault(name, {}).setdefault(row.topic, []).append(word)
    return found


def forms(row: Entry) -> tuple[str, ...]:
    """What each English column of the row's file is: ("one", "many") for a noun."""
    width = len(row.english), len(row.french)
    return next(names for english, french, names in FILES.values() if (english, french) == width)
