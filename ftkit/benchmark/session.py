"""Who meets whom: the groups of contestants for a machine, and their turns, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from .contestants import Contestant
from .turns import seated
from .workload import SHAPES, Workload

AGREE = {"fp32": 1e-5, "bf16": 2e-2, "fp16": 2e-3}  # nats per term; 16 bits round


@dataclass(frozen=True)
class Group:
    """Contestants that take turns with each other, on the same data."""

    name: str
    contestants: tuple[Contestant, ...]
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
    met.append(Contestant("bare loop", "full", "bare"))
    head = (
        Contestant("ftkit, cached features", "head_only", "ftkit", epochs=5),
        Contestant("Trainer", "head_only", "trainer", grouped=False, dropout=0.1, epochs=5),
        Contestant("Trainer, grouped", "head_only", "trainer", dropout=0.1, epochs=5),
    )
    blocks = SHAPES["minilm"].blocks + 1
    gradual = (
        Contestant("ftkit, gradual", "gradual", "ftkit", epochs=blocks),
        Contestant("ftkit, all differentiated", "full", "ftkit", epochs=blocks),
    )
    return [
        Group("updates", tuple(met), load),
        Group("head only", head, replace(load, updates=2)),
        Group("gradual unfreezing", gradual, replace(load, updates=1, turns=5)),
    ]


def rivals(strategy: str, *, shape: str = "minilm", precision: str = "fp32") -> list[Contestant]:
    """ftkit and the two ways of calling Trainer; dropout is the checkpoint's own there, as people have it."""
    theirs = "PEFT in Trainer" if strategy == "lora" else "Trainer"
    common = {"strategy": strategy, "shape": shape, "precision": precision}
    return [
        Contestant("ftkit", library="ftkit", **common),
        Contestant(f"{theirs}, grouped", library="trainer", dropout=0.1, **common),
        Contestant(theirs, library="trainer", grouped=False, dropout=0.1, **common),
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


def play(group: Group, *, say: Callable[[str], None], profile: bool = False) -> list[dict]:
    """All turns of a group: one record for each contestant. Raises ValueError where losses differ."""
    say(f"{group.name}: {len(group.contestants)} contestants take their seats")
    with seated(group.contestants, group.load) as seats:
        losses = [seat.ask("first_loss") for seat in seats]
        refuse_disagreement(group.contestants, losses)
        records = [
            {**asdict(seat.who), "group": group.name, "first_loss": loss, "turns": [], "ceiling": []}
            for seat, loss in zip(seats, losses, strict=True)
        ]
        for seat in seats:  # the first call of everything is slow: a turn that does not count
            if not seat.who.epochs:
                seat.ask("turn", 0)
        for number in range(group.load.turns):
            for seat, record in zip(seats, records, strict=True):
                turn = seat.ask("turn", number)
                record["turns"].append({"seconds": turn.seconds, "tokens": list(turn.tokens)})
                if seat.who.library == "ftkit" and not seat.who.epochs:
                    record["ceiling"].append(seat.ask("ceiling", turn))
            say(f"{group.name}: turn {number + 1} of {group.load.turns}")
        for seat, record in zip(seats, records, strict=True):
            record["memory"] = seat.ask("memory") if seat.who.library != "bare" else None
        if profile and seats[0].who.library == "ftkit":
            records[0]["profile"] = seats[0].ask("profile", 0)
    return records


def refuse_disagreement(contestants: Sequence[Contestant], losses: Sequence[float]) -> None:
    """Nothing is timed before all compute the same loss on the same batch."""
    by_shape: dict[tuple, float] = {}
    wrong = []
    for who, loss in zip(contestants, losses, strict=True):
        first = by_shape.setdefault((who.shape, who.precision), loss)
        if not abs(loss - first) <= AGREE[who.precision]:
            wrong.append(f"{who.name} ({who.strategy}) {loss:.7f} instead of {first:.7f}")
    if wrong:
        raise ValueError(
            f"expected the same loss of all contestants on the same batch, found {'; '.join(wrong)}"
        )
