"""The product in few passes is the sum that its docstring writes, with its gradients."""

import pytest
import torch
from small import bert, classification
from torch import nn

from ftkit.strategies import LoRA, low_rank, low_rank_product
from ftkit.strategies.low_rank_product import LowRankProduct


def numbers(*, bias=True, dtype=torch.float64):
    """x (2, 3, 5), weight (4, 5), bias (4,) | None, a (2, 5), b (4, 2), scale."""
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 5, dtype=dtype), torch.randn(4, 5, dtype=dtype)
    a, b = torch.randn(2, 5, dtype=dtype), torch.randn(4, 2, dtype=dtype)
    return x.requires_grad_(), weight, torch.randn(4, dtype=dtype) if bias else None, a, b, 1.7


def written_out(x, weight, bias, a, b, scale):
    return nn.functional.linear(x, weight, bias) + scale * (x @ a.T) @ b.T


@pytest.mark.parametrize("bias", [True, False])
def test_the_product_is_the_sum_written_out(bias):
    given = numbers(bias=bias)
    torch.testing.assert_close(LowRankProduct.apply(*given), written_out(*given))


@pytest.mark.parametrize("bias", [True, False])
def test_its_gradients_are_those_of_finite_differences(bias):
    x, weight, bias, a, b, scale = numbers(bias=bias)
    a.requires_grad_(), b.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, a, b: LowRankProduct.apply(x, weight, bias, a, b, scale), (x, a, b)
    )


def test_below_the_first_trained_layer_no_gradient_is_computed(monkeypatch):
    x, weight, bias, a, b, scale = numbers()
    a.requires_grad_()
    LowRankProduct.apply(x.detach(), weight, bias, a, b, scale).sum().backward()
    assert a.grad is not None
    assert x.grad is None


def updates_of(model, batch):
    """The gradients of LoRA's matrices for one batch."""
    task = classification()
    model.zero_grad()
    task.loss_sum(model, batch).backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def test_a_model_trains_the_same_with_it_and_without(monkeypatch):
    model = LoRA(rank=4).apply(bert()).model
    for layer in low_rank.pairs(model).values():
        nn.init.normal_(layer.b)
    batch = classification().collate(classification().train[:5], "cpu")
    calls = []
    count = low_rank_product.LowRankProduct.apply
    monkeypatch.setattr(low_rank.LowRankProduct, "apply", lambda *given: calls.append(1) or count(*given))
    fast = updates_of(model, batch)
    assert len(calls) == len(low_rank.pairs(model))
    monkeypatch.setattr(low_rank, "serves", lambda *given: False)
    plain = updates_of(model, batch)
    assert len(calls) == len(low_rank.pairs(model))
    for one, other in zip(fast, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def used(model, *, autocast=False):
    """Whether a forward pass takes the short way, by what it keeps for the backward pass."""
    batch = classification().collate(classification().train[:2], "cpu")
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = classification().logits(model, batch)
    names, todo = set(), [logits.grad_fn]
    while todo:
        node = todo.pop()
        names.add(type(node).__name__)
        todo += [n for n, _ in node.next_functions if n is not None]
    return "LowRankProductBackward" in names


def test_where_more_than_two_thin_matrices_act_the_long_way_is_taken():
    assert used(LoRA(rank=2).apply(bert()).model)
    assert not used(LoRA(rank=2, dora=True).apply(bert()).model)
    assert not used(LoRA(rank=2, dropout=0.1).apply(bert()).model.train())
    assert used(LoRA(rank=2, dropout=0.1).apply(bert()).model.eval())
    assert not used(LoRA(rank=2).apply(bert()).model, autocast=True)


def test_a_base_that_trains_as_well_gets_its_gradient():
    model = LoRA(rank=2).apply(bert()).model
    layer = next(iter(low_rank.pairs(model).values()))
    layer.base.weight.requires_grad_()
    classification().loss_sum(model, classification().collate(classification().train[:3], "cpu")).backward()
    assert layer.base.weight.grad is not None
