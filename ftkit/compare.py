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
from .memory import forget_peak, peak_memory
from .records import Step, TrainConfig
from .strategies.gated import GatedModel, merge
from .surgery import reads_features
from .tasks.task import batched, in_order, together


@dataclass(frozen=True)
class Row:
    """One strategy, trained with one seed, measured on the test split."""

    strategy: str
    seed: int
    lr: float
    grades: tuple[float, ...]  # of every test example, 0 to 1: strategies are compared example by example
    loss: float  # on the test split, in nats per term
    trainable: int
    parameters: int
    peak_memory: int  # bytes of an update
    seconds: float  # spent in updates
    moved: float | None  # 1 - mean cosine of a test text's features before and after; None without features

    @property
    def quality(self) -> float:
        """The mean grade: for classification the accuracy."""
        return sum(self.grades) / len(self.grades)


def measure(
    name: str, strategy, *, lr: float, load: Callable[[], nn.Module], task, config: TrainConfig, watch=None
) -> Row:
    """Load, apply, train, measure. `load` gives the same pretrained model at every call.

    `watch` is called with every `Step`. `config.lr` is replaced by `lr`.
    """
    base = load()
    before = features(base, task, task.test)
    torch.manual_seed(config.seed)  # what a strategy draws for its own start
    run = Run(strategy.apply(base), task, replace(config, lr=lr))
    forget_peak(run)  # or a GPU would give this row the peak of those before it
    trained(run, watch)
    return row(name, run, before=before)


def trained(run: Run, watch: Callable[[Step], None] | None = None) -> Run:
    """The run at its end."""
    for step in updates(run):
        if watch:
            watch(step)
    return run


def row(name: str, run: Run, *, before: torch.Tensor | None) -> Row:
    """The measurements of a run; `before` are the test split's features before training, if it has any."""
    task, model, history = run.task, run.tuned.model, run.history
    peak = peak_memory(run)  # before the evaluation, which a GPU's peak would include
    after = features(model, task, task.test) if before is not None else None
    with run.autocast(), together(run.processes):
        grades, loss = task.grades(model, task.test), task.score(model, task.test)["loss"]
    return Row(
        strategy=name,
        seed=run.config.seed,
        lr=run.config.lr,
        grades=tuple(grades),
        loss=loss,
        trainable=history.trainable,
        parameters=history.parameters,
        peak_memory=peak,
        seconds=sum(step.seconds for step in history.steps),
        moved=None if after is None else 1 - cosine_similarity(before, after).mean().item(),
    )


def features(model: nn.Module, task, examples: Sequence) -> torch.Tensor | None:
    """What the head reads of every text: (texts, width), on the CPU; None where there is no such head."""
    model = merge(model) if isinstance(model, GatedModel) else model
    if not reads_features(model):
        return None

    def compute(batch) -> torch.Tensor:
        return model.features(batch["input_ids"], batch["attention_mask"]).float().cpu()

    return torch.stack(in_order(batched(task, model, examples, compute), count=len(examples)))


def summary(rows: Iterable[Row]) -> list[dict]:
    """One record a strategy, in the order of first appearance: means over seeds, the least seconds."""
    by_name: dict[str, list[Row]] = {}
    for one in rows:
        by_name.setdefault(one.strategy, []).append(one)
    return [_mean(name, group) for name, group in by_name.items()]


def _mean(name: str, rows: Sequence[Row]) -> dict:
    low, high = interval(rows)
    mean = {name: float(numpy.mean([getattr(r, name) for r in rows])) for name in ("quality", "loss")}
    moved = [r.moved for r in rows if r.moved is not None]
    return {
        "strategy": name,
        "seeds": len(rows),
        "low": low,
        "high": high,
        **mean,
        "moved": float(numpy.mean(moved)) if moved else None,
        "trainable": rows[0].trainable,
        "parameters": rows[0].parameters,
        "peak_memory": max(r.peak_memory for r in rows),
        "seconds": min(r.seconds for r in rows),  # the run that other work disturbed least
    }


def interval(rows: Sequence[Row], other: Sequence[Row] = (), *, draws: int = 2000) -> tuple[float, float]:
    """95% bootstrap interval of the mean grade, over seeds and examples; with `other`, of the difference.

    Both are drawn anew: other seeds and other examples would have given another number. A difference is taken
    example by example, so that what is hard for both cancels.
    """
    rng = numpy.random.default_rng(0)
    one, two = _grades(rows), _grades(other) if other else None
    means = []
    for _ in range(draws):
        texts = rng.integers(one.shape[1], size=one.shape[1])
        mean = one[rng.integers(len(one), size=len(one))][:, texts].mean()
        if two is not None:
            mean -= two[rng.integers(len(two), size=len(two))][:, texts].mean()
        means.append(mean)
    low, high = numpy.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _grades(rows: Sequence[Row]) -> numpy.ndarray:  # (seeds, examples)
    return numpy.array([row.grades for row in rows], dtype=float)


def frontier(records: Sequence[Mapping], *, cost: str, value: str = "quality") -> list[str]:
    """The strategies that no other beats in value at the same cost or less, cheapest first (Pareto)."""
    best, names = -numpy.inf, []
    for one in sorted(records, key=lambda r: (r[cost], -r[value])):
        if one[value] > best:
            best = one[value]
            names.append(one["strategy"])
    return names


def append(row: Row, file: str | Path) -> None:
    """Add a row to a file of JSON lines."""
    with open(file, "a", encoding="utf-8") as out:
        grades = [int(grade) if grade in (0, 1) else round(grade, 6) for grade in row.grades]
        out.write(json.dumps(asdict(row) | {"grades": grades}) + "\n")


def read(file: str | Path) -> list[Row]:
    """The rows in a file of JSON lines, none without a file. Raises ValueError that names the line."""
    file, rows = Path(file), []
    if not file.is_file():
        return rows
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            saved = json.loads(line)
            rows.append(Row(**saved | {"grades": tuple(map(float, saved["grades"]))}))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{file}, line {number}: expected a row of measurements ({error}); "
                "remove the line to measure it again"
            ) from None
    return rows
