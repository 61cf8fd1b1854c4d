"""ftkit finetune: from a table of labelled texts to a tested classifier, a plot and a model card."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path

from . import build, card
from .runfolder import CHECKPOINTS, RECORD, Settings, load, store

HELP = "fine-tune a model on your own labelled texts"
FILES = ("data", "validation", "test")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options; a default of None means "not given", so that --resume can compare what was."""
    parser.add_argument("--data", help="CSV, TSV, JSONL or Parquet file to train on")
    parser.add_argument("--text", help="name of the column with the texts")
    parser.add_argument("--label", help="name of the column with the labels")
    parser.add_argument("--validation", help="file to choose the best model on (else a tenth of --data)")
    parser.add_argument("--test", help="file to test on, once (else a tenth of --data)")
    parser.add_argument(
        "--out", required=True, type=Path, help="folder for the run; it must not hold anything yet"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--model", help='"encoder" of the scale (the default), a hub id, or a folder')
    parser.add_argument("--strategy", help="lora (the default), full, head_only, adapters, ia3, …")
    parser.add_argument("--rank", type=int, help="of lora; 4 by default")
    parser.add_argument("--alpha", type=float, help="of lora; 16 by default")
    parser.add_argument(
        "--lr", type=float, help="peak learning rate; by default what is usual for the strategy"
    )
    parser.add_argument("--epochs", type=int, help="3 by default")
    parser.add_argument(
        "--batch-size", type=int, help="examples per update over all processes; 32 by default"
    )
    parser.add_argument("--micro-batch-size", type=int, help="examples per forward pass, to save memory")
    parser.add_argument("--max-tokens", type=int, help="longer texts are cut; by default the scale's number")
    parser.add_argument(
        "--patience", type=int, help="stop after so many epochs without a lower validation loss"
    )
    parser.add_argument("--seed", type=int, help="0 by default")


def run(given: argparse.Namespace) -> int:
    """Train, or go on, and write results.json, loss.png and model-card.md into the run folder."""
    from accelerate import PartialState

    from .. import checkpoint, models, tasks
    from ..fit import fit
    from ..loop import Run
    from ..records import TrainConfig
    from ..setup import device
    from ..strategies import USUAL_LR

    settings = _settings(given)
    build.strategy(settings)  # an option that does not fit is told before the model is loaded
    tokenizer = models.tokenizer(settings.model)
    task = tasks.table(
        tokenizer,
        settings.data,
        text=settings.text,
        label=settings.label,
        validation=settings.validation,
        test=settings.test,
        max_tokens=settings.max_tokens,
        seed=settings.seed,
    )
    settings = replace(settings, labels=task.labels, max_tokens=task.max_tokens)
    config = TrainConfig(
        lr=settings.lr or USUAL_LR[settings.strategy],
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        micro_batch_size=settings.micro_batch_size,
        patience=settings.patience,
        seed=settings.seed,
    )
    one = Run(build.tuned(settings, task), task, config, PartialState(cpu=device() == "cpu"))
    checkpoints = given.out / CHECKPOINTS
    newest = checkpoint.latest(checkpoints) if given.resume else None
    if newest:
        checkpoint.restore(one, newest)
    main = one.processes.is_main_process
    if main:
        print(
            f"{len(task.train)} texts to train on, {len(task.validation)} to validate, {len(task.test)} "
            "to test; "
            f"labels {', '.join(task.labels)}; {task.cut} texts cut at {task.max_tokens} tokens"
        )
        print(
            f"{settings.strategy}: {one.history.trainable:,} of {one.history.parameters:,} parameters train"
            + (f"; going on after update {one.step}" if newest else "")
        )
    one.processes.wait_for_everyone()  # every process has seen that the folder was free
    if main and not (given.out / RECORD).exists():
        store(settings, given.out)
    history = fit(one, checkpoints)
    if history.ended == "interrupted":
        if main:
            print(f"go on with: ftkit finetune --out {given.out} --resume")
        return 130
    if main:
        results = card.results(one)
        card.write(given.out, settings=settings, run=one, results=results)
        print(card.table(results))
        print(f"written: {', '.join(str(given.out / n) for n in card.NAMES)}")
        print(f'try it: ftkit predict {given.out} "a sentence of yours"')
    one.processes.wait_for_everyone()
    one.processes.destroy_process_group()
    return 0


def _settings(given: argparse.Namespace) -> Settings:
    """The settings of the command line, or of the run folder when it is resumed."""
    names = [n for n in asdict(Settings("", "", "")) if n not in ("digests", "labels")]
    asked = {n: getattr(given, n) for n in names if getattr(given, n) is not None}
    asked |= {n: str(Path(asked[n]).resolve()) for n in FILES if n in asked}
    if given.resume:
        saved = load(given.out)
        other = [f"{n} {getattr(saved, n)!r}, not {v!r}" for n, v in asked.items() if getattr(saved, n) != v]
        if other:
            raise ValueError(
                f"{given.out}: the run was started with {'; '.join(other)}; leave that out, or use a new "
                "--out"
            )
        changed = [f for f, digest in (saved.digests or {}).items() if _digest(f) != digest]
        if changed:
            raise ValueError(
                f"{changed[0]}: not the file that the run in {given.out} was started with; restore it, or "
                "use a new --out"
            )
        return saved
    missing = [f"--{n}" for n in ("data", "text", "label") if n not in asked]
    if missing:
        raise ValueError(
            f"expected {', '.join(missing)}; for example --data reviews.csv --text text --label label"
        )
    if given.out.exists() and (not given.out.is_dir() or any(given.out.iterdir())):
        raise ValueError(f"{given.out}: is there already; go on with --resume, or choose another --out")
    settings = Settings(**asked)
    files = [getattr(settings, n) for n in FILES if getattr(settings, n)]
    return replace(settings, digests={f: _digest(f) for f in files if Path(f).is_file()})


def _digest(file: str) -> str:
    from ..models import sha256

    if not Path(file).is_file():
        raise ValueError(f"{file}: no such file any more; put it back to go on with this run")
    return sha256(Path(file))
