"""Strategies under the same conditions: what a row says, how rows are summed up, kept and read again."""

import copy
import json

import pytest
import torch
from small import bert, classification

from ftkit.compare import Row, append, features, frontier, interval, measure, read, summary
from ftkit.records import TrainConfig
from ftkit.strategies import IA3, Full, Gated, HeadOnly, LoRA, PrefixTuning

TASK = classification()
CONFIG = TrainConfig(epochs=2, batch_size=8, seed=3)


def row(name="lora", *, seed=0, right="1101", **more):
    known = {"lr": 1e-3, "loss": 0.5, "trainable": 10, "parameters": 100, "peak_memory": 5, "seconds": 1.0}
    return Row(strategy=name, seed=seed, grades=tuple(map(float, right)), **known | {"moved": 0.1} | more)


def test_a_row_holds_what_the_trained_model_does():
    seen, base = [], bert()  # a load that seeds nothing: what LoRA draws must come from the config's seed

    def load():
        return copy.deepcopy(base)

    found = measure("lora", LoRA(rank=2), lr=1e-2, load=load, task=TASK, config=CONFIG, watch=seen.append)
    assert len(seen) == 10 and found.seed == 3 and found.lr == 1e-2
    assert len(found.grades) == len(TASK.test) and set(found.grades) <= {0.0, 1.0}
    assert found.trainable < found.parameters and found.peak_memory > 4 * found.parameters
    assert found.seconds == pytest.approx(sum(s.seconds for s in seen))
    again = measure("lora", LoRA(rank=2), lr=1e-2, load=load, task=TASK, config=CONFIG)
    assert (found.grades, found.loss, found.moved) == (again.grades, again.loss, again.moved)


def test_a_trunk_that_cannot_move_has_not_moved():
    still = measure("head_only", HeadOnly(cache=True), lr=1e-2, load=bert, task=TASK, config=CONFIG)
    assert still.moved == pytest.approx(0, abs=1e-6)
    assert measure("full", Full(), lr=1e-2, load=bert, task=TASK, config=CONFIG).moved > 1e-4


@pytest.mark.parametrize(
    "strategy", [Gated(), HeadOnly(cache=True), IA3(), PrefixTuning(3)], ids=lambda s: type(s).__name__
)
def test_the_features_of_every_strategy_are_what_the_head_reads_in_the_order_given(strategy):
    model = strategy.apply(copy.deepcopy(bert())).model.eval()
    found = features(model, TASK, TASK.test)
    base = next(m for m in model.modules() if hasattr(m, "classifier"))
    logits = found @ base.classifier.weight.T + base.classifier.bias
    assert torch.allclose(logits, TASK.logits_of(model, TASK.test), atol=1e-5)


def test_a_summary_takes_means_over_seeds_in_the_order_of_first_appearance():
    rows = [row("b", right="1100"), row("a", right="0000"), row("b", seed=1, right="1110", seconds=3.0)]
    first, second = summary(rows)
    assert (first["strategy"], first["seeds"], second["strategy"]) == ("b", 2, "a")
    assert first["quality"] == pytest.approx(5 / 8) and first["seconds"] == 1.0
    assert first["low"] < 5 / 8 < first["high"]
    assert (second["low"], second["quality"], second["high"]) == (0, 0, 0)


def test_an_interval_is_about_as_wide_as_the_binomials_and_narrower_for_more_texts():
    few, many = row(right="1" * 75 + "0" * 25), row(right="1" * 750 + "0" * 250)
    low, high = interval([few])
    assert high - low == pytest.approx(2 * 1.96 * (0.75 * 0.25 / 100) ** 0.5, rel=0.15)
    assert interval([many])[1] - interval([many])[0] < 0.5 * (high - low)


def test_the_interval_of_a_difference_lets_what_both_find_hard_cancel():
    one = row(right="1" * 80 + "0" * 20)
    assert interval([one], [one]) == (0.0, 0.0)
    other = row(right="1" * 70 + "0" * 30)
    low, high = interval([one], [other])
    assert 0 < low < 0.1 < high
    assert high - low < interval([one])[1] - interval([one])[0]


def test_seeds_that_differ_widen_the_interval():
    alike = [row(seed=i, right="10" * 200) for i in range(3)]
    apart = [row(seed=i, right=("1" * k + "0" * (4 - k)) * 100) for i, k in enumerate((1, 2, 3))]
    assert interval(apart)[1] - interval(apart)[0] > 2 * (interval(alike)[1] - interval(alike)[0])


def test_the_frontier_holds_whom_nobody_beats_at_the_same_cost_or_less():
    records = [
        {"strategy": "cheap", "trainable": 1, "quality": 0.7},
        {"strategy": "worse", "trainable": 2, "quality": 0.6},
        {"strategy": "good", "trainable": 3, "quality": 0.8},
        {"strategy": "same cost", "trainable": 3, "quality": 0.75},
        {"strategy": "dear", "trainable": 9, "quality": 0.8},
    ]
    assert frontier(records, cost="trainable") == ["cheap", "good"]


def test_rows_are_kept_as_lines_and_read_again(tmp_path):
    file = tmp_path / "rows.jsonl"
    assert read(file) == []
    rows = [row("a"), row("b", seed=2)]
    for one in rows:
        append(one, file)
    assert read(file) == rows


@pytest.mark.parametrize("line", ['{"strategy": "lora"}', "half a li", "[1]"])
def test_a_line_that_is_no_row_is_named(line, tmp_path):
    file = tmp_path / "rows.jsonl"
    append(row(), file)
    with open(file, "a") as out:
        out.write(line + "\n")
    with pytest.raises(ValueError, match=r"rows.jsonl, line 2: expected a row"):
        read(file)


def test_a_row_is_plain_json(tmp_path):
    append(row(), tmp_path / "rows.jsonl")
    assert json.loads((tmp_path / "rows.jsonl").read_text())["grades"] == [1, 1, 0, 1]
