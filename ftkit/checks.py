"""What a run refuses or warns of before it starts: settings, a task or a table that do not fit."""

from __future__ import annotations

import math
import warnings

from .place import PRECISIONS
from .records import TrainConfig, Tuned
from .schedules import SCHEDULES
from .surgery import head_names


def check_run(tuned: Tuned, task, config: TrainConfig, *, processes: int) -> None:
    """Raise ValueError for settings, a task or a table that a run cannot begin with."""
    check_config(config)
    check_task(task, config, processes=processes)
    check_table(tuned, config)


def check_config(config: TrainConfig) -> None:
    """Raise ValueError that lists every setting outside its range."""
    at_least_1 = ("epochs", "batch_size")
    at_least_1_or_none = ("micro_batch_size", "evaluate_every", "patience")
    rules = [(name, "0 or more", getattr(config, name) >= 0) for name in ("lr", "weight_decay", "seed")]
    rules += [(name, "1 or more", getattr(config, name) >= 1) for name in at_least_1]
    for name in at_least_1_or_none:
        value = getattr(config, name)
        rules.append((name, "1 or more, or None", value is None or value >= 1))
    rules += [
        ("warmup", "a share from 0 to 1", 0 <= config.warmup <= 1),
        ("clip", "above 0, or None", config.clip is None or config.clip > 0),
        ("schedule", f"one of {', '.join(SCHEDULES)}", config.schedule in SCHEDULES),
        ("precision", f"one of {', '.join(PRECISIONS)}", config.precision in PRECISIONS),
    ]
    faults = [
        f"{name} must be {rule}, got {getattr(config, name)!r}" for name, rule, holds in rules if not holds
    ]
    if faults:
        raise ValueError("; ".join(faults))


def check_task(task, config: TrainConfig, *, processes: int) -> None:
    """Raise ValueError where a task whose loss is of the whole batch would be computed in other batches."""
    last = len(task.train) % config.batch_size
    if not task.divisible and 0 < last < processes:
        raise ValueError(
            f"expected an example for each of {processes} processes in every update, got {last} in the last "
            f"one of an epoch; {type(task).__name__}'s loss is of the whole batch: choose another batch_size"
        )
    if not task.divisible and config.micro_batch_size is not None:
        raise ValueError(
            f"expected no micro_batch_size for {type(task).__name__}, got {config.micro_batch_size}: its "
            "loss compares the examples of a batch, and parts of a batch have another; lower batch_size"
        )


def check_table(tuned: Tuned, config: TrainConfig) -> None:
    """Raise ValueError where the table does not fit the model; warn of rows that never train in this run."""
    parameters = dict(tuned.model.named_parameters())
    listed = [name for group in tuned.groups for name in group.parameters]
    known = set(listed)
    faults = []
    if not listed:
        faults.append("the table is empty; give it at least one group with parameters")
    elif all(g.from_epoch > 0 for g in tuned.groups if g.parameters):
        faults.append("no group trains in epoch 0; give at least one from_epoch=0")
    twice = sorted({name for name in listed if listed.count(name) > 1} if len(known) < len(listed) else ())
    if twice:
        faults.append(f"in two groups: {_some(twice)}")
    left_out = [name for name, p in parameters.items() if p.requires_grad and name not in known]
    if left_out:
        faults.append(f"trainable but in no group: {_some(left_out)}; add them, or freeze them")
    if not known.issuperset(head_names(tuned.model)):
        faults.append(
            "the new output layer is in no group; an untrained head guesses, so add a group with its "
            "parameters"
        )
    strangers = [name for name in listed if name not in parameters]
    if strangers:
        faults.append(
            f"not parameters of the model: {_some(strangers)}; build the table after the surgery, with the "
            "names of model.named_parameters()"
        )
    if faults:
        raise ValueError("the strategy's table does not fit the model: " + "; ".join(faults))
    rows = [g.name.removesuffix(" (no decay)") for g in tuned.groups if g.from_epoch >= config.epochs]
    asleep = list(dict.fromkeys(rows))
    if asleep:
        epochs = max(g.from_epoch for g in tuned.groups) + 1
        warnings.warn(
            f"never trained in {config.epochs} epochs: {', '.join(asleep)}; train {epochs} epochs or more to "
            "reach every row of the table",
            stacklevel=5,
        )


def check_sums(run, *, loss: float, norm: float, terms: float) -> None:
    """Stop before a loss that is no number reaches the weights (fp16's scaler skips overflows itself)."""
    if terms == 0:
        raise ValueError(f"update {run.step}: no example of it carries a label; remove the unlabelled rows")
    if math.isfinite(loss) and (math.isfinite(norm) or run.scaler.is_enabled()):
        return
    if run.scaler.is_enabled():
        run.scaler.update()  # or it would refuse to unscale the next update
    raise FloatingPointError(
        f"update {run.step}: expected a finite loss and gradient, got {loss} and norm {norm}; the weights "
        f"are those after {run.step} updates. Try a smaller lr (now {run.config.lr:g}) or a longer warm-up, "
        "and look at the examples of this update: run.examples()"
    )


def check_retry(run, error: BaseException, *, size: int) -> None:
    """Raise ValueError where an update that did not fit the memory cannot be tried again in smaller parts."""
    if run.sharded or not run.task.divisible:
        why = "sharded processes compute equally often" if run.sharded else "its loss is of the whole batch"
        remedy = "micro_batch_size" if run.task.divisible else "batch_size"
        raise ValueError(
            f"update {run.step}: {size} examples at once do not fit the memory ({error}), and {why}; start "
            f"again with a smaller {remedy}"
        ) from None
    if size == 1:
        raise ValueError(
            f"update {run.step}: one example does not fit the memory ({error}); shorten texts with "
            "max_tokens, or choose a smaller model or a strategy that trains less"
        ) from None


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
