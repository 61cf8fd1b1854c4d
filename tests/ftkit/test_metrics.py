"""Metrics against what can be counted by hand."""

import math

import numpy
import pytest

from ftkit import metrics


@pytest.fixture(params=[2, 3, 5])
def answers(request):
    """(classes, truth, guessed), with every class at least once and about half the answers right."""
    rng = numpy.random.default_rng(request.param)
    truth = [*range(request.param), *rng.integers(request.param, size=60).tolist()]
    guessed = [t if rng.random() < 0.5 else int(rng.integers(request.param)) for t in truth]
    return request.param, truth, guessed


def test_accuracy_is_the_share_of_right_answers(answers):
    _, truth, guessed = answers
    right = 0
    for t, g in zip(truth, guessed, strict=True):
        right += t == g
    assert metrics.accuracy(truth, guessed) == pytest.approx(right / len(truth), abs=1e-12)


def test_macro_f1_is_the_plain_mean_of_every_class_f1(answers):
    classes, truth, guessed = answers
    scores = []
    for c in range(classes):
        both = sum(t == c and g == c for t, g in zip(truth, guessed, strict=True))
        scores.append(2 * both / (truth.count(c) + guessed.count(c)))
    assert metrics.macro_f1(truth, guessed) == pytest.approx(sum(scores) / classes, abs=1e-12)


def test_a_class_never_found_counts_as_zero_without_a_warning(recwarn):
    assert metrics.macro_f1([0, 0, 1], [0, 0, 0]) == pytest.approx(0.8 / 2)
    assert not recwarn.list


def test_confusion_counts_truth_in_rows_and_answers_in_columns(answers):
    classes, truth, guessed = answers
    matrix = metrics.confusion(truth, guessed, classes=classes)
    for t in range(classes):
        for g in range(classes):
            assert matrix[t, g] == sum((a, b) == (t, g) for a, b in zip(truth, guessed, strict=True))


def test_confusion_keeps_a_row_for_a_class_that_never_occurs():
    assert metrics.confusion([0, 1], [1, 1], classes=3).tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [  # Wilson's score interval at 95%, to four digits
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (8, 10, 0.4902, 0.9433),
        (50, 100, 0.4038, 0.5962),
    ],
)
def test_wilsons_interval_at_known_values(right, count, low, high):
    assert metrics.interval(right / count, count=count) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize(("confidence", "z"), [(0.90, 1.6448536), (0.95, 1.9599640), (0.99, 2.5758293)])
def test_wilsons_interval_is_its_formula(confidence, z):
    for count in (1, 7, 617):
        for right in range(0, count + 1, max(1, count // 9)):
            p = right / count
            middle = (p + z * z / (2 * count)) / (1 + z * z / count)
            half = z * math.sqrt(p * (1 - p) / count + (z / (2 * count)) ** 2) / (1 + z * z / count)
            low, high = metrics.interval(p, count=count, confidence=confidence)
            assert (low, high) == pytest.approx((middle - half, middle + half), abs=1e-7)


def test_every_share_of_617_examples_lies_in_its_own_interval():
    for right in range(618):
        low, high = metrics.interval(right / 617, count=617)
        assert low <= right / 617 <= high + 1e-12


def test_majority_is_the_share_of_the_commonest_class(answers):
    classes, truth, _ = answers
    assert metrics.majority(truth) == max(truth.count(c) for c in range(classes)) / len(truth)
    assert metrics.majority([2, 2, 2, 0, 1]) == 0.6


def test_every_score_is_a_plain_float(answers):
    """NumPy's and torch's scalars do not survive JSON."""
    _, truth, guessed = answers
    for value in (
        metrics.accuracy(truth, guessed),
        metrics.macro_f1(truth, guessed),
        metrics.majority(truth),
        *metrics.interval(0.5, count=10),
    ):
        assert type(value) is float
