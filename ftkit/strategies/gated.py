"""Gated: learned coefficients decide how far each parameter tensor may leave its pretrained value.

An article that this course mends calls this discriminative fine-tuning; it is another method than Howard and
Ruder's (see `discriminative`). For every tensor t of the trunk: w_t = w0_t + sigmoid(g_t) d_t.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..records import Tuned
from ..surgery import freeze, head_names, rows, trainable


@dataclass(frozen=True)
class Gated:
    """Movements d that start at 0, gates g that start at `start` and have a rate of their own."""

    start: float = 0.5  # how far open every gate is at first, between 0 and 1
    gate_lr_scale: float = 10.0  # a gate is one number for many, so it may go faster

    def apply(self, model: nn.Module) -> Tuned:
        """Raises ValueError for a start that is not between 0 and 1."""
        if not 0 < self.start < 1:
            raise ValueError(f"expected gates that start between 0 and 1, got {self.start}; 0.5 is half open")
        freeze(model)
        gated = GatedModel(model, start=self.start)
        movements = [f"deltas.{i}" for i in range(len(gated.deltas))]
        gated.gates.requires_grad_(True)
        gates = rows(gated, ["gates"], name="gates", lr_scale=self.gate_lr_scale)
        return Tuned(gated, (*trainable(gated, movements, name="movements"), *gates))


class GatedModel(nn.Module):
    """The model with every tensor of its trunk at w0 + sigmoid(g) d; its head trains as it is."""

    def __init__(self, model: nn.Module, *, start: float):
        super().__init__()
        new = head_names(model)
        held = {n: p for n, p in model.named_parameters() if n not in new}
        self.model, self.config, self.names = model, model.config, tuple(held)
        self.deltas = nn.ParameterList(torch.zeros_like(p, dtype=torch.float32) for p in held.values())
        logit = math.log(start / (1 - start))
        self.gates = nn.Parameter(torch.full((len(held),), logit, device=self.deltas[0].device))

    def moved(self) -> dict[str, Tensor]:
        """The weights in force, by name."""
        base = dict(self.model.named_parameters())
        rows = zip(self.names, self.deltas, self.gates.sigmoid(), strict=True)
        return {name: base[name] + (gate * delta).to(base[name].dtype) for name, delta, gate in rows}

    def forward(self, *inputs, **named):  # the model's own, whatever they are
        return functional_call(self.model, self.moved(), inputs, named)

    def generate(self, **named) -> Tensor:
        return merge(self).generate(**named)


def gates(model: GatedModel) -> dict[str, float]:
    """How far open the gate of each tensor is, from 0 to 1."""
    return dict(zip(model.names, model.gates.detach().sigmoid().tolist(), strict=True))


def merge(model: GatedModel) -> nn.Module:
    """A plain copy of the model at the weights in force; the gated one stays as it is."""
    merged = copy.deepcopy(model.model)
    merged.load_state_dict({n: w.detach() for n, w in model.moved().items()}, strict=False)
    return merged


def remove(model: GatedModel) -> nn.Module:
    """The model at its pretrained weights, bit for bit."""
    return model.model
