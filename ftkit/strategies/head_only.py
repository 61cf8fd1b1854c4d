"""HeadOnly: the output layer alone, over a fixed feature extractor (Donahue et al. 2013, arXiv:1310.1531)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..heads import CachedFeatures
from ..records import Tuned
from ..surgery import freeze, head_names, reads_features, trainable


@dataclass(frozen=True)
class HeadOnly:
    """The new layer trains, everything below it is frozen and, with `cache`, runs once per text."""

    cache: bool = False

    def apply(self, model: nn.Module) -> Tuned:
        """Raises ValueError for a model without an output layer of its own, or without features to keep."""
        if not head_names(model):
            raise ValueError(
                f"expected a new output layer, got {type(model).__name__} without one; use Full or LoRA"
            )
        if self.cache and not reads_features(model):
            raise ValueError(
                f"expected a model whose head reads model.features(…), got {type(model).__name__}; load it "
                "by models.load, or use cache=False"
            )
        freeze(model)
        model = CachedFeatures(model) if self.cache else model
        return Tuned(model, trainable(model, [], name="head"))


def remove(model: CachedFeatures) -> nn.Module:
    """The model, without what was kept."""
    return model.model
