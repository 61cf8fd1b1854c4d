"""Adapters: small bottlenecks inside the blocks (Houlsby et al. 2019, arXiv:1902.00751)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from ..families import family
from ..records import Tuned
from ..surgery import freeze, in_out, own_names, replace, stand_in, trainable, unwrap

PLACEMENTS = ("pfeiffer", "houlsby")


@dataclass(frozen=True)
class Adapters:
    """A bottleneck before the residual sum: after the feed-forward, and for Houlsby after attention as well.

    Pfeiffer et al. 2021 (arXiv:2005.00247) found the one after the feed-forward to be enough.
    """

    size: int = 16  # features in the bottleneck
    placement: str = "pfeiffer"  # or "houlsby"

    def apply(self, model: nn.Module) -> Tuned:
        """Raises ValueError for a size or placement that does not fit, or an unknown family of models."""
        if self.placement not in PLACEMENTS:
            raise ValueError(f"expected a placement out of {', '.join(PLACEMENTS)}, found {self.placement!r}")
        if bottlenecks(model):
            raise ValueError("expected a model without adapters, got one with them; call remove(model) first")
        known = family(model)
        places = (known.feed_forward_out, *([known.attention_out] if self.placement == "houlsby" else []))
        if not all(places):
            raise ValueError(
                f"expected a layer behind the attention, which {known.name} has not; use placement='pfeiffer'"
            )
        replace(model, places, lambda one: Bottleneck(one, size=self.size))
        freeze(model)
        own = own_names(model, Bottleneck, ["down", "down_bias", "up", "up_bias"])
        return Tuned(model, trainable(model, own, name="adapters"))


@stand_in
class Bottleneck(nn.Module):
    """y = h + U gelu(D h + d) + u with h = base(x); D (size, width), U (width, size) that starts at 0."""

    def __init__(self, base: nn.Module, *, size: int):
        super().__init__()
        width, where = in_out(base)[1], base.weight.device
        if not 1 <= size <= width:
            raise ValueError(f"expected a bottleneck from 1 to {width} features, got {size}; choose another")
        self.base = base
        self.down = nn.Parameter(torch.empty(size, width, device=where))
        self.down_bias = nn.Parameter(torch.zeros(size, device=where))
        self.up = nn.Parameter(torch.zeros(width, size, device=where))
        self.up_bias = nn.Parameter(torch.zeros(width, device=where))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(
        self, x: Tensor, *others
    ) -> Tensor:  # (..., in) -> (..., width); `others` are the layer's own
        h = self.base(x, *others)
        inner = gelu(h.to(self.down.dtype) @ self.down.T + self.down_bias)  # (..., size)
        return h + (inner @ self.up.T + self.up_bias).to(h.dtype)


def bottlenecks(model: nn.Module) -> dict[str, Bottleneck]:
    """The bottlenecks by the name of the layer that they follow."""
    return {n: m for n, m in model.named_modules() if isinstance(m, Bottleneck)}


def remove(model: nn.Module) -> nn.Module:
    """Take the bottlenecks out in place: the base comes back bit for bit. Merging them is not possible."""
    return unwrap(model, Bottleneck)
