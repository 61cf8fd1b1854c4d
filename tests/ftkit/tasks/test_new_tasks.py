"""Three tasks that the loop was not written for: tagging, translation, and a loss of the whole batch.

Started by torchrun, this file is also the program of two processes.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path[:0] = [str(Path(__file__).parent)]

from contrastive import contrastive, towers  # noqa: E402
from small import finish, losses, start, weights  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402
from toys import t5, tagger, tagging, translation  # noqa: E402

import ftkit  # noqa: E402
from ftkit import checkpoint  # noqa: E402
from ftkit.checks import check_task  # noqa: E402
from ftkit.compare import measure  # noqa: E402
from ftkit.fit import evaluate, fit  # noqa: E402
from ftkit.loop import Run, updates  # noqa: E402
from ftkit.records import TrainConfig  # noqa: E402
from ftkit.strategies import STRATEGIES, Full, LoRA, PrefixTuning, PromptTuning, QLoRA  # noqa: E402
from ftkit.surgery import layer_groups  # noqa: E402

SMALL = {"lora": LoRA(rank=2), "qlora": QLoRA(rank=2)}
SMALL |= {"prompt_tuning": PromptTuning(3), "prefix_tuning": PrefixTuning(3)}
TASKS = {"tagging": (tagging, tagger), "translation": (translation, t5), "contrastive": (contrastive, towers)}
REFUSED = {
    "tagging": set(),
    "translation": {"head_only", "bitfit"},  # no new head; no bias in T5
    "contrastive": {"prompt_tuning", "prefix_tuning"},  # before which of the two texts?
}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", TASKS)
@pytest.mark.filterwarnings("ignore:never trained")
def test_a_new_task_trains_under_every_strategy_or_is_refused_in_a_sentence(name, strategy):
    task, model = TASKS[name]
    if strategy in REFUSED[name]:
        with pytest.raises(ValueError, match=r"expected .*got "):
            SMALL.get(strategy, STRATEGIES[strategy]()).apply(model())
        return
    run = start(model(), strategy=SMALL.get(strategy, STRATEGIES[strategy]()), task=task(), batch_size=16)
    before = weights(run)
    next(updates(run))
    assert not torch.equal(weights(run), before)


@pytest.mark.parametrize("name", TASKS)
def test_fit_evaluates_saves_and_a_resumed_run_is_the_uninterrupted_one(name, tmp_path):
    task, model = TASKS[name]
    whole = start(model(), strategy=Full(), task=task())
    history = fit(whole, tmp_path / "whole", progress=False)
    assert len(history.evaluations) == 2 and history.peak_memory > 0
    part = start(model(), strategy=Full(), task=task())
    for step in updates(part):
        if step.step == 3:
            break
    again = start(model(seed=5), strategy=Full(), task=task())
    with torch.no_grad():  # what the table does not hold is the same model's
        again.tuned.model.load_state_dict(model().state_dict())
    checkpoint.restore(again, checkpoint.save(part, tmp_path / "part"))
    assert losses(finish(again)) == losses(finish(start(model(), strategy=Full(), task=task())))


@pytest.mark.parametrize("name", TASKS)
def test_compare_measures_a_new_task(name):
    task, model = TASKS[name]
    from dataclasses import replace

    own = replace(task(), test=task().validation)
    config = TrainConfig(epochs=1, batch_size=8)
    row = measure("lora", LoRA(rank=2), lr=1e-2, load=model, task=own, config=config)
    assert len(row.grades) == len(own.test) and all(0 <= grade <= 1 for grade in row.grades)
    assert row.moved is None and row.trainable < row.parameters


def test_the_contrastive_gradient_is_that_of_the_formula():
    task, model = contrastive(6), towers().double()
    batch = task.collate(task.train, "cpu")
    loss, terms = task.loss(model, batch)
    first, second, _ = task.vectors(model, batch)
    similarity = model.log_scale.exp() * first @ second.T
    by_hand = (cross_entropy(similarity, torch.arange(6)) + cross_entropy(similarity.T, torch.arange(6))) / 2
    assert int(terms) == 6 and (loss / terms).item() == pytest.approx(by_hand.item(), abs=1e-12)


def test_two_towers_are_layers_level_by_level():
    groups = dict(layer_groups(towers()))
    assert list(groups) == ["embeddings", "block 0", "block 1", "head"]
    assert {name.split(".")[0] for name in groups["block 0"]} == {"first", "second"}
    assert "log_scale" in groups["head"]


def test_micro_batches_would_change_the_contrastive_objective_and_are_refused():
    with pytest.raises(ValueError, match="expected no micro_batch_size for Contrastive"):
        start(towers(), strategy=Full(), task=contrastive(), micro_batch_size=4)


def test_a_process_without_an_example_would_change_the_contrastive_loss_and_is_refused():
    config = TrainConfig(batch_size=8)
    check_task(contrastive(34), config, processes=2)
    with pytest.raises(ValueError, match="for each of 2 processes in every update, got 1 in the last one"):
        check_task(contrastive(33), config, processes=2)


def result(name):
    """What comes out of a run in this process, in 64 bits."""
    task, model = TASKS[name]
    run = Run(Full().apply(model().double()), task(34), TrainConfig(lr=1e-2, epochs=2, batch_size=8))
    finish(run)
    return {"losses": losses(run), "weights": weights(run), "scores": evaluate(run)}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder with the results of two processes."""
    folder = tmp_path_factory.mktemp("two")
    here = Path(__file__).parent
    places = [Path(ftkit.__file__).parents[1], here, here.parent]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, places))}
    environment |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, __file__, str(folder)], capture_output=True, text=True, env=environment, timeout=150
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.parametrize("name", TASKS)
def test_two_processes_give_the_run_of_one(name, two):
    one, both = result(name), torch.load(two / f"{name}.pt")
    assert both["losses"] == pytest.approx(one["losses"], abs=1e-6)
    assert (both["weights"] - one["weights"]).abs().max() < 1e-6
    assert both["scores"] == pytest.approx(one["scores"], abs=1e-6)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in TASKS:
        outcome = result(name)
        if os.environ["RANK"] == "0":
            torch.save(outcome, Path(sys.argv[1]) / f"{name}.pt")
