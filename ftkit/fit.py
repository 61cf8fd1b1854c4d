"""evaluate, predict, fit: `updates` with the usual company. Nothing here that a notebook could not write."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from torch import nn
from tqdm.auto import tqdm

from . import checkpoint
from .loop import Run, updates
from .memory import forget_peak, peak_memory
from .records import Evaluation, History
from .tasks.task import together


def evaluate(run: Run, split: str = "validation") -> dict[str, float]:
    """The task's scores on a split, in the run's precision, computed by all processes for all."""
    with run.autocast(), together(run.processes):
        return run.task.score(run.tuned.model, getattr(run.task, split))


def predict(model: nn.Module, task, texts: Sequence[str]) -> list:
    """The task's record for each text: for classification its label and the labels' probabilities."""
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise ValueError(f"text {number} is empty; there is nothing to answer to: remove it")
    return task.predict(model, task.encode(texts))


def fit(run: Run, folder: str | Path, *, progress: bool = True) -> History:
    """Train to the end: evaluate, save, keep the best, stop early.

    Evaluates and saves every `config.evaluate_every` updates (once an epoch without it), stops after
    `config.patience` evaluations without a lower validation loss, and ends with the best weights in the
    model. Ctrl-C or a notebook's stop button saves a checkpoint and returns what there is; call `fit` again
    to go on. Raises ValueError when `folder` holds checkpoints that `run` was not restored from.
    """
    folder = Path(folder)
    if not len(run.task.validation):
        raise ValueError(
            "expected examples in the task's validation split, got none: fit chooses the best model on them; "
            "give some, or train with updates(run) alone"
        )
    _refuse_foreign(run, folder)
    forget_peak(run)
    main = run.processes.is_main_process
    bar = tqdm(
        total=run.total, initial=run.step, unit="update", disable=not (progress and main), dynamic_ncols=True
    )
    try:
        _settle(run, folder)  # what a run that was interrupted, or advanced by `updates`, still owes
        for step in () if _stale(run) else updates(run):
            bar.update()
            bar.set_postfix(loss=f"{step.loss:.3f}", refresh=False)
            _settle(run, folder)
            if _stale(run):
                break
    except KeyboardInterrupt:
        run.ended = "interrupted"
        if run.sharded:  # its parts lie in processes that may have stopped at different places
            place = checkpoint.latest(folder) or "nothing yet"
        else:
            place = checkpoint.save(run, folder) if main else None
        if main:
            print(f"stopped after {run.step} of {run.total} updates; saved {place}; call fit again to go on")
        return run.history
    finally:
        bar.close()
    run.ended = "early" if _stale(run) else "finished"
    run.processes.wait_for_everyone()
    run.peak_memory = peak_memory(run)
    checkpoint.restore_parameters(run, checkpoint.best(folder, run.evaluations, hashes=False))
    return run.history


def _settle(run: Run, folder: Path) -> None:
    """Evaluate and save where it is due after this many updates, once."""
    every = run.config.evaluate_every or run.per_epoch
    if run.step == 0 or (run.step % every > 0 and run.step < run.total):
        return
    if not run.evaluations or run.evaluations[-1].step < run.step:
        scores = evaluate(run)
        if not math.isfinite(scores["loss"]):
            raise FloatingPointError(
                f"after {run.step} updates: expected a finite validation loss, got {scores['loss']}; these "
                f"weights were not saved. Go on from the last checkpoint in {folder} with a smaller lr (now "
                f"{run.config.lr:g}), or look for texts without any token"
            )
        run.evaluations.append(Evaluation(run.step, scores))
    if run.processes.is_main_process or run.sharded:
        checkpoint.save(run, folder)
    if run.processes.is_main_process:
        checkpoint.prune(folder, evaluations=run.evaluations)


def _stale(run: Run) -> bool:
    """Whether the last `patience` evaluations were all no better than the best before them."""
    if run.config.patience is None:
        return False
    losses = [e.scores["loss"] for e in run.evaluations]
    return bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= run.config.patience


def _refuse_foreign(run: Run, folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder to save in, got a file; choose another")
    newest = checkpoint.all_in(folder)[-1:] if folder.exists() else []
    ahead = newest and int(newest[0].name.removeprefix("step-")) > run.step
    whole = [] if ahead else [p for p in newest if not checkpoint.faults(p)]
    if ahead or not all(checkpoint.belongs(run, p) for p in whole):
        raise ValueError(
            f"{folder}: holds checkpoints up to {newest[0].name} that this run, at update {run.step}, did "
            "not write; choose another, or go on with checkpoint.restore(run, checkpoint.latest(folder))"
        )
