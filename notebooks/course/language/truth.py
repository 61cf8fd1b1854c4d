"""What is true of a language: the probability of a text, of the next word, the entropy; sums, not estimates.

A reader of a prefix does not know the topic, and may not yet know how the sentence is built. It keeps a
*belief*: how probable each (unfinished symbols, topic) is. A word that can come next moves the belief on.
"""

from __future__ import annotations

import difflib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy

from . import draw
from .grammar import Grammar, Rule, expected
from .lexicon import WordClass

START, END = "<s>", "</s>"
Stack = tuple[str, ...]  # symbols still to come, the next one first
Openings = dict[str, dict[Stack, float]]  # class of the next word -> what follows it -> probability


@dataclass(frozen=True)
class Entropy:
    """In nats. The entropy of a text lies between `text` (topic known) and `topic + text`."""

    topic: float  # entropy of the topic
    text: float  # of the text given its topic
    words: float  # expected number of words per text, its end counted as one

    @property
    def low(self) -> float:
        """Lower bound of the entropy per word."""
        return self.text / self.words

    @property
    def high(self) -> float:
        """Upper bound of the entropy per word."""
        return (self.topic + self.text) / self.words


@dataclass(frozen=True, eq=False)
class Language:
    """A grammar, its word classes, and the topics that a text is about."""

    grammar: Grammar
    classes: Mapping[str, WordClass]  # quoted words of the grammar are classes of one word
    topics: tuple[str, ...]
    topic_shares: numpy.ndarray  # (topics,), adds up to 1
    places: Mapping[str, Mapping[str, int]] = field(init=False, repr=False)  # word -> class -> column
    running: Mapping[str, list] = field(init=False, repr=False)  # running sums of probabilities, to draw from
    _openings: dict[Stack, Openings] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self):
        missing = [c for c in self.grammar.classes if c not in self.classes]
        if missing:
            lines = [str(r) for rs in self.grammar.rules.values() for r in rs if missing[0] in r.right]
            raise ValueError(
                f"{lines[0]}: expected rules or words for {missing[0]!r}, found neither; "
                f"define {', '.join(map(repr, missing))}"
            )
        places: dict[str, dict[str, int]] = {END: {END: 0}}
        for name in self.grammar.classes:
            for column, word in enumerate(self.classes[name].words):
                places.setdefault(word, {})[name] = column
        running = {
            left: numpy.cumsum([r.probability for r in rs]).tolist()
            for left, rs in self.grammar.rules.items()
        }
        running |= {name: c.given_topic.cumsum(1).tolist() for name, c in self.classes.items()}
        object.__setattr__(self, "places", places)
        object.__setattr__(self, "running", running)

    @property
    def words(self) -> tuple[str, ...]:
        """Every word, in alphabetical order."""
        return tuple(sorted(self.places.keys() - {END}))

    def texts(self, count: int, *, seed: int, first: int = 0) -> list[draw.Text]:
        """`count` drawn texts from number `first` on; text i is a function of (seed, i)."""
        return draw.texts(self, count, seed=seed, first=first)

    def labelled(self, count: int, *, seed: int, noise: float = 0.1) -> list[draw.Labelled]:
        """Drawn sentences labelled with their topic, a share `noise` of them wrongly; see `draw.labelled`."""
        return draw.labelled(self, count, seed=seed, noise=noise)

    def bayes(self, words: Sequence[str], *, noise: float = 0.1) -> dict[str, float]:
        """P(label | sentence), exact; the mean of its maximum is the best accuracy. See `draw.bayes`."""
        return draw.bayes(self, words, noise=noise)

    def starting_at(self, symbol: str) -> Language:
        """The same language, whose texts are expansions of another symbol, such as "sentence"."""
        if symbol not in self.grammar.rules:
            raise ValueError(
                f"expected a symbol with rules, found {symbol!r}; one of {', '.join(self.grammar.rules)}"
            )
        return replace(self, grammar=replace(self.grammar, start=symbol))

    def reader(self) -> Reader:
        """A reader before the first word."""
        return Reader(self)

    def surprisals(self, words: Sequence[str]) -> numpy.ndarray:
        """-ln P(word | words before) for every word and, last, the text's end: (words + 1,), in nats."""
        reader = self.reader()
        return numpy.array([reader.read(word) for word in (*words, END)])

    def log_probability(self, words: Sequence[str]) -> float:
        """ln P of the whole text with its end, topics summed; -inf if it is not a text of the grammar."""
        return float(-self.surprisals(words).sum())

    def parses(self, words: Sequence[str]) -> bool:
        """Whether these words are a whole text of the grammar; an unknown word makes it none."""
        reader = self.reader()
        return all(word in self.places and math.isfinite(reader.read(word)) for word in (*words, END))

    def next_word(self, prefix: Sequence[str]) -> dict[str, float]:
        """P(word | prefix) of every word that can come next, END among them; begin with START.

        Raises ValueError for an empty prefix, an unknown word, and a prefix that no text begins with.
        """
        return self._after(prefix).next_words()

    def posterior(self, prefix: Sequence[str]) -> dict[str, float]:
        """P(topic | prefix)."""
        return self._after(prefix).topics()

    def entropies(self, words: Sequence[str]) -> numpy.ndarray:
        """Entropy of the next word after every prefix, the empty one first: (words + 1,), in nats."""
        reader, found = self.reader(), []
        for word in words:
            found.append(_entropy(list(reader.next_words().values())))
            reader.read(word)
        return numpy.array([*found, _entropy(list(reader.next_words().values()))])

    def entropy(self) -> Entropy:
        """Exact entropies of a text, by linear equations over the rules.

        Exact for an unambiguous grammar; in another one `text` is the entropy of the derivations, an upper
        bound.
        """
        of_class = {
            name: numpy.array([_entropy(row) for row in self.classes[name].given_topic])  # (topics,)
            for name in self.grammar.classes
        }

        def surprise(rule: Rule) -> numpy.ndarray:  # (topics,)
            return sum(
                (of_class[s] for s in rule.right if s in of_class), numpy.zeros(len(self.topics))
            ) - math.log(rule.probability)

        def length(rule: Rule) -> numpy.ndarray:  # ()
            return numpy.asarray(float(sum(s in of_class for s in rule.right)))

        start = self.grammar.start
        text = expected(self.grammar, surprise)[start] @ self.topic_shares
        words = expected(self.grammar, length)[start]
        return Entropy(_entropy(self.topic_shares), float(text), float(words) + 1)

    def _after(self, prefix: Sequence[str]) -> Reader:
        if isinstance(prefix, str) or not len(prefix):
            raise ValueError(
                f"expected a list of words, found {prefix!r}; for the beginning of a text give [{START!r}]"
            )
        reader = self.reader()
        for number, word in enumerate(prefix):
            if word == START and number == 0:
                continue
            if not math.isfinite(reader.read(word)):
                raise ValueError(
                    f"expected a prefix of a text, found {word!r} as word {number + 1}, which cannot follow "
                    f"{' '.join(prefix[:number]) or START!r}"
                )
        return reader

    def openings(self, stack: Stack) -> Openings:
        """How an unfinished text can go on: class of the next word -> what follows it -> probability."""
        if stack not in self._openings:
            self._openings[stack] = self._opened(stack)
        return self._openings[stack]

    def _opened(self, stack: Stack) -> Openings:
        if not stack:
            return {END: {(): 1.0}}
        first, rest = stack[0], stack[1:]
        if first not in self.grammar.rules:
            return {first: {rest: 1.0}}
        found: Openings = {}
        for rule in self.grammar.rules[first]:
            for name, rests in self.openings(rule.right + rest).items():
                into = found.setdefault(name, {})
                for after, p in rests.items():
                    into[after] = into.get(after, 0.0) + rule.probability * p
        return found


class Reader:
    """Reads a text word by word and knows what can come next."""

    def __init__(self, language: Language):
        self.language = language
        self.belief: dict[Stack, numpy.ndarray] = {(language.grammar.start,): language.topic_shares}

    def read(self, word: str) -> float:
        """Go on by one word (or END); return its surprisal -ln P(word | words before), inf if impossible."""
        language, moved = self.language, {}
        for name, column in language.places.get(word, {}).items():
            seen = 1.0 if name == END else language.classes[name].given_topic[:, column]  # (topics,)
            for stack, weights in self.belief.items():
                for rest, p in language.openings(stack).get(name, {}).items():
                    moved[rest] = moved.get(rest, 0.0) + weights * (p * seen)
        total = float(sum(w.sum() for w in moved.values()))
        if total == 0:
            self._refuse_unknown(word)
            self.belief = {}
            return math.inf
        self.belief = {} if word == END else {stack: w / total for stack, w in moved.items() if w.any()}
        return -math.log(total)

    def next_words(self) -> dict[str, float]:
        """P(word | words so far), END among the words."""
        by_class: dict[str, numpy.ndarray | float] = defaultdict(float)
        for stack, weights in self.belief.items():
            for name, rests in self.language.openings(stack).items():
                by_class[name] = by_class[name] + weights * sum(rests.values())
        found: dict[str, float] = defaultdict(float)
        for name, weights in by_class.items():
            if name == END:
                found[END] += float(weights.sum())
                continue
            word_class = self.language.classes[name]
            for word, p in zip(word_class.words, (weights @ word_class.given_topic).tolist(), strict=True):
                if p > 0:
                    found[word] += p
        return dict(found)

    def topics(self) -> dict[str, float]:
        """P(topic | words so far)."""
        weights = sum(self.belief.values())
        return dict(zip(self.language.topics, (weights / weights.sum()).tolist(), strict=True))

    def _refuse_unknown(self, word: str) -> None:
        known = self.language.words
        if word not in self.language.places:
            near = difflib.get_close_matches(word, known, n=3)
            raise ValueError(
                f"expected a word of the lexicon, found {word!r}"
                + (f"; near it: {', '.join(near)}" if near else f" among none of its {len(known):,} words")
            )


def _entropy(probabilities: Sequence[float]) -> float:
    """-sum p ln p, in nats; 0 ln 0 counts 0."""
    p = numpy.asarray(probabilities)
    p = p[p > 0]
    return float(-(p * numpy.log(p)).sum())
