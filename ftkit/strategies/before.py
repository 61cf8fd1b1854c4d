"""What prompt and prefix share: places before the text, which the model sees and the caller does not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..families import family
from ..surgery import context, matching, trunk


def placed(model: nn.Module, *, length: int) -> tuple[str, nn.Module]:
    """(name, module) of what reads the text, with room for `length` places before it; raises ValueError."""
    if any(type(module).__name__ in ("SoftPrompt", "Prefix") for module in model.modules()):
        raise ValueError("expected a model without a prompt or prefix, got one; call remove(model) first")
    part = family(model).reads
    readers = matching(model, part) if part else []
    name = readers[0] if readers else trunk(model)[0]  # an encoder that stands alone is the trunk itself
    base = model.get_submodule(name)
    most = room(base)
    if length < 1 or (most is not None and length >= most):
        limits = "at least 1 place" if most is None else f"1 to {most - 1} places"
        where = "" if most is None else f", in a context of {most}"
        raise ValueError(f"expected {limits} before the text{where}, got {length}; choose another length")
    return name, base


def first_position(base: nn.Module) -> int:
    """The number of a text's first position: 0, or in RoBERTa and its kin one more than the padding's id."""
    return base.config.pad_token_id + 1 if family(base).positions == "after padding" else 0


def room(base: nn.Module) -> int | None:
    """The most places that the model reads; None where nothing limits them, as with relative positions."""
    most = context(base)
    return most - first_position(base) if most and most > 0 else None  # XLNet says -1


def passes_for_its_base(wrapper: type) -> type:
    """Let a wrapper of a trunk stand where the trunk stood: models and `generate` ask for these."""
    wrapper.main_input_name = "input_ids"
    wrapper.get_input_embeddings = lambda self: self.base.get_input_embeddings()
    wrapper.embed_tokens = property(wrapper.get_input_embeddings)
    return wrapper


def mask_with(base: nn.Module, mask: Tensor | None, words: Tensor, *, past: int, length: int) -> Tensor:
    """The mask of the text so far with `length` places before it: (batch, length + tokens so far).

    `past` counts the text's tokens that lie in a cache. Raises ValueError for a text that leaves no room.
    """
    if mask is None:
        mask = torch.ones(len(words), past + words.shape[1], dtype=torch.long, device=words.device)
    most = room(base)
    if most is not None and length + mask.shape[1] > most:
        raise ValueError(
            f"expected at most {most - length} tokens beside {length} places before the text, got "
            f"{mask.shape[1]}; shorten the texts (max_tokens={most - length}) or what stands before them"
        )
    return torch.cat([mask.new_ones(len(mask), length), mask], 1)


def numbered(base: nn.Module, mask: Tensor, given: Tensor | None, *, entering: int, length: int) -> dict:
    """{"position_ids": (batch, entering)} of the last `entering` places of the mask, the text after `length`.

    They are counted by the mask, so that padding on the left moves nothing. Empty for a family that counts by
    itself or has relative positions only.
    """
    if not family(base).positions:
        return {}
    first = first_position(base)
    if given is None:
        return {"position_ids": (mask.cumsum(1) - 1).clamp(min=0)[:, -entering:] + first}
    before = torch.arange(entering - given.shape[1], device=given.device) + first
    return {"position_ids": torch.cat([before.expand(len(given), -1), given + length], 1)}
