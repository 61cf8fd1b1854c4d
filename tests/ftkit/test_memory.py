"""Peak memory on a CPU is a count, so it can be checked against one made by hand."""

import gc
from dataclasses import replace

import pytest
import torch
from small import bert, classification, finish, start, weights
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from ftkit.loop import Run
from ftkit.memory import peak_memory
from ftkit.records import Group, TrainConfig, Tuned
from ftkit.strategies import Full, HeadOnly, LoRA

FLOAT, LONG, TOKENS, HIDDEN, CLASSES = 4, 8, 12, 16, 3


class TwoLayers(nn.Module):
    """Token numbers as plain inputs of two linear layers."""

    def __init__(self):
        super().__init__()
        self.first, self.classifier = nn.Linear(TOKENS, HIDDEN), nn.Linear(HIDDEN, CLASSES)
        self.register_buffer("mean", torch.zeros(TOKENS))

    def forward(self, input_ids, attention_mask):
        hidden = (input_ids.float() / 64).add(self.mean).to(self.first.weight.dtype)
        return SequenceClassifierOutput(logits=self.classifier(self.first(hidden).tanh()))


def toy(*, frozen=False, **config):
    model = TwoLayers()
    if frozen:
        model.first.requires_grad_(False)
    groups = (Group("all", tuple(name for name, p in model.named_parameters() if p.requires_grad)),)
    task = classification(labels=CLASSES, shortest=TOKENS, longest=TOKENS)
    return Run(Tuned(model, groups), task, TrainConfig(**config))


def by_hand(rows, *, frozen=False):
    first, second = TOKENS * HIDDEN + HIDDEN, HIDDEN * CLASSES + CLASSES
    trained = second if frozen else first + second
    kept = FLOAT * rows * HIDDEN  # tanh's result, which is also the second layer's input
    if not frozen:
        kept += FLOAT * rows * TOKENS  # the first layer's input
    kept += FLOAT * rows * CLASSES + LONG * rows + FLOAT  # log-softmax, labels, and nll_loss's sum of weights
    return FLOAT * (first + second + TOKENS) + 3 * FLOAT * trained + kept


@pytest.mark.parametrize("micro_batch_size", [None, 1, 5, 37])
def test_the_count_is_that_made_by_hand(micro_batch_size):
    rows = micro_batch_size or 8
    assert peak_memory(toy(batch_size=8, micro_batch_size=micro_batch_size)) == by_hand(rows)


def test_what_comes_before_the_first_trained_layer_is_not_kept():
    run = toy(frozen=True, batch_size=8)
    # tanh is computed from what needs no gradient: its result is kept once, as the second layer's input
    assert peak_memory(run) == by_hand(8, frozen=True)


def test_counted_twice_it_is_the_same():
    for strategy in (Full(), LoRA(rank=4)):
        run = start(bert(dropout=0.1), strategy=strategy)
        counts = [peak_memory(run) for _ in range(2)]
        counts.append(peak_memory(finish(run)))
        assert len(set(counts)) == 1


def test_full_needs_more_than_lora_and_lora_more_than_the_head():
    full, lora, only = (peak_memory(start(strategy=s)) for s in (Full(), LoRA(rank=2), HeadOnly()))
    assert full > lora > only


def test_smaller_micro_batches_need_less():
    counts = [peak_memory(start(micro_batch_size=n)) for n in (8, 4, 2, 1)]
    assert counts == sorted(counts, reverse=True) and len(set(counts)) == 4


def test_the_longest_micro_batch_counts():
    task = classification()
    longest = sorted(task.train, key=len)[-8:]
    shortest = sorted(task.train, key=len)[:8]
    counts = [peak_memory(start(task=replace(task, train=part))) for part in (task.train, longest, shortest)]
    assert counts[0] == counts[1] > counts[2]


def test_counting_leaves_the_run_as_it_was():
    run, other = start(bert(dropout=0.1)), start(bert(dropout=0.1))
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    peak_memory(run)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(weights(finish(run)), weights(finish(other)))


def test_counting_does_not_depend_on_the_callers_mode():
    run = start(strategy=Full())
    expected = peak_memory(run)
    with torch.no_grad():
        assert peak_memory(run) == expected


@pytest.mark.filterwarnings("ignore::FutureWarning")  # asking objects of torch what they are
def test_counting_leaves_no_tensor_behind():
    run = start(bert())
    peak_memory(run)
    gc.collect()
    before = sum(torch.is_tensor(o) for o in gc.get_objects())
    for _ in range(3):
        peak_memory(run)
    gc.collect()
    assert sum(torch.is_tensor(o) for o in gc.get_objects()) <= before


def test_under_autocast_less_is_kept_for_the_backward_pass():
    whole, half = (peak_memory(start(strategy=Full(), precision=p)) for p in ("fp32", "bf16"))
    assert half < whole
