"""Classification by hand: batches, losses, probabilities and scores are what plain Python counts."""

import csv
import math
import random
import types
from pathlib import Path

import numpy
import pytest
import torch

from ftkit.tasks import Classification, Example, reviews
from ftkit.tasks.task import batched, in_order


class Words:
    """A tokenizer whose tokens are words; a word's number is its place in the order of first appearance."""

    pad_token_id, model_max_length = 0, 512

    def __init__(self):
        self.known = {"<pad>": 0}

    def __call__(self, texts, truncation=False, max_length=None, verbose=True):
        ids = [[self.known.setdefault(w, len(self.known)) for w in text.split()] for text in texts]
        return {"input_ids": [i[:max_length] if truncation else i for i in ids]}


@pytest.fixture(autouse=True)
def laptop(monkeypatch):
    monkeypatch.setenv("FTKIT_SCALE", "laptop")


def test_the_reviews_are_the_three_files_of_the_repository():
    folder = Path(__file__).parents[3] / "data" / "reviews"
    task = reviews(Words())
    assert task.labels == ("negative", "positive")
    for name in ("train", "validation", "test"):
        with open(folder / f"{name}.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        split = getattr(task, name)
        assert [(e.text, task.labels[e.label]) for e in split] == [(r["text"], r["label"]) for r in rows]
        assert set(split[0].row) == set(rows[0]) - {"text", "label"}


def example(number, ids, label):
    return Example(number=number, text="", ids=numpy.array(ids, dtype=numpy.int64), label=label)


@pytest.fixture
def small():
    """A task of three classes with hand-made examples, one of them without a label."""
    tokenizer = types.SimpleNamespace(pad_token_id=9, model_max_length=64)
    examples = [example(4, [1, 2, 3], 0), example(2, [5], 2), example(7, [6, 1], -100), example(1, [2, 2], 1)]
    return Classification(tokenizer, ("a", "b", "c"), examples, [], [], max_tokens=64)


class Bag(torch.nn.Module):
    """The sum of a learned row per token: its logits can be added up by hand."""

    def __init__(self, scale=1.0):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.rows = torch.nn.Parameter(scale * torch.randn(10, 3, generator=generator))

    def forward(self, input_ids, attention_mask):
        logits = (self.rows[input_ids] * attention_mask.unsqueeze(-1)).sum(1)
        return types.SimpleNamespace(logits=logits)

    def by_hand(self, ids):
        rows = self.rows.tolist()
        return [sum(rows[i][k] for i in ids) for k in range(3)]


def probabilities_by_hand(logits):
    most = max(logits)
    powers = [math.exp(x - most) for x in logits]
    return [p / sum(powers) for p in powers]


def test_a_batch_is_padded_to_its_longest_and_carries_labels_and_numbers(small):
    batch = small.collate(small.train, "cpu")
    assert {k: v.tolist() for k, v in batch.items()} == {
        "input_ids": [[1, 2, 3], [5, 9, 9], [6, 1, 9], [2, 2, 9]],
        "attention_mask": [[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 1, 0]],
        "labels": [0, 2, -100, 1],
        "numbers": [4, 2, 7, 1],
    }
    assert all(v.dtype == torch.int64 for v in batch.values())


def test_terms_are_the_labels_that_count(small):
    assert small.loss(Bag(), small.collate(small.train, "cpu"))[1].item() == 3
    assert small.loss(Bag(), small.collate(small.train[2:3], "cpu"))[1].item() == 0


def test_the_loss_is_a_sum_over_the_labels_that_count(small):
    model, expected = Bag(), 0.0
    for e in small.train:
        if e.label != -100:
            expected -= math.log(probabilities_by_hand(model.by_hand(e.ids))[e.label])
    batch = small.collate(small.train, "cpu")
    assert small.loss(model, batch)[0].item() == pytest.approx(expected, rel=1e-5)
    apart = [small.loss(model, small.collate([e], "cpu"))[0].item() for e in small.train]
    assert sum(apart) == pytest.approx(expected, rel=1e-5)
    assert apart[2] == 0.0


def many(n=150):
    draw = random.Random(0)
    return [
        example(i, [draw.randrange(9) for _ in range(draw.randint(1, 12))], draw.randrange(3))
        for i in range(n)
    ]


def test_probabilities_come_in_the_order_of_the_examples(small):
    model, examples = Bag(), many()
    found = small.probabilities(model, examples)
    assert found.shape == (150, 3)
    for e, row in zip(examples, found.tolist(), strict=True):
        assert row == pytest.approx(probabilities_by_hand(model.by_hand(e.ids)), abs=1e-5)


def test_probabilities_do_not_depend_on_the_batch_size(small):
    model, examples = Bag(), many()
    whole, parts = (
        in_order(
            batched(small, model, examples, lambda batch: small.logits(model, batch), batch_size=size),
            count=len(examples),
        )
        for size in (1000, 7)
    )
    torch.testing.assert_close(torch.stack(parts), torch.stack(whole))


def test_scores_are_what_is_counted_by_hand(small):
    model, examples = Bag(), many()
    loss, right = 0.0, 0
    found, truth = [], [e.label for e in examples]
    for e in examples:
        logits = model.by_hand(e.ids)
        loss -= math.log(probabilities_by_hand(logits)[e.label])
        found.append(logits.index(max(logits)))
        right += found[-1] == e.label
    f1 = []
    for c in range(3):
        both = sum(t == c == g for t, g in zip(truth, found, strict=True))
        f1.append(2 * both / (truth.count(c) + found.count(c)))
    scores = small.score(model, examples)
    assert scores == pytest.approx({"loss": loss / 150, "accuracy": right / 150, "f1": sum(f1) / 3}, rel=1e-5)
    assert all(type(v) is float for v in scores.values())


def test_a_confident_mistake_costs_what_it_costs(small):
    """Its probability is 0 in fp32, its cross-entropy is not infinite and has no ceiling."""
    model = Bag(scale=60.0)
    wrong = [example(0, [3, 3], int(torch.argmin(model.rows[3])))]
    logits = model.by_hand(wrong[0].ids)
    assert max(logits) - min(logits) > 60
    expected = max(logits) - min(logits)  # the other exponentials vanish beside the largest
    assert small.score(model, wrong)["loss"] == pytest.approx(expected, rel=1e-3)


def test_texts_for_prediction_carry_no_label_that_counts():
    task = Classification(Words(), ("no", "yes"), [], [], [], max_tokens=3)
    found = task.encode(["row 1 of them", "them"])
    assert [e.label for e in found] == [-100, -100]
    assert [len(e) for e in found] == [3, 1]
    assert [e.text for e in found] == ["row 1 of them", "them"]
