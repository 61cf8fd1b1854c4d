"""PrefixTuning: learned keys and values before the text in every layer (Li & Liang 2021, arXiv:2101.00190).

For encoders the same is known as deep prompts, or P-tuning v2 (Liu et al. 2021, arXiv:2110.07602).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from ..records import Tuned
from ..surgery import freeze, put, trainable, unwrap
from .attention import key_shape, refuse_another
from .before import mask_with, numbered, passes_for_its_base, placed
from .rewired import attentions, restore, rewire


@dataclass(frozen=True)
class PrefixTuning:
    """`length` keys and values per layer; with `hidden`, computed by an MLP of that width from vectors."""

    length: int = 16
    hidden: int | None = None  # width of the MLP (the paper's reparameterisation); None: trained as they are

    def apply(self, model: nn.Module) -> Tuned:
        """Raises ValueError for a length that the context does not hold, or a family without such keys."""
        layers, (name, base) = len(attentions(model)), placed(model, length=self.length)
        wrapped = Prefix(base, self.length, self.hidden, layers=layers)
        freeze(model)
        put(model, name, wrapped)
        rewire(model, wrapped)
        own = [f"{name}.{n}" for n, _ in wrapped.named_parameters() if not n.startswith("base.")]
        return Tuned(model, trainable(model, own, name="prefix"))


@passes_for_its_base
class Prefix(nn.Module):
    """A trunk whose attention reads `length` learned pairs first; the text begins at place `length`."""

    def __init__(self, base: nn.Module, length: int, hidden: int | None, *, layers: int):
        super().__init__()
        self.base, self.config = base, base.config
        self.attention = base.config._attn_implementation  # how the model computes attention without it
        self.length, self.width = length, prod(key_shape(base.config))
        start, numbers = torch.randn(length, self.width), layers * 2 * self.width
        mlp = [nn.Linear(self.width, hidden), nn.Tanh(), nn.Linear(hidden, numbers)] if hidden else []
        self.vectors = nn.Parameter(start if hidden else 0.02 * torch.randn(length, numbers))
        self.transform = nn.Sequential(*mlp)  # empty where the vectors are the keys and values themselves
        self.to(next(base.parameters()).device)

    def pair(self, layer: int) -> Tensor:
        """Keys and values of one layer: (2, length, width)."""
        part = slice(2 * layer * self.width, 2 * (layer + 1) * self.width)
        both = self.vectors[:, part]
        if len(self.transform):
            first, bend, last = self.transform
            both = nn.functional.linear(bend(first(self.vectors)), last.weight[part], last.bias[part])
        return both.view(self.length, 2, self.width).transpose(0, 1)

    def forward(self, input_ids=None, attention_mask=None, past_key_values=None, position_ids=None, **rest):
        refuse_another(self.base.config)
        words = rest["inputs_embeds"] if input_ids is None else input_ids
        past = 0 if past_key_values is None else past_key_values.get_seq_length()
        mask = mask_with(self.base, attention_mask, words, past=past, length=self.length)
        rest |= numbered(self.base, mask, position_ids, entering=words.shape[1], length=self.length)
        rest |= {} if past_key_values is None else {"past_key_values": past_key_values}
        return self.base(input_ids=input_ids, attention_mask=mask[:, self.length :], **rest)


def remove(model: nn.Module) -> nn.Module:
    """Take the prefix off in place: the base comes back bit for bit."""
    for prefix in [module for module in model.modules() if isinstance(module, Prefix)]:
        restore(model, prefix.attention)
    return unwrap(model, Prefix)
