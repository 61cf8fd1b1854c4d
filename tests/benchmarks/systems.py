"""Who trains: ftkit's loop, and the shortest loop there is. (Trainer is in `trainer`.) Each takes turns."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ftkit import models, tasks
from ftkit.loop import Run, updates
from ftkit.memory import peak_memory
from ftkit.place import AUTOCAST
from ftkit.records import TrainConfig
from ftkit.strategies import Full, GradualUnfreezing, HeadOnly, LoRA

from .ceiling import products
from .timing import Turn, clock
from .workload import SHAPES, Workload, model, task

STRATEGIES = {
    "full": Full(),
    "lora": LoRA(rank=8, alpha=16.0),
    "head_only": HeadOnly(cache=True),
    "gradual": GradualUnfreezing(epochs=1),
}
LR = 1e-4


@dataclass(frozen=True)
class System:
    """Who trains what, and how."""

    name: str
    strategy: str  # a name in STRATEGIES
    library: str  # "ftkit" | "bare" | "trainer"
    grouped: bool = True  # batches of similar length
    dropout: float = 0.0
    shape: str = "minilm"  # a name in SHAPES
    precision: str = "fp32"
    compiled: bool = False
    file: str = ""  # a CSV file with texts and labels, in place of the workload's random tokens
    epochs: int = 0  # 0: a turn is some updates of one long epoch; else a turn is a whole training


class Ours:
    """ftkit as its users call it."""

    def __init__(self, who: System, load: Workload):
        self.who, self.load = who, load
        self.task = self.read() if who.file else task(load, SHAPES[who.shape])
        self.run = self.fresh(0)

    def read(self):
        """The system's file, as a learner would read it; its tokens are kept beside it."""
        os.environ["FTKIT_CACHE"] = str(Path(self.who.file).parent)
        tokenizer = models.tokenizer(SHAPES[self.who.shape].checkpoint)
        return tasks.table(tokenizer, self.who.file, text="text", label="label")

    def fresh(self, seed: int) -> Run:
        """A run that has not begun."""
        who, load = self.who, self.load
        tuned = STRATEGIES[who.strategy].apply(model(SHAPES[who.shape], self.task, dropout=who.dropout))
        if who.compiled:
            tuned.model.compile(dynamic=True)
        config = TrainConfig(
            lr=LR,
            epochs=who.epochs or 1,
            batch_size=load.batch_size,
            precision=who.precision,
            seed=seed,
        )
        return Run(tuned, self.task, config)

    def first_loss(self) -> float:
        """The loss per term of the check batch, before anything has moved."""
        batch = self.task.collate(self.task.train[: self.load.batch_size], self.run.processes.device)
        self.run.tuned.model.train()
        with torch.no_grad(), self.run.autocast():
            loss, terms = self.task.loss(self.run.tuned.model, batch)
        return (loss / terms).item()

    def turn(self, number: int) -> Turn:
        """Some updates; with `epochs`, a whole training."""
        if self.who.epochs or self.run.step == self.run.total:
            self.run = self.fresh(number)
        target = self.run.total if self.who.epochs else min(self.run.step + self.load.updates, self.run.total)
        before, began = self.run.step, clock()
        for _ in updates(self.run):
            if self.run.step == target:
                break
        return Turn(clock() - began, tuple(s.tokens for s in self.run.steps[before:]))

    def ceiling(self, turn: Turn) -> float:
        """Seconds of the turn's matrix products alone, in this process."""
        return products(
            turn,
            model=self.run.tuned.model,
            shape=SHAPES[self.who.shape],
            texts=self.load.batch_size,
            trained=self.who.strategy == "full",
            dtype=AUTOCAST[self.run.precision] or torch.float32,
        )

    def memory(self) -> int:
        """Bytes of an update on the longest texts."""
        return peak_memory(self.run)

    def resident(self) -> dict[str, int]:
        """Bytes that this process holds now, and at most ever: all, and without mapped files."""
        status = Path("/proc/self/status").read_text(encoding="ascii")
        lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        fields = {"now": "VmRSS", "most": "VmHWM", "own": "RssAnon"}
        return {name: int(lines[field].split()[0]) * 1024 for name, field in fields.items()}

    def profile(self, number: int) -> list[tuple[str, float, int]]:
        """(operation, its share of a turn, calls), the largest first, as torch's profiler sees it."""
        with torch.profiler.profile() as seen:
            self.turn(number)
        rows = [
            (e.key, e.self_cpu_time_total + e.self_device_time_total, e.count) for e in seen.key_averages()
        ]
        total = sum(time for _, time, _ in rows) or 1.0
        return [(name, time / total, n) for name, time, n in sorted(rows, key=lambda r: -r[1])[:15]]


class Bare(Ours):
    """The same batches in the shortest loop that trains: no schedule, no records, no check."""

    def __init__(self, who: System, load: Workload):
        super().__init__(who, load)
        self.batches = self.shares()

    def shares(self) -> Iterator[list]:
        """The examples of every update, in the run's order."""
        return (self.run.examples(step) for step in range(self.run.total))

    def turn(self, number: int) -> Turn:
        """Some updates."""
        run, tokens, began = self.run, [], clock()
        trained = [p for group in run.optimizer.param_groups for p in group["params"]]
        for _, examples in zip(range(self.load.updates), self.batches, strict=False):
            batch = self.task.collate(examples, run.processes.device)
            run.optimizer.zero_grad(set_to_none=True)
            with run.autocast():
                loss = self.task.loss(run.tuned.model, batch)[0] / len(examples)
            loss.backward()
            nn.utils.clip_grad_norm_(trained, run.config.clip)
            run.optimizer.step()
            tokens.append(sum(map(len, examples)))
        return Turn(clock() - began, tuple(tokens))
