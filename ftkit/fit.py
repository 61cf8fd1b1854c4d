"""evaluate, predict, fit: `updates` with the usual company. Nothing here that a notebook could not write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from accelerate.utils import broadcast_object_list
from torch import nn
from tqdm.auto import tqdm

from . import checkpoint
from .loop import Run, updates
from .memory import forget_peak, peak_memory
from .records import Evaluation, History, Prediction


def evaluate(run: Run, split: str = "validation") -> dict[str, float]:
    """The task's scores on a split; with several processes one computes and all get the same numbers."""
    scores = [None]
    if run.processes.is_main_process:
        scores = [run.task.score(run.tuned.model, getattr(run.task, split))]
    if run.processes.num_processes > 1:
        broadcast_object_list(scores)
    return scores[0]


def predict(model: nn.Module, task, texts: Sequence[str]) -> list[Prediction]:
    """What the model says of each text: label, its probability, and the probability of every label."""
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise ValueError(f"text {number} is empty; a label for nothing means nothing")
    found = task.probabilities(model, task.encode(texts)).tolist()
    answers = [dict(zip(task.labels, row, strict=True)) for row in found]
    return [Prediction(label := max(a, key=a.get), a[label], a) for a in answers]


def fit(run: Run, folder: str | Path, *, progress: bool = True) -> History:
    """Train to the end: evaluate, save, keep the best, stop early.

    Evaluates and saves every `config.evaluate_every` updates (once an epoch without it), stops after
    `config.patience` evaluations without a lower validation loss, and ends with the best weights in the
    model. Ctrl-C or a notebook's stop button saves a checkpoint and returns what there is; call `fit` again
    to go on. Raises ValueError when `folder` holds checkpoints that `run` was not restored from.
    """
    folder = Path(folder)
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
        if main:
            place = checkpoint.save(run, folder)
            print(f"stopped after {run.step} of {run.total} updates; saved {place}; call fit again to go on")
        return run.history
    finally:
        bar.close()
    run.ended = "early" if _stale(run) else "finished"
    run.processes.wait_for_everyone()
    run.peak_memory = peak_memory(run)
    checkpoint.restore_parameters(run, checkpoint.best(folder, run.evaluations))
    return run.history


def _settle(run: Run, folder: Path) -> None:
    """Evaluate and save where it is due after this many updates, once."""
    every = run.config.evaluate_every or run.per_epoch
    if run.step == 0 or (run.step % every > 0 and run.step < run.total):
        return
    if not run.evaluations or run.evaluations[-1].step < run.step:
        run.evaluations.append(Evaluation(run.step, evaluate(run)))
    if run.processes.is_main_process:
        checkpoint.save(run, folder)
        checkpoint.prune(folder, evaluations=run.evaluations)


def _stale(run: Run) -> bool:
    """Whether the last `patience` evaluations were all no better than the best before them."""
    if run.config.patience is None:
        return False
    losses = [e.scores["loss"] for e in run.evaluations]
    return bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= run.config.patience


def _refuse_foreign(run: Run, folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder to save in, found a file; choose another")
    newest = checkpoint.all_in(folder)[-1:] if folder.exists() else []
    ahead = newest and int(newest[0].name.removeprefix("step-")) > run.step
    whole = [] if ahead else [p for p in newest if not checkpoint.faults(p)]
    if ahead or not all(checkpoint.belongs(run, p) for p in whole):
        raise ValueError(
            f"{folder}: holds checkpoints up to {newest[0].name} that this run, at update {run.step}, did "
            "not write; choose another, or go on with checkpoint.restore(run, checkpoint.latest(folder))"
        )
