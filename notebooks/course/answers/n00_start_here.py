"""Notebook 00: accuracy, the loss of one answer, and the majority baseline."""

from __future__ import annotations

import math
from collections import Counter

from ..records import Exercise, wrong


def accuracy(answers, truth):  # two lists of strings, equally long
    """The share of answers that are the truth."""
    right = [answer == true for answer, true in zip(answers, truth, strict=True)]
    return sum(right) / len(truth)


@wrong("you counted the right answers; divide by how many answers there are")
def accuracy_counted(answers, truth):
    return sum(answer == true for answer, true in zip(answers, truth, strict=True))


@wrong("this is the share of wrong answers, which is 1 minus the accuracy")
def accuracy_of_errors(answers, truth):
    return sum(answer != true for answer, true in zip(answers, truth, strict=True)) / len(truth)


@wrong("this is all or nothing: // drops the digits behind the point, and == compares two lists as wholes")
def accuracy_whole(answers, truth):
    return sum(answer == true for answer, true in zip(answers, truth, strict=True)) // len(truth)


@wrong("this is a percentage; a share runs from 0 to 1, so leave out the 100")
def accuracy_percent(answers, truth):
    return 100 * accuracy(answers, truth)


@wrong("you asked whether each answer stands anywhere in truth; compare it with the one at its own place")
def accuracy_anywhere(answers, truth):
    return sum(answer in truth for answer in answers) / len(truth)


@wrong("your loop returns in its first round; put the return behind the loop, not inside it")
def accuracy_of_first(answers, truth):
    return (answers[0] == truth[0]) / len(truth)


def accuracy_cases():
    return [
        (["films", "books", "books", "trips"], ["films", "books", "trips", "hotels"]),  # half of them right
        (["films", "books", "books", "trips", "films"], ["films", "books", "trips", "trips", "hotels"]),
        (["negative", "positive"], ["positive", "negative"]),
        (["positive", "positive", "negative"], ["positive", "positive", "negative"]),
        (["negative"] * 4, ["positive", "negative", "negative", "positive"]),
    ]


def loss_of(logits, label):  # a list of two numbers; 0 or 1, the place of the true label
    """Minus the natural logarithm of the probability that the softmax gives to the true label."""
    raised = [math.exp(z) for z in logits]
    return -math.log(raised[label] / sum(raised))


@wrong("the minus is missing: the logarithm of a probability is below 0, and a loss is above it")
def loss_without_minus(logits, label):
    return -loss_of(logits, label)


@wrong("this is the probability of the true label; the loss is minus its logarithm")
def loss_without_log(logits, label):
    return math.exp(-loss_of(logits, label))


@wrong("this is the loss of the other label; take the probability at the place label")
def loss_of_other(logits, label):
    return loss_of(logits, 1 - label)


@wrong("you took the same place whatever label is; the true label's probability stands at the place label")
def loss_of_negative(logits, label):
    return loss_of(logits, 0)


@wrong("the sum is missing: e to the logit becomes a probability when you divide it by the sum of both")
def loss_without_sum(logits, label):
    return -math.log(math.exp(logits[label]))


@wrong("you divided the logits themselves by their sum; raise e to each logit first")
def loss_without_exp(logits, label):
    return -math.log(logits[label] / sum(logits))


@wrong("you took one logit by itself (a sigmoid); here the two labels share one sum")
def loss_by_sigmoid(logits, label):
    return math.log(1 + math.exp(-logits[label]))


@wrong("this logarithm has base 10; math.log is the natural one")
def loss_in_base_ten(logits, label):
    return loss_of(logits, label) / math.log(10)


@wrong("this logarithm has base 2; math.log is the natural one")
def loss_in_bits(logits, label):
    return loss_of(logits, label) / math.log(2)


@wrong("you stopped at the probabilities; return minus the logarithm of the true label's")
def loss_as_list(logits, label):
    return [math.exp(z) / sum(map(math.exp, logits)) for z in logits]


def loss_cases():
    return [
        ([1.0, 1.0], 0),  # the same for both labels
        ([2.0, 1.0], 1),
        ([2.0, 1.0], 0),
        ([-1.5, 0.5], 1),
        ([3.0, -2.0], 1),
    ]


def majority_baseline(train_labels, test_labels):  # two lists of strings, not equally long
    """The accuracy on the test labels of always giving the commonest training label."""
    commonest = Counter(train_labels).most_common(1)[0][0]
    return sum(label == commonest for label in test_labels) / len(test_labels)


@wrong("you chose the label by looking at the test labels; a baseline sees the training labels only")
def majority_of_test(train_labels, test_labels):
    return max(Counter(test_labels).values()) / len(test_labels)


@wrong("you scored it on the training labels; the score belongs to the test")
def majority_on_train(train_labels, test_labels):
    return max(Counter(train_labels).values()) / len(train_labels)


@wrong("this is a fair coin, 1 / number of labels; the commonest label can do better")
def majority_coin(train_labels, test_labels):
    return 1 / len(set(train_labels))


@wrong("you returned the label; return how often it is right on the test labels")
def majority_label(train_labels, test_labels):
    return Counter(train_labels).most_common(1)[0][0]


@wrong("you counted how often it is right; divide by the number of test labels")
def majority_counted(train_labels, test_labels):
    return sum(label == majority_label(train_labels, test_labels) for label in test_labels)


@wrong("you took the rarest training label; the commonest has the largest count")
def majority_rarest(train_labels, test_labels):
    rarest = Counter(train_labels).most_common()[-1][0]
    return sum(label == rarest for label in test_labels) / len(test_labels)


def majority_cases():
    yes, no = "positive", "negative"
    return [
        ([yes] * 6 + [no] * 4, [yes] * 3 + [no] * 5),
        ([no] * 7 + [yes] * 2, [no] * 9 + [yes] * 3),
        ([yes] * 2 + [no] * 3, [yes] * 7 + [no] * 3),
        ([no, yes, yes], [yes, yes]),
    ]


EXERCISES = (
    Exercise(
        number="00.1",
        reference=accuracy,
        cases=accuracy_cases,
        hints=(
            "How many places are there where the two lists agree, and out of how many?",
            "Go through both lists together: zip(answers, truth) gives one pair after another.",
            "answer == true is True or False, and sum() counts True as 1.",
            "Divide the number of right answers by the number of answers: len(truth).",
        ),
        wrong=(
            accuracy_counted,
            accuracy_of_errors,
            accuracy_whole,
            accuracy_percent,
            accuracy_anywhere,
            accuracy_of_first,
        ),
    ),
    Exercise(
        number="00.2",
        reference=loss_of,
        cases=loss_cases,
        hints=(
            "The cell above did this for the logits 0.2 and 0.0: which of its lines do you need?",
            "First e to each logit: math.exp(z). Then divide the true label's by the sum of both.",
            "The true label's value is raised[label], if raised is the list of the two powers of e.",
            "Return -math.log(...) of that quotient.",
        ),
        wrong=(
            loss_without_minus,
            loss_without_log,
            loss_of_other,
            loss_of_negative,
            loss_without_sum,
            loss_without_exp,
            loss_by_sigmoid,
            loss_in_base_ten,
            loss_in_bits,
            loss_as_list,
        ),
    ),
    Exercise(
        number="00.3",
        reference=majority_baseline,
        cases=majority_cases,
        hints=(
            "Which label would you repeat if you had seen the training labels only?",
            "Two steps: find that label, then see how often it is right among the test labels.",
            "max(set(train_labels), key=train_labels.count) is the commonest training label.",
            "test_labels.count(commonest) / len(test_labels)",
        ),
        wrong=(
            majority_of_test,
            majority_on_train,
            majority_coin,
            majority_label,
            majority_counted,
            majority_rarest,
        ),
    ),
)
