"""The records that travel between the layers: frozen data, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class TrainConfig:
    """How to train. `batch_size` is the same on any hardware; `micro_batch_size` is the memory knob."""

    lr: float = 1e-3  # peak learning rate of a group whose lr_scale is 1
    epochs: int = 3
    batch_size: int = 32  # examples per update, over all processes together
    micro_batch_size: int | None = (
        None  # examples per forward pass and process; None: the whole share at once
    )
    schedule: str = "linear"  # a name in ftkit.schedules.SCHEDULES
    warmup: float = 0.1  # share of the updates
    clip: float | None = 1.0  # largest global gradient norm
    weight_decay: float = 0.01  # decoupled, as in AdamW
    precision: str = "auto"  # "auto" | "fp32" | "bf16" | "fp16"
    evaluate_every: int | None = None  # updates between two evaluations in `fit`; None: once an epoch
    patience: int | None = None  # evaluations without a lower validation loss before `fit` stops
    seed: int = 0


@dataclass(frozen=True)
class Group:
    """Parameters that train together: how fast, and from when. One row of a strategy's table."""

    name: str
    params: tuple[nn.Parameter, ...]
    lr_scale: float = 1.0
    from_epoch: int = 0


@dataclass(frozen=True)
class Tuned:
    """What a strategy hands to the loop: the operated model and the table of what trains."""

    model: nn.Module
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Step:
    """One optimizer update, measured."""

    step: int  # counted from 0
    total: int  # updates in the whole run
    epoch: int
    loss: float  # mean over the update's terms, in nats
    lr: float  # of a group whose lr_scale is 1
    grad_norm: float  # before clipping
    terms: int  # labels or tokens that the loss counted
    tokens: int  # real tokens, padding not counted
    seconds: float


@dataclass(frozen=True)
class Evaluation:
    """Scores on the validation split after `step` updates."""

    step: int
    scores: dict[str, float]


@dataclass(frozen=True)
class History:
    """What happened in a run."""

    steps: tuple[Step, ...]
    evaluations: tuple[Evaluation, ...]
    parameters: int  # all of the model's
    trainable: int  # those in the table
    tokens_per_second: float  # real tokens, over the time spent in updates
    peak_memory: int  # bytes; 0 until it was measured
    ended: str = "running"  # then "finished", "early" or "interrupted"


@dataclass(frozen=True)
class Prediction:
    """What a classifier says of one text."""

    label: str
    probability: float
    probabilities: dict[str, float]
