"""ftkit finetune: from a table of labelled texts to a tested classifier, a plot and a model card."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from . import card
from .settings import CHECKPOINTS, RECORD, Settings, add_options, asked, differences, load, settings, store

HELP = "fine-tune a model on your own labelled texts"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Where to, and an option for every setting."""
    parser.add_argument(
        "--out", required=True, type=Path, help="folder for the run; it must not hold anything yet"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    add_options(parser)


def run(given: argparse.Namespace) -> int:
    """Train, or go on, and write results.json, loss.png and model-card.md into the run folder."""
    from .. import checkpoint, models, tasks
    from ..fit import fit
    from ..loop import Run

    chosen = _resumed(given) if given.resume else _new(given)
    tokenizer = models.tokenizer(chosen.model)
    task = tasks.table(
        tokenizer,
        chosen.data,
        text=chosen.text,
        label=chosen.label,
        validation=chosen.validation,
        test=chosen.test,
        max_tokens=chosen.max_tokens,
        seed=chosen.train.seed,
    )
    digests = {split: getattr(task, split).file.sha256 for split in ("train", "validation", "test")}
    if given.resume and digests != chosen.digests:
        raise ValueError(
            f"{chosen.data}: not the data that the run in {given.out} was started with; restore it, or use a "
            "new --out"
        )
    chosen = replace(chosen, labels=task.labels, max_tokens=task.max_tokens, digests=digests)
    one = Run(tuned(chosen, task), task, chosen.train)
    newest = checkpoint.latest(given.out / CHECKPOINTS) if given.resume else None
    if newest:
        checkpoint.restore(one, newest)
    main = one.processes.is_main_process
    if main:
        print(
            f"{len(task.train)} texts to train on, {len(task.validation)} to validate, "
            f"{len(task.test)} to test; labels {', '.join(task.labels)}; "
            f"{task.shortened} texts shortened to {task.max_tokens} tokens"
        )
        print(
            f"{chosen.strategy}: {one.history.trainable:,} of {one.history.parameters:,} parameters train"
            + (f"; going on after update {one.step}" if newest else "")
        )
    one.processes.wait_for_everyone()  # every process has seen that the folder was free
    if main and not (given.out / RECORD).exists():
        store(chosen, given.out)
    history = fit(one, given.out / CHECKPOINTS)
    if history.ended == "interrupted":
        if main:
            print(f"go on with: ftkit finetune --out {given.out} --resume")
        return 130
    results = card.results(one)  # by all processes together
    if main:
        card.write(given.out, settings=chosen, run=one, results=results)
        print(card.table(results))
        print(f"written: {', '.join(str(given.out / n) for n in card.NAMES)}")
        print(f'try it: ftkit predict {given.out} "a sentence of yours"')
    one.processes.wait_for_everyone()
    one.processes.destroy_process_group()
    return 0


def tuned(chosen: Settings, task):
    """The pretrained model after the strategy's surgery; the same weights for the same seed."""
    import torch

    from .. import models

    model = models.load(chosen.model, task, seed=chosen.train.seed)
    torch.manual_seed(chosen.train.seed)
    return chosen.recipe().apply(model)


def _new(given: argparse.Namespace) -> Settings:
    values = asked(given)
    missing = [f"--{name}" for name in ("data", "text", "label") if name not in values]
    if missing:
        raise ValueError(
            f"expected {', '.join(missing)}; for example --data reviews.csv --text text --label label"
        )
    if given.out.exists() and (not given.out.is_dir() or any(given.out.iterdir())):
        raise ValueError(f"{given.out}: is there already; go on with --resume, or choose another --out")
    return settings(values)


def _resumed(given: argparse.Namespace) -> Settings:
    saved = load(given.out)
    other = list(differences(saved, asked(given)))
    if other:
        raise ValueError(
            f"{given.out}: the run was started with {'; '.join(other)}; leave that out, or use a new --out"
        )
    return saved
