"""QLoRA: low-rank updates beside a base in 4 bits (Dettmers et al. 2023, arXiv:2305.14314)."""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass

from torch import nn

from ..families import family
from ..records import Tuned
from ..surgery import all_linear, in_out, matrix, replace
from .lora import LoRA
from .low_rank import merge, pairs, remove

__all__ = ["QLoRA", "four_bit", "merge", "pairs", "remove"]


@dataclass(frozen=True)
class QLoRA:
    """The linear layers in NF4 by bitsandbytes, frozen; beside those in `targets` (without any, all) LoRA."""

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ()
    dropout: float = 0.0  # of the input of A, while training
    double: bool = True  # the blocks' scales in 8 bits, too

    def apply(self, model: nn.Module) -> Tuned:
        """Raises ValueError without bitsandbytes, or for a rank or a target that does not fit."""
        if importlib.util.find_spec("bitsandbytes") is None:
            raise ValueError(
                "expected the package bitsandbytes for a base in 4 bits, which is not installed; "
                'pip install "bitsandbytes", or use LoRA'
            )
        lora = LoRA(rank=self.rank, alpha=self.alpha, targets=self.targets, dropout=self.dropout)
        tuned = lora.apply(model)  # refuses what does not fit before anything is rounded
        whole = family(model).unpacked
        for name, layer in pairs(model).items():
            if name.rpartition(".")[2] not in whole:
                layer.base = four_bit(layer.base, double=self.double)
        others = [n for n in all_linear(model) if self.targets and n not in (*self.targets, *whole)]
        if others:
            replace(model, tuple(others), lambda one: four_bit(one, double=self.double))
        return tuned


def four_bit(layer: nn.Module, *, double: bool = True) -> nn.Module:
    """A frozen linear layer whose weight is stored in NF4; it computes in the dtype of its input."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it looks for faster kernels on the hub
    inputs, outputs = in_out(layer)
    packed = Linear4bit(inputs, outputs, bias=layer.bias is not None, quant_type="nf4", device="meta")
    weight = Params4bit(
        matrix(layer).contiguous(), requires_grad=False, quant_type="nf4", compress_statistics=double
    )
    packed.weight = weight.to(layer.weight.device)  # the move is what rounds
    packed.bias = layer.bias
    packed.support_avx512bf16_for_cpu = False  # or evaluation would round the scales to bf16, training not
    return packed.requires_grad_(False)
