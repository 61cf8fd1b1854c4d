"""One process and two give the same run. Started by torchrun, this file is also the program of the two."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small import bert, classification, finish, language_model, language_modelling, losses, start, weights
from torch import nn

import ftkit
from ftkit.fit import fit
from ftkit.loop import Run
from ftkit.records import Group, TrainConfig, Tuned
from ftkit.strategies import Full, LoRA
from ftkit.surgery import layer_groups, trainable

N = 33  # in batches of 8 the last update has one example: the second process has none


class Troubled:
    """A task whose loss is spoiled in one process, by its number of calls or the size of the batch."""

    def __init__(self, task, spoil, *, process):
        self.task, self.spoil, self.calls = task, spoil, 0
        self.process = process

    def __getattr__(self, name):
        return getattr(self.task, name)

    def loss_sum(self, model, batch):
        self.calls += 1
        loss = self.task.loss_sum(model, batch)
        mine = os.environ.get("RANK", "0") == str(self.process)
        return self.spoil(self.calls, len(batch["labels"]), loss) if mine else loss


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
        Group(name, tuple(params), from_epoch=epoch)
        for (name, params), epoch in zip(layer_groups(model), (2, 1, 1, 0), strict=True)
    ]
    return Run(Tuned(model, tuple(groups)), classification(N), TrainConfig(lr=1e-2, epochs=3, batch_size=8))


def unused():
    model = Unused()
    tuned = Tuned(model, trainable(model, list(model.parameters()), name="all"))
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


RUNS = {
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


def result(name, folder):
    """What comes out of a run in this process."""
    run = RUNS[name]()
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
    return {
        "losses": losses(run),
        "weights": weights(run),
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
        said, _ = child.communicate(timeout=75)
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


def test_the_last_update_leaves_one_process_without_an_example():
    assert N % 8 == 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in RUNS:
        found = result(name, Path(sys.argv[1]))
        rank = os.environ["RANK"]
        torch.save(found, Path(sys.argv[1]) / f"{name}-{rank}.pt")
