"""Train strategies under the same conditions, one row of measurements each; sum rows up over seeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy
import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from .loop import Run, updates
from .memory import peak_memory
from .records import Step, TrainConfig
from .strategies.gated import GatedModel, merge


@dataclass(frozen=True)
class Row:
    """One strategy, trained with one seed, measured on the test split."""

    strategy: str
    seed: int
    lr: float
    right: str  # "1" or "0" for every text of the test split: so that strategies are compared text by text
    loss: float  # cross-entropy on the test split, in nats
    trainable: int
    parameters: int
    peak_memory: int  # bytes of an update
    seconds: float  # spent in updates
    moved: float  # 1 - mean cosine of a test text's features before and after training

    @property
    def accuracy(self) -> float:
        return self.right.count("1") / len(self.right)


def measure(
    name: str, strategy, *, lr: float, load: Callable[[], nn.Module], task, config: TrainConfig, watch=None
) -> Row:
    """Load, apply, train, measure. `load` gives the same pretrained classifier at every call.

    `watch` is called with every `Step`. `config.lr` is replaced by `lr`.
    """
    base = load()
    before = features(base, task, task.test)
    torch.manual_seed(config.seed)  # what a strategy draws for its own start
    run = Run(strategy.apply(base), task, replace(config, lr=lr))
    trained(run, watch)
    return row(name, run, before=before)


def trained(run: Run, watch: Callable[[Step], None] | None = None) -> Run:
    """The run at its end."""
    for step in updates(run):
        if watch:
            watch(step)
    return run


def row(name: str, run: Run, *, before: torch.Tensor) -> Row:
    """The measurements of a run; `before` are the test split's features before training."""
    task, model = run.task, run.tuned.model
    logits = task.outputs(model, task.test)
    truth = torch.tensor([e.label for e in task.test])
    history = run.history
    return Row(
        strategy=name,
        seed=run.config.seed,
        lr=run.config.lr,
        right="".join(str(int(hit)) for hit in logits.argmax(-1) == truth),
        loss=nn.functional.cross_entropy(logits, truth).item(),
        trainable=history.trainable,
        parameters=history.parameters,
        peak_memory=peak_memory(run),
        seconds=sum(step.seconds for step in history.steps),
        moved=1 - cosine_similarity(before, features(model, task, task.test)).mean().item(),
    )


@torch.no_grad()
def features(model: nn.Module, task, examples: Sequence, *, batch_size: int = 64) -> torch.Tensor:
    """What the head reads of every text: (texts, width), on the CPU."""
    model = merge(model) if isinstance(model, GatedModel) else model
    model.eval()
    device = next(model.parameters()).device
    order = sorted(range(len(examples)), key=lambda i: len(examples[i]))
    parts = []
    for start in range(0, len(order), batch_size):
        batch = task.collate([examples[i] for i in order[start : start + batch_size]], device)
        parts.append(model.features(batch["input_ids"], batch["attention_mask"]).float().cpu())
    found = torch.cat(parts)
    return found[torch.tensor(order).argsort()]


def summary(rows: Iterable[Row]) -> list[dict]:
    """One record a strategy, in the order of first appearance: means over seeds, the least seconds."""
    by_name: dict[str, list[Row]] = {}
    for one in rows:
        by_name.setdefault(one.strategy, []).append(one)
    return [_mean(name, found) for name, found in by_name.items()]


def _mean(name: str, rows: Sequence[Row]) -> dict:
    low, high = interval(rows)
    mean = {
        field: float(numpy.mean([getattr(r, field) for r in rows])) for field in ("accuracy", "loss", "moved")
    }
    return {
        "strategy": name,
        "seeds": len(rows),
        "low": low,
        "high": high,
        **mean,
        "trainable": rows[0].trainable,
        "parameters": rows[0].parameters,
        "peak_memory": max(r.peak_memory for r in rows),
        "seconds": min(r.seconds for r in rows),  # the run that other work disturbed least
    }


def interval(rows: Sequence[Row], other: Sequence[Row] = (), *, draws: int = 2000) -> tuple[float, float]:
    """95% bootstrap interval of the mean accuracy, over seeds and texts; with `other`, of the difference.

    Both are drawn anew: other seeds and other texts would have given another number. A difference is taken
    text by text, so that what is hard for both cancels.
    """
    rng = numpy.random.default_rng(0)
    one, two = _hits(rows), _hits(other) if other else None
    found = []
    for _ in range(draws):
        texts = rng.integers(one.shape[1], size=one.shape[1])
        mean = one[rng.integers(len(one), size=len(one))][:, texts].mean()
        if two is not None:
            mean -= two[rng.integers(len(two), size=len(two))][:, texts].mean()
        found.append(mean)
    low, high = numpy.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def _hits(rows: Sequence[Row]) -> numpy.ndarray:  # (seeds, texts)
    return numpy.array([[int(hit) for hit in row.right] for row in rows], dtype=float)


def frontier(records: Sequence[Mapping], *, cost: str, value: str = "accuracy") -> list[str]:
    """The strategies that no other beats in value at the same cost or less, cheapest first (Pareto)."""
    best, found = -numpy.inf, []
    for one in sorted(records, key=lambda r: (r[cost], -r[value])):
        if one[value] > best:
            best = one[value]
            found.append(one["strategy"])
    return found


def append(row: Row, file: str | Path) -> None:
    """Add a row to a file of JSON lines."""
    with open(file, "a", encoding="utf-8") as out:
        out.write(json.dumps(asdict(row)) + "\n")


def read(file: str | Path) -> list[Row]:
    """The rows in a file of JSON lines, none without a file. Raises ValueError that names the line."""
    file, found = Path(file), []
    if not file.is_file():
        return found
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            found.append(Row(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{file}, line {number}: expected a row of measurements, found something else ({error}); "
                "remove the line to measure it again"
            ) from None
    return found
