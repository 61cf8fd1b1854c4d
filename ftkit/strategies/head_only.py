"""HeadOnly: the output layer alone, over a fixed feature extractor (Donahue et al. 2013, arXiv:1310.1531)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from ..records import Tuned
from ..surgery import HEADS, freeze, head, reads_features, trainable


@dataclass(frozen=True)
class HeadOnly:
    """The new layer trains, everything below it is frozen and, with `cache`, runs once per text."""

    cache: bool = False

    def apply(self, model: nn.Module) -> Tuned:
        """Raises ValueError for a model without an output layer of its own, or without features to keep."""
        if not head(model):
            raise ValueError(
                f"expected a new output layer, found none in {type(model).__name__}; use Full or LoRA"
            )
        if self.cache and not reads_features(model):
            raise ValueError(
                f"expected a model whose head reads model.features(…), found {type(model).__name__}; load it "
                "by models.load, or use cache=False"
            )
        freeze(model)
        model = CachedFeatures(model) if self.cache else model
        return Tuned(model, trainable(model, [], name="head"))


class CachedFeatures(nn.Module):
    """The model with what its head reads kept by the tokens of the text: the trunk sees each text once.

    The features are those of evaluation (no dropout). When the trunk's weights change, they are forgotten.
    Their last bits are those of the batch in which a text was first read, so a resumed run, which meets texts
    in other batches first, is the uninterrupted one to rounding and not, as without a cache, to the bit.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model, self.config = model, model.config
        self.kept: dict[bytes, Tensor] = {}  # tokens -> (width,)
        self.version = self.trunk_version()

    def forward(self, input_ids, attention_mask):  # (batch, tokens) each
        layer = next(m for name, m in self.model.named_children() if name in HEADS)
        return SequenceClassifierOutput(logits=layer(self.features(input_ids, attention_mask)))

    def features(self, input_ids, attention_mask) -> Tensor:  # (batch, width)
        if self.version != self.trunk_version():
            self.kept, self.version = {}, self.trunk_version()
        rows = zip(input_ids.cpu().numpy(), attention_mask.cpu().numpy() > 0, strict=True)
        texts = [row[real].tobytes() for row, real in rows]
        new = [i for i, text in enumerate(texts) if text not in self.kept]
        if new:
            with torch.no_grad():
                found = self.model.eval().features(input_ids[new], attention_mask[new])
            self.kept.update((texts[i], one) for i, one in zip(new, found, strict=True))
        return torch.stack([self.kept[text] for text in texts])

    def trunk_version(self) -> int:
        """Goes up whenever a frozen weight is written to."""
        return sum(p._version for p in self.model.parameters() if not p.requires_grad)


def remove(model: CachedFeatures) -> nn.Module:
    """The model, without what was kept."""
    return model.model
