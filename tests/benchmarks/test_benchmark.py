"""The benchmark compares what it says it compares: the same model, data and loss, in turns."""

import argparse
import json
from dataclasses import replace
from datetime import datetime

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import ceiling, command, report, session
from benchmarks import speed as tables
from benchmarks.bars import speed
from benchmarks.session import Group, measure, refuse_disagreement
from benchmarks.systems import Bare, Ours, System
from benchmarks.timing import Turn
from benchmarks.trainer import Theirs
from benchmarks.workers import workers
from benchmarks.workload import SHAPES, Workload, model, task, text_lengths

TINY = Workload(updates=2, turns=2, batch_size=4, threads=1)
FTKIT = System("ftkit", "full", "ftkit", shape="tiny")
TRAINER = System("Trainer", "full", "trainer", grouped=False, dropout=0.1, shape="tiny")


def test_lengths_are_log_normal_with_the_mean_that_is_asked():
    lengths = text_lengths(Workload(), 20_000)
    assert lengths.mean() == pytest.approx(25, abs=0.3)
    assert lengths.std() == pytest.approx(25 * 0.533, abs=0.5)  # sqrt(exp(sigma^2) - 1) of the mean
    assert lengths.min() >= 3 and lengths.max() <= 128


@pytest.mark.parametrize(
    ("shape", "strategy"),
    [
        ("tiny", "full"),
        ("tiny", "lora"),
        ("tiny", "head_only"),
        ("tiny-gpt2", "full"),
        ("tiny-gpt2", "lora"),
        ("tiny-llama", "lora"),
    ],
)
def test_trainer_trains_the_same_numbers_and_computes_the_same_loss(shape, strategy):
    ours = Ours(replace(FTKIT, shape=shape, strategy=strategy), TINY)
    theirs = Theirs(replace(TRAINER, shape=shape, strategy=strategy), TINY)
    assert theirs.first_loss() == pytest.approx(ours.first_loss(), abs=1e-5)
    here = ours.run.history.trainable
    assert here == sum(p.numel() for p in theirs.trainer.model.parameters() if p.requires_grad)


def test_without_the_repair_trainer_multiplies_the_loss(monkeypatch):
    theirs = Theirs(TRAINER, TINY)
    right = theirs.first_loss()
    theirs.trainer.model_accepts_loss_kwargs = True  # what it concludes of transformers' own classifiers
    theirs.trainer.model.forward = lambda num_items_in_batch=None, plain=theirs.trainer.model.forward, **x: (
        plain(**x)
    )
    assert theirs.first_loss() == pytest.approx(2 * right, rel=1e-5)  # two micro-batches


@pytest.mark.parametrize("make", [Ours, Bare, Theirs])
def test_all_turns_together_train_on_every_text_once(make):
    who = TRAINER if make is Theirs else FTKIT
    system = make(who, TINY)
    turns = [system.turn(number) for number in range(TINY.turns + 1)]
    assert [len(turn.tokens) for turn in turns] == [2, 2, 2]
    assert sum(sum(turn.tokens) for turn in turns) == sum(map(len, system.task.train))
    assert all(turn.seconds > 0 for turn in turns)


def test_a_bare_loop_takes_the_same_batches_and_arrives_at_the_same_weights():
    ours, bare = Ours(FTKIT, TINY), Bare(FTKIT, TINY)
    ours.run.config = bare.run.config = replace(ours.run.config, schedule="constant", warmup=0.0)
    assert [ours.turn(0).tokens, ours.turn(1).tokens] == [bare.turn(0).tokens, bare.turn(1).tokens]
    for one, other in zip(ours.run.tuned.model.parameters(), bare.run.tuned.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_whole_trainings_begin_anew_in_every_turn():
    ours = Ours(replace(FTKIT, strategy="head_only", epochs=3), TINY)
    theirs = Theirs(replace(TRAINER, strategy="head_only", epochs=3), TINY)
    tokens = 3 * sum(map(len, ours.task.train))
    for system in (ours, theirs):
        assert [sum(system.turn(number).tokens) for number in range(2)] == [tokens, tokens]


def test_what_goes_wrong_inside_trainer_is_told():
    theirs = Theirs(TRAINER, TINY)
    theirs.trainer.data_collator = lambda rows: 1 / 0
    with pytest.raises(ZeroDivisionError):
        theirs.turn(0)


@pytest.mark.parametrize("strategy", ["full", "lora"])
def test_the_ceiling_has_the_products_of_the_model_and_no_others(strategy):
    load = Workload(updates=1, turns=0, batch_size=4, sigma=0.0, mean=20)  # no padding: all have 20 tokens
    shape = SHAPES["tiny"]
    a_task = task(load, shape)
    net = model(shape, a_task)
    net.config._attn_implementation = "eager"  # the counter knows the products of attention by themselves
    if strategy == "lora":
        for p in net.trunk.encoder.parameters():
            p.requires_grad_(False)
    batch = a_task.collate(a_task.train, "cpu")
    with FlopCounterMode(display=False) as counted:
        a_task.loss(net, batch)[0].backward()
    turn = Turn(1.0, (sum(map(len, a_task.train)),))
    with FlopCounterMode(display=False) as alone:
        ceiling.products(
            turn, model=net, shape=shape, texts=4, trained=strategy == "full", dtype=torch.float32
        )
    assert alone.get_total_flops() / 2 == pytest.approx(counted.get_total_flops(), rel=0.02)  # 2: warm-up


def test_a_loss_that_differs_is_refused_by_name():
    met = [FTKIT, TRAINER]
    refuse_disagreement(met, [0.7, 0.700009])
    with pytest.raises(ValueError, match=r"Trainer \(full\) 0.7000200 instead of 0.7000000"):
        refuse_disagreement(met, [0.7, 0.70002])
    with pytest.raises(ValueError, match="nan"):
        refuse_disagreement(met, [0.7, float("nan")])


@pytest.fixture(scope="module")
def records():
    """A small match, played through processes as the command does."""
    met = (
        FTKIT,
        replace(FTKIT, strategy="lora"),
        TRAINER,
        replace(TRAINER, strategy="lora", name="PEFT in Trainer"),
    )
    said = []
    found = measure(Group("updates", met, TINY), say=said.append, profile=True)
    assert said[-1] == "updates: turn 2 of 2"
    return found


def test_a_match_leaves_a_record_of_every_turn(records):
    assert [r["name"] for r in records] == ["ftkit", "ftkit", "Trainer", "PEFT in Trainer"]
    assert all(len(r["turns"]) == 2 and r["memory"] > 0 for r in records)
    assert [len(r["ceiling"]) for r in records] == [2, 2, 0, 0]
    assert sum(share for _, share, _ in records[0]["profile"]) <= 1
    json.dumps(records)  # as it is kept


def test_a_system_that_fails_says_why():
    with (
        pytest.raises(RuntimeError, match=r"no such, full: KeyError\('no such'\)"),
        workers([replace(FTKIT, name="no such", shape="no such")], TINY),
    ):
        pass


def results(ours=(3.0, 3.0, 3.0), theirs=(2.0, 1.0, 1.5)):
    def record(name, seconds, **more):
        turns = [{"seconds": s, "tokens": [60, 60]} for s in seconds]
        common = {"strategy": "full", "shape": "minilm", "precision": "fp32", "group": "updates"}
        return {"name": name, "turns": turns, "ceiling": [], "memory": 4_000_000, **common, **more}

    return {
        "date": "2026-01-01",
        "machine": {"device": "CPU", "threads": 2},
        "versions": {"torch": "2.13.0"},
        "workload": vars(Workload()),
        "contestants": [
            record("ftkit", [1 / r for r in ours], ceiling=[0.2 / r for r in ours]),
            record("Trainer", [1 / r for r in theirs]),
        ],
        "costs": {"import": [0.1, 0.1, 0.2], "rows_memory": 1.2},
    }


def test_ratios_are_taken_turn_by_turn():
    found = {goal["what"]: goal for goal in report.goals(results())}
    against = found["full, against Trainer as most call it"]
    assert (against["median"], against["lowest"], against["highest"]) == pytest.approx((2.0, 1.5, 3.0))
    assert against["reached"] is False
    share = found["share of the matrix products' rate, full"]
    assert share["median"] == pytest.approx(0.2)
    assert found["import ftkit (seconds)"]["reached"] is True
    assert found["memory, 1,000,000 rows over 10,000"]["reached"] is False
    assert "full, against Trainer with grouping" not in found  # it was not there


def test_the_readme_is_replaced_between_its_markers_only():
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter"
    assert report.replaced(page, "new") == f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter"
    with pytest.raises(ValueError, match="markers"):
        report.replaced("a page without them", "new")


def test_the_readme_has_the_newest_kept_result():
    page = tables.README.read_text(encoding="utf-8")
    assert page == tables.page(), "run python tests/benchmarks --tables"


def test_the_newest_result_is_taken(tmp_path):
    with pytest.raises(ValueError, match=r"speed-\*\.json"):
        report.newest(tmp_path)
    (tmp_path / "speed-2026-03-01-quick.json").write_text("{}")
    for day in ("2026-02-01", "2026-01-09"):
        (tmp_path / f"speed-{day}.json").write_text(json.dumps({"date": day}))
    assert report.newest(tmp_path)["date"] == "2026-02-01"


def test_the_figure_has_a_bar_for_every_system_and_cuts_nothing_off(records):
    fig = speed(report.drawn({"contestants": records}))
    fig.draw_without_rendering()
    labels = [t.get_text() for ax in fig.axes for t in ax.get_yticklabels()]
    assert labels == ["ftkit", "Trainer", "ftkit", "PEFT in Trainer"]
    for ax in fig.axes:
        for text in (*ax.texts, *ax.get_yticklabels()):
            box = text.get_window_extent()
            assert box.x0 >= 0 and box.x1 <= fig.bbox.x1, text.get_text()


def test_the_command_writes_its_results_and_overwrites_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(session, "groups", lambda **given: [Group("updates", (FTKIT, TRAINER), TINY)])

    class Standing(datetime):
        """A clock on which both runs begin in the same second."""

        @classmethod
        def now(cls):
            return cls(2026, 1, 31, 23, 59, 59)

    monkeypatch.setattr(command, "datetime", Standing)
    for _ in range(2):
        assert command.run(asked("--quick", "--threads", "1", "--out", str(tmp_path / "out"))) == 0
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert len({name.partition(".")[0] for name in names}) == 2
    assert sorted({name.rpartition(".")[2] for name in names}) == ["json", "md", "png"]
    kept = json.loads(next((tmp_path / "out").glob("*.json")).read_text())
    assert kept["quick"] is True and len(kept["contestants"]) == 2
    assert "Trainer" in capsys.readouterr().out


def asked(*arguments):
    """The benchmark's command line, read."""
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    return parser.parse_args(arguments)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ValueError, match="got a file"):
        command.run(asked("--quick", "--out", str(tmp_path / "out")))
    with pytest.raises(ValueError, match="1 thread or more"):
        command.run(asked("--threads", "0"))
