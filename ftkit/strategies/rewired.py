"""Rewire a model's attention so that it reads a prefix, and back.

MPNet and BLOOM do not go through transformers' interface for attention: theirs is written out here.
"""

from __future__ import annotations

from torch import nn

from ..families import family
from ..surgery import matching, put, unwrap
from .attention import Place, attend, register


def attentions(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that make keys and values, in order; a decoder beside an encoder has two in a block."""
    known = family(model)
    if known.no_prefix:
        raise ValueError(f"{known.name} takes no prefix: {known.no_prefix}; use PromptTuning or LoRA")
    names = [name for target in known.keys_values for name in matching(model, target)]
    parents = {name.rpartition(".")[0] for name in names}
    return {name: module for name, module in model.named_modules() if name in parents}


def rewire(model: nn.Module, prefix: nn.Module) -> None:
    """Let each attention of the model read its pair of the prefix, in the order of `attentions`."""
    for layer, (name, module) in enumerate(attentions(model).items()):
        if type(module).__name__ in FORWARDS:
            put(model, name, module := WrittenOut(module))
        module.place = Place(prefix, layer)
    _compute_by(model, register())


def restore(model: nn.Module, attention: str) -> None:
    """Let no attention read a prefix; it is computed by transformers' `attention` again."""
    for module in [module for module in model.modules() if hasattr(module, "place")]:
        del module.place
    _compute_by(unwrap(model, WrittenOut), attention)


class WrittenOut(nn.Module):
    """What the attention `base` computes, by `attend`."""

    def __init__(self, base: nn.Module):
        super().__init__()
        self.base = base

    def forward(self, *inputs, **named):
        return FORWARDS[type(self.base).__name__](self, *inputs, **named)


def mpnet(self, hidden, attention_mask=None, position_bias=None, output_attentions=False):
    """MPNet's attention, with the bias by relative position that its encoder computes."""
    one, per_head = self.base, (*hidden.shape[:-1], -1, self.base.attention_head_size)
    parts = [layer(hidden).view(per_head).transpose(1, 2) for layer in (one.q, one.k, one.v)]
    dropout = one.dropout.p if self.training else 0.0
    read, _ = attend(self, *parts, attention_mask, position_bias, dropout=dropout)
    return (one.o(read.flatten(2)),)  # (batch, tokens, width)


def bloom(self, hidden, residual, *, alibi, attention_mask, layer_past=None, **unused):
    """BLOOM's attention, whose bias grows with a key's position; the prefix gets that of the first."""
    one = self.base
    queries, keys, values = one._reshape(one.query_key_value(hidden))
    if layer_past is not None:
        keys, values = layer_past.update(keys, values, one.layer_idx)
    bias = alibi.view(len(keys), one.num_heads, 1, -1)  # (batch, heads, 1, keys)
    dropout = one.attention_dropout.p if self.training else 0.0
    read, _ = attend(self, queries, keys, values, attention_mask, bias, dropout=dropout)
    added = nn.functional.dropout(one.dense(read.flatten(2)), one.hidden_dropout, self.training)
    return residual + added, None  # (batch, tokens, width)


FORWARDS = {"MPNetSelfAttention": mpnet, "BloomAttention": bloom}


def _compute_by(model: nn.Module, attention: str) -> None:
    for config in {id(c): c for m in model.modules() if (c := getattr(m, "config", None))}.values():
        config._attn_implementation = attention
