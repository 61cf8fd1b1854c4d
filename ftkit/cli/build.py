"""From settings to task, model and strategy: what finetune and predict share."""

from __future__ import annotations

from ..records import Tuned
from .runfolder import Settings


def strategy(settings: Settings):
    """The strategy record that the settings name; ValueError for an option that it does not have."""
    from ..strategies import STRATEGIES

    if settings.strategy not in STRATEGIES:
        raise ValueError(f"expected a strategy out of {', '.join(STRATEGIES)}, found {settings.strategy!r}")
    options = {k: v for k in ("rank", "alpha") if (v := getattr(settings, k)) is not None}
    if options and settings.strategy != "lora":
        raise ValueError(
            f"--{next(iter(options))} belongs to --strategy lora, not to {settings.strategy}; leave it out"
        )
    if settings.strategy == "lora":
        options.setdefault("rank", 4)
    return STRATEGIES[settings.strategy](**options)


def tuned(settings: Settings, task) -> Tuned:
    """The pretrained model after the strategy's surgery; the same weights for the same seed."""
    import torch

    from .. import models

    model = models.load(settings.model, task, seed=settings.seed)
    torch.manual_seed(settings.seed)
    return strategy(settings).apply(model)
