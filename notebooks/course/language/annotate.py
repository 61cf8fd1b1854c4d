"""What a derivation tells besides its words: entities, questions, the French, people's spelling."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .draw import Text, Tree, leaves
from .lexicon import Entry, forms

ENTITIES = {"first": "PER", "last": "PER", "city": "LOC", "organisation": "ORG"}
VOWELS = "aàâeéèêëiîïoôuùûhœ"  # h is silent in this lexicon, y is not a vowel ("le yacht")


@dataclass(frozen=True)
class Question:
    """A question about a text; its answer is words[start : start + len(answer)], or empty if not given."""

    question: tuple[str, ...]
    answer: tuple[str, ...]
    start: int  # -1 where the text does not answer


def entities(text: Text) -> list[str]:
    """A BIO tag per word: persons, places, organisations; first and family name are one person."""
    tags: list[str] = []
    for name, _ in _words(text.tree):
        kind = ENTITIES.get(name)
        inside = name == "last"  # a family name stands behind a first name only
        tags.append("O" if kind is None else f"{'I' if inside else 'B'}-{kind}")
    return tags


def questions(text: Text, rows: Sequence[Entry]) -> list[Question]:
    """Who, what and where, for every clause in which somebody works on something.

    A question that another clause of the text would answer as well is left out; "where" without a place in
    the clause has no answer there.
    """
    verbs = {form: row.english for row in rows if row.kind == "work" for form in row.english}
    clauses = [(found, verbs[found["verb"][0][0]]) for found in _working(text.tree, 0)]
    said = [(found["subject"][0], found["verb"][0], found["object"][0]) for found, _ in clauses]
    asked = []
    for found, (present, base, past) in clauses:
        (subject, start), (verb, _), (thing, there) = found["subject"], found["verb"], found["object"]
        is_past, many = verb[0] == past, verb[0] == base
        helper = "did" if is_past else "do" if many else "does"
        if sum(v == verb and o == thing for _, v, o in said) == 1:
            asked.append(Question(("who", past if is_past else present, *thing, "?"), subject, start))
        if sum(s == subject and v == verb for s, v, _ in said) == 1:
            asked.append(Question(("what", helper, *subject, base, "?"), thing, there))
        if sum(one == (subject, verb, thing) for one in said) == 1:
            place, where = found.get("place", ((), -1))
            asked.append(Question(("where", helper, *subject, base, *thing, "?"), place, where))
    return asked


def french(text: Text, rows: Sequence[Entry]) -> tuple[str, ...]:
    """The text in French, word for word: adjectives behind their noun, agreement, elision (l', d', qu')."""
    by_word = {word: (row, form) for row in rows for word, form in zip(row.english, forms(row), strict=True)}
    return tuple(_elided(_translated(text.tree, by_word, None)))


def written(words: Sequence[str], rows: Sequence[Entry]) -> str:
    """As people write: a capital at the beginning of sentences and names, no space before a full stop."""
    names = _names(tuple(rows))
    sentences = (
        " ".join(w.capitalize() if w in names else w for w in words).replace(" .", ".").replace(" ?", "?")
    )
    return ". ".join(s[:1].upper() + s[1:] for s in sentences.split(". "))


@functools.cache
def _names(rows: tuple[Entry, ...]) -> frozenset[str]:
    return frozenset(row.english[0] for row in rows if row.kind in ENTITIES)


def _words(tree: Tree) -> Iterator[tuple[str, str]]:
    """(class, word), left to right."""
    if _is_leaf(tree):
        yield tree
    else:
        for part in tree[1:]:
            yield from _words(part)


def _is_leaf(tree: Tree) -> bool:
    return len(tree) == 2 and isinstance(tree[1], str)


def _working(tree: Tree, start: int) -> Iterator[dict]:
    """Subject, verb, object and place, as (words, start), of every main or reported clause of that kind."""
    if _is_leaf(tree):
        return
    if tree[0].startswith("clause") and tree[1][0].startswith("someone"):
        subject, action = tree[1:]
        if action[1][0].startswith("working"):
            places, at = {}, start + len(leaves(subject))
            for part in action[1:]:
                places[part[0].partition(".")[0]] = (tuple(leaves(part)), at)
                at += len(leaves(part))
            found = {"subject": (tuple(leaves(subject)), start), "verb": places["working"]}
            found["object"] = places["some_goods"]
            words, where = places["place_part"]
            if words:
                found["place"] = (words[1:], where + 1)  # without "in"
            yield found
    at = start
    for part in tree[1:]:
        yield from _working(part, at)
        at += len(leaves(part))


def _translated(tree: Tree, by_word, noun: tuple[Entry, int] | None) -> list[str]:
    """French words of a tree; adjectives, articles and "is" agree with `noun` = (entry, 0 one or 1 many)."""
    if _is_leaf(tree):
        return [_form(tree, by_word, noun)]
    own = _head(tree, by_word)
    parts = list(tree[1:])
    symbol = tree[0].partition(".")[0]
    if symbol.startswith(("described_", "tool_phrase", "thing_phrase", "place_phrase")):
        described = [p for p in parts if p[0].endswith("_quality")]
        for adjective in described:  # behind the noun
            place = parts.index(adjective)
            parts[place], parts[place + 1] = parts[place + 1], parts[place]
    if _is_verb_phrase(symbol):  # past forms differ between one and many in French
        return [_verb(leaf, tree[0], by_word) for leaf in _words(tree)]
    return [word for part in parts for word in _translated(part, by_word, own or noun)]


def _is_verb_phrase(symbol: str) -> bool:
    return symbol in ("working", "handling", "going", "resting", "employing", "reporting")


def _verb(leaf: Tree, symbol: str, by_word) -> str:
    row, _ = by_word[leaf[1]]
    return row.french[2 * (leaf[0].endswith(".past")) + (".many" in symbol)]


def _head(tree: Tree, by_word) -> tuple[Entry, int] | None:
    """The noun that a phrase is about: the first noun outside of relative clauses; None for other phrases."""
    symbol = tree[0].partition(".")[0]
    if symbol == "clause" and tree[1][0].startswith("goods_phrase"):
        return _head(tree[1], by_word)
    if not symbol.endswith("_phrase") and not symbol.startswith(("described_", "person_core")):
        return None
    for part in tree[1:]:
        if _is_leaf(part):
            row, form = by_word[part[1]]
            if row.gender:
                return row, int(form == "many")
        elif not part[0].startswith(("someone", "habit")) and (found := _head(part, by_word)):
            return found
    return None


def _form(leaf: Tree, by_word, noun: tuple[Entry, int] | None) -> str:
    row, form = by_word[leaf[1]]
    if row.gender:
        return row.french[form == "many"]
    if len(row.french) == 4 and not row.kind.startswith(
        ("work", "handle")
    ):  # agrees: m one, f one, m many, f many
        entry, many = noun
        return row.french[2 * many + (entry.gender == "f")]
    return row.french[0]


def _elided(words: Sequence[str]) -> Iterator[str]:
    """l' for le and la, d' for de, qu' for que, cet for ce, before a vowel."""
    flat = [w for word in words for w in word.split()]
    for word, following in zip(flat, [*flat[1:], "."], strict=True):
        if following[0] in VOWELS and word in ("le", "la", "de", "que", "ce"):
            yield "cet" if word == "ce" else ("qu" if word == "que" else word[0]) + "'"
        else:
            yield word
