"""One process and two give the same run. Started by torchrun, this file is also the program of the two."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import bert, classification, finish, language_model, language_modelling, losses, start, weights
from torch import nn

import ftkit
from ftkit import checkpoint, place
from ftkit.fit import evaluate, fit
from ftkit.loop import Run
from ftkit.records import Evaluation, Group, TrainConfig, Tuned
from ftkit.strategies import BitFit, Full, LoRA
from ftkit.surgery import layer_groups, trainable

N = 33  # in batches of 8 the last update has one example: the second process has none


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
    return Run(Tuned(model, tuple(groups)), classification(N), TrainConfig(lr=1e-2, epochs=3, batch_size=8))


def unused():
    model = Unused()
    tuned = Tuned(model, trainable(model, [name for name, _ in model.named_parameters()], name="all"))
    return Run(tuned, classification(N), TrainConfig(lr=1e-2, epochs=1, batch_size=8, weight_decay=0.1))


def poisoned():
    task = Troubled(
        classification(N), lambda calls, rows, loss: loss * (float("nan") if calls == 3 else 1), process=0
    )
    return start(task=task)


def crowded():
    def refuse(calls, rows, loss):
        if rows > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return loss

    return start(task=Troubled(classification(N), refuse, process=1))


def sharded(strategy, **settings):
    """A run whose model is spread over the processes, and whole where there is one."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    config = replace(TrainConfig(lr=1e-2, epochs=2, batch_size=8), **settings)
    tuned = strategy.apply(bert().double())
    return Run(tuned, classification(N), config, sharded=several)


RUNS = {
    "sharded-full": lambda: sharded(Full()),
    "sharded-lora": lambda: sharded(LoRA(rank=4)),
    "sharded-bitfit": lambda: sharded(BitFit()),
    "sharded-micro-batches": lambda: sharded(Full(), micro_batch_size=3),
    "lora": lambda: start(task=classification(N)),
    "full": lambda: start(strategy=Full(), task=classification(N)),
    "micro-batches": lambda: start(task=classification(N), micro_batch_size=3),
    "language-model": lambda: start(language_model(), strategy=LoRA(rank=2), task=language_modelling(N)),
    "waking-groups": waking,
    "unused-parameter": unused,
    "poisoned": poisoned,
    "fit": lambda: start(task=classification(N)),
    "crowded": crowded,
}


def whole_weights(run):
    """`weights` of a model that may be sharded."""
    listed = {name for group in run.tuned.groups for name in group.parameters}
    named = run.tuned.model.named_parameters()
    return torch.cat([place.whole(p.detach()).flatten() for name, p in named if name in listed])


def result(name, folder):
    """What comes out of a run in this process."""
    run = RUNS[name]()
    if not name.startswith("sharded"):
        run.tuned.model.double()  # what is left of a difference is the loop's, not rounding
    refused = ""
    if name == "fit":
        fit(run, folder / "checkpoints", progress=False)
    else:
        try:
            finish(run)
        except FloatingPointError as error:
            refused = str(error)
            finish(run)
    if name == "sharded-full":
        checkpoint.save(run, folder / "sharded")
        run.evaluations.append(Evaluation(run.step, evaluate(run)))
    return {
        "losses": losses(run),
        "weights": whole_weights(run),
        "counts": [(s.terms, s.tokens) for s in run.steps],
        "norms": [s.grad_norm for s in run.steps],
        "scores": [e.scores for e in run.evaluations],
        "refused": refused,
        "size": run.processes.num_processes,
    }


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """(folder with the results of two processes by torchrun, what they printed)."""
    folder = tmp_path_factory.mktemp("two")
    package = str(Path(ftkit.__file__).parent.parent)
    # gloo needs a network interface: the machine's own
    environment = os.environ | {"PYTHONPATH": package, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    child = subprocess.Popen(
        [*command, __file__, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        said, _ = child.communicate(timeout=150)
    except subprocess.TimeoutExpired:  # processes that wait for each other
        os.killpg(child.pid, signal.SIGKILL)
        said, _ = child.communicate()
    return folder, said


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_give_the_run_of_one(name, two, tmp_path):
    folder, said = two
    files = [folder / f"{name}-{rank}.pt" for rank in (0, 1)]
    assert all(file.exists() for file in files), f"the processes did not come this far:\n{said[-1500:]}"
    first, second = (torch.load(file) for file in files)
    one = result(name, tmp_path)
    assert (one["size"], first["size"]) == (1, 2)
    assert first["losses"] == pytest.approx(one["losses"], abs=1e-6)
    assert first["norms"] == pytest.approx(one["norms"], abs=1e-6)
    assert first["counts"] == one["counts"]
    assert (first["weights"] - one["weights"]).abs().max() < 1e-6
    for mine, other in zip(first["scores"], one["scores"], strict=True):
        assert mine == pytest.approx(other, abs=1e-6)
    assert torch.equal(first["weights"], second["weights"])
    assert {k: first[k] for k in ("losses", "scores", "refused")} == {
        k: second[k] for k in ("losses", "scores", "refused")
    }
    assert bool(first["refused"]) == (name == "poisoned")


def test_a_sharded_checkpoint_opens_in_one_process(two):
    folder, _ = two
    place = checkpoint.latest(folder / "sharded")
    assert sorted(file.name for file in place.iterdir()) == [
        "manifest.json",
        "optimizer.safetensors",
        "parameters.safetensors",
        "state.json",
    ]  # and no pickle
    run = sharded(Full())
    checkpoint.restore(run, place)
    alone = finish(sharded(Full()))
    assert run.step == alone.step
    assert (weights(run) - weights(alone)).abs().max() < 1e-6


def test_the_last_update_leaves_one_process_without_an_example():
    assert N % 8 == 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in RUNS:
        found = result(name, Path(sys.argv[1]))
        rank = os.environ["RANK"]
        torch.save(found, Path(sys.argv[1]) / f"{name}-{rank}.pt")
