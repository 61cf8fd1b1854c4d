"""Freezing, finding and replacing on the three shapes of model."""

import pytest
import torch
from small import CLASSIFIERS, bert, gpt2, head, language_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from ftkit.records import Tuned
from ftkit.strategies.qlora import four_bit
from ftkit.surgery import (
    all_linear,
    freeze,
    head_names,
    in_out,
    is_linear,
    is_transposed,
    layer_parameters,
    linear_names,
    matching,
    matrix,
    put,
    replace,
    tensors,
    trainable,
    trained_by,
    trunk,
    unwrap,
    with_matrix,
)


class Marked(nn.Module):
    def __init__(self, inside):
        super().__init__()
        self.inside = inside

    def forward(self, x):
        return self.inside(x)


@pytest.mark.parametrize(
    ("name", "target", "count"), [("bert", "query", 2), ("gpt2", "c_attn", 2), ("llama", "down_proj", 2)]
)
def test_replace_wraps_every_layer_of_that_name_and_returns_the_names(name, target, count):
    model = CLASSIFIERS[name]()
    names = [n for n, _ in model.named_modules() if n.endswith(f".{target}")]
    assert replace(model, (target,), Marked) == names
    assert len(names) == count
    assert all(isinstance(model.get_submodule(n), Marked) for n in names)
    assert sum(isinstance(m, Marked) for m in model.modules()) == count


def test_replace_takes_whole_names_only():
    with pytest.raises(ValueError, match="uery"):
        replace(bert(), ("uery",), Marked)


def test_replace_names_what_is_missing_and_what_there_is():
    model = bert()
    with pytest.raises(
        ValueError, match=r"none named q_proj, v_proj; .* classifier, dense, key, query, value"
    ):
        replace(model, ("query", "q_proj", "v_proj"), Marked)
    assert not any(isinstance(m, Marked) for m in model.modules())


def test_put_stands_in_for_a_layer_also_at_the_top():
    model = bert()
    put(model, "classifier", new := nn.Identity())
    assert model.classifier is new
    put(model, "trunk.encoder.layer.1.intermediate.dense", new := nn.Identity())
    assert model.trunk.encoder.layer[1].intermediate.dense is new


def test_in_and_out_are_read_right_from_both_kinds_of_linear_layer():
    linear, conv = nn.Linear(3, 5), Conv1D(5, 3)  # Conv1D(out, in)
    assert in_out(linear) == in_out(conv) == (3, 5)
    assert linear(torch.zeros(1, 3)).shape == conv(torch.zeros(1, 3)).shape == (1, 5)
    assert not is_transposed(linear) and is_transposed(conv)
    assert is_linear(linear) and is_linear(conv)
    assert not is_linear(nn.Embedding(3, 5)) and not is_linear(nn.LayerNorm(3))


def test_linear_names_are_the_last_parts_each_once():
    assert linear_names(bert()) == ["classifier", "dense", "key", "query", "value"]
    assert linear_names(gpt2()) == ["c_attn", "c_fc", "c_proj", "score"]


@pytest.mark.parametrize("make", [*CLASSIFIERS.values(), language_model])
def test_layer_groups_cover_every_parameter_exactly_once(make):
    model = make(blocks=3)
    grouped = [id(p) for _, params in layer_parameters(model) for p in params]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(p) for p in model.parameters()}


@pytest.mark.parametrize("make", CLASSIFIERS.values())
def test_layer_groups_go_from_the_embeddings_to_the_head(make):
    model = make(blocks=3)
    groups = dict(layer_parameters(model))
    assert list(groups) == ["embeddings", "block 0", "block 1", "block 2", "head"]
    assert any(p is model.get_input_embeddings().weight for p in groups["embeddings"])
    names = {id(p): n for n, p in model.named_parameters()}
    after = ("ln_f.weight", "ln_f.bias", "model.norm.weight")  # a decoder's last norm goes with its top block
    for i in range(3):
        own = [names[id(p)] for p in groups[f"block {i}"]]
        assert all(f".{i}." in name or (i == 2 and name.endswith(after)) for name in own)
    assert [id(p) for p in groups["head"]] == [id(p) for p in head(model)]


def test_a_model_of_no_declared_family_has_no_layer_groups():
    with pytest.raises(ValueError, match=r"declared family .*got 'Linear'"):
        layer_parameters(nn.Linear(2, 2))


def test_the_head_is_the_new_output_layer():
    model = bert()
    assert [p is q for p, q in zip(head(model), model.classifier.parameters(), strict=True)] == [True, True]
    assert [p.shape for p in head(gpt2(labels=3))] == [(3, 32)]
    assert head(language_model()) == []


def test_freeze_leaves_nothing_to_train():
    freeze(model := bert())
    assert not any(p.requires_grad for p in model.parameters())


def test_a_table_of_one_speed_has_a_row_for_the_head_and_no_parameter_twice():
    freeze(model := bert())
    names = ["trunk.embeddings.word_embeddings.weight", "classifier.weight", "classifier.bias"]
    rows = trainable(model, names, name="some")
    assert [(row.name, row.parameters, row.weight_decay) for row in rows] == [
        ("some", ("trunk.embeddings.word_embeddings.weight",), None),
        ("head", ("classifier.weight",), None),
        ("head (no decay)", ("classifier.bias",), 0.0),
    ]
    wanted = {"trunk.embeddings.word_embeddings.weight", "classifier.weight", "classifier.bias"}
    assert {n for n, p in model.named_parameters() if p.requires_grad} == wanted


def test_a_table_has_no_empty_rows():
    assert [row.name for row in trainable(bert(), [], name="none")] == ["head", "head (no decay)"]
    lm = language_model()
    names = [name for name, _ in lm.named_parameters()]
    assert [row.name for row in trainable(lm, names, name="all")] == ["all", "all (no decay)"]


def test_a_target_is_the_end_of_a_name_compared_part_by_part():
    model = bert(blocks=1)
    place = "trunk.encoder.layer.0"
    assert matching(model, "output.dense") == [f"{place}.attention.output.dense", f"{place}.output.dense"]
    assert matching(model, "[0-9]*.output.dense") == [f"{place}.output.dense"]
    assert matching(model, f"{place}.output.dense") == [f"{place}.output.dense"]
    assert matching(model, "put.dense") == []


@pytest.mark.parametrize("make", [*CLASSIFIERS.values(), language_model])
def test_the_trunk_is_all_but_the_output_layer(make):
    model = make()
    name, base = trunk(model)
    assert model.get_submodule(name) is base
    inside = {id(p) for p in base.parameters()}
    assert {id(p) for p in model.parameters()} - inside == {id(p) for p in head(model)}


def test_a_model_without_a_trunk_is_refused():
    with pytest.raises(ValueError, match=r"trunk below its output layer.*Linear"):
        trunk(nn.Linear(2, 2))


@pytest.mark.parametrize("layer", [nn.Linear(3, 5), Conv1D(5, 3)], ids=["Linear", "Conv1D"])
def test_a_weight_is_read_and_put_back_however_it_is_stored(layer):
    x = torch.randn(4, 3)
    weight = matrix(layer)
    assert weight.shape == (5, 3)
    assert torch.allclose(layer(x), x @ weight.T + layer.bias, atol=1e-6)
    other = torch.randn(5, 3)
    shape = layer.weight.shape
    assert torch.allclose(with_matrix(layer, other)(x), x @ other.T + layer.bias, atol=1e-6)
    assert layer.weight.shape == shape


def test_what_four_bit_weights_are_scaled_by_counts_as_memory():
    layer = four_bit(nn.Linear(64, 64), double=False)
    held = sum(t.numel() * t.element_size() for t in tensors(layer))
    assert held == 64 * 64 // 2 + 4 * 64 + 4 * 64 * 64 // 64 + 4 * 16  # weights, bias, scales, the 16 levels
    twice = sum(t.numel() * t.element_size() for t in tensors(four_bit(nn.Linear(512, 512))))
    scales = 512 * 512 // 64  # a byte each, and scaled in their turn: 256 to a scale, 256 levels, an offset
    assert twice == 512 * 512 // 2 + 4 * 512 + scales + 4 * scales // 256 + 4 * 256 + 4 + 4 * 16


def test_all_linear_layers_are_those_below_the_output():
    assert all_linear(bert()) == ("dense", "key", "query", "value")
    assert all_linear(language_model()) == ("c_attn", "c_fc", "c_proj")


def test_a_weight_keeps_its_precision_when_it_is_exchanged():
    layer = nn.Linear(3, 5).to(torch.bfloat16)
    assert with_matrix(layer, torch.randn(5, 3)).weight.dtype == torch.bfloat16


def test_a_head_is_named_by_a_whole_part_of_a_name():
    model = nn.ModuleDict(
        {"score": nn.Linear(2, 2), "scores": nn.Linear(2, 2), "classifiers": nn.Linear(2, 2)}
    )
    assert head_names(model) == ["score.weight", "score.bias"]


def test_what_trains_besides_the_head_has_no_part_of_it():
    freeze(model := bert())
    names = ["trunk.embeddings.word_embeddings.weight"]
    tuned = Tuned(model, trainable(model, names, name="some"))
    assert [tuple(p.shape) for p in trained_by(tuned, besides="head")] == [(64, 32)]
    assert len(trained_by(tuned)) == 3


def test_unwrap_puts_back_what_was_wrapped():
    class Wrapped(nn.Module):
        def __init__(self, base):
            super().__init__()
            self.base = base

    model = bert()
    before = dict(model.named_modules())
    replace(model, ("query", "dense"), Wrapped)
    assert len(dict(model.named_modules())) > len(before)
    after = dict(unwrap(model, Wrapped).named_modules())
    assert after.keys() == before.keys() and all(after[name] is before[name] for name in before)
