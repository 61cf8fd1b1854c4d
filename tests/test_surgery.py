"""Freezing, finding and replacing on the three shapes of model."""

import pytest
import torch
from small import CLASSIFIERS, bert, gpt2, language_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from ftkit.surgery import (
    freeze,
    head,
    in_out,
    is_linear,
    is_transposed,
    layer_groups,
    linear_names,
    put,
    replace,
    trainable,
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
    grouped = [id(p) for _, params in layer_groups(model) for p in params]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(p) for p in model.parameters()}


@pytest.mark.parametrize("make", CLASSIFIERS.values())
def test_layer_groups_go_from_the_embeddings_to_the_head(make):
    model = make(blocks=3)
    groups = dict(layer_groups(model))
    assert list(groups) == ["embeddings", "block 0", "block 1", "block 2", "head"]
    assert any(p is model.get_input_embeddings().weight for p in groups["embeddings"])
    names = {id(p): n for n, p in model.named_parameters()}
    for i in range(3):
        assert all(f".{i}." in names[id(p)] for p in groups[f"block {i}"])
    assert [id(p) for p in groups["head"]] == [id(p) for p in head(model)]


def test_a_model_without_blocks_has_no_layer_groups():
    with pytest.raises(ValueError, match=r"list of blocks.*Linear"):
        layer_groups(nn.Linear(2, 2))


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
    rows = trainable(model, [model.trunk.embeddings.word_embeddings.weight, *head(model)], name="some")
    assert [(row.name, len(row.params), row.lr_scale, row.from_epoch) for row in rows] == [
        ("some", 1, 1.0, 0),
        ("head", 2, 1.0, 0),
    ]
    wanted = {"trunk.embeddings.word_embeddings.weight", "classifier.weight", "classifier.bias"}
    assert {n for n, p in model.named_parameters() if p.requires_grad} == wanted


def test_a_table_has_no_empty_rows():
    assert [row.name for row in trainable(bert(), [], name="none")] == ["head"]
    lm = language_model()
    assert [row.name for row in trainable(lm, list(lm.parameters()), name="all")] == ["all"]
