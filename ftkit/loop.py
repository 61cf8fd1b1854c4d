"""Run and updates(): one optimizer update after another; the caller decides what happens between them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from accelerate.utils import reduce
from torch import Tensor, nn

from . import place
from .batches import micro_batches
from .checks import check_retry, check_run, check_sums
from .interrupts import undisturbed
from .order import Order
from .records import Evaluation, History, Step, TrainConfig, Tuned, history
from .schedules import multiplier
from .surgery import blocks


def updates(run: Run) -> Iterator[Step]:
    """Train from `run.step` to `run.total`, yielding after every optimizer update; called again, it goes on.

    Between two updates the caller may look, evaluate, generate, save, or stop by leaving its loop. Raises
    FloatingPointError that names the update, before any weight has moved, when the loss is not finite.
    """
    config, model = run.config, run.tuned.model
    if run.total == 0:
        raise ValueError("expected examples in the task's training split, got none; give it some")
    batches = place.ahead(micro_batches(run))
    while run.step < run.total:
        began = time.perf_counter()
        factor = multiplier(config.schedule, run.step, run.total, config.warmup)
        awake = wake(run.optimizer, epoch=run.epoch, lr=config.lr * factor)
        if not model.training:  # the caller may have evaluated
            model.train()
        sums, batches = accumulate(run, batches, awake)  # loss, terms, tokens; the gradients are sums as well
        with undisturbed():  # Ctrl-C waits: an update happens whole or not at all
            run.scaler.unscale_(run.optimizer)
            grads = [p.grad for p in awake if p.grad is not None]
            norm = place.whole(nn.utils.get_total_norm(grads)).to(sums)
            loss, terms, tokens, norm = torch.cat([sums, norm[None]]).tolist()  # the only wait for the device
            mean = run.divisor() / max(terms, 1)  # turns the gradient of the sum into that of the mean
            loss, norm = loss / max(terms, 1), norm * mean
            check_sums(run, loss=loss, norm=norm, terms=terms)
            if config.clip and norm > config.clip:
                mean *= config.clip / (norm + 1e-6)
            if mean != 1:
                torch._foreach_mul_(grads, mean)
            run.scaler.step(run.optimizer)
            run.scaler.update()
            lr, counts, seconds = config.lr * factor, (int(terms), int(tokens)), time.perf_counter() - began
            run.steps.append(Step(run.step, run.total, run.epoch, loss, lr, norm, *counts, seconds))
        prepared_for = run.step, run.micro_batch_size
        yield run.steps[-1]
        if (run.step, run.micro_batch_size) != prepared_for:  # as after checkpoint.restore
            batches = place.ahead(micro_batches(run))


def accumulate(run: Run, batches: Iterator, awake: list[nn.Parameter]) -> tuple[Tensor, Iterator]:
    """Leave the update's gradient in the parameters: of the loss summed over its terms, over `run.divisor()`.

    Returns (loss, terms, tokens), each summed over the update and all processes, and the batches to go on
    with. Because all are sums, neither the size of the micro-batches nor the number of processes changes the
    result. An update that does not fit the memory is tried again with half the examples at once.
    """
    sums = None
    while sums is None:
        size = min(run.micro_batch_size, -(-run.divisor() // run.processes.num_processes))
        try:
            sums = backward(run, batches)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not place.out_of_memory(error):
                raise
            check_retry(run, error, size=size)
        if sums is None:  # here the traceback is gone, and with it the tensors that filled the memory
            run.micro_batch_size = (size + 1) // 2
            torch.cuda.empty_cache()
            batches = place.ahead(micro_batches(run))
    if run.processes.num_processes > 1:  # outside the retry: one process may have to try again alone
        sums = reduce(sums, "sum")
        if not run.sharded:  # FSDP2 has exchanged the gradients itself
            place.sum_gradients(awake)
    return sums, batches


def backward(run: Run, batches: Iterator) -> Tensor:
    """Add up the gradients of an update's micro-batches; return this process's (loss, terms, tokens)."""
    run.optimizer.zero_grad(set_to_none=True)
    sums = torch.zeros(3, dtype=torch.float64, device=run.processes.device)
    gain = run.processes.num_processes if run.sharded else 1  # FSDP2 averages over the processes
    with run.reproducible(), torch.enable_grad():
        for batch in batches:
            with run.autocast():
                loss, terms = run.task.loss(run.tuned.model, batch.tensors)
            run.scaler.scale(loss * (gain if batch.examples else 0) / run.divisor()).backward()
            if batch.examples:
                sums[0] += loss.detach()
                sums[1] += terms
                sums[2] += batch.tokens
            if batch.last:
                break
    return sums


def wake(optimizer: torch.optim.Optimizer, *, epoch: int, lr: float) -> list[nn.Parameter]:
    """Set every group's rate; wake its parameters from its `from_epoch` on; return those awake."""
    awake = []
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]
        for parameter in group["params"]:
            parameter.requires_grad_(epoch >= group["from_epoch"])
        awake += [p for p in group["params"] if p.requires_grad]
    return awake


@dataclass
class Run:
    """A training run: the one mutable object. `updates` advances it, `checkpoint` keeps it."""

    tuned: Tuned
    task: object  # satisfies ftkit.tasks.Task
    config: TrainConfig
    processes: object = field(default_factory=place.processes)  # accelerate's PartialState
    sharded: bool = False  # spread the model over the processes (FSDP2) instead of a copy on each
    optimizer: torch.optim.Optimizer = field(init=False)
    scaler: torch.amp.GradScaler = field(init=False)
    precision: str = field(init=False)
    micro_batch_size: int = field(init=False)  # examples; halved when the memory does not suffice
    steps: list[Step] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    peak_memory: int = 0  # bytes, measured by `fit`
    ended: str = "running"  # set by `fit`: "finished", "early" or "interrupted"

    def __post_init__(self):
        check_run(self.tuned, self.task, self.config, processes=self.processes.num_processes)
        device, model = self.processes.device, self.tuned.model
        self.precision = place.usable_precision(self.config.precision, device.type)
        self.micro_batch_size = self.config.micro_batch_size or self.config.batch_size
        # first place the model, then look the names up, then make the optimizer
        place.put(model, device, sharded=blocks(model) if self.sharded else None)
        named, usual = dict(model.named_parameters()), self.config.weight_decay
        rows = [
            {
                "params": [named[name] for name in group.parameters],
                "lr_scale": group.lr_scale,
                "from_epoch": group.from_epoch,
                "weight_decay": usual if group.weight_decay is None else group.weight_decay,
            }
            for group in self.tuned.groups
        ]
        self.optimizer = torch.optim.AdamW(rows, lr=self.config.lr, fused=True)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")
        self.order = Order(self.task.train, batch_size=self.config.batch_size, seed=self.config.seed)

    @property
    def step(self) -> int:
        """How many updates have been done."""
        return len(self.steps)

    @property
    def per_epoch(self) -> int:
        """Updates in an epoch."""
        return self.order.per_epoch

    @property
    def total(self) -> int:
        """Updates in the whole run."""
        return self.per_epoch * self.config.epochs

    @property
    def epoch(self) -> int:
        """The epoch that the next update belongs to, counted from 0."""
        return self.step // self.per_epoch

    @property
    def history(self) -> History:
        """What happened so far, as a record."""
        return history(self)

    def examples(self, step: int | None = None) -> list:
        """The training examples that this process computes of update `step`; of the next one without it."""
        numbers, where = self.order.update(self.step if step is None else step), self.processes
        return [self.task.train[i] for i in numbers[where.process_index :: where.num_processes]]

    def divisor(self, step: int | None = None) -> int:
        """What an update's loss is divided by before its terms are known: its examples on all processes."""
        return len(self.order.update(self.step if step is None else step))

    def autocast(self):
        """The context in which forward passes run."""
        return place.autocast(self.processes.device.type, self.precision)

    def reproducible(self):
        """The context in which dropout depends on (seed, update, process) alone."""
        numbers = self.config.seed, self.step, self.processes.process_index
        return place.seeded(numbers, self.processes.device)
