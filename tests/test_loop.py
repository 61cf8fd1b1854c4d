"""The loop against one concatenated batch, against itself cut up in every way, and against faults."""

import copy
import inspect
import os
import signal
import statistics
import sys
import time
import weakref
from dataclasses import replace

import pytest
import torch
from small import (
    CLASSIFIERS,
    bert,
    classification,
    finish,
    gpt2,
    language_model,
    language_modelling,
    llama,
    losses,
    start,
    weights,
)
from torch import nn

from ftkit import interrupts, loop, models, tasks
from ftkit.loop import Run, updates
from ftkit.records import Group, TrainConfig, Tuned
from ftkit.strategies import Full, HeadOnly, LoRA
from ftkit.surgery import head, layer_groups


class Watched:
    """A task that does something before every loss."""

    def __init__(self, task, before):
        self.task, self.before, self.calls = task, before, 0

    def __getattr__(self, name):
        return getattr(self.task, name)

    def loss_sum(self, model, batch):
        self.calls += 1
        changed = self.before(self, model, batch)
        loss = self.task.loss_sum(model, batch)
        return loss if changed is None else changed(loss)


def table(run):
    """The parameters in the table by name."""
    listed = {id(p) for g in run.tuned.groups for p in g.params}
    return {n: p for n, p in run.tuned.model.named_parameters() if id(p) in listed}


def oracle(run):
    """(loss, gradient norm, gradients, weights) of the first update: one batch, one mean, plain AdamW."""
    _, examples = run.share()
    model = copy.deepcopy(run.tuned.model).train()
    named = dict(model.named_parameters())
    params = {n: named[n] for n in table(run)}
    batch = run.task.collate(examples, "cpu")
    loss = run.task.loss_sum(model, batch) / run.task.terms(batch)
    loss.backward()
    norm = sum(p.grad.double().square().sum() for p in params.values()).sqrt()
    for parameter in params.values():
        parameter.grad *= min(1.0, (run.config.clip or float("inf")) / (norm + 1e-6))
    torch.optim.AdamW(params.values(), lr=run.config.lr, weight_decay=run.config.weight_decay).step()
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


def test_ctrl_c_at_any_line_of_the_loop_changes_nothing():
    task = classification(12)
    expected, reached = finish(start(task=task, epochs=2)), []
    for module in (loop, interrupts):
        source = inspect.getsource(module).splitlines()
        for number, text in enumerate(source, 1):
            run = start(task=task, epochs=2)
            reached.append(interrupted_at(run, module, number))
            assert same(finish(run), expected), f"{module.__name__}, line {number}: {text}"
    assert sum(reached) > 60


def unfreezing(model, *, scales=(1.0, 1.0, 1.0, 1.0)):
    """Embeddings from epoch 3 (never, in three), then block by block, the head from the start."""
    return Tuned(
        model,
        tuple(
            Group(name, tuple(params), lr_scale=scale, from_epoch=epoch)
            for (name, params), scale, epoch in zip(layer_groups(model), scales, (3, 2, 1, 0), strict=True)
        ),
    )


def test_groups_sleep_until_their_epoch_and_move_from_then_on():
    tuned = unfreezing(bert())
    run = Run(tuned, classification(), TrainConfig(epochs=3, batch_size=8, lr=1e-2))
    last = {g.name: [p.detach().clone() for p in g.params] for g in tuned.groups}
    for step in updates(run):
        moved = {g.name: not all(map(torch.equal, g.params, last[g.name])) for g in tuned.groups}
        assert moved == {g.name: step.epoch >= g.from_epoch for g in tuned.groups}
        assert all(p.requires_grad == (step.epoch >= g.from_epoch) for g in tuned.groups for p in g.params)
        last = {g.name: [p.detach().clone() for p in g.params] for g in tuned.groups}
    assert not any(p in run.optimizer.state for p in tuned.groups[0].params)


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
        far = max((p - before[names[id(p)]]).abs().max().item() for p in group.params)
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
    all_of_it = tuple(model.parameters())
    twice = (Group("all", all_of_it), Group("head", (model.classifier.bias,)))
    assert "in two groups: ['classifier.bias']" in refused(Tuned(model, twice))


def test_a_table_that_leaves_out_what_is_trainable_is_refused():
    model = bert()
    found = refused(Tuned(model, (Group("head", tuple(head(model))),)))
    assert "trainable but in no group: ['trunk.embeddings.word_embeddings.weight'" in found
    assert "freeze" in found


@pytest.mark.parametrize("groups", [(), (Group("none", ()),)])
def test_an_empty_table_is_refused(groups):
    tuned = HeadOnly().apply(bert())
    assert "the table is empty" in refused(Tuned(tuned.model, groups))


def test_parameters_of_another_model_are_refused():
    tuned, other = HeadOnly().apply(bert()), bert()
    extra = Group("other", tuple(other.classifier.parameters()))
    assert "2 parameters of the table are not the model's" in refused(
        Tuned(tuned.model, (*tuned.groups, extra))
    )


def test_all_faults_of_a_table_are_named_at_once():
    model = bert()
    weight = model.trunk.embeddings.word_embeddings.weight
    found = refused(Tuned(model, (Group("a", (weight,)), Group("b", (weight, bert().classifier.bias)))))
    for part in ("in two groups", "in no group", "output layer", "1 parameters of the table are not"):
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
    with pytest.raises(ValueError, match=f"precision .*(bf16.*fp32|fp32.*bf16).*found '{asked}'"):
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
    # the counts were made on the CPU; loss and norm are the one thing that a GPU is waited for
    assert reads == [torch.int64, torch.float64] * 3


def test_the_next_batch_is_ready_before_the_step(monkeypatch, task):
    happened = []
    run = start(task=Collated(task, happened))
    step = run.optimizer.step
    monkeypatch.setattr(run.optimizer, "step", lambda *given: happened.append("step") or step(*given))
    finish(run)
    assert happened[:6] == ["collate", "collate", "step", "collate", "step", "collate"]
    assert happened.count("collate") == happened.count("step") == run.total  # and none is prepared twice


class Collated:
    """A task that notes when it collates."""

    def __init__(self, task, happened):
        self.task, self.happened = task, happened

    def __getattr__(self, name):
        return getattr(self.task, name)

    def collate(self, examples, device):
        self.happened.append("collate")
        return self.task.collate(examples, device)


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
    calls = []
    clip = nn.utils.clip_grads_with_norm_
    monkeypatch.setattr(nn.utils, "clip_grads_with_norm_", lambda *given: calls.append(1) or clip(*given))
    finish(start(clip=1e6))
    assert calls == []
    finish(start(clip=1e-3))
    assert len(calls) == start().total


def test_the_loop_costs_little_more_than_a_hand_written_one(capsys):
    try:
        tokenizer = models.tokenizer("encoder")
    except ValueError as error:
        pytest.skip(f"needs the real encoder: {error}")
    task = tasks.reviews(tokenizer)
    task = replace(task, train=task.train[: 16 * 14])
    ours, hand = (LoRA(rank=4).apply(models.load("encoder", task)) for _ in range(2))
    run = Run(ours, task, TrainConfig(lr=1e-3, epochs=1, batch_size=16))
    params = [p for g in hand.groups for p in g.params]
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
        examples, seconds = run.share()[1], {}
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


@pytest.mark.gpu
def test_on_a_gpu_micro_batches_do_not_change_the_update():
    whole, parts = (start(micro_batch_size=n) for n in (None, 3))
    for run in (whole, parts):
        run.tuned.model.double()
        finish(run)
    assert whole.processes.device.type == "cuda"
    assert losses(parts) == pytest.approx(losses(whole), abs=1e-6)
    assert farthest(weights(parts), weights(whole)) < 1e-6


@pytest.mark.gpu
def test_on_a_gpu_stopping_and_going_on_is_the_same_run():
    whole, cut = finish(start(bert(dropout=0.1))), start(bert(dropout=0.1))
    torch.cuda.manual_seed(5)
    for step in updates(cut):
        if step.step == 3:
            break
    assert losses(finish(cut)) == pytest.approx(losses(whole), abs=1e-5)
    assert farthest(weights(cut), weights(whole)) < 1e-4


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_on_a_gpu_half_precision_stays_finite_and_close(precision):
    if precision == "bf16" and torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this GPU emulates bf16")
    exact, rough = finish(start(precision="fp32")), finish(start(precision=precision))
    assert weights(rough).isfinite().all()
    assert all(p.dtype == torch.float32 for p in rough.tuned.model.parameters())
    assert losses(rough) == pytest.approx(losses(exact), abs=0.05)


@pytest.mark.gpu
def test_on_a_gpu_a_batch_that_is_too_large_is_halved():
    def fill(task, model, batch):
        if len(batch["labels"]) > 4:
            torch.empty(2**45, device="cuda")

    assert finish(start(task=Watched(classification(), fill))).micro_batch_size == 4


@pytest.mark.gpu
def test_on_a_gpu_the_callers_random_numbers_are_untouched():
    run = start(bert(dropout=0.1))
    torch.cuda.manual_seed(7)
    expected = torch.rand(2, device="cuda")
    torch.cuda.manual_seed(7)
    found = torch.rand(1, device="cuda")
    finish(run)
    assert torch.equal(torch.cat([found, torch.rand(1, device="cuda")]), expected)


def test_a_task_without_training_examples_is_refused(task):
    run = Run(LoRA(rank=2).apply(bert()), replace(task, train=[]), TrainConfig())
    with pytest.raises(ValueError, match="training split"):
        next(updates(run))
