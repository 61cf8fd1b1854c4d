"""Run and updates(): one optimizer update after another; the caller decides what happens between them."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from torch import nn

from .allocator import keep_freed_memory
from .checks import check_config, check_table, usable_precision
from .interrupts import undisturbed
from .order import epoch_arrays
from .records import Evaluation, History, Step, TrainConfig, Tuned
from .schedules import multiplier
from .tasks.store import lengths

AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def updates(run: Run) -> Iterator[Step]:
    """Train from `run.step` to `run.total`, yielding after every optimizer update; called again, it goes on.

    Between two updates the caller may look, evaluate, generate, save, or stop by leaving its loop. Raises
    FloatingPointError that names the update, before any weight has moved, when the loss is not finite.
    """
    config, model = run.config, run.tuned.model
    if run.total == 0:
        raise ValueError("expected examples in the task's training split, found none; give it some")
    while run.step < run.total:
        began = time.perf_counter()
        share = run.next_share()  # what this process computes of the update
        factor = multiplier(config.schedule, run.step, run.total, config.warmup)
        awake = wake(run.optimizer, epoch=share.epoch, lr=config.lr * factor)
        if not all(module.training for module in model.modules()):
            model.train()  # the caller may have evaluated
        loss, terms, tokens = accumulate(run, share)  # leaves the whole update's gradient
        with undisturbed():  # Ctrl-C waits: an update happens whole or not at all
            run.scaler.unscale_(run.optimizer)
            norm = nn.utils.get_total_norm([p.grad for p in awake if p.grad is not None])
            run.prepare_next()  # while a GPU still computes: batches are ready before they are needed
            loss, length = torch.stack([x.to(loss.device, torch.float64) for x in (loss, norm)]).tolist()
            refuse_nonfinite(run, loss, length)  # that was the update's only wait for the device
            if config.clip and length > 0.99 * config.clip:  # below, clipping multiplies by 1
                nn.utils.clip_grads_with_norm_(awake, config.clip, norm)
            run.scaler.step(run.optimizer)
            run.scaler.update()
            seconds = time.perf_counter() - began
            lr = config.lr * factor
            step = Step(run.step, run.total, share.epoch, loss, lr, length, terms, tokens, seconds)
            run.steps.append(step)
        yield step


def accumulate(run: Run, share: Share) -> tuple[torch.Tensor, int, int]:
    """Leave the update's gradient in the parameters; return its loss per term, its terms and its real tokens.

    Each micro-batch adds its *sum* divided by the update's number of terms, so that neither the size of the
    micro-batches nor the number of processes changes the result. What does not fit the memory is tried again
    in halves.
    """
    # every exchange between the processes stands outside the retry: one process may have to try again alone
    several = run.processes.num_processes > 1
    counts = reduce(share.counts.to(run.processes.device), "sum") if several else share.counts
    terms, tokens = counts.tolist()
    if terms == 0:
        raise ValueError(f"update {run.step}: no example of it carries a label; remove the unlabelled rows")
    total = None
    while total is None:
        largest = len(share.batches[0]["attention_mask"]) if share.batches else 0
        try:
            total = backward(run, share.batches, terms=terms)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if largest == 1:
                raise ValueError(
                    f"update {run.step}: one example does not fit the memory ({error}); shorten texts with "
                    "max_tokens, or choose a smaller model or a strategy that trains less"
                ) from None
        if total is None:  # out here the traceback, and with it what filled the memory, is gone
            run.micro_batch_size = (largest + 1) // 2
            torch.cuda.empty_cache()
            share = run.next_share()
    if several:
        sum_gradients([p for g in run.optimizer.param_groups for p in g["params"] if p.requires_grad])
        total = reduce(total, "sum")
    return total, terms, tokens


def backward(run: Run, batches: list, *, terms: int) -> torch.Tensor:
    """Leave the gradient of the micro-batches' loss in the parameters; return that loss."""
    run.optimizer.zero_grad(set_to_none=True)
    total = torch.zeros((), device=run.processes.device)
    with run.reproducible(), torch.enable_grad():
        for batch in batches:
            with run.autocast():
                loss = run.task.loss_sum(run.tuned.model, batch) / terms
            run.scaler.scale(loss).backward()
            total += loss.detach()
    return total


def out_of_memory(error: BaseException) -> bool:
    """Whether the memory did not suffice; a CPU's allocator says so in a plain RuntimeError."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def wake(optimizer: torch.optim.Optimizer, *, epoch: int, lr: float) -> list[nn.Parameter]:
    """Set every group's rate; wake its parameters from its `from_epoch` on; return those awake."""
    awake = []
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]
        for parameter in group["params"]:
            parameter.requires_grad_(epoch >= group["from_epoch"])
        awake += [p for p in group["params"] if p.requires_grad]
    return awake


def sum_gradients(params: list[nn.Parameter]) -> None:
    """Add the processes' gradients up in place: one flat buffer, one exchange."""
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
    used = grads[0].new_tensor([p.grad is not None for p in params])  # what no process used keeps no gradient
    flat = reduce(torch.cat([*(g.flatten() for g in grads), used]), "sum")
    *sums, used = flat.split([*(p.numel() for p in params), len(params)])
    for parameter, grad, n in zip(params, sums, used.tolist(), strict=True):
        parameter.grad = grad.view_as(parameter) if n else None


def refuse_nonfinite(run: Run, loss: float, norm: float) -> None:
    """Stop before a loss that is no number reaches the weights (fp16's scaler skips overflows itself)."""
    if math.isfinite(loss) and (math.isfinite(norm) or run.scaler.is_enabled()):
        return
    if run.scaler.is_enabled():
        run.scaler.update()  # or it would refuse to unscale the next update
    raise FloatingPointError(
        f"update {run.step}: expected a finite loss and gradient, found {loss} and norm {norm}; the "
        f"weights are those after {run.step} updates. Try a smaller lr (now {run.config.lr:g}) or a longer "
        "warm-up, and look at the examples of this update: run.share()"
    )


@dataclass(frozen=True)
class Share:
    """What one process computes of an update, cut into micro-batches that lie on the device."""

    step: int
    epoch: int
    size: int  # examples per micro-batch, at most
    batches: list[dict[str, torch.Tensor]]
    counts: torch.Tensor  # (terms, real tokens), on the CPU


def cut(run: Run, step: int) -> Share:
    """Collate this process's share of update `step` and send it to the device, which need not wait for it."""
    epoch, examples = run.share(step)
    size, device = run.micro_batch_size, run.processes.device
    batches = [run.task.collate(examples[i : i + size], "cpu") for i in range(0, len(examples), size)]
    counts = torch.zeros(2, dtype=torch.long)
    for batch in batches:
        counts += torch.stack([run.task.terms(batch), batch["attention_mask"].sum()])
    if device.type == "cuda":  # from pinned memory the copy runs beside the computation
        batches = [{k: t.pin_memory().to(device, non_blocking=True) for k, t in b.items()} for b in batches]
    return Share(step, epoch, size, batches, counts)


@dataclass
class Run:
    """A training run: the one mutable object. `updates` advances it, `checkpoint` keeps it."""

    tuned: Tuned
    task: object
    config: TrainConfig
    processes: PartialState = field(default_factory=lambda: PartialState(cpu=not torch.cuda.is_available()))
    optimizer: torch.optim.Optimizer = field(init=False)
    scaler: torch.amp.GradScaler = field(init=False)
    precision: str = field(init=False)
    micro_batch_size: int = field(init=False)  # halved when the memory does not suffice
    steps: list[Step] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    peak_memory: int = 0  # bytes, measured by `fit`
    ended: str = "running"  # set by `fit`: "finished", "early" or "interrupted"

    def __post_init__(self):
        check_config(self.config)
        check_table(self.tuned)
        self.precision = usable_precision(self.config.precision, self.processes.device.type)
        self.micro_batch_size = self.config.micro_batch_size or self.config.batch_size
        self.tuned.model.to(self.processes.device)
        if self.processes.device.type == "cpu":
            keep_freed_memory()
        rows = [
            {"params": list(g.params), "lr_scale": g.lr_scale, "from_epoch": g.from_epoch}
            for g in self.tuned.groups
        ]
        self.optimizer = torch.optim.AdamW(
            rows, lr=self.config.lr, weight_decay=self.config.weight_decay, fused=True
        )
        self.scaler = torch.amp.GradScaler(self.processes.device.type, enabled=self.precision == "fp16")
        self._order: tuple[int, list] = (-1, [])
        self._ready: Share | None = None

    @property
    def step(self) -> int:
        """How many updates have been done."""
        return len(self.steps)

    @property
    def per_epoch(self) -> int:
        """Updates in an epoch."""
        return math.ceil(len(self.task.train) / self.config.batch_size)

    @property
    def total(self) -> int:
        """Updates in the whole run."""
        return self.per_epoch * self.config.epochs

    @property
    def history(self) -> History:
        """What happened so far, as a record."""
        model, rows = self.tuned.model, self.tuned.groups
        seconds = sum(s.seconds for s in self.steps)
        return History(
            steps=tuple(self.steps),
            evaluations=tuple(self.evaluations),
            parameters=sum(p.numel() for p in model.parameters()),
            trainable=sum(p.numel() for g in rows for p in g.params),
            tokens_per_second=sum(s.tokens for s in self.steps) / seconds if seconds else 0.0,
            peak_memory=self.peak_memory,
            ended=self.ended,
        )

    def share(self, step: int | None = None) -> tuple[int, list]:
        """(epoch, examples) that this process computes of update `step`; of the next one without it."""
        epoch, position = divmod(self.step if step is None else step, self.per_epoch)
        if self._order[0] != epoch:
            batches = epoch_arrays(
                lengths(self.task.train),
                batch_size=self.config.batch_size,
                seed=self.config.seed,
                epoch=epoch,
            )
            self._order = epoch, batches
        numbers = self._order[1][position]
        where = self.processes
        return epoch, [self.task.train[i] for i in numbers[where.process_index :: where.num_processes]]

    def next_share(self) -> Share:
        """The share of the next update, as it was prepared, or prepared now."""
        ready, self._ready = self._ready, None
        fits = ready is not None and (ready.step, ready.size) == (self.step, self.micro_batch_size)
        return ready if fits else cut(self, self.step)

    def prepare_next(self) -> None:
        """Have the share of the update after this one ready."""
        if self.step + 1 < self.total:
            self._ready = cut(self, self.step + 1)

    def autocast(self):
        """The context in which forward passes run."""
        dtype = AUTOCAST[self.precision]
        return torch.autocast(self.processes.device.type, dtype, enabled=dtype is not None)

    @contextlib.contextmanager
    def reproducible(self):
        """Draw dropout from (seed, update, process) and leave the caller's random numbers alone.

        So a resumed run needs no random state, and two runs raced in one loop do not disturb each other.
        """
        device = self.processes.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            seed = hash((self.config.seed, self.step, self.processes.process_index)) & 0x7FFFFFFF
            torch.default_generator.manual_seed(seed)  # torch.manual_seed walks the stack for absent GPUs
            if device.type == "cuda":
                torch.cuda.manual_seed(seed)
            yield
