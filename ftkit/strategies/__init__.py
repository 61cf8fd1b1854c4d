"""One file per strategy: surgery on the model, and the table of what trains."""

from .full import Full
from .head_only import HeadOnly
from .lora import LoRA

STRATEGIES = {
    "full": Full,
    "head_only": HeadOnly,
    "lora": LoRA,
}  # the names of the command line and of run folders

__all__ = ["STRATEGIES", *(s.__name__ for s in STRATEGIES.values())]
