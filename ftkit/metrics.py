"""Thin names over scikit-learn and SciPy, so that every part of ftkit counts the same way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def accuracy(truth: Sequence[int], guessed: Sequence[int]) -> float:
    """Share of right answers."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(truth, guessed))


def macro_f1(truth: Sequence[int], guessed: Sequence[int]) -> float:
    """F1 of every class, averaged without weights."""
    from sklearn.metrics import f1_score

    return float(f1_score(truth, guessed, average="macro", zero_division=0))


def confusion(truth: Sequence[int], guessed: Sequence[int], *, classes: int):
    """Counts as an array: row = truth, column = answer."""
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(truth, guessed, labels=range(classes))


def interval(share: float, *, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval for a share measured on `count` examples (Wilson 1927)."""
    from scipy.stats import binomtest

    ends = binomtest(round(share * count), count).proportion_ci(confidence, method="wilson")
    return float(ends.low), float(ends.high)


def majority(truth: Sequence[int]) -> float:
    """Accuracy of always answering the commonest class: what any classifier has to beat."""
    return max(Counter(truth).values()) / len(truth)
