"""What rank, alpha, targets and dropout do to LoRA: python tests/benchmarks/lora_grid.py [--seeds 3]

MiniLM-L6 on the short reviews, one epoch, batches of 16. Each method's learning rate is the one of a few
whose seed 0 had the lowest loss on the judges; every cell of the grid trains at LoRA's rate. The judges are
short reviews of training and validation that no run is trained on. The test split is opened once per seed for
three finalists. Rows go to data/measured/lora.jsonl one by one; what is there is not measured again. About
fifteen minutes of one core.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)  # ftkit, and not this folder, whose modules have common names

import torch  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

from ftkit import models, tasks  # noqa: E402
from ftkit.compare import Row, append, read, trained  # noqa: E402
from ftkit.loop import Run  # noqa: E402
from ftkit.records import TrainConfig  # noqa: E402
from ftkit.strategies import Full, HeadOnly, LoRA  # noqa: E402

FILE = ROOT / "data" / "measured" / "lora.jsonl"
LONGEST = 24  # tokens of a review
ROWS, JUDGES = 384, 300  # reviews that are trained on, and those that judge
RATES = {
    "full": (3e-5, 1e-4, 3e-4),
    "head only": (1e-2, 3e-2, 1e-1),
    "LoRA": (5e-4, 1e-3, 2e-3, 8e-3),
}
METHODS = {
    "full": Full(),
    "head only": HeadOnly(cache=True),
    "LoRA": LoRA(rank=4),
}
GRID = {f"rank {r}, alpha {a}": LoRA(rank=r, alpha=float(a)) for r in (1, 4, 16) for a in (4, 16, 64)}
OTHERS = {
    "query, value": LoRA(rank=4, targets=("query", "value")),
    "feed-forward": LoRA(rank=4, targets=("intermediate.dense", "[0-9]*.output.dense")),
    "dropout 0.3": LoRA(rank=4, dropout=0.3),
    "DoRA": LoRA(rank=4, dora=True),
}


@dataclass(frozen=True)
class Cell:
    """One training to be done."""

    name: str
    strategy: object
    lr: float
    seed: int


def short_reviews():
    """(the task, whose test split is the judges; the short reviews of the real test split)."""
    task = tasks.reviews(models.tokenizer("encoder"))
    train, validation, test = (
        [e for e in split if len(e) <= LONGEST] for split in (task.train, task.validation, task.test)
    )
    judges = (validation + train[ROWS:])[:JUDGES]
    return replace(task, train=train[:ROWS], validation=validation, test=judges), test


def search() -> Iterator[Cell]:
    """Every method at each of its rates, with seed 0."""
    for name, rates in RATES.items():
        yield from (Cell(f"rate: {name}", METHODS[name], lr, 0) for lr in rates)


def chosen(rows: list[Row]) -> dict[str, float]:
    """The rate of every method whose search is done: the one with the lowest loss."""
    best = {}
    for name in RATES:
        own = [row for row in rows if row.strategy == f"rate: {name}"]
        best[name] = min(own, key=lambda row: row.loss).lr
    return best


def cells(rates: dict[str, float], seeds: int) -> Iterator[Cell]:
    """The finalists, the grid and what differs from its base by one option; seed after seed."""
    for seed in range(seeds):
        for name, strategy in METHODS.items():
            yield Cell(name, strategy, rates[name], seed)
        yield Cell("LoRA at full's rate", LoRA(rank=4), rates["full"], seed)
        # a quarter of LoRA's rate for A and four times it for B: the mean of their logarithms is held
        yield Cell("LoRA+", LoRA(rank=4, b_lr_scale=16.0), rates["LoRA"] / 4, seed)
        for name, strategy in (GRID | OTHERS).items():
            if strategy != METHODS["LoRA"]:  # the base is there already
                yield Cell(name, strategy, rates["LoRA"], seed)


def measure(cell: Cell, task, test: list) -> list[Row]:
    """One training; its row on the judges and, for a finalist, its row on the test split."""
    model = models.load("encoder", task, seed=cell.seed)
    torch.manual_seed(cell.seed)  # LoRA draws its first A from here
    config = TrainConfig(lr=cell.lr, epochs=1, batch_size=16, seed=cell.seed)
    run = trained(Run(cell.strategy.apply(model), task, config))
    rows = [graded(cell.name, run, task.test)]
    if cell.name in ("full", "head only", "LoRA"):
        rows.append(graded(f"test: {cell.name}", run, test))
    return rows


def graded(name: str, run: Run, examples: list) -> Row:
    """The row of a run on these examples."""
    logits = run.task.logits_of(run.tuned.model, examples)
    truth = torch.tensor([example.label for example in examples])
    return Row(
        strategy=name,
        seed=run.config.seed,
        lr=run.config.lr,
        grades=tuple((logits.argmax(-1) == truth).double().tolist()),
        loss=float(cross_entropy(logits, truth)),
        trainable=run.history.trainable,
        parameters=run.history.parameters,
        peak_memory=0,  # not measured here
        seconds=sum(step.seconds for step in run.steps),
        moved=None,
    )


def main() -> None:
    """Measure what is missing, row by row, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--file", type=Path, default=FILE, help="where the rows are kept")
    given = parser.parse_args()
    task, test = short_reviews()

    def fill(planned: Iterator[Cell]) -> None:
        done = {(row.strategy, row.seed, row.lr) for row in read(given.file)}
        for cell in planned:
            if (cell.name, cell.seed, cell.lr) in done:
                continue
            began = time.process_time()
            for row in measure(cell, task, test):
                append(row, given.file)
                spent = time.process_time() - began
                print(
                    f"{row.strategy:<22} seed {row.seed}  lr {row.lr:<8g} accuracy {row.quality:.3f}  "
                    f"loss {row.loss:.3f}  {spent:.0f} CPU s",
                    flush=True,
                )

    fill(search())
    fill(cells(chosen(read(given.file)), given.seeds))


if __name__ == "__main__":
    main()
