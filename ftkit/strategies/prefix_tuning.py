"""PrefixTuning: learned keys and values before the text in every layer (Li & Liang 2021, arXiv:2101.00190).

For encoders the same is known as deep prompts, or P-tuning v2 (Liu et al. 2021, arXiv:2110.07602).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..records import Tuned
from ..surgery import freeze, put, trainable, unwrap
from .before import key_shape, mask_with, refuse_checkpointing, trunk_for


@dataclass(frozen=True)
class PrefixTuning:
    """`length` keys and values per layer; with `hidden`, computed by an MLP of that width from vectors."""

    length: int = 16
    hidden: int | None = None  # width of the MLP (the paper's reparameterisation); None: trained as they are

    def apply(self, model: nn.Module) -> Tuned:
        """Raises ValueError for a length that the context does not hold, or activation checkpointing."""
        name, base = trunk_for(model, length=self.length)
        refuse_checkpointing(base)
        freeze(model)
        wrapped = Prefix(base, length=self.length, hidden=self.hidden)
        put(model, name, wrapped)
        own = [p for n, p in wrapped.named_parameters() if not n.startswith("base.")]
        return Tuned(model, trainable(model, own, name="prefix"))


class Prefix(nn.Module):
    """A trunk whose attention finds `length` learned keys and values before those of the text."""

    def __init__(self, base: nn.Module, *, length: int, hidden: int | None):
        super().__init__()
        self.base, self.config = base, base.config
        layers, heads, width = key_shape(base.config)
        self.shape = (length, layers, 2, heads, width)
        numbers = layers * 2 * heads * width
        start = torch.randn(length, heads * width) if hidden else 0.02 * torch.randn(length, numbers)
        self.vectors = nn.Parameter(start)
        mlp = [nn.Linear(heads * width, hidden), nn.Tanh(), nn.Linear(hidden, numbers)] if hidden else []
        self.transform = nn.Sequential(*mlp)  # nothing where the vectors are keys and values themselves
        self.to(next(base.parameters()).device)

    def get_input_embeddings(self) -> nn.Module:
        return self.base.get_input_embeddings()

    def pairs(self) -> Tensor:
        """Keys and values: (layers, 2, heads, length, head width)."""
        return self.transform(self.vectors).view(self.shape).permute(1, 2, 3, 0, 4)

    def forward(self, input_ids=None, attention_mask=None, past_key_values=None, position_ids=None, **rest):
        from transformers import DynamicCache

        refuse_checkpointing(self.base)
        length, embeds = self.shape[0], rest.get("inputs_embeds")
        words = input_ids if embeds is None else embeds
        cache = DynamicCache(config=self.config) if past_key_values is None else past_key_values
        past = cache.get_seq_length()  # with the prefix
        mask = mask_with(length, attention_mask, words, past=past, config=self.config)
        if past == 0:
            for layer, pair in enumerate(self.pairs().to(next(self.base.parameters()).dtype)):
                cache.update(*pair.unsqueeze(1).expand(-1, len(words), -1, -1, -1), layer)
        if position_ids is not None:
            position_ids = position_ids + length
        known = {"attention_mask": mask, "past_key_values": cache, "position_ids": position_ids}
        return self.base(input_ids=input_ids, **known, **rest)


def remove(model: nn.Module) -> nn.Module:
    """Take the prefix off in place: the base comes back bit for bit."""
    return unwrap(model, Prefix)
