"""evaluate, predict, fit: `updates` with the usual company. Nothing here that a notebook could not write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from accelerate.utils import broadcast_object_list
from torch import nn
from tqdm.auto import tqdm

from . import checkpoint
from .loop import Run, updates
from .memory import peak_memory
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
    main, every = run.processes.is_main_process, run.config.evaluate_every or run.per_epoch
    bar = tqdm(
        total=run.total, initial=run.step, unit="update", disable=not (progress and main), dynamic_ncols=True
    )
    run.ended = "finished"
    try:
        for step in updates(run):
            bar.update()
            bar.set_postfix(loss=f"{step.loss:.3f}", refresh=False)
            if run.step % every == 0 or run.step == run.total:
                run.evaluations.append(Evaluation(run.step, evaluate(run)))
                if main:
                    checkpoint.save(run, folder)
                    checkpoint.prune(folder)
                if _stale(run):
                    run.ended = "early"
                    break
    except KeyboardInterrupt:
        run.ended = "interrupted"
        if main:
            place = checkpoint.save(run, folder)
            print(f"stopped after {run.step} of {run.total} updates; saved {place}; call fit again to go on")
        return run.history
    finally:
        bar.close()
    run.processes.wait_for_everyone()
    run.peak_memory = peak_memory(run)
    checkpoint.restore_parameters(run, checkpoint.best(folder))
    return run.history


def _stale(run: Run) -> bool:
    """Whether the last `patience` evaluations were all no better than the best before them."""
    if run.config.patience is None:
        return False
    losses = [e.scores["loss"] for e in run.evaluations]
    return len(losses) - 1 - losses.index(min(losses)) >= run.config.patience


def _refuse_foreign(run: Run, folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder to save in, found a file; choose another")
    newest = checkpoint.all_in(folder)[-1:] if folder.exists() else []
    if newest and int(newest[0].name.removeprefix("step-")) > run.step:
        raise ValueError(
            f"{folder}: holds checkpoints up to {newest[0].name}, and this run is at update {run.step}; "
            "choose another "
            "folder, or go on with checkpoint.restore(run, checkpoint.latest(folder))"
        )
