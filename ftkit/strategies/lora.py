"""LoRA: beside a frozen matrix, the product of two thin ones (Hu et al. 2021, arXiv:2106.09685)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..records import Tuned
from ..surgery import all_linear, freeze, look_up, own_names, replace, rows, trainable
from .low_rank import LowRank, merge, pairs, remove

__all__ = ["LoRA", "LowRank", "merge", "pairs", "remove"]


@dataclass(frozen=True)
class LoRA:
    """Low-rank updates beside the linear layers named in `targets`; without any, beside all but the head."""

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ()
    dropout: float = 0.0  # of the input of A, while training
    rslora: bool = False  # alpha / sqrt(rank) for alpha / rank (Kalajdzievski 2023, arXiv:2312.03732)
    dora: bool = False  # every row's length apart from its direction (Liu et al. 2024, arXiv:2402.09353)
    b_lr_scale: float = 1.0  # B's rate over A's: LoRA+ (Hayou et al. 2024, arXiv:2402.12354)

    def apply(self, model: nn.Module) -> Tuned:
        """Raises ValueError for a rank or a target that does not fit; then the model is as it was."""
        if pairs(model):
            raise ValueError("expected a model without LoRA, got one with it; call remove(model) first")
        options = {"alpha": self.alpha, "dropout": self.dropout, "rslora": self.rslora, "dora": self.dora}
        replace(model, self.targets or all_linear(model), lambda m: LowRank(m, rank=self.rank, **options))
        freeze(model)
        thin = own_names(model, LowRank, ["a", "length"])
        b = own_names(model, LowRank, ["b"])
        if self.b_lr_scale == 1:
            return Tuned(model, trainable(model, thin + b, name="lora"))
        table = trainable(model, thin, name="lora A")
        for parameter in look_up(model, b):
            parameter.requires_grad_(True)
        return Tuned(model, (*table, *rows(model, b, name="lora B", lr_scale=self.b_lr_scale)))
