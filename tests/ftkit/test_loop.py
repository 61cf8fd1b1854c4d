"""The loop against one concatenated batch, against itself cut up in every way, and against faults."""

import copy
import inspect
import os
import signal
import statistics
import sys
import time
import weakref
from dataclasses import dataclass, replace

import pytest
import torch
from small import (
    CLASSIFIERS,
    bert,
    classification,
    finish,
    gpt2,
    head,
    language_model,
    language_modelling,
    llama,
    losses,
    start,
    weights,
)
from torch import nn

from ftkit import interrupts, loop, models, place, tasks
from ftkit.batches import micro_batches
from ftkit.loop import Run, updates
from ftkit.records import Group, TrainConfig, Tuned
from ftkit.strategies import IA3, Adapters, BitFit, Full, GradualUnfreezing, HeadOnly, LoRA
from ftkit.surgery import head_names, layer_groups, layer_parameters, look_up, trained_by


def of(tuned, group):
    """The parameters of a row."""
    return look_up(tuned.model, group.parameters)


class Watched:
    """A task that does something before every loss."""

    def __init__(self, task, before):
        self.task, self.before, self.calls = task, before, 0

    def __getattr__(self, name):
        return getattr(self.task, name)

    def loss(self, model, batch):
        self.calls += 1
        changed = self.before(self, model, batch)
        loss, terms = self.task.loss(model, batch)
        return (loss if changed is None else changed(loss)), terms


def table(run):
    """The parameters in the table by name."""
    named = dict(run.tuned.model.named_parameters())
    return {name: named[name] for group in run.tuned.groups for name in group.parameters}


def oracle(run):
    """(loss, gradient norm, gradients, weights) of the first update: one batch, one mean, plain AdamW."""
    examples = run.examples()
    model = copy.deepcopy(run.tuned.model).train()
    named = dict(model.named_parameters())
    params = {n: named[n] for n in table(run)}
    batch = run.task.collate(examples, "cpu")
    total, terms = run.task.loss(model, batch)
    loss = total / terms
    loss.backward()
    norm = sum(p.grad.double().square().sum() for p in params.values()).sqrt()
    for parameter in params.values():
        parameter.grad *= min(1.0, (run.config.clip or float("inf")) / (norm + 1e-6))
    matrices, others = ([p for p in params.values() if (p.ndim > 1) is wide] for wide in (True, False))
    rows = [
        {"params": matrices, "weight_decay": run.config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    torch.optim.AdamW([row for row in rows if row["params"]], lr=run.config.lr).step()
    return loss.item(), norm.item(), {n: p.grad for n, p in params.items()}, params


def farthest(some, other):
    """The largest absolute difference between two parameter tables or two vectors."""
    if isinstance(some, torch.Tensor):
        return (some - other).abs().max().item()
    return max((some[name] - other[name]).abs().max().item() for name in other)


def same(run, other):
    """Bit for bit: losses and weights."""
    return losses(run) == losses(other) and torch.equal(weights(run), weights(other))


@pytest.mark.parametrize("micro_batch_size", [None, 3])
@pytest.mark.parametrize(
    ("make", "strategy", "task"),
    [
        (bert, LoRA(rank=4), classification()),
        (bert, Full(), classification()),
        (gpt2, LoRA(rank=4), classification()),
        (llama, Full(), classification()),
        (language_model, LoRA(rank=4), language_modelling()),
    ],
)
def test_an_update_is_that_of_one_batch_and_its_mean(make, strategy, task, micro_batch_size):
    settings = {"schedule": "constant", "warmup": 0.0, "micro_batch_size": micro_batch_size}
    run = start(make(), strategy=strategy, task=task, **settings)
    run.tuned.model.double()  # at 32 bits AdamW blows up the rounding error of gradients that should be 0
    for _ in range(2):  # the second with moments and a step size that are not the first's
        loss, norm, gradients, _ = oracle(run)
        step = next(updates(run))
        assert step.loss == pytest.approx(loss, abs=1e-6)
        assert step.grad_norm == pytest.approx(norm, abs=1e-6)
        assert farthest({n: p.grad for n, p in table(run).items()}, gradients) < 1e-6
    first = start(make(), strategy=strategy, task=task, **settings)
    first.tuned.model.double()
    expected = oracle(first)[3]
    next(updates(first))
    assert farthest(table(first), expected) < 1e-6


def test_a_step_says_what_was_measured(task):
    run = start(task=task, micro_batch_size=3, schedule="linear", warmup=0.0)
    for number, step in enumerate(updates(run)):
        assert (step.step, step.total, step.epoch) == (number, 10, number // 5)
        assert step.lr == pytest.approx(1e-2 * (10 - number) / 10)
        assert step.seconds > 0
    for epoch in (0, 1):
        steps = [s for s in run.steps if s.epoch == epoch]
        assert sorted(s.terms for s in steps) == [5, 8, 8, 8, 8]
        assert sum(s.tokens for s in steps) == sum(map(len, task.train))


def test_the_terms_of_a_language_model_are_its_predicted_tokens():
    run = finish(start(language_model(), task=language_modelling(), epochs=1, micro_batch_size=2))
    assert sum(s.terms for s in run.steps) == sum(len(e) - 1 for e in run.task.train)


@pytest.mark.parametrize("clip", [0.01, 0.1])
def test_clipping_scales_the_gradient_to_the_norm_asked_for(clip):
    free, held = start(clip=None), start(clip=clip)
    norms = [next(updates(run)).grad_norm for run in (free, held)]
    assert norms[0] == norms[1] > clip
    after = torch.cat([p.grad.flatten() for p in table(held).values()])
    before = torch.cat([p.grad.flatten() for p in table(free).values()])
    assert after.norm().item() == pytest.approx(clip, rel=1e-4)
    assert torch.allclose(after / clip, before / norms[0], atol=1e-5)


def test_a_gradient_below_the_clip_is_left_alone():
    assert same(finish(start(clip=1e6)), finish(start(clip=None)))


@pytest.mark.parametrize("micro_batch_size", [1, 3, 8, 100])
@pytest.mark.parametrize(
    ("make", "strategy", "task"),
    [
        (bert, LoRA(rank=4), classification()),
        (llama, Full(), classification()),
        (language_model, LoRA(rank=4), language_modelling()),
    ],
)
def test_micro_batches_do_not_change_the_update(make, strategy, task, micro_batch_size):
    whole, parts = (
        start(make(), strategy=strategy, task=task, micro_batch_size=n) for n in (None, micro_batch_size)
    )
    for run in (whole, parts):
        run.tuned.model.double()
        finish(run)
    assert {s.terms for s in whole.steps} >= {5, 8} or make is language_model  # the last batch is ragged
    assert losses(parts) == pytest.approx(losses(whole), abs=1e-6)
    assert farthest(weights(parts), weights(whole)) < 1e-6
    assert farthest(weights(whole), weights(start(make(), strategy=strategy, task=task))) > 1e-3


@pytest.mark.parametrize("micro_batch_size", [1, 3])
def test_micro_batches_do_not_change_the_update_at_32_bits(micro_batch_size):
    whole, parts = (
        finish(start(strategy=HeadOnly())),
        start(strategy=HeadOnly(), micro_batch_size=micro_batch_size),
    )
    assert farthest(weights(finish(parts)), weights(whole)) < 1e-6


def test_no_micro_batch_is_larger_than_asked():
    rows = []
    task = Watched(classification(), lambda task, model, batch: rows.append(len(batch["labels"])))
    finish(start(task=task, epochs=1, micro_batch_size=3))
    assert sorted(rows) == [2] * 5 + [3] * 9


@pytest.mark.parametrize("make", CLASSIFIERS.values())
def test_padding_changes_nothing(make):
    class Padded(Watched):
        def collate(self, examples, device):
            batch = self.task.collate(examples, device)
            for name in ("input_ids", "attention_mask"):
                batch[name] = nn.functional.pad(
                    batch[name], (0, 9)
                )  # our padding token is 0, as is no attention
            return batch

    plain, padded = start(make()), start(make(), task=Padded(classification(), lambda *_: None))
    for run in (plain, padded):
        run.tuned.model.double()
        finish(run)
    assert losses(padded) == pytest.approx(losses(plain), abs=1e-6)
    assert farthest(weights(padded), weights(plain)) < 1e-6
    assert [s.tokens for s in padded.steps] == [s.tokens for s in plain.steps]


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("stops", [[0], [4], [5], [2, 2, 7], list(range(9))])
def test_stopping_and_going_on_is_the_same_run(stops, dropout):
    whole, cut = (finish(start(bert(dropout=dropout), micro_batch_size=m)) for m in (3, 3))
    cut = start(bert(dropout=dropout), micro_batch_size=3)
    for last in stops:
        for step in updates(cut):
            if step.step >= last:
                break
    assert same(finish(cut), whole)


def test_a_finished_run_has_no_more_updates():
    run = finish(start(epochs=1))
    before = weights(run)
    assert list(updates(run)) == []
    assert torch.equal(weights(run), before)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_two_runs_in_one_loop_do_not_disturb_each_other(dropout):
    def runs():
        yield start(bert(dropout=dropout), strategy=LoRA(rank=2, dropout=dropout))
        yield start(bert(dropout=dropout), strategy=LoRA(rank=8, dropout=dropout), lr=1e-3)

    alone, raced = [finish(run) for run in runs()], list(runs())
    assert len(list(zip(*map(updates, raced), strict=True))) == 10
    assert all(map(same, raced, alone))
    assert losses(raced[0]) != losses(raced[1])


def test_dropout_is_drawn_anew_at_every_update_and_from_the_seed():
    drawn = []
    task = Watched(classification(8), lambda *_: drawn.append(torch.rand(1).item()))
    finish(start(task=task, epochs=4))
    assert len(set(drawn)) == 4
    finish(start(task=task, epochs=4))
    assert drawn[4:] == drawn[:4]
    finish(start(task=task, epochs=4, seed=1))
    assert not set(drawn[8:]) & set(drawn[:4])


def test_the_callers_random_numbers_are_untouched_and_do_not_matter():
    torch.manual_seed(7)
    expected = torch.rand(12)
    run = start(bert(dropout=0.1))
    torch.manual_seed(7)
    found = [torch.rand(1)]
    for _ in updates(run):
        found.append(torch.rand(1))
    assert torch.equal(torch.cat([*found, torch.rand(1)]), expected)
    torch.manual_seed(8)
    assert same(finish(start(bert(dropout=0.1))), run)


def test_the_mode_that_the_caller_left_the_model_in_does_not_matter():
    modes = []
    task = Watched(classification(), lambda task, model, batch: modes.append(model.training))
    run = start(bert(dropout=0.1), task=task)
    for _ in updates(run):
        run.tuned.model.eval()
    assert modes == [True] * 10
    assert same(run, finish(start(bert(dropout=0.1))))


def test_a_caller_without_gradients_trains_all_the_same():
    with torch.no_grad():
        run = finish(start())
        assert not torch.is_grad_enabled()
    assert same(run, finish(start()))


def test_a_generator_that_is_never_exhausted_leaves_no_mode_behind():
    run = start()
    kept = updates(run)
    next(kept)
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert same(finish(run), finish(start()))  # another generator, the first still suspended


def test_a_seed_gives_the_same_run_and_another_seed_another():
    assert same(finish(start(seed=3)), finish(start(seed=3)))
    assert losses(finish(start(seed=3))) != losses(finish(start(seed=4)))


def crowded(most):
    """A task whose loss fits the memory for at most `most` rows."""

    def refuse(task, model, batch):
        if len(batch["labels"]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    return Watched(classification(), refuse)


@pytest.mark.parametrize(("most", "size"), [(7, 4), (4, 4), (3, 2), (1, 1)])
def test_what_does_not_fit_the_memory_is_tried_again_in_halves(most, size):
    run, roomy = start(task=crowded(most)), start()
    for each in (run, roomy):
        each.tuned.model.double()
        finish(each)
    assert run.micro_batch_size <= size and roomy.micro_batch_size == 8
    assert losses(run) == pytest.approx(losses(roomy), abs=1e-6)
    assert farthest(weights(run), weights(roomy)) < 1e-6


def test_halving_starts_from_the_rows_that_there_are():
    run = start(task=crowded(4), batch_size=37, micro_batch_size=1000)
    next(updates(run))
    assert run.task.calls <= 4 + 37 // 3 + 1  # 37, 19, 10, 5 fail; then threes
    assert run.micro_batch_size == 3


def test_a_retry_counts_the_update_once():
    run = finish(start(task=crowded(3), epochs=1))
    assert [(s.terms, s.tokens) for s in run.steps] == [
        (s.terms, s.tokens) for s in finish(start(epochs=1)).steps
    ]


def test_one_example_that_does_not_fit_is_a_clear_error_and_moves_nothing():
    run = start(task=crowded(0))
    before = weights(run)
    with pytest.raises(
        ValueError, match=r"update 0: one example does not fit the memory.*max_tokens"
    ) as error:
        next(updates(run))
    assert "\n" not in str(error.value)
    assert torch.equal(weights(run), before) and run.step == 0


def test_a_failed_backward_pass_leaves_nothing_in_memory_for_the_retry():
    class Kept:
        """Lives as long as the graph that it is part of."""

    class Heavy(torch.autograd.Function):
        @staticmethod
        def forward(ctx, loss, rows):
            ctx.rows, ctx.kept = rows, Kept()
            graphs.append(weakref.ref(ctx.kept))
            return loss.clone()

        @staticmethod
        def backward(ctx, gradient):
            if ctx.rows > 4:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return gradient, None

    graphs, alive = [], []

    def look(task, model, batch):
        alive.append(sum(graph() is not None for graph in graphs))

        return lambda loss: Heavy.apply(loss, len(batch["labels"]))

    run = start(task=Watched(classification(), look), micro_batch_size=8)
    next(updates(run))
    assert run.micro_batch_size == 4 and len(graphs) == 3
    assert alive[1] == 0  # the first graph filled the memory; the retry must find it empty


def test_the_cpus_own_out_of_memory_error_counts_too():
    def fill(task, model, batch):
        if len(batch["labels"]) > 4:
            torch.empty(2**50)  # RuntimeError from the allocator, as on any CPU

    run = finish(start(task=Watched(classification(), fill)))
    assert run.micro_batch_size == 4


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), KeyError("labels")])
def test_any_other_error_reaches_the_caller(error):
    def fail(*_):
        raise error

    run = start(task=Watched(classification(), fail))
    with pytest.raises(type(error)):
        next(updates(run))
    assert run.task.calls == 1 and run.step == 0


def at_call(number, change):
    """Change the loss at one call, and at no later one."""
    return lambda task, model, batch: change if task.calls == number else None


POISON = {
    "a loss that is no number": lambda loss: loss * float("nan"),
    "an infinite loss": lambda loss: loss + float("inf"),
    "a gradient that is no number": lambda loss: loss + 0 * (loss - loss).sqrt(),
}


@pytest.mark.parametrize("scaler", [False, True])
@pytest.mark.parametrize("poison", POISON)
def test_a_loss_that_is_no_number_stops_the_run_before_a_weight_has_moved(poison, scaler):
    if scaler and "gradient" in poison:
        pytest.skip("fp16's scaler skips such an update by itself")

    def runs():
        for task in (Watched(classification(), at_call(8, POISON[poison])), classification()):
            run = start(task=task, micro_batch_size=4)
            run.scaler = torch.amp.GradScaler("cpu", enabled=scaler)  # as in fp16, without the GPU
            yield run

    run, healthy = runs()
    moments = []
    with pytest.raises(FloatingPointError, match=r"^update 3: .* after 3 updates.*lr \(now 0.01\)"):
        for _ in updates(run):
            before = weights(run)
            moments = [s["exp_avg"].clone() for s in run.optimizer.state.values()]
    assert run.step == len(run.steps) == 3
    assert torch.equal(weights(run), before)
    assert all(map(torch.equal, moments, (s["exp_avg"] for s in run.optimizer.state.values())))
    assert same(finish(run), finish(healthy))  # the poison was there once: the run is usable


def test_an_update_without_a_label_is_refused():
    task = classification(8)
    task = replace(task, train=[replace(e, label=-100) for e in task.train])
    with pytest.raises(ValueError, match=r"update 0: no example of it carries a label; remove"):
        next(updates(start(task=task)))


def test_examples_without_a_label_are_not_counted():
    task = classification(8)
    half = replace(
        task, train=[replace(e, label=e.label if i % 2 else -100) for i, e in enumerate(task.train)]
    )
    only = replace(task, train=task.train[1::2])
    steps = [next(updates(start(task=t, micro_batch_size=m))) for t, m in ((half, 3), (only, None))]
    assert steps[0].terms == steps[1].terms == 4
    assert steps[0].loss == pytest.approx(steps[1].loss, abs=1e-6)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("call", [1, 2, 3, 7, 13, 26, 27])
def test_a_run_interrupted_in_a_forward_pass_goes_on_as_if_nothing_had_been(call):
    task = Watched(classification(), lambda task, *_: interrupt() if task.calls == call else None)
    run = start(bert(dropout=0.1), task=task, micro_batch_size=3)
    before = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        finish(run)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(finish(run), finish(start(bert(dropout=0.1), micro_batch_size=3)))


@pytest.mark.parametrize("when", ["before", "after", "twice"])
@pytest.mark.parametrize("call", [1, 5, 10])
def test_ctrl_c_in_the_middle_of_an_update_waits_until_it_is_whole(call, when):
    run, calls = start(), []
    really = run.optimizer.step

    def step(*arguments, **keys):
        calls.append(1)
        pressed = len(calls) == call
        if pressed and when in ("before", "twice"):
            interrupt()
        result = really(*arguments, **keys)
        if pressed and when in ("after", "twice"):
            interrupt()
        return result

    run.optimizer.step = step
    with pytest.raises(KeyboardInterrupt):
        finish(run)
    assert run.step == call and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert same(finish(run), finish(start()))
    assert len(calls) == 10


def interrupted_at(run, module, line):
    """Train, pressing Ctrl-C just before `line` of `module`, once, after two updates; was it reached?"""
    reached = []

    def trace(frame, event, _):
        if frame.f_code.co_filename != module.__file__:
            return None
        if event == "line" and frame.f_lineno == line and run.step >= 2 and not reached:
            reached.append(line)
            sys.settrace(None)
            interrupt()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        finish(run)
    except KeyboardInterrupt:
        assert reached
    finally:
        sys.settrace(before)
    return bool(reached)


def ctrl_c_at_lines(every):
    task = classification(12)
    expected, reached = finish(start(task=task, epochs=2)), []
    for module in (loop, interrupts):
        source = inspect.getsource(module).splitlines()
        for number, text in list(enumerate(source, 1))[::every]:
            run = start(task=task, epochs=2)
            reached.append(interrupted_at(run, module, number))
            assert same(finish(run), expected), f"{module.__name__}, line {number}: {text}"
    return sum(reached)


def test_ctrl_c_in_the_loop_changes_nothing():
    assert ctrl_c_at_lines(every=11) > 3


@pytest.mark.weekly
def test_ctrl_c_at_any_line_of_the_loop_changes_nothing():
    assert ctrl_c_at_lines(every=1) > 50


def unfreezing(model, *, scales=(1.0, 1.0, 1.0, 1.0)):
    """Embeddings from epoch 3 (never, in three), then block by block, the head from the start."""
    return Tuned(
        model,
        tuple(
            Group(name, tuple(names), lr_scale=scale, from_epoch=epoch)
            for (name, names), scale, epoch in zip(layer_groups(model), scales, (3, 2, 1, 0), strict=True)
        ),
    )


def test_groups_sleep_until_their_epoch_and_move_from_then_on():
    tuned = unfreezing(bert())
    run = Run(tuned, classification(), TrainConfig(epochs=3, batch_size=8, lr=1e-2))
    last = {g.name: [p.detach().clone() for p in of(tuned, g)] for g in tuned.groups}
    for step in updates(run):
        moved = {g.name: not all(map(torch.equal, of(tuned, g), last[g.name])) for g in tuned.groups}
        assert moved == {g.name: step.epoch >= g.from_epoch for g in tuned.groups}
        assert all(
            p.requires_grad == (step.epoch >= g.from_epoch) for g in tuned.groups for p in of(tuned, g)
        )
        last = {g.name: [p.detach().clone() for p in of(tuned, g)] for g in tuned.groups}
    assert not any(p in run.optimizer.state for p in of(tuned, tuned.groups[0]))


def test_a_run_that_wakes_groups_can_be_stopped_and_micro_batched():
    def run(**config):
        return Run(
            unfreezing(bert().double()),
            classification(),
            TrainConfig(epochs=3, batch_size=8, lr=1e-2, **config),
        )

    whole, cut, parts = finish(run()), run(), finish(run(micro_batch_size=3))
    for last in (3, 4, 5, 11):
        for step in updates(cut):
            if step.step >= last:
                break
    assert same(finish(cut), whole)
    assert farthest(weights(parts), weights(whole)) < 1e-6


def test_a_group_moves_at_its_own_rate():
    model, still = bert(), bert()
    scales = (0.0, 0.1, 0.5, 1.0)
    groups = [replace(g, from_epoch=0) for g in unfreezing(model, scales=scales).groups]
    settings = TrainConfig(lr=1e-3, batch_size=8, schedule="constant", warmup=0.0, weight_decay=0.0)
    run = Run(Tuned(model, tuple(groups)), classification(), settings)
    next(updates(run))
    assert [g["lr"] for g in run.optimizer.param_groups] == pytest.approx([1e-3 * s for s in scales])
    names, before = {id(p): n for n, p in model.named_parameters()}, dict(still.named_parameters())
    for group, scale in zip(groups, scales, strict=True):
        far = max((p - before[names[id(p)]]).abs().max().item() for p in look_up(model, group.parameters))
        assert far == pytest.approx(
            1e-3 * scale, rel=1e-2
        )  # AdamW's first step is lr times the gradient's sign


def test_the_rate_follows_the_schedule():
    run, rates = start(schedule="cosine", warmup=0.3, lr=2e-3), []
    for step in updates(run):
        rates.append(run.optimizer.param_groups[0]["lr"])
        assert rates[-1] == step.lr
    assert rates[:4] == pytest.approx(
        [2e-3 / 3, 4e-3 / 3, 2e-3, 2e-3 * 0.9619398], rel=1e-6
    )  # (1 + cos(π/8)) / 2


def refused(tuned):
    with pytest.raises(ValueError, match=r"^the strategy's table does not fit the model: ") as error:
        Run(tuned, classification(), TrainConfig())
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_table_without_the_head_is_refused():
    tuned = LoRA(rank=2).apply(bert())
    for parameter in head(tuned.model):
        parameter.requires_grad_(False)
    assert "output layer is in no group" in refused(Tuned(tuned.model, tuned.groups[:1]))


def test_a_table_that_names_a_parameter_twice_is_refused():
    model = bert()
    all_of_it = tuple(name for name, _ in model.named_parameters())
    twice = (Group("all", all_of_it), Group("head", ("classifier.bias",)))
    assert "in two groups: classifier.bias" in refused(Tuned(model, twice))


def test_a_table_that_leaves_out_what_is_trainable_is_refused():
    model = bert()
    found = refused(Tuned(model, (Group("head", tuple(head_names(model))),)))
    assert "trainable but in no group: trunk.embeddings.word_embeddings.weight" in found
    assert "freeze" in found


@pytest.mark.parametrize("groups", [(), (Group("none", ()),)])
def test_an_empty_table_is_refused(groups):
    tuned = HeadOnly().apply(bert())
    assert "the table is empty" in refused(Tuned(tuned.model, groups))


def test_parameters_of_another_model_are_refused():
    tuned = HeadOnly().apply(bert())
    extra = Group("other", ("score.weight", "score.bias"))
    assert "not parameters of the model: score.weight, score.bias" in refused(
        Tuned(tuned.model, (*tuned.groups, extra))
    )


def test_all_faults_of_a_table_are_named_at_once():
    model = bert()
    weight = "trunk.embeddings.word_embeddings.weight"
    found = refused(Tuned(model, (Group("a", (weight,)), Group("b", (weight, "score.bias")))))
    for part in ("in two groups", "in no group", "output layer", "not parameters of the model"):
        assert part in found


def test_a_table_in_which_nothing_ever_wakes_is_refused():
    tuned = HeadOnly().apply(bert())
    late = Tuned(tuned.model, tuple(replace(g, from_epoch=1) for g in tuned.groups))
    assert "epoch 0" in refused(
        late
    )  # nothing to learn in the first epoch: torch's own error says nothing of why


FAULTS = {
    "lr": -1e-3,
    "epochs": 0,
    "batch_size": 0,
    "micro_batch_size": 0,
    "warmup": 1.5,
    "clip": 0.0,
    "weight_decay": -0.1,
    "evaluate_every": 0,
    "patience": 0,
    "seed": -1,
    "schedule": "cosin",
    "precision": "fp8",
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_setting_out_of_its_range_is_refused_with_its_value(name):
    with pytest.raises(ValueError, match=str(FAULTS[name])) as error:
        start(**{name: FAULTS[name]})
    assert name in str(error.value)


def test_settings_out_of_their_range_are_listed_all_at_once():
    with pytest.raises(ValueError) as error:
        start(**FAULTS)
    assert [name for name in FAULTS if name not in str(error.value)] == []
    assert "\n" not in str(error.value)


def test_not_a_number_is_no_learning_rate():
    with pytest.raises(ValueError, match="lr must be"):
        start(lr=float("nan"))


@pytest.mark.parametrize("asked", ["fp16", "fp8", ""])
def test_a_precision_that_a_cpu_does_not_have_is_refused(asked):
    with pytest.raises(ValueError, match=f"precision .*(bf16.*fp32|fp32.*bf16).*got '{asked}'"):
        start(precision=asked)


def test_precision_is_chosen_and_kept():
    assert start().precision == "fp32"
    seen = []
    task = Watched(classification(8), lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    run = finish(start(task=task, epochs=1, precision="bf16"))
    finish(start(task=task, epochs=1, precision="fp32"))
    assert seen == [True, False]
    assert all(p.dtype == torch.float32 for p in run.tuned.model.parameters())


def test_a_history_is_a_record_of_the_run():
    run = start(strategy=HeadOnly())
    assert run.history.tokens_per_second == 0
    history = finish(run).history
    assert history.steps == tuple(run.steps) and history.evaluations == ()
    assert history.trainable == 2 * 32 + 2
    assert history.parameters == sum(p.numel() for p in run.tuned.model.parameters())
    assert history.tokens_per_second == pytest.approx(
        sum(s.tokens for s in run.steps) / sum(s.seconds for s in run.steps)
    )


def test_an_update_reads_its_results_once(monkeypatch):
    reads = []
    item, tolist = torch.Tensor.item, torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "item", lambda t: reads.append("item") or item(t))
    monkeypatch.setattr(torch.Tensor, "tolist", lambda t: reads.append(t.dtype) or tolist(t))
    run = start()
    for step in updates(run):
        if step.step == 0:
            reads.clear()
        if step.step == 3:
            break
    assert reads == [torch.float64] * 3  # loss, terms, tokens and norm together: all that a GPU is waited for


class Collated:
    """A task that counts how often it collates."""

    def __init__(self, task):
        self.task, self.collated = task, 0

    def __getattr__(self, name):
        return getattr(self.task, name)

    def collate(self, examples, device):
        self.collated += 1
        return self.task.collate(examples, device)


def test_the_next_batch_is_prepared_while_this_one_is_computed(task):
    run = start(task=Collated(task), micro_batch_size=3)
    stream = micro_batches(run)
    prepared = place.ahead(stream)
    assert run.task.collated == 0
    next(prepared)
    wait_until(lambda: run.task.collated == 2)  # this one and the next, and no more
    time.sleep(0.05)
    assert run.task.collated == 2


def wait_until(happened, seconds=5.0):
    began = time.perf_counter()
    while not happened():
        assert time.perf_counter() - began < seconds
        time.sleep(0.001)


def test_a_bad_example_stops_its_own_update_and_not_the_one_before(task):
    run = start(task=task)
    second = {task.train[i].number for i in run.order.update(1)}

    class Refusing(Collated):
        def collate(self, examples, device):
            if any(e.number in second for e in examples):
                raise KeyError("a bad example")
            return super().collate(examples, device)

    run = start(task=Refusing(task))
    with pytest.raises(KeyError, match="a bad example"):
        finish(run)
    assert run.step == 1


@dataclass(frozen=True)
class Pairs:
    """Preferences: two rows for each example, the chosen text and the rejected one."""

    task: object
    divisible = True

    def __getattr__(self, name):
        return getattr(self.task, name)

    def collate(self, examples, device):
        return self.task.collate([e for example in examples for e in (example, self.task.train[0])], device)

    def loss(self, model, batch):  # Rafailov et al. 2023, arXiv:2305.18290, the reference's margin being 0.1
        margin = self.task.logits(model, batch).log_softmax(-1)[:, 1].view(-1, 2)
        return -nn.functional.logsigmoid(margin[:, 0] - margin[:, 1] - 0.1).sum(), torch.tensor(len(margin))


def test_a_task_with_two_rows_per_example_survives_a_full_memory():
    def crowd(task, model, batch):
        if len(batch["labels"]) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    run, roomy = start(task=Watched(Pairs(classification()), crowd)), start(task=Pairs(classification()))
    for each in (run, roomy):
        each.tuned.model.double()
        finish(each)
    assert run.micro_batch_size == 2  # 8 and 4 examples, that is 16 and 8 rows, did not fit
    assert losses(run) == pytest.approx(losses(roomy), abs=1e-6)
    assert farthest(weights(run), weights(roomy)) < 1e-6


class Whole(Watched):
    """A task whose loss compares the examples of a batch."""

    divisible = False


def test_micro_batches_of_an_indivisible_task_are_refused_not_faked():
    with pytest.raises(ValueError, match="expected no micro_batch_size"):
        start(task=Whole(classification(), lambda *_: None), micro_batch_size=4)
    run = start(task=Whole(classification(), crowded(4).before))
    with pytest.raises(ValueError, match="loss is of the whole batch; start again with a smaller batch_size"):
        finish(run)


def test_only_one_micro_batchs_graph_is_alive_at_a_time():
    graphs, alive = [], []

    def count(task, model, batch):
        alive.append(sum(graph() is not None for graph in graphs))
        return lambda loss: graphs.append(weakref.ref(loss)) or loss

    finish(start(task=Watched(classification(), count), micro_batch_size=1, epochs=1))
    assert len(graphs) == 37 and max(alive) <= 1


@pytest.mark.parametrize(
    "strategy", [Full(), LoRA(rank=2), LoRA(rank=2, dora=True), IA3(), BitFit(), Adapters()]
)
def test_only_matrices_decay(strategy):
    run = start(strategy=strategy, weight_decay=0.3)
    decays = {id(p): group["weight_decay"] for group in run.optimizer.param_groups for p in group["params"]}
    for parameter in trained_by(run.tuned):
        assert decays[id(parameter)] == (0.3 if parameter.ndim > 1 else 0.0)


def test_rows_that_never_wake_are_named_and_not_counted():
    with pytest.warns(UserWarning, match="never trained in 2 epochs: embeddings, block 0"):
        run = start(strategy=GradualUnfreezing(), epochs=2)
    awake = [
        p for name, params in layer_parameters(run.tuned.model) if name in ("head", "block 1") for p in params
    ]
    assert run.history.trainable == sum(p.numel() for p in awake)


def test_what_was_prepared_is_cut_again_when_the_micro_batch_changes():
    changed, told = start(), start(micro_batch_size=3)
    for _ in updates(changed):
        changed.micro_batch_size = 3
    finish(told)
    assert losses(changed) == pytest.approx(losses(told), abs=1e-6)
    sizes = []
    again = start(task=Watched(classification(), lambda t, m, batch: sizes.append(len(batch["labels"]))))
    for _ in updates(again):
        again.micro_batch_size = 3
    assert max(sizes) == sizes[0] > 3  # cut before the first update
    assert max(sizes[1:]) == 3


def test_a_gradient_within_the_limit_is_not_multiplied(monkeypatch):
    calls, multiply = [], torch._foreach_mul_
    monkeypatch.setattr(torch, "_foreach_mul_", lambda *given: calls.append(1) or multiply(*given))
    finish(start(clip=1e6))
    assert calls == []
    finish(start(clip=1e-3))
    assert len(calls) == start().total


@pytest.mark.weekly
def test_the_loop_costs_little_more_than_a_hand_written_one(capsys):
    try:
        tokenizer = models.tokenizer("encoder")
    except ValueError as error:
        pytest.skip(f"needs the real encoder: {error}")
    task = tasks.reviews(tokenizer)
    task = replace(task, train=task.train[: 16 * 14])
    ours, hand = (LoRA(rank=4).apply(models.load("encoder", task)) for _ in range(2))
    run = Run(ours, task, TrainConfig(lr=1e-3, epochs=1, batch_size=16))
    params = [p for p in trained_by(hand)]
    optimizer = torch.optim.AdamW(params, lr=1e-3, weight_decay=0.01, fused=True)

    def by_hand(examples):
        hand.model.train()
        batch = task.collate(examples, "cpu")
        optimizer.zero_grad()
        logits = hand.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        loss = nn.functional.cross_entropy(logits, batch["labels"])
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        return loss.item()

    ratios, stream = [], updates(run)
    for number in range(14):
        examples, seconds = run.examples(), {}
        turns = [("ours", lambda: next(stream)), ("hand", lambda part=examples: by_hand(part))]
        for name, turn in turns if number % 2 else reversed(turns):
            began = time.perf_counter()
            turn()
            seconds[name] = time.perf_counter() - began
        ratios.append(seconds["ours"] / seconds["hand"])
    ratio = statistics.median(ratios[2:])  # the first ones warm up
    with capsys.disabled():
        print(f"\nan update costs {ratio:.3f} times one of a hand-written loop")
    assert ratio < 1.10


def test_a_task_without_training_examples_is_refused(task):
    run = Run(LoRA(rank=2).apply(bert()), replace(task, train=[]), TrainConfig())
    with pytest.raises(ValueError, match="training split"):
        next(updates(run))
