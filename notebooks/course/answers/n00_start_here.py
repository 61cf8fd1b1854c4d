"""Notebook 00: accuracy, the majority baseline, how many numbers train, and when to say "not sure"."""

from __future__ import annotations

from collections import Counter

import torch

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


@wrong("// cuts off what is behind the point; a share needs /")
def accuracy_whole(answers, truth):
    return sum(answer == true for answer, true in zip(answers, truth, strict=True)) // len(truth)


@wrong('you counted right "positive" answers only; a right "negative" is right too')
def accuracy_of_positives(answers, truth):
    right = sum(answer == true == "positive" for answer, true in zip(answers, truth, strict=True))
    return right / len(truth)


def accuracy_cases():
    yes, no = "positive", "negative"
    return [
        ([yes, no, no, yes], [yes, no, yes, yes]),
        ([no, no, no, no, no], [yes, no, no, yes, yes]),
        ([yes, yes, no], [yes, yes, yes]),
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


def majority_cases():
    yes, no = "positive", "negative"
    return [
        ([yes] * 6 + [no] * 4, [yes] * 3 + [no] * 5),
        ([no] * 7 + [yes] * 2, [no] * 9 + [yes] * 3),
        ([yes] * 2 + [no] * 3, [yes] * 7 + [no] * 3),
    ]


def count_trainable(rows):  # a list of dicts: {"part": str, "parameters": int, "trains": bool}
    """How many numbers training may move."""
    return sum(row["parameters"] for row in rows if row["trains"])


@wrong("you added up all rows; leave out those whose trains is False")
def count_all(rows):
    return sum(row["parameters"] for row in rows)


@wrong("you added up the frozen rows; it is the others that train")
def count_frozen(rows):
    return sum(row["parameters"] for row in rows if not row["trains"])


@wrong("you counted the rows that train; add up their parameters")
def count_rows(rows):
    return sum(row["trains"] for row in rows)


@wrong("this is the share of the numbers that train; the question is how many")
def count_share(rows):
    return count_trainable(rows) / count_all(rows)


def count_cases():
    def table(*parts):
        return [{"part": part, "parameters": size, "trains": trains} for part, size, trains in parts]

    return [
        (table(("embeddings", 900, False), ("block 0", 400, False), ("head", 10, True)),),
        (table(("embeddings", 900, True), ("block 0", 400, True), ("head", 10, True)),),
        (table(("block 0", 400, False), ("thin matrices", 32, True), ("head", 10, True)),),
    ]


def decide(logits, threshold):  # logits: tensor (2,), for negative and positive; threshold: from 0.5 to 1
    """The likelier label if its probability reaches the threshold, else "not sure"."""
    probabilities = torch.exp(logits) / torch.exp(logits).sum()
    best = int(probabilities.argmax())
    if probabilities[best] < threshold:
        return "not sure"
    return ("negative", "positive")[best]


@wrong("you compared a logit with the threshold; a logit is no probability, take the softmax first")
def decide_by_logit(logits, threshold):
    best = int(logits.argmax())
    return "not sure" if logits[best] < threshold else ("negative", "positive")[best]


@wrong("you took the sigmoid of each logit by itself; two labels share one softmax, and sum to 1")
def decide_by_sigmoid(logits, threshold):
    probabilities = torch.sigmoid(logits)
    best = int(probabilities.argmax())
    return "not sure" if probabilities[best] < threshold else ("negative", "positive")[best]


@wrong('you asked about "positive" and called all the rest negative; "negative" must be sure too')
def decide_positive_only(logits, threshold):
    return "positive" if torch.softmax(logits, 0)[1] >= threshold else "negative"


@wrong('you never say "not sure"; compare the larger probability with threshold')
def decide_always(logits, threshold):
    return ("negative", "positive")[int(logits.argmax())]


@wrong("the labels are the wrong way round: place 0 is negative, place 1 positive")
def decide_swapped(logits, threshold):
    answer = decide(logits, threshold)
    return {"negative": "positive", "positive": "negative"}.get(answer, answer)


def decide_cases():
    pairs = [(2.0, -1.0), (-1.0, 2.0), (0.2, 0.0), (3.0, 2.5), (-4.0, -6.0), (0.0, 1.0), (5.0, 4.9)]
    return [(torch.tensor(pair), threshold) for pair in pairs for threshold in (0.5, 0.7, 0.9)]


EXERCISES = (
    Exercise(
        number="00.1",
        reference=accuracy,
        cases=accuracy_cases,
        hints=(
            "Go through both lists together: zip(answers, truth) gives one pair after another.",
            "answer == true is True or False, and sum() counts True as 1.",
            "Divide the number of right answers by the number of answers: len(truth).",
        ),
        wrong=(
            accuracy_counted,
            accuracy_of_errors,
            accuracy_whole,
            accuracy_of_positives,
        ),
    ),
    Exercise(
        number="00.2",
        reference=majority_baseline,
        cases=majority_cases,
        hints=(
            "Two steps: find the label to repeat, then see how often it is right.",
            "The label comes from the training labels, the score from the test labels.",
            "collections.Counter(train_labels).most_common(1)[0][0] is the commonest training label.",
        ),
        wrong=(
            majority_of_test,
            majority_on_train,
            majority_coin,
            majority_label,
        ),
    ),
    Exercise(
        number="00.3",
        reference=count_trainable,
        cases=count_cases,
        hints=(
            'Each row says whether it trains: row["trains"] is True or False.',
            'Add up row["parameters"] over the rows that train, and over no others.',
            'sum(… for row in rows if row["trains"])',
        ),
        wrong=(
            count_all,
            count_frozen,
            count_rows,
            count_share,
        ),
    ),
    Exercise(
        number="00.4",
        reference=decide,
        cases=decide_cases,
        hints=(
            "Turn the two logits into two probabilities first: exp of each, divided by the sum of both.",
            "torch.softmax(logits, 0) does that; .argmax() gives the place of the larger one.",
            'If the larger probability is below the threshold: "not sure"; else the label at its place.',
        ),
        wrong=(
            decide_by_logit,
            decide_by_sigmoid,
            decide_positive_only,
            decide_always,
            decide_swapped,
        ),
    ),
)
