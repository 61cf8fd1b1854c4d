"""The records that travel between the layers: frozen data, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def setting(default, help: str):
    """A field of a settings record: its default, and the line that the command line and run.json show."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class TrainConfig:
    """How to train. `batch_size` is the same on any hardware; `micro_batch_size` is the memory knob."""

    lr: float = setting(1e-3, "peak learning rate of a group whose lr_scale is 1")
    epochs: int = setting(3, "passes over the training split")
    batch_size: int = setting(32, "examples per update, over all processes together")
    micro_batch_size: int | None = setting(None, "examples per forward pass and process, to save memory")
    schedule: str = setting("linear", "course of the learning rate: constant, linear, cosine, …")
    warmup: float = setting(0.1, "share of the updates over which the learning rate rises")
    clip: float | None = setting(1.0, "largest global norm of the gradient")
    weight_decay: float = setting(0.01, "decoupled weight decay of matrices, as in AdamW")
    precision: str = setting("auto", "auto, fp32, bf16 or fp16")
    evaluate_every: int | None = setting(None, "updates between two evaluations; once an epoch without it")
    patience: int | None = setting(None, "evaluations without a lower validation loss before training stops")
    seed: int = setting(0, "of the data's order, dropout and new layers")


@dataclass(frozen=True)
class Group:
    """Parameters that train together: how fast, from when, with how much decay. A row of a strategy's table.

    Parameters are named as `model.named_parameters()` names them: the objects behind the names are exchanged
    when a model moves, is sharded or is loaded.
    """

    name: str
    parameters: tuple[str, ...]
    lr_scale: float = 1.0
    from_epoch: int = 0
    weight_decay: float | None = None  # None: the run's


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
    tokens: int  # real tokens of all inputs, padding not counted
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
    trainable: int  # those in the table that train in some epoch
    tokens_per_second: float  # real tokens, over the time spent in updates
    peak_memory: int  # bytes; 0 until it was measured
    ended: str = "running"  # then "finished", "early" or "interrupted"


def history(run) -> History:
    """The record of a `loop.Run` so far."""
    sizes = {name: p.numel() for name, p in run.tuned.model.named_parameters()}
    waking = [group for group in run.tuned.groups if group.from_epoch < run.config.epochs]
    seconds = sum(step.seconds for step in run.steps)
    return History(
        steps=tuple(run.steps),
        evaluations=tuple(run.evaluations),
        parameters=sum(sizes.values()),
        trainable=sum(sizes[name] for group in waking for name in group.parameters),
        tokens_per_second=sum(step.tokens for step in run.steps) / seconds if seconds else 0.0,
        peak_memory=run.peak_memory,
        ended=run.ended,
    )
