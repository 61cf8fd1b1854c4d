"""What prompt and prefix share: places before the text, which the model sees and the caller does not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..surgery import checkpoints_activations, context, trunk


def trunk_for(model: nn.Module, *, length: int) -> tuple[str, nn.Module]:
    """(name, trunk) that has room for `length` places before the text."""
    name, base = trunk(model)
    if type(base).__name__ in ("SoftPrompt", "Prefix"):
        raise ValueError("expected a model without a prompt or prefix, found one; call remove(model) first")
    if not 1 <= length < context(base):
        raise ValueError(
            f"expected 1 to {context(base) - 1} places before the text, in a context of {context(base)}, "
            f"found {length}; choose another length"
        )
    return name, base


def mask_with(length: int, mask: Tensor | None, words: Tensor, *, past: int, config) -> Tensor:
    """The mask of the tokens so far with `length` places before it: (batch, length + tokens so far)."""
    if mask is None:
        seen = max(0, past - length) + words.shape[1]
        mask = torch.ones(len(words), seen, dtype=torch.long, device=words.device)
    most = config.get_text_config().max_position_embeddings
    if length + mask.shape[1] > most:
        raise ValueError(
            f"expected at most {most - length} tokens beside {length} places before the text, found "
            f"{mask.shape[1]}; shorten the texts (max_tokens={most - length}) or what stands before them"
        )
    return torch.cat([mask.new_ones(len(mask), length), mask], 1)


def key_shape(config) -> tuple[int, int, int]:
    """(layers, heads, width of a head) of the keys and values that a cache holds."""
    config = config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return config.num_hidden_layers, heads, width


def refuse_checkpointing(base: nn.Module) -> None:
    """Raise ValueError where blocks are computed again in the backward pass."""
    if checkpoints_activations(base):
        raise ValueError(
            "expected no activation checkpointing under a prefix, found it: blocks that are computed again "
            "do not find the prefix; call model.gradient_checkpointing_disable(), or use LoRA"
        )
