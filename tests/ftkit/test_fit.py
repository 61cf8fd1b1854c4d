"""fit is `updates` with evaluation, checkpoints and early stopping; a stopped one goes on unharmed."""

import inspect
import os
import signal
import sys
from dataclasses import replace

import pytest
import torch
from small import bert, classification, finish, losses, start, weights
from test_loop import Watched

from ftkit import checkpoint
from ftkit import fit as fit_module  # the function is fit_module.fit
from ftkit.fit import evaluate, fit, predict
from ftkit.strategies import HeadOnly, LoRA


class Scripted(Watched):
    """A task whose validation losses are written down in advance; keeps the weights that it scored."""

    def __init__(self, task, planned):
        super().__init__(task, lambda *_: None)
        self.planned, self.seen = list(planned), []

    def score(self, model, examples):
        self.seen.append(torch.cat([p.detach().flatten() for p in model.parameters() if p.requires_grad]))
        return {"loss": self.planned[len(self.seen) - 1], "accuracy": 0.5}


class Pressed(Watched):
    """A task that presses Ctrl-C at the given calls of score, before or after the scoring."""

    def __init__(self, task, *, before=(), after=()):
        super().__init__(task, lambda *_: None)
        self.before_score, self.after_score, self.scored = before, after, 0

    def score(self, model, examples):
        self.scored += 1
        if self.scored in self.before_score:
            interrupt()
        found = self.task.score(model, examples)
        if self.scored in self.after_score:
            interrupt()
        return found


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def scores(run):
    return [(e.step, e.scores["loss"]) for e in run.evaluations]


def fitted(run, folder):
    fit(run, folder, progress=False)
    return run


@pytest.mark.parametrize("patience", [1, 2, 4])
def test_fit_stops_after_exactly_so_many_evaluations_without_a_lower_loss(patience, tmp_path):
    task = Scripted(classification(), [0.9, 0.5, 0.6, 0.4, 0.5, 0.4, 0.45, 0.7, 0.39, 0.2])
    run = fitted(start(task=task, evaluate_every=1, patience=patience), tmp_path)
    assert len(run.evaluations) == run.step == {1: 3, 2: 6, 4: 8}[patience]
    assert run.history.ended == "early"


def test_a_loss_that_only_equals_the_lowest_is_no_improvement(tmp_path):
    task = Scripted(classification(), [0.5] * 10)
    assert fitted(start(task=task, evaluate_every=1, patience=2), tmp_path).step == 3


def test_a_loss_that_keeps_falling_never_stops_fit(tmp_path):
    task = Scripted(classification(), [1 - i / 20 for i in range(10)])
    assert fitted(start(task=task, evaluate_every=1, patience=1), tmp_path).step == 10


def test_without_patience_fit_goes_to_the_end(tmp_path):
    task = Scripted(classification(), range(10))
    run = fitted(start(task=task, evaluate_every=1), tmp_path)
    assert (run.step, run.history.ended) == (10, "finished")


@pytest.mark.parametrize("best", [1, 3, 9, 10])
def test_fit_ends_with_the_best_weights(best, tmp_path):
    task = Scripted(classification(), [0.3 if i == best else 0.5 for i in range(1, 11)])
    run = fitted(start(task=task, evaluate_every=1), tmp_path)
    assert torch.equal(weights(run), task.seen[best - 1])
    assert run.step == 10


def test_of_two_equally_good_evaluations_the_earlier_wins(tmp_path):
    task = Scripted(classification(), [0.5, 0.3, 0.3, 0.5])
    run = fitted(start(task=task, evaluate_every=3), tmp_path)
    assert torch.equal(weights(run), task.seen[1])


def test_fit_trains_as_updates_does(tmp_path):
    run = fitted(start(bert(dropout=0.1)), tmp_path)
    assert losses(run) == losses(finish(start(bert(dropout=0.1))))


@pytest.mark.parametrize(("every", "steps"), [(None, [5, 10]), (3, [3, 6, 9, 10]), (5, [5, 10]), (99, [10])])
def test_fit_evaluates_once_an_epoch_or_as_often_as_asked_and_at_the_end(every, steps, tmp_path):
    run = fitted(start(evaluate_every=every), tmp_path)
    assert [e.step for e in run.evaluations] == steps


def test_fit_returns_the_history_with_the_memory_measured(tmp_path):
    run = start()
    history = fit(run, tmp_path, progress=False)
    assert history == run.history
    assert len(history.steps) == 10 and len(history.evaluations) == 2
    assert history.peak_memory > 4 * history.parameters


def test_the_folder_holds_the_newest_two_and_the_best(tmp_path):
    task = Scripted(classification(), [0.5, 0.5, 0.3, *[0.5] * 7])
    fitted(start(task=task, evaluate_every=1), tmp_path)
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["step-000003", "step-000009", "step-000010"]


def test_a_folder_with_checkpoints_of_another_run_is_refused_and_left_alone(tmp_path):
    fitted(start(), tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match=r"holds checkpoints up to step-000010.*restore"):
        fit(start(seed=1), tmp_path, progress=False)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_checkpoints_of_another_run_are_refused_also_when_they_are_older(tmp_path):
    fitted(start(epochs=1), tmp_path)  # up to step 5
    run = finish(start(lr=3e-3, epochs=2))
    with pytest.raises(ValueError, match=r"step-000005"):
        fit(run, tmp_path, progress=False)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("something")
    with pytest.raises(ValueError, match="expected a folder to save in, got a file"):
        fit(start(), tmp_path / "run", progress=False)


def test_a_restored_run_may_go_on_in_its_folder(tmp_path):
    whole = fitted(start(evaluate_every=2), tmp_path / "whole")
    run = start(evaluate_every=2, task=Pressed(classification(), after=(3,)))
    fitted(run, tmp_path / "cut")
    other = start(evaluate_every=2)
    checkpoint.restore(other, checkpoint.latest(tmp_path / "cut"))
    fitted(other, tmp_path / "cut")
    assert scores(other) == scores(whole) and losses(other) == losses(whole)
    assert torch.equal(weights(other), weights(whole))


def test_a_run_that_updates_has_finished_is_evaluated_and_saved(tmp_path):
    run = fitted(finish(start()), tmp_path)
    assert [e.step for e in run.evaluations] == [10]
    assert [p.name for p in checkpoint.all_in(tmp_path)] == ["step-000010"]


def test_a_run_that_has_stopped_early_is_not_trained_further(tmp_path):
    task = Scripted(classification(), [0.3, 0.5, 0.5, 0.5, 0.5, 0.5])
    run = fitted(start(task=task, evaluate_every=1, patience=2), tmp_path)
    best = weights(run)
    assert fitted(run, tmp_path).step == 3
    assert torch.equal(weights(run), best)


def pressing(where, call, monkeypatch):
    """A run in which Ctrl-C is pressed at the given call of one of its parts."""
    if where == "score, before":
        return start(bert(dropout=0.1), task=Pressed(classification(), before=(call,)))
    if where == "score, after":
        return start(bert(dropout=0.1), task=Pressed(classification(), after=(call,)))
    if where == "loss":
        task = Watched(classification(), lambda task, *_: interrupt() if task.calls == call else None)
        return start(bert(dropout=0.1), task=task)
    run, calls = start(bert(dropout=0.1)), []
    holder, name = {"step": (run.optimizer, "step"), "sync": (os, "fsync")}[where]
    really = getattr(holder, name)

    def pressed(*arguments, **keys):
        calls.append(1)
        if len(calls) == call:
            interrupt()
        return really(*arguments, **keys)

    monkeypatch.setattr(holder, name, pressed)
    return run


@pytest.mark.parametrize(
    ("where", "call"),
    [
        *(("loss", n) for n in (1, 3, 6, 10)),
        *(("step", n) for n in (1, 4, 5, 6, 10)),  # 5 and 10 are the last of their epochs
        *(("score, before", n) for n in (1, 2)),
        *(("score, after", n) for n in (1, 2)),
        *(("sync", n) for n in (1, 5, 9)),
    ],
)
def test_a_stopped_fit_leaves_a_checkpoint_and_goes_on_to_the_same_result(
    where, call, tmp_path, monkeypatch, capsys
):
    whole = fitted(start(bert(dropout=0.1)), tmp_path / "whole")
    run = pressing(where, call, monkeypatch)
    history = fit(run, tmp_path / "cut", progress=False)
    said = capsys.readouterr().out
    assert f"stopped after {run.step} of 10 updates" in said and "call fit again" in said
    assert history == run.history and history.ended == "interrupted"
    latest = checkpoint.latest(tmp_path / "cut")
    assert latest is not None and latest.name == f"step-{run.step:06d}"
    assert all(p.name.startswith("step-") for p in (tmp_path / "cut").iterdir())
    fitted(run, tmp_path / "cut")
    assert capsys.readouterr().out == "" and run.ended == "finished"
    assert losses(run) == losses(whole)
    assert scores(run) == scores(whole)
    assert torch.equal(weights(run), weights(whole))


def test_ctrl_c_during_the_best_evaluation_does_not_lose_it(tmp_path):
    class Once(Scripted):
        pressed = False

        def score(self, model, examples):
            if len(self.seen) == 1 and not self.pressed:
                self.pressed = True
                interrupt()
            return super().score(model, examples)

    run = start(task=Once(classification(), [0.5, 0.1]))
    fitted(run, tmp_path)  # stopped while it scores the weights of the last update
    assert len(run.evaluations) == 1 and run.step == 10
    fitted(run, tmp_path)
    assert scores(run) == [(5, 0.5), (10, 0.1)]
    assert torch.equal(weights(run), run.task.seen[1])


def interrupted_at(run, folder, line):
    """Fit, pressing Ctrl-C just before `line` of fit.py, once, after two updates; was it reached?"""
    reached = []

    def trace(frame, event, _):
        if frame.f_code.co_filename != fit_module.__file__:
            return None
        if event == "line" and frame.f_lineno == line and run.step >= 2 and not reached:
            reached.append(line)
            sys.settrace(None)
            interrupt()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        fitted(run, folder)
    except KeyboardInterrupt:
        assert reached
    finally:
        sys.settrace(before)
    return bool(reached)


def test_ctrl_c_at_any_line_of_fit_changes_nothing(tmp_path):
    def run():
        return start(task=classification(8), epochs=3, evaluate_every=1, patience=2, strategy=HeadOnly())

    expected, reached = fitted(run(), tmp_path / "whole"), 0
    source, first = inspect.getsourcelines(fit_module.fit)
    for line in range(first, first + len(source)):
        stopped = run()
        reached += interrupted_at(stopped, tmp_path / str(line), line)
        fitted(stopped, tmp_path / str(line))
        where = f"line {line}: {source[line - first]}"
        assert losses(stopped) == losses(expected) and scores(stopped) == scores(expected), where
        assert torch.equal(weights(stopped), weights(expected)), where
    assert reached > 10


def test_a_run_that_is_no_number_leaves_the_checkpoints_it_has(tmp_path):
    spoil = Watched(classification(), lambda task, *_: (lambda loss: loss / 0) if task.calls == 7 else None)
    run = start(task=spoil)
    with pytest.raises(FloatingPointError, match="update 6"):
        fit(run, tmp_path, progress=False)
    assert [p.name for p in checkpoint.all_in(tmp_path)] == ["step-000005"]
    assert scores(fitted(run, tmp_path)) == scores(fitted(start(), tmp_path / "healthy"))


def test_evaluate_scores_the_split_asked_for():
    run = start()
    model, task = run.tuned.model, run.task
    assert evaluate(run) == task.score(model, task.validation)
    assert evaluate(run, "test") == task.score(model, task.test) != evaluate(run)
    assert evaluate(run, "train") == task.score(model, task.train)


def test_predict_gives_a_label_with_its_probability_in_the_order_of_the_texts():
    run = finish(start(strategy=LoRA(rank=4), epochs=20))
    model, task = run.tuned.model, run.task
    texts = [e.text for e in task.train]
    found = predict(model, task, texts)
    expected = [model.eval()(**_one(task, text)).logits.softmax(-1)[0].tolist() for text in texts]
    for answer, row in zip(found, expected, strict=True):
        assert list(answer.probabilities) == list(task.labels)
        assert list(answer.probabilities.values()) == pytest.approx(row, abs=1e-5)
        assert answer.probability == max(answer.probabilities.values())
        assert answer.probabilities[answer.label] == answer.probability
    assert sum(task.labels[e.label] == a.label for e, a in zip(task.train, found, strict=True)) > 33
    assert {a.label for a in found} == set(task.labels)


def _one(task, text):
    batch = task.collate(task.encode([text]), "cpu")
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


def test_predict_of_no_texts_is_no_predictions():
    assert predict(bert(), classification(), []) == []


@pytest.mark.parametrize("empty", ["", "  ", "\n\t"])
def test_predict_refuses_an_empty_text_by_its_number(empty):
    with pytest.raises(ValueError, match="text 2 is empty"):
        predict(bert(), classification(), ["w3 w4", empty, "w5"])


def test_a_task_without_a_validation_split_is_refused_before_training(tmp_path, task):
    run = start(task=replace(task, validation=[]))
    with pytest.raises(ValueError, match="validation split, got none"):
        fit(run, tmp_path, progress=False)
    assert run.step == 0


class RuinedScore(Watched):
    """A task whose validation loss is no number."""

    def score(self, model, examples):
        return self.task.score(model, examples) | {"loss": float("nan")}


def test_weights_with_a_validation_loss_that_is_no_number_are_not_saved(tmp_path, task):
    run = start(task=RuinedScore(task, lambda *_: None))
    with pytest.raises(FloatingPointError, match="finite validation loss, got nan"):
        fit(run, tmp_path, progress=False)
    assert checkpoint.all_in(tmp_path) == []


def test_evaluation_computes_in_the_precision_of_training(task):
    run, exact = start(task=task, precision="bf16"), start(task=task)
    with torch.autocast("cpu", torch.bfloat16):
        by_hand = task.score(run.tuned.model, task.validation)
    assert evaluate(run) == by_hand
    assert evaluate(run)["loss"] != evaluate(exact)["loss"]


def test_texts_that_are_shortened_are_told(task):
    with pytest.warns(UserWarning, match="1 of 2 texts are longer than 64 tokens"):
        predict(bert(), task, ["w5 w7", " ".join(["w9"] * 65)])
