"""ftkit predict: one row a line, label, tab, probability."""

from __future__ import annotations

import argparse
import warnings
from dataclasses import replace
from pathlib import Path

from ..records import TrainConfig
from .finetune import tuned
from .settings import CHECKPOINTS, load

HELP = "label texts with a fine-tuned model; prints label, tab, probability, one row a line"


def arguments(parser: argparse.ArgumentParser) -> None:
    """A run folder and texts or files."""
    parser.add_argument("folder", type=Path, help="the run folder (--out of ftkit finetune)")
    parser.add_argument(
        "inputs", nargs="+", metavar="TEXT_OR_FILE", help="sentences, or CSV, TSV, JSONL, Parquet files"
    )
    parser.add_argument("--text", help="name of the files' text column; by default the one trained on")


def run(given: argparse.Namespace) -> int:
    """Load the best weights and answer for every text, in order."""
    from .. import checkpoint, models
    from ..fit import predict
    from ..loop import Run
    from ..tasks import Classification

    saved = load(given.folder)
    texts = [text for one in given.inputs for text in _texts(one, given.text or saved.text)]
    tokenizer = models.tokenizer(saved.model)
    task = Classification(tokenizer, saved.labels, (), (), (), max_tokens=saved.max_tokens)
    config = _computable(saved.train)
    with warnings.catch_warnings(action="ignore"):  # advice on training, given when it trained
        trained = Run(tuned(saved, task), task, config)
    checkpoint.restore_parameters(trained, checkpoint.best(given.folder / CHECKPOINTS))
    with trained.autocast():
        answers = predict(trained.tuned.model, task, texts)
    for answer in answers:
        print(f"{answer.label}\t{answer.probability:.4f}")
    return 0


def _computable(config: TrainConfig) -> TrainConfig:
    """The run's settings; in fp32 on a machine that only emulates the precision it was trained in."""
    from ..place import device, usable_precision

    try:
        usable_precision(config.precision, device())
    except ValueError:
        warnings.warn(
            f"this machine does not compute in {config.precision}, the run's precision; fp32 is used, and "
            "probabilities may differ in the third decimal",
            stacklevel=2,
        )
        return replace(config, precision="fp32")
    return config


def _texts(one: str, column: str) -> list[str]:
    from ..tasks.tables import FORMATS, rows

    if not one.strip():
        raise ValueError("expected a text, got an empty one; give a sentence in quotes, or a file")
    if Path(one).suffix.lower() in FORMATS and (Path(one).exists() or " " not in one):
        return [row["text"] for row in rows(one, columns={"text": column})]
    return [one]
