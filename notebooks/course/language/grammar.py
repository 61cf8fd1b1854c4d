"""Rules with probabilities: read from text, checked, and ready to be expanded.

A rule file has one rule a line, `probability  left -> symbols`. "Quoted" symbols are words. A name without
rules is a class of words. `subject(n)` stands for one symbol per value of the feature n; a feature that the
left side does not name is drawn afresh:

    feature n = one 0.6, many 0.4
    1.0  clause -> subject(n) verb(n)      # 0.6 to subject.one verb.one, 0.4 to subject.many verb.many
"""

from __future__ import annotations

import itertools
import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy

RULE = re.compile(r"(?P<p>[0-9.eE+-]+)\s+(?P<left>\S+)\s*->(?P<right>.*)")
FEATURE = re.compile(r"feature\s+(?P<name>\w+)\s*=\s*(?P<values>.+)")
SYMBOL = re.compile(r'"(?P<word>[^"\s]+)"|(?P<name>[\w.]+)(\((?P<features>[\w\s,]+)\))?')


@dataclass(frozen=True)
class Rule:
    """`left` becomes `right` with this probability; `line` is where its author wrote it."""

    left: str
    right: tuple[str, ...]
    probability: float
    line: int
    source: str

    def __str__(self) -> str:
        return f"line {self.line} ({self.source})"


@dataclass(frozen=True)
class Grammar:
    """The rules by left side. A symbol without rules is a class of words."""

    start: str
    rules: Mapping[str, tuple[Rule, ...]]

    @property
    def classes(self) -> tuple[str, ...]:
        """Symbols that have no rules, quoted words among them."""
        used = {symbol for rules in self.rules.values() for rule in rules for symbol in rule.right}
        return tuple(sorted(used - set(self.rules)))


def parse(text: str) -> Grammar:
    """Read rules and refuse what is no grammar; the first rule's left side is the start.

    Raises ValueError that names rule and line: a line that is no rule, probabilities of one left side that do
    not add up to 1, a rule that begins with its own left side, and recursion that never ends.
    """
    features: dict[str, dict[str, float]] = {}
    written: list[Rule] = []
    for number, whole in enumerate(text.splitlines(), 1):
        line = _without_comment(whole).strip()
        if not line:
            continue
        if found := FEATURE.fullmatch(line):
            features[found["name"]] = _values(found["values"], number, line)
            continue
        found = RULE.fullmatch(line)
        if not found:
            raise ValueError(
                f"line {number}: expected `probability  left -> symbols` or `feature n = one 0.6, many 0.4`, "
                f"found {line!r}"
            )
        written += _expanded(found, features, number, line)
    if not written:
        raise ValueError("expected at least one rule `probability  left -> symbols`, found none")
    grouped = defaultdict(list)
    for rule in written:
        grouped[rule.left].append(rule)
    grammar = Grammar(written[0].left, {left: tuple(rules) for left, rules in grouped.items()})
    _check_sums(grammar)
    _check_left_recursion(grammar)
    _check_ends(grammar)
    return grammar


def expected(grammar: Grammar, quantity: Callable[[Rule], numpy.ndarray]) -> dict[str, numpy.ndarray]:
    """What the whole expansion of each symbol holds on average of a quantity that its rules add up.

    Solves x = b + M x, where b[A] is the mean of `quantity` over A's rules, an array of one fixed shape, and
    M[A, B] the expected number of B in one expansion of A.
    """
    place = {name: i for i, name in enumerate(grammar.rules)}
    own = [sum(rule.probability * quantity(rule) for rule in rules) for rules in grammar.rules.values()]
    matrix = numpy.eye(len(place)) - _expansion(grammar, place)
    return dict(zip(place, numpy.linalg.solve(matrix, numpy.stack(own)), strict=True))


def _expansion(grammar: Grammar, place: Mapping[str, int]) -> numpy.ndarray:
    matrix = numpy.zeros((len(place), len(place)))
    for name, i in place.items():
        for rule in grammar.rules[name]:
            for symbol in rule.right:
                if symbol in place:
                    matrix[i, place[symbol]] += rule.probability
    return matrix


def _without_comment(line: str) -> str:
    return re.sub(r'#(?=(?:[^"]*"[^"]*")*[^"]*$).*', "", line)  # a # inside quotes is a word


def _values(text: str, number: int, line: str) -> dict[str, float]:
    values = {}
    for part in text.split(","):
        try:
            name, share = part.split()
            values[name] = float(share)
        except ValueError:
            raise ValueError(
                f"line {number}: expected `feature n = one 0.6, many 0.4`, found {line!r}"
            ) from None
    if not math.isclose(sum(values.values()), 1, abs_tol=1e-9):
        raise ValueError(
            f"line {number} ({line}): expected shares that add up to 1, found {sum(values.values()):g}"
        )
    return values


def _expanded(found: re.Match, features: Mapping[str, Mapping], number: int, line: str) -> list[Rule]:
    """One rule per choice of the features that it names."""
    try:
        probability = float(found["p"])
    except ValueError:
        probability = math.nan
    if not 0 < probability <= 1:
        raise ValueError(
            f"line {number} ({line}): expected a probability above 0 and at most 1, found {found['p']}"
        )
    (left, left_features), *more = _symbols(found["left"], number, line)
    if more or left.startswith('"'):
        raise ValueError(f"line {number} ({line}): expected one name on the left of ->")
    right = _symbols(found["right"], number, line)
    named = [f for _, group in [(left, left_features), *right] for f in group if f in features]
    free = list(dict.fromkeys(named))
    rules = []
    for values in itertools.product(*(features[f] for f in free)):
        chosen = dict(zip(free, values, strict=True))
        share = math.prod(features[f][v] for f, v in chosen.items() if f not in left_features)
        fill = lambda name, group: ".".join([name, *(chosen.get(f, f) for f in group)])  # noqa: E731, B023
        rules.append(
            Rule(fill(left, left_features), tuple(fill(*s) for s in right), probability * share, number, line)
        )
    return rules


def _symbols(text: str, number: int, line: str) -> list[tuple[str, tuple[str, ...]]]:
    """[(name or quoted word, features)]."""
    symbols, rest = [], text.strip()
    while rest:
        found = SYMBOL.match(rest)
        if not found:
            raise ValueError(
                f'line {number} ({line}): expected names, subject(n) and "quoted" words, found {rest!r}'
            )
        name = f'"{found["word"]}"' if found["word"] else found["name"]
        group = tuple(f.strip() for f in (found["features"] or "").split(",") if f.strip())
        symbols.append((name, group))
        rest = rest[found.end() :].strip()
    return symbols


def _check_sums(grammar: Grammar) -> None:
    wrong = [
        f"{left}: {sum(r.probability for r in rules):g} over {'; '.join(map(str, rules))}"
        for left, rules in grammar.rules.items()
        if not math.isclose(sum(r.probability for r in rules), 1, abs_tol=1e-9)
    ]
    if wrong:
        raise ValueError(
            f"expected the probabilities of each left side to add up to 1, found {' | '.join(wrong)}"
        )


def _check_left_recursion(grammar: Grammar) -> None:
    """A reader that expands from the left would never come to a word."""
    empty = _can_be_empty(grammar)
    path: list[Rule] = []
    done: set[str] = set()

    def visit(symbol: str) -> None:
        if symbol in done or symbol not in grammar.rules:
            return
        if symbol in [r.left for r in path]:
            first = next(r for r in path if r.left == symbol)
            raise ValueError(
                f"{first}: expected a rule that begins with another symbol, found {symbol!r} at its own "
                "left edge, so that reading it never comes to a word; put the recursion on the right"
            )
        for rule in grammar.rules[symbol]:
            path.append(rule)
            for part in rule.right:
                visit(part)
                if part not in empty:
                    break
            path.pop()
        done.add(symbol)

    for symbol in grammar.rules:
        visit(symbol)


def _can_be_empty(grammar: Grammar) -> set[str]:
    empty: set[str] = set()
    while True:
        more = {
            left
            for left, rules in grammar.rules.items()
            if any(all(s in empty for s in rule.right) for rule in rules)
        }
        if more == empty:
            return empty
        empty = more


def _check_ends(grammar: Grammar) -> None:
    """Every symbol must be expected to end: the expansion matrix needs all eigenvalues inside the circle."""
    place = {name: i for i, name in enumerate(grammar.rules)}
    matrix = _expansion(grammar, place)
    if max(abs(numpy.linalg.eigvals(matrix))) < 1 - 1e-9:
        return
    reach = numpy.linalg.matrix_power(numpy.eye(len(place)) + (matrix > 0), len(place)) > 0
    for left, i in place.items():
        circle = numpy.flatnonzero(reach[i] & reach[:, i])  # what comes back to `left`
        part = matrix[numpy.ix_(circle, circle)]
        if part.any() and max(abs(numpy.linalg.eigvals(part))) >= 1 - 1e-9:
            rule = next(
                r for r in grammar.rules[left] if any(s in place and place[s] in circle for s in r.right)
            )
            raise ValueError(
                f"{rule}: expected recursion that ends, found that one {left!r} brings forth at least one "
                "more on average, for ever; make its recursive rules less probable"
            )
