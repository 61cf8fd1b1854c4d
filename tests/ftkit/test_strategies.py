"""LoRA equals PEFT's on three shapes of model; every strategy's table holds what it should."""

import copy

import peft
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
    shaken,
    start,
    weights,
)
from torch import nn

from ftkit import checkpoint
from ftkit.heads import Classifier
from ftkit.loop import updates
from ftkit.order import epoch_batches
from ftkit.strategies import STRATEGIES, Discriminative, Full, Gated, GradualUnfreezing, HeadOnly, LoRA
from ftkit.strategies.lora import LowRank, merge, pairs, remove
from ftkit.surgery import look_up, reads_features, trained_by, trunk

RANK, ALPHA = 4, 8.0
TARGETS = {
    "bert": ["query", "key", "value", "dense"],
    "gpt2": ["c_attn", "c_proj", "c_fc"],
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}
BATCH = classification().collate(classification().train[:9], "cpu")


def logits(model):
    return model(input_ids=BATCH["input_ids"], attention_mask=BATCH["attention_mask"]).logits


def shake_pairs(model):
    """Low-rank layers as after training: B is no longer 0."""
    for layer in pairs(model).values():
        nn.init.normal_(layer.b, std=0.3)
    return model


def ours_and_theirs(name, *, dropout=0.0):
    """The same model under our LoRA and PEFT's, with the same values in A and B, and the layers in pairs."""
    model = shaken(CLASSIFIERS[name]())
    settings = peft.LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        lora_dropout=dropout,
        target_modules=TARGETS[name],
        fan_in_fan_out=name == "gpt2",
    )
    theirs = peft.get_peft_model(copy.deepcopy(model), settings)
    ours = shake_pairs(LoRA(rank=RANK, alpha=ALPHA, dropout=dropout).apply(model).model)
    there = {n: m for n, m in theirs.base_model.model.named_modules() if hasattr(m, "lora_A")}
    here = pairs(ours)
    assert list(here) == list(there) and len(here) > 0
    couples = []
    for place, layer in here.items():
        a, b = there[place].lora_A["default"].weight, there[place].lora_B["default"].weight
        assert a.shape == layer.a.shape and b.shape == layer.b.shape
        a.data, b.data = layer.a.data.clone(), layer.b.data.clone()
        couples += [(f"{place} A", layer.a, a), (f"{place} B", layer.b, b)]
    return ours, theirs, couples


def assert_parity(name):
    """Logits to 1e-5, and the gradients of every A and B to 1e-4 of their size."""
    ours, theirs, couples = ours_and_theirs(name)
    ours.eval(), theirs.eval()
    here, there = logits(ours), logits(theirs)
    assert torch.allclose(here, there, rtol=0, atol=1e-5), (
        f"logits differ by {(here - there).abs().max():.1e}"
    )
    for answer in (here, there):
        nn.functional.cross_entropy(answer, BATCH["labels"], reduction="sum").backward()
    for place, mine, other in couples:
        distance = (mine.grad - other.grad).norm() / other.grad.norm()
        assert distance < 1e-4, f"{place}: gradients differ by {distance:.1e} of their size"


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_lora_computes_and_learns_what_peft_does(name):
    assert_parity(name)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_lora_trains_as_many_parameters_as_peft(name):
    ours, theirs, _ = ours_and_theirs(name)
    trained = sum(p.numel() for p in ours.parameters() if p.requires_grad)
    assert trained - sum(p.numel() for p in head(ours)) == theirs.get_nb_trainable_parameters()[0]


def test_lora_drops_where_peft_drops():
    ours, theirs, _ = ours_and_theirs("llama", dropout=0.4)
    answers = []
    for model in (ours.train(), theirs.train()):
        torch.manual_seed(3)
        answers.append(logits(model))
    assert torch.allclose(*answers, rtol=0, atol=1e-5)


def test_a_starts_as_in_peft_and_b_at_zero():
    layer = LowRank(nn.Linear(400, 30), rank=20, alpha=1.0)
    theirs = peft.get_peft_model(
        nn.Sequential(nn.Linear(400, 30)), peft.LoraConfig(r=20, target_modules=["0"])
    ).base_model.model[0]
    for a in (layer.a, theirs.lora_A["default"].weight):  # uniform on ±1 / √in
        assert 0.99 / 20 < a.abs().max() < 1 / 20
        assert a.std().item() == pytest.approx(1 / 20 / 3**0.5, rel=0.02)
    assert layer.b.count_nonzero() == theirs.lora_B["default"].weight.count_nonzero() == 0


def forgets_the_scale(self, x):
    return self.base(x) + x @ self.a.T @ self.b.T


def scales_by_alpha(self, x):
    return self.base(x) + self.scale * self.a.shape[0] * (x @ self.a.T @ self.b.T)


def multiplies_in_the_wrong_order(self, x):
    inputs, outputs = self.a.shape[1], self.b.shape[0]
    if inputs == outputs:
        return self.base(x) + self.scale * (x @ self.b @ self.a)
    return self.base(x) + self.scale * (x @ self.a.T @ self.b.T)


def forgets_the_bias(self, x):
    return self.base(x) - self.base.bias + self.scale * (x @ self.a.T @ self.b.T)


def detaches_a(self, x):
    return self.base(x) + self.scale * (x @ self.a.detach().T @ self.b.T) + 0 * self.a.sum()


@pytest.mark.parametrize("name", ["bert", "gpt2"])
@pytest.mark.parametrize(
    "mutant",
    [forgets_the_scale, scales_by_alpha, multiplies_in_the_wrong_order, forgets_the_bias, detaches_a],
)
def test_parity_catches_a_wrong_forward_pass(name, mutant, monkeypatch):
    monkeypatch.setattr(LowRank, "forward", mutant)
    with pytest.raises(AssertionError, match="differ by"):
        assert_parity(name)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_fresh_lora_changes_nothing(name):
    model = CLASSIFIERS[name]().eval()
    before = logits(model)
    assert torch.equal(logits(LoRA(rank=RANK).apply(model).model), before)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_merging_gives_the_same_logits_in_a_model_without_wrappers_and_leaves_the_old_one(name):
    model = shake_pairs(LoRA(rank=RANK).apply(shaken(CLASSIFIERS[name]())).model).eval()
    plain = CLASSIFIERS[name]()
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    before = logits(model)
    merged = merge(model)
    assert torch.allclose(logits(merged), before, rtol=0, atol=1e-5)
    assert pairs(merged) == {}
    assert list(merged.state_dict()) == list(plain.state_dict())
    assert len(pairs(model)) > 0
    assert all(torch.equal(p, weights[n]) for n, p in model.named_parameters())
    assert torch.equal(logits(model), before)


def test_merging_a_language_model_whose_output_layer_is_its_embedding_gives_the_same_logits():
    model = shake_pairs(LoRA(rank=RANK, targets=("c_attn", "lm_head")).apply(language_model()).model).eval()
    assert torch.allclose(logits(merge(model)), logits(model), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_removing_lora_brings_the_logits_back_bit_for_bit(name):
    model = CLASSIFIERS[name]().eval()
    names, before = list(model.state_dict()), logits(model)
    changed = shake_pairs(LoRA(rank=RANK).apply(model).model)
    assert not torch.allclose(logits(changed), before, atol=1e-3)
    remove(changed)
    assert torch.equal(logits(changed), before)
    assert list(changed.state_dict()) == names


def test_dropout_is_active_in_training_only():
    model = shake_pairs(LoRA(rank=RANK, dropout=0.5).apply(bert()).model)
    model.train()
    assert not torch.equal(logits(model), logits(model))
    model.eval()
    without = shake_pairs(LoRA(rank=RANK).apply(bert()).model).eval()
    without.load_state_dict(model.state_dict())
    assert torch.equal(logits(model), logits(without))


def test_lora_beside_a_half_precision_layer_is_kept_and_computed_in_fp32():
    layer = LowRank(nn.Linear(8, 8).bfloat16(), rank=2, alpha=2.0)
    nn.init.normal_(layer.b)
    x = torch.randn(3, 8).bfloat16()
    expected = layer.base(x).float() + x.float() @ layer.a.T @ layer.b.T
    assert layer.a.dtype == layer.b.dtype == layer.delta().dtype == torch.float32
    assert layer(x).dtype == torch.bfloat16
    assert torch.allclose(layer(x).float(), expected, rtol=2e-2, atol=2e-2)
    assert merge(nn.Sequential(layer))[0].weight.dtype == torch.bfloat16


@pytest.mark.parametrize("rank", [0, -1, 33, 1000])
def test_a_rank_that_does_not_fit_is_refused_with_the_range(rank):
    with pytest.raises(ValueError, match=rf"rank from 1 to 32 for a layer 32 -> 32, found {rank}"):
        LoRA(rank=rank).apply(bert())


def test_a_target_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(ValueError, match=r"none named q_proj.*key, query, value"):
        LoRA(targets=("q_proj",)).apply(bert())


@pytest.mark.parametrize(
    ("target", "kind"),
    [("attention", "BertAttention"), ("LayerNorm", "LayerNorm"), ("word_embeddings", "Embedding")],
)
def test_a_target_that_is_no_linear_layer_is_refused_by_its_kind(target, kind):
    with pytest.raises(ValueError, match=f"linear layer.*{kind}"):
        LoRA(rank=2, targets=(target,)).apply(bert())


def test_a_refused_strategy_leaves_the_model_as_it_was():
    model = llama()
    before = [n for n, _ in model.named_modules()], [p.requires_grad for p in model.parameters()]
    with pytest.raises(ValueError, match="rank from 1 to 16"):
        LoRA(rank=20).apply(model)  # fits the queries, which come first, and not the keys
    assert ([n for n, _ in model.named_modules()], [p.requires_grad for p in model.parameters()]) == before
    with pytest.raises(ValueError, match="none named query"):
        LoRA(targets=("query",)).apply(model)
    assert ([n for n, _ in model.named_modules()], [p.requires_grad for p in model.parameters()]) == before


@pytest.mark.parametrize("targets", [(), ("query",)])
def test_a_model_that_carries_lora_already_is_refused(targets):
    model = LoRA(rank=2, targets=targets).apply(bert()).model
    with pytest.raises(ValueError, match="remove"):
        LoRA(rank=2, targets=targets).apply(model)
    assert torch.equal(logits(LoRA(rank=2).apply(remove(model)).model), logits(bert()))


def test_lora_without_targets_stands_beside_all_linear_layers_but_the_head():
    assert len(pairs(LoRA(rank=2).apply(bert()).model)) == 2 * 6
    assert len(pairs(LoRA(rank=2).apply(gpt2()).model)) == 2 * 4
    assert len(pairs(LoRA(rank=2).apply(llama()).model)) == 2 * 7
    assert len(pairs(LoRA(rank=2).apply(language_model()).model)) == 2 * 4


def test_the_table_of_lora_is_its_pairs_and_the_head():
    tuned = LoRA(rank=2, targets=("query",)).apply(bert())
    wanted = [p for m in pairs(tuned.model).values() for p in (m.a, m.b)]
    assert [g.name for g in tuned.groups] == ["lora", "head", "head (no decay)"]
    own = trained_by(tuned, besides="head")
    assert {id(p) for p in own} == {id(p) for p in wanted} and len(own) == len(wanted)
    assert {id(p) for p in trained_by(tuned, besides="lora")} == {id(p) for p in head(tuned.model)}


@pytest.mark.parametrize("make", CLASSIFIERS.values())
def test_full_trains_everything(make):
    tuned = Full().apply(make())
    assert {g.name.removesuffix(" (no decay)") for g in tuned.groups} == {"all", "head"}
    assert {id(p) for p in trained_by(tuned)} == {id(p) for p in tuned.model.parameters()}
    assert all(p.requires_grad for p in tuned.model.parameters())


def test_full_trains_what_an_earlier_strategy_froze():
    tuned = Full().apply(remove(LoRA(rank=2).apply(bert()).model))
    assert all(p.requires_grad for p in tuned.model.parameters())


@pytest.mark.parametrize(("make", "cache"), [(bert, True), (bert, False), (gpt2, False), (llama, False)])
def test_head_only_trains_the_head(make, cache):
    tuned = HeadOnly(cache=cache).apply(make())
    assert {g.name for g in tuned.groups} <= {"head", "head (no decay)"}
    assert [id(p) for p in trained_by(tuned)] == [id(p) for p in head(tuned.model)]
    trained = {id(p) for p in tuned.model.parameters() if p.requires_grad}
    assert trained == {id(p) for p in head(tuned.model)}


def test_head_only_refuses_a_language_model():
    with pytest.raises(ValueError, match=r"output layer.*GPT2LMHeadModel"):
        HeadOnly().apply(language_model())


def test_features_are_kept_only_where_the_head_reads_one_vector_a_text():
    with pytest.raises(ValueError, match=r"model.features.*GPT2ForSequenceClassification.*cache=False"):
        HeadOnly(cache=True).apply(gpt2())


def decoder():
    """A decoder under our own read-out."""
    return Classifier(gpt2().transformer, outputs=2)


@pytest.mark.parametrize("make", [bert, decoder])
def test_kept_features_change_nothing_and_the_trunk_sees_each_text_once(make):
    task, seen = classification(), []
    with_cache = start(make(), strategy=HeadOnly(cache=True), task=task, epochs=3)
    without = start(make(), strategy=HeadOnly(cache=False), task=task, epochs=3)
    task.score(with_cache.tuned.model, task.train[:7])  # what evaluation kept is good for training, too
    trunk(with_cache.tuned.model.model)[1].register_forward_pre_hook(
        lambda m, args, kwargs: seen.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    finish(with_cache), finish(without)
    assert losses(with_cache) == pytest.approx(losses(without), abs=1e-6)
    assert torch.allclose(weights(with_cache), weights(without), atol=1e-5)
    distinct = len({e.ids.tobytes() for e in task.train})
    assert sum(seen) <= len(task.train) and len(with_cache.tuned.model.kept) == distinct
    assert torch.allclose(
        task.logits_of(with_cache.tuned.model, task.test), task.logits_of(without.tuned.model, task.test)
    )


def test_kept_features_are_forgotten_when_the_trunk_changes():
    model = HeadOnly(cache=True).apply(bert()).model
    before = logits(model)
    with torch.no_grad():
        model.model.trunk.embeddings.word_embeddings.weight.mul_(2)
    assert torch.allclose(logits(model), logits(model.model), atol=1e-6)
    assert not torch.allclose(logits(model), before, atol=1e-3)


def test_a_write_past_torch_is_seen_at_the_next_evaluation_and_by_the_updates_after_it():
    run = start(strategy=HeadOnly(cache=True))
    model, steps = run.tuned.model, updates(run)
    next(steps)
    run.task.score(model, run.task.validation)
    version = model.trunk_version()
    model.model.trunk.embeddings.word_embeddings.weight.data.mul_(2)
    assert model.trunk_version() == version  # torch has counted no change
    assert run.task.score(model, run.task.validation) == run.task.score(model.model, run.task.validation)
    seen = []
    model.model.trunk.register_forward_hook(lambda *_: seen.append(1))
    next(steps)
    assert seen, "the update was computed from features of weights that are gone"


def test_kept_features_stay_over_evaluations_of_a_trunk_that_nobody_wrote_to():
    run = finish(start(strategy=HeadOnly(cache=True), epochs=1))
    run.task.score(run.tuned.model, run.task.validation)
    kept = dict(run.tuned.model.kept)
    run.task.score(run.tuned.model.train(), run.task.validation)
    assert all(run.tuned.model.kept[text] is features for text, features in kept.items())


def test_kept_features_are_those_without_dropout():
    model = HeadOnly(cache=True).apply(bert(dropout=0.5)).model.train()
    kept = logits(model)
    assert torch.allclose(kept, logits(model.model.eval()), atol=1e-6)


def test_a_resumed_run_with_kept_features_is_the_uninterrupted_one_to_rounding(tmp_path):
    def begin():
        return start(bert(), strategy=HeadOnly(cache=True), epochs=3)

    half, resumed, whole = begin(), begin(), finish(begin())
    for _ in zip(range(7), updates(half), strict=False):
        pass
    checkpoint.restore(resumed, checkpoint.save(half, tmp_path))
    assert losses(finish(resumed)) == pytest.approx(losses(whole), abs=1e-6)
    assert torch.allclose(weights(resumed), weights(whole), atol=1e-6)


def small(name, model):
    """The strategy of that name, as it fits the small models."""
    if name == "head_only":
        return HeadOnly(cache=reads_features(model))
    options = {"adapters": {"size": 3}, "lora": {"rank": 2}, "qlora": {"rank": 2}}
    return STRATEGIES[name](**options.get(name, {"length": 3} if name.endswith("tuning") else {}))


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("make", CLASSIFIERS.values())
def test_training_moves_the_table_and_nothing_else(name, make):
    model = make()
    if name == "bitfit" and make is llama:
        pytest.skip("Llama has no biases; that BitFit refuses it is another test")
    run = start(model, strategy=small(name, model), epochs=4)
    listed = {
        id(p) for g in run.tuned.groups if g.from_epoch < 4 for p in look_up(run.tuned.model, g.parameters)
    }
    before = {n: p.detach().clone() for n, p in run.tuned.model.named_parameters()}
    finish(run)
    moved = {n: not torch.equal(p, before[n]) for n, p in run.tuned.model.named_parameters()}
    still = [n for n, p in run.tuned.model.named_parameters() if id(p) in listed and not moved[n]]
    assert {n for n, m in moved.items() if m} <= {
        n for n, p in run.tuned.model.named_parameters() if id(p) in listed
    }
    assert all("position" in n or "token_type" in n or "deltas" in n for n in still), still


def by_hand(model, task, rows, *, epochs, lr):
    """The losses of AdamW over (parameters, scale, first epoch), every rate set by hand."""
    lost = []
    rows = [
        ([p for p in params if (p.ndim > 1) is wide], *more)
        for params, *more in rows
        for wide in (True, False)
    ]
    rows = [row for row in rows if row[0]]
    decays = [0.01 if params[0].ndim > 1 else 0.0 for params, *_ in rows]
    table = [{"params": row[0], "weight_decay": decay} for row, decay in zip(rows, decays, strict=True)]
    optimizer = torch.optim.AdamW(table)
    for epoch in range(epochs):
        lengths = [len(e) for e in task.train]
        for numbers in epoch_batches(lengths, batch_size=8, seed=0, epoch=epoch):
            batch = task.collate([task.train[i] for i in numbers], "cpu")
            for group, (params, scale, first) in zip(optimizer.param_groups, rows, strict=True):
                group["lr"] = lr * scale
                for p in params:
                    p.requires_grad_(epoch >= first)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(task.logits(model, batch), batch["labels"])
            loss.backward()
            optimizer.step()
            lost.append(loss.item())
    return lost


def layers_of(model):
    """Written out for the small BERT: what is above what."""
    trunk_ = model.trunk
    blocks = [list(block.parameters()) for block in trunk_.encoder.layer]
    return [list(model.classifier.parameters()), *reversed(blocks), list(trunk_.embeddings.parameters())]


def test_gradual_unfreezing_is_the_loop_written_out():
    run = finish(
        start(bert(), strategy=GradualUnfreezing(), epochs=4, schedule="constant", warmup=0.0, clip=None)
    )
    model = bert()
    rows = [(params, 1.0, depth) for depth, params in enumerate(layers_of(model))]
    assert losses(run) == pytest.approx(by_hand(model, classification(), rows, epochs=4, lr=1e-2), abs=1e-5)


def test_discriminative_rates_are_the_loop_written_out():
    run = finish(
        start(bert(), strategy=Discriminative(decay=0.5), schedule="constant", warmup=0.0, clip=None)
    )
    model = bert()
    rows = [(params, 0.5**depth, 0) for depth, params in enumerate(layers_of(model))]
    assert losses(run) == pytest.approx(by_hand(model, classification(), rows, epochs=2, lr=1e-2), abs=1e-5)


def test_a_decay_of_1_is_full_finetuning():
    one, full = (finish(start(bert(), strategy=s)) for s in (Discriminative(decay=1.0), Full()))
    assert losses(one) == pytest.approx(losses(full), abs=1e-6)


def test_the_gates_follow_the_loop_written_out():
    run = finish(
        start(
            bert(), strategy=Gated(start=0.4, gate_lr_scale=3.0), schedule="constant", warmup=0.0, clip=None
        )
    )
    model = Gated(start=0.4).apply(bert()).model
    rows = [(list(model.deltas), 1.0, 0), ([model.gates], 3.0, 0), (head(model), 1.0, 0)]
    assert losses(run) == pytest.approx(by_hand(model, classification(), rows, epochs=2, lr=1e-2), abs=1e-5)


@pytest.mark.parametrize("make", CLASSIFIERS.values())
def test_unfreezing_goes_from_the_head_down_and_every_parameter_has_its_row(make):
    tuned = GradualUnfreezing(epochs=2).apply(make())
    wakes = {g.name.removesuffix(" (no decay)"): g.from_epoch for g in tuned.groups}
    assert list(wakes.items()) == [("embeddings", 6), ("block 0", 4), ("block 1", 2), ("head", 0)]
    listed = [id(p) for p in trained_by(tuned)]
    assert sorted(listed) == sorted(id(p) for p in tuned.model.parameters())


@pytest.mark.parametrize("make", [gpt2, llama])
def test_the_last_norm_of_a_decoder_belongs_to_its_top_block(make):
    tuned = GradualUnfreezing().apply(make())
    rows = {g.name: g.parameters for g in tuned.groups}
    last = [n for n, _ in tuned.model.named_parameters() if n.endswith(("ln_f.weight", "model.norm.weight"))]
    assert last and all(name in rows["block 1 (no decay)"] for name in last)


def test_of_a_language_model_the_output_comes_first():
    tuned = GradualUnfreezing().apply(language_model())
    names = dict.fromkeys(g.name.removesuffix(" (no decay)") for g in tuned.groups)
    assert list(names) == ["embeddings", "block 0", "block 1", "output"]


@pytest.mark.parametrize("decay", [0.0, -0.5, 1.1])
def test_a_decay_that_is_none_is_refused(decay):
    with pytest.raises(ValueError, match=f"above 0 and at most 1, got {decay}"):
        Discriminative(decay=decay).apply(bert())


def test_less_than_an_epoch_between_two_blocks_is_refused():
    with pytest.raises(ValueError, match="1 epoch or more between two blocks, got 0"):
        GradualUnfreezing(epochs=0).apply(bert())


@pytest.mark.parametrize(("strategy", "share"), [(Full(), 0.9), (LoRA(rank=4), 0.99)])
def test_a_language_model_learns(strategy, share):
    run = finish(start(language_model(), strategy=strategy, task=language_modelling(), lr=3e-2, epochs=12))
    first, last = (sum(s.loss * s.terms for s in run.steps if s.epoch == epoch) for epoch in (0, 11))
    assert last < share * first
