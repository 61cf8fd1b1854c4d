"""IOB2, tags that spell entities: B-X begins one, I-X goes on with it, O is outside. How they are scored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

OUTSIDE = "O"


@dataclass(frozen=True)
class Entity:
    """A name in a sentence: words[start:end], of some kind."""

    kind: str
    start: int
    end: int


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities that the tags spell, strictly: an I-X that follows neither B-X nor I-X belongs to none.

    entities(["B-PER", "I-PER", "O", "I-LOC"]) is [Entity("PER", 0, 2)].
    """
    spans, begun = [], None
    for place, tag in enumerate([*tags, OUTSIDE]):
        if begun is not None and tag != f"I-{tags[begun][2:]}":
            spans.append(Entity(tags[begun][2:], begun, place))
            begun = None
        if tag.startswith("B-"):
            begun = place
    return spans


def spell_entities(tags: Iterable[str]) -> bool:
    """Whether the tags are those of entities; parts of speech and the like are not."""
    return all(tag == OUTSIDE or tag[:2] in ("B-", "I-") for tag in tags)


def misplaced(tags: Sequence[str]) -> int | None:
    """The first place of an I-X that follows neither B-X nor I-X; None where there is none."""
    for place, (before, tag) in enumerate(zip([OUTSIDE, *tags], tags, strict=False)):
        if tag.startswith("I-") and before not in (f"B-{tag[2:]}", tag):
            return place
    return None


def from_iob1(tags: Sequence[str]) -> list[str]:
    """Tags of the older scheme, where B-X stands only between two entities of the same kind, as IOB2."""
    tags = list(tags)
    while (place := misplaced(tags)) is not None:
        tags[place] = f"B-{tags[place][2:]}"
    return tags


def entity_scores(truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]]) -> dict[str, float]:
    """Precision, recall and F1 over all sentences; an entity is right where its kind and both ends are.

    A figure without anything to count is 0.
    """
    real = {(number, entity) for number, tags in enumerate(truth) for entity in entities(tags)}
    answered = {(number, entity) for number, tags in enumerate(answers) for entity in entities(tags)}
    right = len(real & answered)
    return {
        "precision": right / max(1, len(answered)),
        "recall": right / max(1, len(real)),
        "f1": 2 * right / max(1, len(real) + len(answered)),
    }
