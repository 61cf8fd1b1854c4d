"""Who meets whom: the groups of systems for a machine, and their turns, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from .systems import System
from .workers import workers
from .workload import SHAPES, Workload

AGREE = {"fp32": 1e-5, "bf16": 2e-2, "fp16": 2e-3}  # nats per term; 16 bits round


@dataclass(frozen=True)
class Group:
    """Systems that take turns with each other, on the same data."""

    name: str
    systems: tuple[System, ...]
    load: Workload


def groups(*, quick: bool, gpu: bool, threads: int = 2) -> list[Group]:
    """What is measured on this kind of machine."""
    if gpu:
        return _on_gpu(quick=quick)
    load = Workload(threads=threads)
    if quick:
        load = replace(load, updates=1, batch_size=16)
    met = [c for strategy in ("full", "lora") for c in rivals(strategy)]
    if quick:
        return [Group("updates", tuple(met), load)]
    met += [replace(c, name=f"{c.name}, no dropout", dropout=0.0) for c in met if c.library == "trainer"]
    met.append(System("bare loop", "full", "bare"))
    head = (
        System("ftkit, cached features", "head_only", "ftkit", epochs=5),
        System("Trainer", "head_only", "trainer", grouped=False, dropout=0.1, epochs=5),
        System("Trainer, grouped", "head_only", "trainer", dropout=0.1, epochs=5),
    )
    blocks = SHAPES["minilm"].blocks + 1
    gradual = (
        System("ftkit, gradual", "gradual", "ftkit", epochs=blocks),
        System("ftkit, all differentiated", "full", "ftkit", epochs=blocks),
    )
    return [
        Group("updates", tuple(met), load),
        Group("head only", head, replace(load, updates=2)),
        Group("gradual unfreezing", gradual, replace(load, updates=1, turns=5)),
    ]


def rivals(strategy: str, *, shape: str = "minilm", precision: str = "fp32") -> list[System]:
    """ftkit and the two ways of calling Trainer; dropout is the checkpoint's own there, as people have it."""
    theirs = "PEFT in Trainer" if strategy == "lora" else "Trainer"
    common = {"strategy": strategy, "shape": shape, "precision": precision}
    return [
        System("ftkit", library="ftkit", **common),
        System(f"{theirs}, grouped", library="trainer", dropout=0.1, **common),
        System(theirs, library="trainer", grouped=False, dropout=0.1, **common),
    ]


def _on_gpu(*, quick: bool) -> list[Group]:
    load = Workload(updates=20 if quick else 50, turns=5)
    found = []
    for shape, strategy in (("bert-base", "full"), ("gpt2", "full"), ("llama-1b", "lora")):
        met = [
            c for precision in ("bf16", "fp32") for c in rivals(strategy, shape=shape, precision=precision)
        ]
        met = [c for c in met if c.precision == "bf16"] if quick or shape == "llama-1b" else met
        if not quick:
            compiled = replace(met[0], name="ftkit, compiled", compiled=True)
            met += [compiled, replace(met[1], name=f"{met[1].name}, compiled", compiled=True)]
        size = 8 if shape == "llama-1b" else 32
        found.append(Group(shape, tuple(met), replace(load, batch_size=size)))
        if quick:
            break
    return found


def measure(group: Group, *, say: Callable[[str], None], profile: bool = False) -> list[dict]:
    """All turns of a group: one record for each system. Raises ValueError where losses differ."""
    say(f"{group.name}: {len(group.systems)} systems start")
    with workers(group.systems, group.load) as running:
        losses = [worker.ask("first_loss") for worker in running]
        refuse_disagreement(group.systems, losses)
        records = [
            {**asdict(worker.who), "group": group.name, "first_loss": loss, "turns": [], "ceiling": []}
            for worker, loss in zip(running, losses, strict=True)
        ]
        for worker in running:  # the first call of everything is slow: a turn that does not count
            if not worker.who.epochs:
                worker.ask("turn", 0)
        for number in range(group.load.turns):
            for worker, record in zip(running, records, strict=True):
                turn = worker.ask("turn", number)
                record["turns"].append({"seconds": turn.seconds, "tokens": list(turn.tokens)})
                if worker.who.library == "ftkit" and not worker.who.epochs:
                    record["ceiling"].append(worker.ask("ceiling", turn))
            say(f"{group.name}: turn {number + 1} of {group.load.turns}")
        for worker, record in zip(running, records, strict=True):
            record["memory"] = worker.ask("memory") if worker.who.library != "bare" else None
        if profile and running[0].who.library == "ftkit":
            records[0]["profile"] = running[0].ask("profile", 0)
    return records


def refuse_disagreement(systems: Sequence[System], losses: Sequence[float]) -> None:
    """Nothing is timed before all compute the same loss on the same batch."""
    by_shape: dict[tuple, float] = {}
    wrong = []
    for who, loss in zip(systems, losses, strict=True):
        first = by_shape.setdefault((who.shape, who.precision), loss)
        if not abs(loss - first) <= AGREE[who.precision]:
            wrong.append(f"{who.name} ({who.strategy}) {loss:.7f} instead of {first:.7f}")
    if wrong:
        raise ValueError(f"expected the same loss of all systems on the same batch, found {'; '.join(wrong)}")
