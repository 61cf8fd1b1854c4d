"""One file per strategy: surgery on the model, and the table of what trains."""

from .full import Full
from .head_only import HeadOnly
from .lora import LoRA

STRATEGIES = {
    "full": Full,
    "head_only": HeadOnly,
    "lora": LoRA,
}  # the names of the command line and of run folders
USUAL_LR = {"full": 1e-4, "head_only": 1e-2, "lora": 2e-3}  # where a search on the course's reviews ended

__all__ = ["STRATEGIES", "USUAL_LR", *(s.__name__ for s in STRATEGIES.values())]
