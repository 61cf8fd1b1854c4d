"""One process, two and three give the same run, whole or sharded; so do the ways from one to the other.

Started as a program, this file imports once and forks the processes, with the variables that torchrun sets.
"""

import functools
import os
import signal
import socket
import subprocess
import sys
import traceback
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import bert, classification, finish, language_model, language_modelling, losses, start
from torch import nn

import ftkit
from ftkit import checkpoint, place
from ftkit.fit import evaluate, fit
from ftkit.loop import Run, updates
from ftkit.records import Group, TrainConfig, Tuned
from ftkit.strategies import BitFit, Full, LoRA
from ftkit.surgery import layer_groups, trainable
from ftkit.tasks import Classification
from ftkit.tasks.task import together

N = 33  # in batches of 8 the last update has one example: all processes but the first have none
SIZES = (2, 3)
STOP = 4  # the update after which sharded runs are saved


class Exact(Classification):
    """In 64 bits to the end: in 32 a third is rounded, and AdamW magnifies that in small gradients."""

    def logits(self, model, batch):
        return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits


@functools.cache
def sentences():
    """33 to train on and 300 to evaluate: five batches, which two or three processes cannot share evenly."""
    many = classification(300)
    return Exact(**vars(replace(many, train=many.train[:N], validation=many.train)))


class Troubled:
    """A task whose loss is spoiled in one process, by its number of calls or the size of the batch."""

    def __init__(self, task, spoil, *, process):
        self.task, self.spoil, self.calls = task, spoil, 0
        self.process = process

    def __getattr__(self, name):
        return getattr(self.task, name)

    def loss(self, model, batch):
        self.calls += 1
        loss, terms = self.task.loss(model, batch)
        mine = os.environ.get("RANK", "0") == str(self.process)
        return (self.spoil(self.calls, len(batch["labels"]), loss) if mine else loss), terms


class Unused(nn.Module):
    """A model with a trainable parameter that no forward pass touches."""

    def __init__(self):
        super().__init__()
        self.trunk, self.idle = bert(), nn.Parameter(torch.ones(3))
        self.classifier = self.trunk.classifier

    def forward(self, **inputs):
        return self.trunk(**inputs)


def waking():
    model = bert()
    groups = [
        Group(name, tuple(names), from_epoch=epoch)
        for (name, names), epoch in zip(layer_groups(model), (2, 1, 1, 0), strict=True)
    ]
    return Run(Tuned(model, tuple(groups)), sentences(), TrainConfig(lr=1e-2, epochs=3, batch_size=8))


def unused():
    model = Unused()
    tuned = Tuned(model, trainable(model, [name for name, _ in model.named_parameters()], name="all"))
    return Run(tuned, sentences(), TrainConfig(lr=1e-2, epochs=1, batch_size=8, weight_decay=0.1))


def poisoned():
    task = Troubled(
        sentences(), lambda calls, rows, loss: loss * (float("nan") if calls == 3 else 1), process=0
    )
    return start(task=task)


def crowded():
    def refuse(calls, rows, loss):
        if rows > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return loss

    return start(task=Troubled(sentences(), refuse, process=1))


def sharded(strategy, **settings):
    """A run whose model is spread over the processes, and whole where there is one."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    config = replace(TrainConfig(lr=1e-2, epochs=2, batch_size=8), **settings)
    tuned = strategy.apply(bert())
    tuned.model.double()
    return Run(tuned, sentences(), config, sharded=several)


SHARDED = {
    "sharded-full": lambda: sharded(Full()),
    "sharded-lora": lambda: sharded(LoRA(rank=4)),
    "sharded-bitfit": lambda: sharded(BitFit()),
    # 7 and 6 examples, or 5, 4 and 4: one process has a micro-batch more than the others
    "sharded-micro-batches": lambda: sharded(Full(), batch_size=13, micro_batch_size=2),
}
RUNS = SHARDED | {
    "lora": lambda: start(task=sentences()),
    "full": lambda: start(strategy=Full(), task=sentences()),
    "micro-batches": lambda: start(task=sentences(), micro_batch_size=3),
    "language-model": lambda: start(language_model(), strategy=LoRA(rank=2), task=language_modelling(N)),
    "waking-groups": waking,
    "unused-parameter": unused,
    "poisoned": poisoned,
    "fit": lambda: start(task=sentences()),
    "crowded": crowded,
}


def whole_weights(run):
    """`weights` of a model that may be sharded."""
    listed = {name for group in run.tuned.groups for name in group.parameters}
    named = run.tuned.model.named_parameters()
    return torch.cat([place.whole(p.detach()).flatten() for name, p in named if name in listed])


def saved_on_the_way(run, folder):
    """The run, saved after `STOP` updates; it goes on."""
    for step in updates(run):
        if step.step == STOP - 1:
            break
    checkpoint.save(run, folder)
    return run


def result(name, folder):
    """What comes out of a run in this process."""
    run = RUNS[name]()
    if name not in SHARDED:
        run.tuned.model.double()  # what is left of a difference is the loop's, not rounding
    refused = ""
    if name == "fit":
        fit(run, folder / "checkpoints", progress=False)
    elif name in SHARDED:
        finish(saved_on_the_way(run, folder / name))
    else:
        try:
            finish(run)
        except FloatingPointError as error:
            refused = str(error)
            finish(run)
    return outcome(run) | {"refused": refused}


def outcome(run):
    """All that must not depend on the number of processes, and that number."""
    model, task = run.tuned.model, run.task
    scores = [e.scores for e in run.evaluations] + [evaluate(run)]
    with together(run.processes):
        grades = task.grades(model, task.validation)
    return {
        "losses": losses(run),
        "weights": whole_weights(run),
        "counts": [(s.terms, s.tokens) for s in run.steps],
        "norms": [s.grad_norm for s in run.steps],
        "scores": scores,
        "grades": grades,
        "size": run.processes.num_processes,
    }


@functools.cache
def alone(name, folder):
    """`result` of one process, which is this one."""
    return result(name, folder)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """(folder with the results of two and of three processes and of this one, what they printed)."""
    folder = tmp_path_factory.mktemp("several")
    for name in SHARDED:
        alone(name, folder)
    package = str(Path(ftkit.__file__).parent.parent)
    # gloo needs a network interface: the machine's own
    environment = os.environ | {"PYTHONPATH": package, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    launcher = subprocess.Popen(
        [sys.executable, __file__, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        printed, _ = launcher.communicate(timeout=150)
    except subprocess.TimeoutExpired:  # processes that wait for each other
        os.killpg(launcher.pid, signal.SIGKILL)
        printed, _ = launcher.communicate()
    return folder, printed


def results(name, size, several):
    """What each of the processes kept."""
    folder, printed = several
    files = [folder / str(size) / f"{name}-{rank}.pt" for rank in range(size)]
    assert all(f.exists() for f in files), f"the processes did not come this far:\n{printed[-1500:]}"
    return [torch.load(f) for f in files]


def expect_the_same(many, one):
    """Losses, norms, weights and scores to 1e-6, counts and grades exactly; bit for bit among processes."""
    first, *others = many
    assert (one["size"], first["size"]) == (1, len(many))
    assert first["losses"] == pytest.approx(one["losses"], abs=1e-6)
    assert first["norms"] == pytest.approx(one["norms"], abs=1e-6)
    assert first["counts"] == one["counts"]
    assert (first["weights"] - one["weights"]).abs().max() < 1e-6
    for mine, other in zip(first["scores"], one["scores"], strict=True):
        assert mine == pytest.approx(other, abs=1e-6)
    assert first["grades"] == pytest.approx(one["grades"], abs=1e-6)
    for other in others:
        assert torch.equal(first["weights"], other["weights"])
        assert all(first[k] == other[k] for k in ("losses", "scores", "grades"))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", RUNS)
def test_several_processes_give_the_run_of_one(name, size, several):
    many, one = results(name, size, several), alone(name, several[0])
    expect_the_same(many, one)
    assert len({each["refused"] for each in many}) == 1
    assert bool(many[0]["refused"]) == bool(one["refused"]) == (name == "poisoned")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SHARDED)
def test_what_sharded_processes_saved_goes_on_in_one(name, size, several):
    folder, _ = several
    one = alone(name, folder)
    place = checkpoint.latest(folder / str(size) / name)
    assert sorted(file.name for file in place.iterdir()) == [
        "manifest.json",
        "optimizer.safetensors",
        "parameters.safetensors",
        "state.json",
    ]  # and no pickle
    run = SHARDED[name]()
    checkpoint.restore(run, place)
    assert run.step == STOP < run.total
    expect_the_same([outcome(finish(run))], one)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SHARDED)
def test_what_one_process_saved_goes_on_in_sharded_ones(name, size, several):
    many = results(f"resumed-{name}", size, several)
    expect_the_same(many, alone(name, several[0]))


def test_the_runs_are_as_uneven_as_they_are_meant_to_be():
    assert N % 8 == 1
    for size in SIZES:
        rounds = {-(-len(range(rank, 13, size)) // 2) for rank in range(size)}
        assert len(rounds) == 2
        assert -(-300 // 64) % size


def program(folder, size):
    """What each of `size` processes does."""
    rank = os.environ["RANK"]
    own = folder / str(size)
    own.mkdir(exist_ok=True)
    for name in RUNS:
        torch.save(result(name, own), own / f"{name}-{rank}.pt")
    for name in SHARDED:
        run = SHARDED[name]()
        checkpoint.restore(run, checkpoint.latest(folder / name))
        torch.save(outcome(finish(run)), own / f"resumed-{name}-{rank}.pt")


def forked(rank, size, port, folder):
    """The number of a process that runs the program."""
    pid = os.fork()
    if pid == 0:
        numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
        numbers |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update({name: str(number) for name, number in numbers.items()})
        try:
            program(folder, size)
            status = 0
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return pid


def launch(folder):
    """Run the program in two processes, then in three; one that fails ends the others, which wait for it."""
    for size in SIZES:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        running = {forked(rank, size, port, folder) for rank in range(size)}
        while running:
            pid, status = os.wait()
            running.discard(pid)
            if status:
                for other in running:
                    os.kill(other, signal.SIGKILL)


if __name__ == "__main__":
    torch.set_num_threads(1)
    launch(Path(sys.argv[1]))
