"""The exercises of notebook 21: a paired interval, the frontier, a choice within a budget."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from ..records import Exercise, wrong


def paired_interval(one: str, other: str) -> tuple[float, float, float]:
    differences = [int(a) - int(b) for a, b in zip(one, other, strict=True)]
    mean = statistics.fmean(differences)
    reach = 1.96 * statistics.pstdev(differences) / math.sqrt(len(differences))
    return mean - reach, mean, mean + reach


def undominated(records: Sequence[tuple[str, float, float]]) -> list[str]:
    best, kept = -math.inf, []
    for name, _, value in sorted(records, key=lambda r: (r[1], -r[2])):  # cheapest first, better first
        if value > best:
            best = value
            kept.append(name)
    return kept


def choose(records: Sequence[tuple[str, float, float]], budget: float, slack: float) -> str | None:
    affordable = [r for r in records if r[1] <= budget]
    if not affordable:
        return None
    best = max(value for _, _, value in affordable)
    good = [r for r in affordable if r[2] >= best - slack]
    return min(good, key=lambda r: r[1])[0]


@wrong(
    "you added the variances of both, as if they had answered different texts; on the same texts "
    "much cancels: take the difference text by text"
)
def _unpaired(one, other):
    n = len(one)
    a, b = one.count("1") / n, other.count("1") / n
    reach = 1.96 * math.sqrt(a * (1 - a) / n + b * (1 - b) / n)
    return a - b - reach, a - b, a - b + reach


@wrong("you took the spread of one text; the mean of n texts varies less, by the square root of n")
def _spread_of_one_text(one, other):
    _, mean, high = paired_interval(one, other)
    reach = (high - mean) * math.sqrt(len(one))
    return mean - reach, mean, mean + reach


@wrong("you went one standard error to each side; 95% need 1.96 of them")
def _one_deviation(one, other):
    _, mean, high = paired_interval(one, other)
    reach = (high - mean) / 1.96
    return mean - reach, mean, mean + reach


@wrong("you took the other minus the one; the sign is turned")
def _other_way(one, other):
    return paired_interval(other, one)


@wrong("you counted how often they differ; who is right when they differ is what counts: no abs()")
def _disagreement(one, other):
    differences = [abs(int(a) - int(b)) for a, b in zip(one, other, strict=True)]
    mean = statistics.fmean(differences)
    reach = 1.96 * statistics.pstdev(differences) / math.sqrt(len(differences))
    return mean - reach, mean, mean + reach


@wrong("you kept one that is only as good as a cheaper one: nobody would pay for it")
def _ties_kept(records):
    best, kept = -math.inf, []
    for name, _, value in sorted(records, key=lambda r: (r[1], -r[2])):
        if value >= best:
            best = value
            kept.append(name)
    return kept


@wrong("the right ones, in the wrong order: cheapest first")
def _dearest_first(records):
    return undominated(records)[::-1]


@wrong("you kept the best alone; a worse one that costs less is on the frontier too")
def _only_the_best(records):
    return [max(records, key=lambda r: r[2])[0]]


@wrong("you sorted and left nobody out: one that costs more and is worse has to go")
def _all_by_cost(records):
    return [name for name, _, _ in sorted(records, key=lambda r: r[1])]


@wrong("at equal cost you looked at the worse first and kept it; sort by (cost, -value)")
def _worse_first(records):
    best, kept = -math.inf, []
    for name, _, value in sorted(records, key=lambda r: (r[1], r[2])):
        if value > best:
            best = value
            kept.append(name)
    return kept


@wrong("you took the best; the cheapest within `slack` of it is asked for")
def _best_in_budget(records, budget, slack):
    affordable = [r for r in records if r[1] <= budget]
    return max(affordable, key=lambda r: r[2])[0] if affordable else None


@wrong("you compared with the best of all, which may not be affordable; compare within the budget")
def _best_of_all(records, budget, slack):
    best = max(value for _, _, value in records)
    good = [r for r in records if r[1] <= budget and r[2] >= best - slack]
    return min(good, key=lambda r: r[1])[0] if good else None


@wrong("you took the cheapest whatever its accuracy; it has to be within `slack`")
def _cheapest(records, budget, slack):
    return choose(records, budget, math.inf)


@wrong("you forgot the budget: it names one that costs more")
def _ignores_the_budget(records, budget, slack):
    return choose(records, math.inf, slack)


@wrong("with a slack of 0 the best itself has to count: >=, not >")
def _strictly_better(records, budget, slack):
    affordable = [r for r in records if r[1] <= budget]
    if not affordable:
        return None
    best = max(value for _, _, value in affordable)
    return min((r for r in affordable if r[2] > best - slack), key=lambda r: r[1])[0]


_POINTS = [
    [("a", 1.0, 0.7), ("b", 2.0, 0.6), ("c", 3.0, 0.8)],
    [("c", 3.0, 0.8), ("a", 1.0, 0.7), ("d", 9.0, 0.8), ("e", 3.0, 0.75)],
    [("x", 5.0, 0.9)],
    [("p", 2.0, 0.5), ("q", 1.0, 0.9), ("r", 1.0, 0.4)],
]

EXERCISES = (
    Exercise(
        number="21.1",
        reference=paired_interval,
        cases=lambda: [
            ("1110", "1010"),
            ("1" * 80 + "0" * 20, "1" * 70 + "0" * 30),
            ("0110" * 9, "1010" * 9),
        ],
        hints=(
            "Both answered the same texts. What is the difference on one text, and how does it vary from "
            "text to text?",
            "On each text the difference is 1, 0 or -1. Its mean is the difference of the accuracies; the "
            "mean of n of them has the standard error s / sqrt(n).",
            "differences = [int(a) - int(b) for a, b in zip(one, other)]; "
            "reach = 1.96 * statistics.pstdev(differences) / math.sqrt(len(differences))",
        ),
        wrong=(
            _unpaired,
            _spread_of_one_text,
            _one_deviation,
            _other_way,
            _disagreement,
        ),
    ),
    Exercise(
        number="21.2",
        reference=undominated,
        cases=lambda: [(points,) for points in _POINTS],
        hints=(
            "Walk from the cheapest to the dearest. When is a dearer one worth a look?",
            "Only if it is better than everything before it. Remember the best value so far.",
            "sorted(records, key=lambda r: (r[1], -r[2])) puts the better first where costs are equal; keep "
            "a record when value > best",
        ),
        wrong=(
            _ties_kept,
            _dearest_first,
            _only_the_best,
            _all_by_cost,
            _worse_first,
        ),
    ),
    Exercise(
        number="21.3",
        reference=choose,
        cases=lambda: [
            (_POINTS[0], 3.0, 0.05),
            (_POINTS[0], 3.0, 0.15),
            (_POINTS[1], 2.0, 0.05),
            (_POINTS[1], 100.0, 0.01),
            (_POINTS[0], 0.5, 0.05),
            (_POINTS[0], 2.5, 0.0),
        ],
        hints=(
            "Three steps: who can be paid for, who of these is good enough, who of those is the cheapest.",
            "Good enough is measured against the best within the budget, not against the best of all.",
            "best = max(value of the affordable); min(those with value >= best - slack, key=cost); None "
            "where nobody can be paid for",
        ),
        wrong=(
            _best_in_budget,
            _best_of_all,
            _cheapest,
            _ignores_the_budget,
            _strictly_better,
        ),
    ),
)
