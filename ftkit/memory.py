"""Peak memory of training, in bytes: read on a GPU, counted on a CPU."""

from __future__ import annotations

import torch

from .loop import Run
from .surgery import tensors


def peak_memory(run: Run) -> int:
    """The most memory that an update of `run` needs, in bytes.

    On a GPU this is the allocator's own peak. On a CPU it is counted, exactly and repeatably: weights,
    gradients, optimizer state, and every tensor that autograd keeps for the backward pass of the largest
    micro-batch (through `torch.autograd.graph.saved_tensors_hooks`).
    """
    if run.processes.device.type == "cuda":
        return torch.cuda.max_memory_allocated(run.processes.device)
    weights = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors(run.tuned.model)}
    trained = sum(p.numel() * p.element_size() for g in run.tuned.groups for p in g.params)
    gradients, moments = trained, 2 * trained
    return sum(weights.values()) + gradients + moments + saved_for_backward(run, known=set(weights))


def forget_peak(run: Run) -> None:
    """Let a GPU's peak begin anew, so that `peak_memory` tells this run's and not an earlier one's."""
    if run.processes.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(run.processes.device)


def saved_for_backward(run: Run, *, known: set[int]) -> int:
    """Bytes of the storages, but for `known` ones, that the forward pass of the longest micro-batch keeps."""
    kept: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # the tensor itself would hold the graph that holds it, for ever

    longest = sorted(run.task.train, key=len)[-run.micro_batch_size :]
    batch = run.task.collate(longest, run.processes.device)
    run.tuned.model.train()
    with (
        run.reproducible(),
        torch.enable_grad(),
        torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor),
    ):
        loss = run.task.loss_sum(run.tuned.model, batch)
    del loss
    return sum(kept.values())
