"""What a run refuses before it starts: settings out of range, a table that does not fit the model."""

from __future__ import annotations

from .records import TrainConfig, Tuned
from .schedules import SCHEDULES
from .setup import native_precision
from .surgery import head

PRECISIONS = ("auto", "fp32", "bf16", "fp16")


def usable_precision(asked: str, device: str) -> str:
    """The precision to train in; raises ValueError for one that this hardware only emulates."""
    native = native_precision() if device == "cuda" else "fp32"
    if asked == "auto":
        return native
    allowed = {"fp32", "fp16", native} if device == "cuda" else {"fp32", "bf16"}
    if asked not in allowed:
        raise ValueError(
            f"expected precision {' or '.join(sorted(allowed))} or auto on {device}, found {asked!r}"
        )
    return asked


def check_config(config: TrainConfig) -> None:
    """Raise ValueError that lists every setting outside its range."""
    faults = [
        f"{name} must be {rule}, found {getattr(config, name)!r}"
        for name, rule, fine in [
            ("lr", "0 or more", config.lr >= 0),
            ("epochs", "1 or more", config.epochs >= 1),
            ("batch_size", "1 or more", config.batch_size >= 1),
            (
                "micro_batch_size",
                "1 or more, or None",
                config.micro_batch_size is None or config.micro_batch_size >= 1,
            ),
            ("warmup", "a share from 0 to 1", 0 <= config.warmup <= 1),
            ("clip", "above 0, or None", config.clip is None or config.clip > 0),
            ("weight_decay", "0 or more", config.weight_decay >= 0),
            (
                "evaluate_every",
                "1 or more, or None",
                config.evaluate_every is None or config.evaluate_every >= 1,
            ),
            ("patience", "1 or more, or None", config.patience is None or config.patience >= 1),
            ("seed", "0 or more", config.seed >= 0),
            ("schedule", f"one of {', '.join(SCHEDULES)}", config.schedule in SCHEDULES),
            ("precision", f"one of {', '.join(PRECISIONS)}", config.precision in PRECISIONS),
        ]
        if not fine
    ]
    if faults:
        raise ValueError("; ".join(faults))


def check_table(tuned: Tuned) -> None:
    """Raise ValueError when the table misses the head or a trainable parameter, or names one twice."""
    listed = [id(p) for g in tuned.groups for p in g.params]
    names = {id(p): n for n, p in tuned.model.named_parameters()}
    faults = []
    if not listed:
        faults.append("the table is empty; give it at least one group with parameters")
    elif all(g.from_epoch > 0 for g in tuned.groups if g.params):
        faults.append("no group trains in epoch 0; give at least one from_epoch=0")
    if len(set(listed)) < len(listed):
        faults.append(f"in two groups: {sorted({names.get(i, '?') for i in listed if listed.count(i) > 1})}")
    left_out = [
        names[id(p)] for p in tuned.model.parameters() if p.requires_grad and id(p) not in set(listed)
    ]
    if left_out:
        faults.append(f"trainable but in no group: {left_out[:4]}; add them, or freeze them")
    if any(id(p) not in set(listed) for p in head(tuned.model)):
        faults.append(
            "the new output layer is in no group; an untrained head guesses, so add a group with its "
            "parameters"
        )
    strangers = sum(i not in names for i in listed)
    if strangers:
        faults.append(
            f"{strangers} parameters of the table are not the model's; build the table after the surgery"
        )
    if faults:
        raise ValueError("the strategy's table does not fit the model: " + "; ".join(faults))
