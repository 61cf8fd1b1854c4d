"""One file per strategy: surgery on the model, and the table of what trains."""

from .adapters import Adapters
from .bitfit import BitFit
from .discriminative import Discriminative
from .full import Full
from .gated import Gated
from .gradual import GradualUnfreezing
from .head_only import HeadOnly
from .ia3 import IA3
from .lora import LoRA
from .prefix_tuning import PrefixTuning
from .prompt_tuning import PromptTuning
from .qlora import QLoRA

STRATEGIES = {
    "full": Full,
    "head_only": HeadOnly,
    "gradual": GradualUnfreezing,
    "discriminative": Discriminative,
    "gated": Gated,
    "bitfit": BitFit,
    "lora": LoRA,
    "qlora": QLoRA,
    "adapters": Adapters,
    "ia3": IA3,
    "prompt_tuning": PromptTuning,
    "prefix_tuning": PrefixTuning,
}  # the names of the command line and of run folders

# Where a search on the course's reviews ended.
USUAL_LR = {
    "full": 1e-4,
    "head_only": 3e-2,
    "gradual": 1e-3,
    "discriminative": 2e-4,
    "gated": 2e-4,
    "bitfit": 5e-3,
    "lora": 2e-3,
    "qlora": 2e-3,
    "adapters": 5e-3,
    "ia3": 2e-2,
    "prompt_tuning": 3e-2,
    "prefix_tuning": 3e-2,
}

__all__ = ["STRATEGIES", "USUAL_LR", *(s.__name__ for s in STRATEGIES.values())]
