"""What each strategy computes and learns is what PEFT does; where PEFT has nothing, a sum written out."""

import copy
import math
import warnings

import peft
import pytest
import torch
from small import CLASSIFIERS, PAD, SIZES, bert, classification, gpt2, head, language_model, llama, shaken
from torch import nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from ftkit.families import family
from ftkit.strategies import IA3, Adapters, BitFit, Gated, LoRA, PrefixTuning, PromptTuning, QLoRA
from ftkit.strategies import adapters as bottleneck
from ftkit.strategies import gated as gating
from ftkit.strategies import ia3 as rescaling
from ftkit.strategies.adapters import Bottleneck
from ftkit.strategies.attention import key_shape
from ftkit.strategies.ia3 import Rescale, rescaled
from ftkit.strategies.low_rank import LowRank, merge, pairs
from ftkit.strategies.prefix_tuning import Prefix
from ftkit.strategies.rewired import rewire
from ftkit.strategies.soft_prompt import SoftPrompt
from ftkit.surgery import is_transposed, trained_by

LENGTH = 5
BATCH = classification().collate(classification().train[:9], "cpu")
INPUTS = {name: BATCH[name] for name in ("input_ids", "attention_mask")}
REAL = BATCH["attention_mask"].bool()


def llama_language_model() -> nn.Module:
    torch.manual_seed(0)
    shape = {"num_key_value_heads": 2, "num_hidden_layers": 2, "intermediate_size": 48}
    return LlamaForCausalLM(LlamaConfig(**SIZES, **shape, pad_token_id=PAD))


def masked_language_model() -> nn.Module:
    torch.manual_seed(0)
    return BertForMaskedLM(BertConfig(**SIZES, num_hidden_layers=2, intermediate_size=48))


def t5() -> nn.Module:
    torch.manual_seed(0)
    shape = {"d_model": 32, "d_kv": 8, "num_heads": 4, "d_ff": 48, "num_layers": 2, "dropout_rate": 0.0}
    return T5ForConditionalGeneration(
        T5Config(vocab_size=SIZES["vocab_size"], pad_token_id=PAD, decoder_start_token_id=PAD, **shape)
    )


def encoder() -> nn.Module:
    torch.manual_seed(0)
    return BertModel(BertConfig(**SIZES, num_hidden_layers=2, intermediate_size=48), add_pooling_layer=False)


LANGUAGE_MODELS = {"gpt2": language_model, "llama": llama_language_model, "bert": masked_language_model}
WITH_PEFT = LANGUAGE_MODELS | {"t5": t5}
CAUSAL = {"gpt2": language_model, "llama": llama_language_model}
ANY = {**CLASSIFIERS, **{f"{name} language model": make for name, make in LANGUAGE_MODELS.items()}}


def answers(model) -> torch.Tensor:
    """Logits or states; of a model that answers at every token, those at real tokens."""
    target = {"decoder_input_ids": INPUTS["input_ids"]} if model.config.is_encoder_decoder else {}
    out = model(**INPUTS, **target)
    found = out.logits if "logits" in out else out.last_hidden_state
    return found[:, -REAL.shape[1] :][REAL] if found.dim() == 3 else found


def assert_same(here, there, couples):
    """Answers to 1e-5 (absolute), and each gradient to 1e-4 of its size, for a loss that sees everything."""
    mine, other = answers(here), answers(there)
    assert mine.shape == other.shape
    assert torch.allclose(mine, other, rtol=0, atol=1e-5), (
        f"answers differ by {(mine - other).abs().max():.1e}"
    )
    towards = torch.randn(mine.shape, generator=torch.Generator().manual_seed(4))
    for model, found in ((here, mine), (there, other)):
        model.zero_grad()
        (found * towards).sum().backward()
    assert couples
    for place, ours, theirs in couples:
        theirs = theirs.grad.reshape(ours.shape)
        distance = (ours.grad - theirs).norm() / theirs.norm()
        assert theirs.norm() > 0, f"{place}: nothing to compare"
        assert distance < 1e-4, f"{place}: gradients differ by {distance:.1e} of their size"


def randomised(parameters, *, around: float = 0.0, std: float = 0.3):
    """As after training: no value at a special place."""
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(around + std * torch.randn(parameter.shape, generator=draw))


# LoRA's variants


def low_rank_both(name, *, make=None, **options):
    model = shaken((make or CLASSIFIERS[name])())
    ours = LoRA(rank=4, alpha=8.0, **options).apply(copy.deepcopy(model)).model
    here = pairs(ours)
    randomised([m.b for m in here.values()])
    names = {"rslora": "use_rslora", "dora": "use_dora"}
    settings = peft.LoraConfig(
        r=4,
        lora_alpha=8.0,
        target_modules=list(here),
        fan_in_fan_out=name == "gpt2",
        **{names[key]: value for key, value in options.items()},
    )
    theirs = peft.get_peft_model(copy.deepcopy(model), settings)
    there = {n: m for n, m in theirs.base_model.model.named_modules() if hasattr(m, "lora_A")}
    couples = []
    for place, layer in here.items():
        other = there[place]
        couples += [(f"{place} A", layer.a, other.lora_A["default"].weight)]
        couples += [(f"{place} B", layer.b, other.lora_B["default"].weight)]
        if layer.length is not None:
            randomised([layer.length], around=1.0)
            couples += [(f"{place} length", layer.length, other.lora_magnitude_vector["default"].weight)]
    for _, mine, other in couples:
        other.data = mine.data.clone()
    return ours.eval(), theirs.eval(), couples


@pytest.mark.parametrize(
    "options", [{"rslora": True}, {"dora": True}, {"rslora": True, "dora": True}], ids=str
)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_variants_of_lora_are_those_of_peft(name, options):
    assert_same(*low_rank_both(name, **options))


@pytest.mark.parametrize("name", WITH_PEFT)
def test_lora_on_a_language_model_is_that_of_peft(name):
    assert_same(*low_rank_both(name, make=WITH_PEFT[name]))


def norms_of_columns(self, x):
    whole = (self.base.weight.T if is_transposed(self.base) else self.base.weight) + self.delta()
    stretch = self.length / whole.norm() * whole.shape[0] ** 0.5
    thin = self.scale * (x @ self.a.T) @ self.b.T
    plain = x @ (self.base.weight.T if is_transposed(self.base) else self.base.weight).T
    return self.base(x) + stretch * thin + (stretch - 1) * plain


def differentiates_the_norm(self, x):
    weight = self.base.weight.T if is_transposed(self.base) else self.base.weight
    stretch = self.length / (weight + self.delta()).norm(dim=1)
    thin = self.scale * (x @ self.a.T) @ self.b.T
    return self.base(x) + stretch * thin + (stretch - 1) * (x @ weight.T)


def stretches_the_bias_too(self, x):
    weight = self.base.weight.T if is_transposed(self.base) else self.base.weight
    stretch = self.length / (weight + self.delta()).norm(dim=1).detach()
    return stretch * (self.base(x) + self.scale * (x @ self.a.T) @ self.b.T)


@pytest.mark.parametrize("mutant", [norms_of_columns, differentiates_the_norm, stretches_the_bias_too])
def test_parity_catches_a_wrong_dora(mutant, monkeypatch):
    monkeypatch.setattr(LowRank, "forward", mutant)
    with pytest.raises(AssertionError, match="differ by"):
        assert_same(*low_rank_both("bert", dora=True))


def test_parity_catches_rslora_scaled_as_lora(monkeypatch):
    ours, theirs, couples = low_rank_both("bert", rslora=True)
    for layer in pairs(ours).values():
        layer.scale = layer.alpha / layer.a.shape[0]
    with pytest.raises(AssertionError, match="answers differ"):
        assert_same(ours, theirs, couples)


def test_a_fresh_dora_changes_nothing():
    model = shaken(bert()).eval()
    before = answers(model)
    assert torch.allclose(answers(LoRA(rank=4, dora=True).apply(model).model), before, atol=1e-6)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_merging_dora_gives_the_same_answers(name):
    ours, _, _ = low_rank_both(name, dora=True)
    assert torch.allclose(answers(merge(ours)), answers(ours), atol=1e-5)


def test_the_rate_of_b_is_a_row_of_its_own():
    tuned = LoRA(rank=2, b_lr_scale=16.0).apply(bert())
    scales = {g.name.removesuffix(" (no decay)"): g.lr_scale for g in tuned.groups}
    assert scales == {"lora A": 1.0, "lora B": 16.0, "head": 1.0}
    assert set(tuned.groups[-1].parameters) == {f"{name}.b" for name in pairs(tuned.model)}
    assert all(p.requires_grad for p in trained_by(tuned))


# IA3


def factors_both(name, make=None):
    model = shaken((make or CLASSIFIERS[name])())
    ours = IA3().apply(copy.deepcopy(model)).model
    here = rescaled(ours)
    randomised([m.factor for m in here.values()], around=1.0)
    settings = peft.IA3Config(
        target_modules=list(here),
        feedforward_modules=[n for n, m in here.items() if m.before],
        fan_in_fan_out=name == "gpt2",
    )
    theirs = peft.get_peft_model(copy.deepcopy(model), settings)
    there = {n: m for n, m in theirs.base_model.model.named_modules() if hasattr(m, "ia3_l")}
    assert set(here) == set(there)
    couples = [(n, m.factor, there[n].ia3_l["default"]) for n, m in here.items()]
    for _, mine, other in couples:
        other.data = mine.data.clone().view(other.shape)
    return ours.eval(), theirs.eval(), couples


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_ia3_is_that_of_peft(name):
    assert_same(*factors_both(name))


@pytest.mark.parametrize("name", WITH_PEFT)
def test_ia3_on_a_language_model_is_that_of_peft(name):
    assert_same(*factors_both(name, WITH_PEFT[name]))


def spares_the_bias(self, x):
    if self.before or self.base.bias is None:
        return self.base(x * self.factor) if self.before else self.base(x) * self.factor
    return (self.base(x) - self.base.bias) * self.factor + self.base.bias


def adds_the_factor(self, x):
    return self.base(x + self.factor - 1) if self.before else self.base(x) + self.factor - 1


@pytest.mark.parametrize("mutant", [spares_the_bias, adds_the_factor])
@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_parity_catches_a_wrong_ia3(name, mutant, monkeypatch):
    monkeypatch.setattr(Rescale, "forward", mutant)
    with pytest.raises(AssertionError, match="differ by"):
        assert_same(*factors_both(name))


@pytest.mark.parametrize("make", ANY.values(), ids=ANY)
def test_ia3_stands_at_keys_values_and_the_feed_forward_activation_of_each_block(make):
    model = IA3().apply(make()).model
    found = rescaled(model)
    per_block = len(family(model).keys_values) + 1
    assert len(found) == 2 * per_block
    assert sum(m.before for m in found.values()) == 2
    assert not any("attention.output" in n or "o_proj" in n or n.endswith("attn.c_proj") for n in found)


@pytest.mark.parametrize("make", ANY.values(), ids=ANY)
def test_merging_ia3_gives_the_same_answers_and_removing_it_the_old_ones(make):
    model = shaken(make()).eval()
    before = answers(model)
    tuned = IA3().apply(model).model.eval()
    assert torch.equal(answers(tuned), before)
    randomised([m.factor for m in rescaled(tuned).values()], around=1.0)
    after = answers(tuned)
    assert not torch.allclose(after, before, atol=1e-3)
    assert torch.allclose(answers(rescaling.merge(tuned)), after, atol=1e-5)
    assert torch.equal(answers(tuned), after)
    assert torch.equal(answers(rescaling.remove(tuned)), before)


# prompts and prefixes


def prompt_both(make, *, task_type="CAUSAL_LM"):
    model = shaken(make())
    if task_type != "FEATURE_EXTRACTION":
        ours = PromptTuning(LENGTH).apply(copy.deepcopy(model)).model
        mine = next(m for m in ours.modules() if isinstance(m, SoftPrompt)).prompt
    else:
        ours = SoftPrompt(copy.deepcopy(model), torch.zeros(LENGTH, SIZES["hidden_size"]))
        mine = ours.prompt
    randomised([mine])
    config = peft.PromptTuningConfig(
        task_type=task_type, num_virtual_tokens=LENGTH, num_transformer_submodules=1
    )
    theirs = peft.get_peft_model(copy.deepcopy(model), config)
    other = theirs.prompt_encoder["default"].embedding.weight
    other.data = mine.data.clone()
    return ours.eval(), theirs.eval(), [("prompt", mine, other)]


def prefix_both(make, *, task_type="CAUSAL_LM", hidden=None):
    model = shaken(make())
    if task_type == "FEATURE_EXTRACTION":
        ours = Prefix(copy.deepcopy(model), LENGTH, hidden, layers=2)
        rewire(ours.base, ours)
    else:
        ours = PrefixTuning(LENGTH, hidden=hidden).apply(copy.deepcopy(model)).model
    module = next(m for m in ours.modules() if isinstance(m, Prefix))
    config = peft.PrefixTuningConfig(
        task_type=task_type,
        num_virtual_tokens=LENGTH,
        prefix_projection=hidden is not None,
        encoder_hidden_size=hidden,
    )
    theirs = peft.get_peft_model(copy.deepcopy(model), config)
    there = theirs.prompt_encoder["default"]
    couples = [("vectors", module.vectors, there.embedding.weight)]
    if hidden:
        here = dict(module.transform.named_parameters())
        couples += [(n, p, dict(there.transform.named_parameters())[n]) for n, p in here.items()]
    randomised([mine for _, mine, _ in couples])
    for _, mine, other in couples:
        other.data = mine.data.clone()
    return ours.eval(), theirs.eval(), couples


@pytest.mark.parametrize("make", CAUSAL.values(), ids=CAUSAL)
def test_a_soft_prompt_is_that_of_peft(make):
    assert_same(*prompt_both(make))


@pytest.mark.parametrize(
    ("make", "task_type"), [(encoder, "FEATURE_EXTRACTION"), (t5, "SEQ_2_SEQ_LM")], ids=["bert", "t5"]
)
def test_a_soft_prompt_before_an_encoder_is_that_of_peft(make, task_type):
    assert_same(*prompt_both(make, task_type=task_type))


@pytest.mark.parametrize("hidden", [None, 7])
@pytest.mark.parametrize("make", CAUSAL.values(), ids=CAUSAL)
def test_a_prefix_is_that_of_peft(make, hidden):
    assert_same(*prefix_both(make, hidden=hidden))


@pytest.mark.parametrize("hidden", [None, 7])
def test_a_prefix_before_an_encoder_is_that_of_peft(hidden):
    assert_same(*prefix_both(encoder, task_type="FEATURE_EXTRACTION", hidden=hidden))


@pytest.mark.parametrize("make", [gpt2, llama])
def test_a_prefix_under_a_classifier_is_that_of_peft(make):
    assert_same(*prefix_both(make, task_type="SEQ_CLS"))


def prompt_last(self, input_ids=None, attention_mask=None, **rest):
    words = self.get_input_embeddings()(input_ids)
    both = torch.cat([words, self.prompt.expand(len(words), -1, -1)], 1)
    mask = torch.cat([attention_mask, attention_mask.new_ones(len(words), len(self.prompt))], 1)
    out = self.base(inputs_embeds=both, attention_mask=mask)
    out.last_hidden_state = out.last_hidden_state[:, : words.shape[1]]
    return out


def cut_at_the_wrong_end(self, input_ids=None, attention_mask=None, **rest):
    words = self.get_input_embeddings()(input_ids)
    both = torch.cat([self.prompt.expand(len(words), -1, -1), words], 1)
    mask = torch.cat([attention_mask.new_ones(len(words), len(self.prompt)), attention_mask], 1)
    out = self.base(inputs_embeds=both, attention_mask=mask)
    out.last_hidden_state = out.last_hidden_state[:, : words.shape[1]]
    return out


def prompt_hidden_by_the_mask(self, input_ids=None, attention_mask=None, **rest):
    words = self.get_input_embeddings()(input_ids)
    both = torch.cat([self.prompt.expand(len(words), -1, -1), words], 1)
    mask = torch.cat([attention_mask.new_zeros(len(words), len(self.prompt)), attention_mask], 1)
    out = self.base(inputs_embeds=both, attention_mask=mask)
    out.last_hidden_state = out.last_hidden_state[:, len(self.prompt) :]
    return out


@pytest.mark.parametrize("mutant", [prompt_last, cut_at_the_wrong_end, prompt_hidden_by_the_mask])
def test_parity_catches_a_wrong_prompt(mutant, monkeypatch):
    monkeypatch.setattr(SoftPrompt, "forward", mutant)
    with pytest.raises(AssertionError, match="differ by"):
        assert_same(*prompt_both(language_model))


right_pair = Prefix.pair


def keys_and_values_swapped(self, layer):
    return right_pair(self, layer).flip(0)


def layers_in_reverse(self, layer):
    return right_pair(self, 1 - layer)


def heads_in_another_order(self, layer):
    both, (heads, width) = right_pair(self, layer), key_shape(self.config)
    return both.view(*both.shape[:2], heads, width).flip(2).reshape(both.shape)


@pytest.mark.parametrize("mutant", [keys_and_values_swapped, layers_in_reverse, heads_in_another_order])
@pytest.mark.parametrize("make", [language_model, llama_language_model])
def test_parity_catches_a_wrong_prefix(make, mutant, monkeypatch):
    monkeypatch.setattr(Prefix, "pair", mutant)
    with pytest.raises(AssertionError, match="differ by"):
        assert_same(*prefix_both(make))


@pytest.mark.parametrize("strategy", [PromptTuning(LENGTH), PrefixTuning(LENGTH)], ids=["prompt", "prefix"])
@pytest.mark.parametrize("make", ANY.values(), ids=ANY)
def test_what_stands_before_the_text_acts_and_padding_does_not(make, strategy):
    model = shaken(make()).eval()
    before = answers(model)
    tuned = strategy.apply(model).model.eval()
    randomised([p for p in tuned.parameters() if p.requires_grad and all(p is not h for h in head(tuned))])
    after = answers(tuned)
    assert after.shape == before.shape
    assert not torch.allclose(after, before, atol=1e-3)
    longer = {name: nn.functional.pad(t, (0, 4), value=PAD) for name, t in INPUTS.items()}
    logits = tuned(**longer).logits
    logits = logits[:, : REAL.shape[1]][REAL] if logits.dim() == 3 else logits
    assert torch.allclose(logits, after, atol=1e-5)
    from ftkit.strategies import prefix_tuning, prompt_tuning

    prompt_tuning.remove(tuned)
    assert torch.equal(answers(prefix_tuning.remove(tuned)), before)


@pytest.mark.parametrize(
    "strategy", [PromptTuning(LENGTH), PrefixTuning(LENGTH), PrefixTuning(LENGTH, hidden=6)]
)
@pytest.mark.parametrize("make", CAUSAL.values(), ids=CAUSAL)
def test_generate_reads_the_prompt_once_and_goes_on_as_without_a_cache(make, strategy):
    model = strategy.apply(shaken(make())).model.eval()
    randomised([p for p in model.parameters() if p.requires_grad])
    ids = torch.tensor([[5, 6, 7], [9, 8, 4]])
    found = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=9, do_sample=False)
    for _ in range(9):
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        ids = torch.cat([ids, logits[:, -1:].argmax(-1)], 1)
    assert torch.equal(found, ids)


@pytest.mark.parametrize("strategy", [PromptTuning(LENGTH), PrefixTuning(LENGTH)], ids=["prompt", "prefix"])
@pytest.mark.parametrize("make", CAUSAL.values(), ids=CAUSAL)
def test_generate_with_padding_on_the_left_gives_what_each_text_gives_alone(make, strategy):
    model = strategy.apply(shaken(make())).model.eval()
    randomised([p for p in model.parameters() if p.requires_grad])
    options = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": PAD}
    long, short = torch.tensor([[5, 6, 7, 11]]), torch.tensor([[9, 8]])
    alone = [
        model.generate(t, attention_mask=torch.ones_like(t), **options)[0, t.shape[1] :]
        for t in (long, short)
    ]
    both = torch.cat([long, nn.functional.pad(short, (2, 0), value=PAD)])
    mask = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]])
    together = model.generate(both, attention_mask=mask, **options)[:, 4:]
    assert torch.equal(together, torch.stack(alone))


@pytest.mark.parametrize("hidden", [None, 6])
@pytest.mark.parametrize("make", [bert, language_model])
def test_activation_checkpointing_under_a_prefix_gives_the_same_gradients(make, hidden):
    tuned = PrefixTuning(LENGTH, hidden=hidden).apply(shaken(make()))
    vectors = trained_by(tuned, besides="head")
    randomised(vectors)
    prefix, gradients = next(m for m in tuned.model.modules() if isinstance(m, Prefix)), []
    for switch in (prefix.base.gradient_checkpointing_disable, prefix.base.gradient_checkpointing_enable):
        switch()
        tuned.model.zero_grad()
        answers(tuned.model.train()).square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in vectors]))
    assert gradients[0].norm() > 0 and torch.allclose(*gradients, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", [PromptTuning, PrefixTuning])
@pytest.mark.parametrize("length", [0, -1, 64, 1000])
def test_a_length_that_the_context_does_not_hold_is_refused(kind, length):
    with pytest.raises(ValueError, match=f"expected 1 to 63 places.*context of 64, got {length}"):
        kind(length).apply(bert())


@pytest.mark.parametrize("kind", [PromptTuning, PrefixTuning])
def test_a_text_that_the_rest_of_the_context_does_not_hold_is_refused(kind):
    model = kind(60).apply(gpt2()).model
    with pytest.raises(ValueError, match=f"at most 4 tokens beside 60.*got {REAL.shape[1]}.*max_tokens=4"):
        model(**INPUTS)


@pytest.mark.parametrize("kind", [PromptTuning, PrefixTuning])
def test_a_second_prompt_or_prefix_is_refused(kind):
    with pytest.raises(ValueError, match="remove"):
        kind(3).apply(PromptTuning(3).apply(bert()).model)


def test_a_prompt_starts_where_it_is_told():
    table = bert().trunk.get_input_embeddings().weight
    given = PromptTuning(3, start=(7, 1, 7)).apply(bert()).model.trunk.prompt
    assert torch.equal(given, table[[7, 1, 7]])
    words = PromptTuning(3).apply(bert()).model.trunk.prompt
    assert all((table == row).all(1).any() for row in words)
    noise = PromptTuning(3, start="random").apply(bert()).model.trunk.prompt
    assert not any((table == row).all(1).any() for row in noise)


@pytest.mark.parametrize("start", ["wrods", (1, 2), (1, 2, 64), (-1, 2, 3)])
def test_a_start_of_a_prompt_that_is_none_is_refused(start):
    with pytest.raises(ValueError, match="3 token ids below 64"):
        PromptTuning(3, start=start).apply(bert())


# 4 bits


def test_qlora_is_lora_of_peft_on_the_same_four_bit_layers():
    model = shaken(bert())
    ours = QLoRA(rank=4, alpha=8.0).apply(copy.deepcopy(model)).model
    here = pairs(ours)
    randomised([m.b for m in here.values()])
    quantised = copy.deepcopy(model)
    for name, layer in here.items():
        parent, _, leaf = name.rpartition(".")
        setattr(quantised.get_submodule(parent), leaf, copy.deepcopy(layer.base))
    theirs = peft.get_peft_model(quantised, peft.LoraConfig(r=4, lora_alpha=8.0, target_modules=list(here)))
    there = {n: m for n, m in theirs.base_model.model.named_modules() if hasattr(m, "lora_A")}
    couples = [(f"{n} A", m.a, there[n].lora_A["default"].weight) for n, m in here.items()]
    couples += [(f"{n} B", m.b, there[n].lora_B["default"].weight) for n, m in here.items()]
    for _, mine, other in couples:
        other.data = mine.data.clone()
    assert_same(ours.eval(), theirs.eval(), couples)


@pytest.mark.parametrize("make", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_a_four_bit_base_answers_nearly_as_before_and_merges_into_a_plain_model(make):
    model = shaken(make()).eval()
    before = answers(model)
    tuned = QLoRA(rank=4).apply(copy.deepcopy(model)).model.eval()
    rounded = answers(tuned)
    assert 0 < (rounded - before).norm() / before.norm() < 0.5
    randomised([m.b for m in pairs(tuned).values()])
    merged = merge(tuned)
    assert pairs(merged) == {} and not any("4bit" in type(m).__name__ for m in merged.modules())
    assert torch.allclose(answers(merged), answers(tuned), atol=1e-5)


def test_evaluating_a_four_bit_model_between_updates_changes_nothing():
    tuned = QLoRA(rank=4).apply(shaken(bert())).model
    randomised([m.b for m in pairs(tuned).values()])
    training = answers(tuned.train()).detach()
    with torch.no_grad():
        evaluated = answers(tuned.eval())
    assert torch.allclose(evaluated, training, atol=1e-5)
    answers(tuned.train()).square().sum().backward()
    assert torch.allclose(answers(merge(tuned).eval()), training, atol=1e-5)


def test_with_targets_the_other_linear_layers_are_four_bit_as_well():
    model = QLoRA(rank=2, targets=("query",)).apply(bert()).model
    packed = [n for n, m in model.named_modules() if type(m).__name__ == "Linear4bit"]
    assert len(pairs(model)) == 2 and len(packed) == 2 * 6
    assert type(model.classifier) is nn.Linear


def test_four_bits_without_bitsandbytes_are_refused(monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == "bitsandbytes" else find(n, *a)
    )
    model = bert()
    with pytest.raises(ValueError, match=r"bitsandbytes.*pip install"):
        QLoRA().apply(model)
    assert pairs(model) == {}


def test_the_gradient_of_qlora_leaves_the_base_alone():
    tuned = QLoRA(rank=2).apply(bert())
    answers(tuned.model.train()).square().sum().backward()
    assert all(m.base.weight.grad is None for m in pairs(tuned.model).values())
    assert all(m.b.grad.norm() > 0 for m in pairs(tuned.model).values())


# adapters: PEFT has none, so the forward pass of a block is written out


def test_adapters_in_a_bert_are_the_sum_written_out():
    model = shaken(bert(blocks=1)).eval()
    tuned = Adapters(size=3, placement="houlsby").apply(copy.deepcopy(model)).model.eval()
    found = bottleneck.bottlenecks(tuned)
    randomised([p for m in found.values() for n, p in m.named_parameters() if not n.startswith("base")])
    layer, embeddings = model.trunk.encoder.layer[0], model.trunk.embeddings
    place = "trunk.encoder.layer.0"

    def through(h, name):
        one = found[f"{place}.{name}"]
        z = h @ one.down.T + one.down_bias
        z = 0.5 * z * (1 + torch.erf(z / math.sqrt(2)))
        return h + z @ one.up.T + one.up_bias

    rows = []
    for ids, real in zip(BATCH["input_ids"], REAL, strict=True):
        x = embeddings(ids[real][None])
        attended = layer.attention.self(x)[0]
        y = layer.attention.output.LayerNorm(
            through(layer.attention.output.dense(attended), "attention.output.dense") + x
        )
        z = layer.output.LayerNorm(through(layer.output.dense(layer.intermediate(y)), "output.dense") + y)
        rows.append(model.classifier(z.mean(1)))
    assert torch.allclose(answers(tuned), torch.cat(rows), atol=1e-5)


@pytest.mark.parametrize(("placement", "per_block"), [("pfeiffer", 1), ("houlsby", 2)])
@pytest.mark.parametrize("make", ANY.values(), ids=ANY)
def test_fresh_adapters_change_nothing_and_stand_where_they_should(make, placement, per_block):
    model = shaken(make()).eval()
    before = answers(model)
    tuned = Adapters(size=3, placement=placement).apply(model).model
    names = list(bottleneck.bottlenecks(tuned))
    assert len(names) == 2 * per_block
    assert torch.equal(answers(tuned), before)
    randomised([m.up for m in bottleneck.bottlenecks(tuned).values()])
    assert not torch.allclose(answers(tuned), before, atol=1e-3)
    assert torch.equal(answers(bottleneck.remove(tuned)), before)


@pytest.mark.parametrize("size", [0, 33])
def test_a_bottleneck_that_does_not_fit_is_refused(size):
    with pytest.raises(ValueError, match=f"from 1 to 32 features.* {size}"):
        Adapters(size=size).apply(bert())


def test_an_unknown_placement_is_refused():
    with pytest.raises(ValueError, match=r"pfeiffer, houlsby.*'everywhere'"):
        Adapters(placement="everywhere").apply(bert())


def without_the_sum(self, x):
    h = self.base(x)
    return nn.functional.gelu(h @ self.down.T + self.down_bias) @ self.up.T + self.up_bias


def test_the_sum_catches_a_bottleneck_without_its_shortcut(monkeypatch):
    monkeypatch.setattr(Bottleneck, "forward", without_the_sum)
    with pytest.raises(AssertionError):
        test_adapters_in_a_bert_are_the_sum_written_out()


# gates and biases


@pytest.mark.parametrize("make", ANY.values(), ids=ANY)
def test_a_gated_model_computes_with_base_plus_gate_times_movement(make):
    model = shaken(make()).eval()
    before = answers(model)
    gated = Gated(start=0.3).apply(copy.deepcopy(model)).model.eval()
    assert torch.allclose(answers(gated), before, atol=1e-6)
    randomised(gated.deltas, std=0.05)
    randomised([gated.gates], std=1.0)
    by_hand, moved = copy.deepcopy(model), dict(model.named_parameters())
    with torch.no_grad():
        for name, delta, gate in zip(gated.names, gated.deltas, gated.gates, strict=True):
            by_hand.get_parameter(name).copy_(moved[name] + delta / (1 + math.exp(-gate)))
    assert torch.allclose(answers(gated), answers(by_hand), atol=1e-5)
    assert torch.allclose(answers(gating.merge(gated)), answers(gated), atol=1e-5)
    assert torch.equal(answers(gating.remove(gated)), before)


def test_the_gradients_of_movements_and_gates_are_those_of_the_chain_rule():
    model = shaken(bert()).eval()
    gated = Gated(start=0.3).apply(copy.deepcopy(model)).model.eval()
    randomised(gated.deltas, std=0.05)
    plain = gating.merge(gated)
    for one in (gated, plain):
        for parameter in one.parameters():
            parameter.requires_grad_(True)
        answers(one).square().sum().backward()
    opened = gated.gates.detach().sigmoid()
    for name, delta, gate, slope in zip(gated.names, gated.deltas, opened, gated.gates.grad, strict=True):
        there = plain.get_parameter(name).grad
        if there is None:
            continue
        assert torch.allclose(delta.grad, gate * there, rtol=1e-4, atol=1e-6), name
        assert torch.allclose(slope, (there * delta).sum() * gate * (1 - gate), rtol=1e-3, atol=1e-5), name


def test_gates_are_told_by_name_and_start_where_they_should():
    tuned = Gated(start=0.2, gate_lr_scale=3.0).apply(bert())
    found = gating.gates(tuned.model)
    assert list(found.values()) == pytest.approx([0.2] * len(found))
    assert "trunk.embeddings.word_embeddings.weight" in found and "classifier.weight" not in found
    scales = {g.name.removesuffix(" (no decay)"): g.lr_scale for g in tuned.groups}
    assert scales == {"movements": 1.0, "gates": 3.0, "head": 1.0}


@pytest.mark.parametrize("start", [0.0, 1.0, -1.0, 2.0])
def test_gates_cannot_start_closed_or_wide_open(start):
    with pytest.raises(ValueError, match=f"between 0 and 1.*{start}"):
        Gated(start=start).apply(bert())


@pytest.mark.parametrize("make", [bert, gpt2, language_model, masked_language_model])
def test_bitfit_trains_every_bias_and_nothing_else_but_the_head(make):
    tuned = BitFit().apply(make())
    heads = {id(p) for p in head(tuned.model)}
    trained = {n for n, p in tuned.model.named_parameters() if p.requires_grad and id(p) not in heads}
    assert trained == {
        n for n, p in tuned.model.named_parameters() if n.endswith("bias") and id(p) not in heads
    }
    assert len(trained) > 10


@pytest.mark.parametrize("make", [llama, llama_language_model])
def test_bitfit_refuses_a_model_without_biases(make):
    with pytest.raises(ValueError, match=r"biases.*Llama.*IA3"):
        BitFit().apply(make())


@pytest.mark.parametrize("strategy", [IA3(), Adapters(size=3)], ids=["ia3", "adapters"])
def test_an_unknown_family_is_refused_with_those_that_are_known(strategy):
    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.mixer, self.classifier = nn.Linear(8, 8), nn.Linear(8, 2)

    with pytest.raises(ValueError, match=r"declared family \(bert, .*'Other'"):
        strategy.apply(Other())


warnings.filterwarnings("ignore", "`is_gradient_checkpointing`")
