"""Every family of models under every strategy: it trains, or one sentence says why not and what does."""

import pytest
import torch
import transformers
from architectures import SHAPES, WORDS, classifier
from small import bert, classification, gpt2
from torch import nn

from ftkit.families import FAMILIES, family
from ftkit.loop import Run, updates
from ftkit.records import TrainConfig
from ftkit.strategies import STRATEGIES, Full, GradualUnfreezing, LoRA, PrefixTuning, PromptTuning, QLoRA
from ftkit.surgery import blocks, in_out, layer_groups, matching, trained_by

ARCHITECTURES = [*SHAPES, "fnet"]
SMALL = {
    "lora": LoRA(rank=2),
    "qlora": QLoRA(rank=2),
    "prompt_tuning": PromptTuning(3),
    "prefix_tuning": PrefixTuning(3),
}
REFUSED = {(name, "prefix_tuning") for name in ("deberta", "deberta-v2", "xlnet", "mamba")}
REFUSED |= {(name, "ia3") for name in ("xlnet", "mamba")}
REFUSED |= {("fnet", strategy) for strategy in STRATEGIES}
# without a single bias
REFUSED |= {(name, "bitfit") for name in ("llama", "qwen3", "gemma2", "phi3", "t5", "modernbert")}


def model_of(name):
    if name != "fnet":
        return classifier(name)
    config = transformers.FNetConfig(
        vocab_size=WORDS, hidden_size=32, num_hidden_layers=2, intermediate_size=48
    )
    return Holder(transformers.AutoModel.from_config(config))


class Holder(nn.Module):
    """A model that no head of ours takes."""

    def __init__(self, trunk):
        super().__init__()
        self.trunk, self.config = trunk, trunk.config
        self.classifier = nn.Linear(32, 2)


def outcome(name, strategy):
    """ "trains", or the sentence that refuses it."""
    try:
        torch.manual_seed(0)
        tuned = SMALL.get(strategy, STRATEGIES[strategy]()).apply(model_of(name))
        family(tuned.model)
        run = Run(tuned, classification(8), TrainConfig(lr=1e-2, epochs=9, batch_size=8, warmup=0.0))
        before = [p.detach().clone() for p in trained_by(tuned)]
        next(updates(run))
    except ValueError as error:
        return str(error)
    assert not all(map(torch.equal, before, trained_by(tuned))), "nothing moved"
    return "trains"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_family_trains_under_every_strategy_that_its_architecture_allows(name):
    outcomes = {strategy: outcome(name, strategy) for strategy in STRATEGIES}
    assert {s for s, what in outcomes.items() if what != "trains"} == {s for n, s in REFUSED if n == name}
    for sentence in outcomes.values():
        assert sentence == "trains" or ("use " in sentence and "\n" not in sentence), sentence


def test_at_least_262_of_288_train():
    assert len(ARCHITECTURES) * len(STRATEGIES) == 288
    assert 288 - len(REFUSED) >= 262


def test_an_unknown_family_is_one_clear_error_for_layers_too():
    config = transformers.ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    model = Holder(transformers.AutoModel.from_config(config))
    for ask in (family, layer_groups, blocks):
        with pytest.raises(ValueError, match=r"declared family .*got 'vit'; declare its parts"):
            ask(model)


@pytest.mark.parametrize("name", SHAPES)
def test_layers_go_from_the_embeddings_through_all_blocks_to_the_head(name):
    model = classifier(name)
    groups = dict(layer_groups(model))
    depth = {"albert": 1, "bart": 4}.get(name, 2)  # ALBERT computes its one block twice
    assert list(groups) == ["embeddings", *(f"block {i}" for i in range(depth)), "head"]
    names = [name for group in groups.values() for name in group]
    shared = [n for n in names if not set(family(model).shared).isdisjoint(n.split("."))]
    assert bool(shared) == (name in ("deberta", "deberta-v2", "mpnet"))  # behind the blocks, read by all
    assert set(shared) <= set(groups["embeddings"])
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())


def test_an_encoder_decoders_blocks_are_layers_in_order():
    model = transformers.T5ForConditionalGeneration(
        transformers.T5Config(vocab_size=64, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
    )
    groups = dict(layer_groups(model))
    assert list(groups) == ["embeddings", "block 0", "block 1", "block 2", "block 3", "output"]
    assert all(name.startswith("encoder.block.0") for name in groups["block 0"])
    assert groups["block 1"][-1] == "encoder.final_layer_norm.weight"
    assert all(name.startswith("decoder.block.0") for name in groups["block 2"])
    assert groups["output"] == ["decoder.final_layer_norm.weight"]


@pytest.mark.parametrize("name", SHAPES)
def test_a_familys_layers_are_those_of_their_roles(name):
    model, width = classifier(name), 32
    known = family(model)

    def sizes(target):
        return [in_out(model.get_submodule(layer)) for layer in matching(model, target)]

    feed_forward = sizes(known.feed_forward_out)
    assert len(feed_forward) >= len(blocks(model)) and all(i > width == o for i, o in feed_forward)
    if known.attention_out:
        assert set(sizes(known.attention_out)) == {(width, width)}
    assert all(i == width and o > 0 for target in known.keys_values for i, o in sizes(target))
    ends = [target.split(".")[-1][0] for target in known.keys_values]
    assert len(ends) < 2 or ends == ["k", "v"]


def test_two_layers_of_a_new_head_both_train():
    config = transformers.DistilBertConfig(vocab_size=64, dim=32, n_heads=4, n_layers=2, hidden_dim=48)
    model = transformers.DistilBertForSequenceClassification(config)
    trained = {name for group in LoRA(rank=2).apply(model).groups for name in group.parameters}
    assert {"pre_classifier.weight", "classifier.weight"} <= trained


def test_gradual_unfreezing_has_a_row_for_every_level():
    assert max(g.from_epoch for g in GradualUnfreezing().apply(bert(blocks=3)).groups) == 4
    assert Full().apply(gpt2()).groups[0].from_epoch == 0
    assert set(FAMILIES) >= set(ARCHITECTURES)
