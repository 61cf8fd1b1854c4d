"""Full: every parameter trains (Devlin et al. 2018, arXiv:1810.04805)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..records import Tuned
from ..surgery import trainable


@dataclass(frozen=True)
class Full:
    """All parameters at one rate, biases and norms without decay."""

    def apply(self, model: nn.Module) -> Tuned:
        """The model as it is, its parameters in the table."""
        return Tuned(model, trainable(model, [name for name, _ in model.named_parameters()], name="all"))
