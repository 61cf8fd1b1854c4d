"""Peak memory of training, in bytes: read on a GPU, counted on a CPU."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .loop import Run
from .order import lengths
from .surgery import tensors


def peak_memory(run: Run) -> int:
    """The most memory that an update of `run` needs, in bytes.

    On a GPU this is the allocator's own peak. On a CPU it is counted, exactly and repeatably: weights,
    gradients, optimizer state, and every tensor that autograd keeps for the backward pass of the largest
    micro-batch (through `torch.autograd.graph.saved_tensors_hooks`).
    """
    if run.processes.device.type == "cuda":
        return torch.cuda.max_memory_allocated(run.processes.device)
    named = dict(run.tuned.model.named_parameters())
    trained = [named[name] for group in run.tuned.groups for name in group.parameters]
    return counted(run.tuned.model, trained, lambda: _longest_loss(run))


def counted(model: nn.Module, trained: list[nn.Parameter], loss: Callable[[], Tensor]) -> int:
    """Bytes of the weights, of the gradients and AdamW's moments, and of what `loss` keeps to go backward."""
    weights = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors(model)}
    gradients = sum(p.numel() * p.element_size() for p in trained)
    return sum(weights.values()) + 3 * gradients + kept(loss, known=set(weights))


def forget_peak(run: Run) -> None:
    """Let a GPU's peak begin anew, so that `peak_memory` tells this run's and not an earlier one's."""
    if run.processes.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(run.processes.device)


def saved_for_backward(run: Run, *, known: set[int]) -> int:
    """Bytes of the storages, but for `known` ones, that the forward pass of the longest micro-batch keeps."""
    return kept(lambda: _longest_loss(run), known=known)


def kept(loss: Callable[[], Tensor], *, known: set[int]) -> int:
    """Bytes of the storages, but for `known` ones, that are kept for the backward pass of `loss()`."""
    sizes: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # the tensor itself would hold the graph that holds it, for ever

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        result = loss()
    del result
    return sum(sizes.values())


def _longest_loss(run: Run) -> Tensor:
    """The loss of the micro-batch with the longest texts, in the run's precision."""
    order = lengths(run.task.train).argsort(kind="stable")[-run.micro_batch_size :]
    batch = run.task.collate([run.task.train[i] for i in order], run.processes.device)
    run.tuned.model.train()
    with run.reproducible(), run.autocast():
        return run.task.loss(run.tuned.model, batch)[0]
