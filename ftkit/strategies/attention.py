"""Attention over learned keys and values before the text's, by transformers' own interface for attention.

Nearly all families compute attention by a function that their configuration names. Ours puts a layer's pair
before the text's keys and values, widens the mask, and leaves the rest to transformers. The pair lies in no
cache, so generation and activation checkpointing work as they do without it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

NAME = "learned_prefix"


@dataclass(frozen=True)
class Place:
    """Which of a prefix's pairs a layer reads; no module, so that the prefix stands in the tree once."""

    prefix: nn.Module  # with pair(layer) -> keys and values, (2, length, width of all heads)
    layer: int


def key_shape(config) -> tuple[int, int]:
    """(heads, width of a head) of the keys, as of the values."""
    config = config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return heads, getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def register() -> str:
    """Make this attention known to transformers; returns its name."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, mask)
    return NAME


def refuse_another(config) -> None:
    """Raise ValueError where attention is no longer computed by this function: the prefix would be lost."""
    if config._attn_implementation != NAME:
        raise ValueError(
            f"expected the attention {NAME!r}, which reads the prefix, got {config._attn_implementation!r}; "
            "choose the attention before PrefixTuning, or call remove(model) first"
        )


def attend(module, query, key, value, attention_mask, position_bias=None, softcap=None, **rest):
    """transformers' attention; queries, keys and values are (batch, heads, tokens, width)."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

    if hasattr(module, "place"):
        pair = module.place.prefix.pair(module.place.layer).to(key.dtype)
        length, shape = pair.shape[1], (2, 1, pair.shape[1], key.shape[1], key.shape[3])
        pair = pair.view(shape).transpose(2, 3).expand(-1, len(key), -1, -1, -1)
        key, value = torch.cat([pair[0], key], 2), torch.cat([pair[1], value], 2)
        if attention_mask is not None:
            attention_mask = nn.functional.pad(attention_mask, (length, 0), value=True)
        if position_bias is not None:
            position_bias = nn.functional.pad(position_bias, (length, 0))
    if softcap is None:
        rest |= {"position_bias": position_bias, "is_causal": False}  # what is causal has a mask
        return sdpa_attention_forward(module, query, key, value, attention_mask, **rest)
    if attention_mask is not None:
        hidden = torch.zeros_like(attention_mask, dtype=query.dtype)
        attention_mask = hidden.masked_fill(~attention_mask, torch.finfo(query.dtype).min)
    return eager_attention_forward(module, query, key, value, attention_mask, softcap=softcap, **rest)


def mask(*sizes, allow_is_causal_skip: bool = True, **settings) -> Tensor | None:
    """Which keys each query reads, (batch, 1, queries, keys), also where it is plainly causal; None: all."""
    from transformers.masking_utils import sdpa_mask

    return sdpa_mask(*sizes, allow_is_causal_skip=False, **settings)
