"""Prompts and prefixes on every architecture: what stands before the text acts, and moves nothing else."""

import copy

import pytest
import torch
import transformers
from architectures import PAD, SHAPES, WORDS, classifier, load
from torch import nn

from ftkit.heads import Classifier
from ftkit.strategies import PrefixTuning, PromptTuning, prefix_tuning, prompt_tuning
from ftkit.strategies.rewired import attentions, rewire
from ftkit.surgery import trained_by

LENGTH = 5
NO_PREFIX = {"deberta": "relative position", "deberta-v2": "relative position"}
NO_PREFIX |= {"xlnet": "relative position", "mamba": "no attention"}
BOTH = {"prompt": PromptTuning(LENGTH), "prefix": PrefixTuning(LENGTH)}
CASES = [(name, kind) for name in SHAPES for kind in BOTH if kind == "prompt" or name not in NO_PREFIX]
DECODERS = ("gpt2", "gpt_neox", "opt", "bloom", "phi3", "llama", "qwen3", "gemma2", "mamba")
CAUSAL = [(name, kind) for name, kind in CASES if name in DECODERS]

TEXTS = torch.randint(3, WORDS, (3, 12), generator=torch.Generator().manual_seed(1))
SIZES = (12, 7, 3)
MASK = torch.stack([torch.arange(12) < size for size in SIZES]).long()
TEXTS = TEXTS * MASK


def moved(tuned):
    """As after training: what stands before the text is at no special value."""
    with torch.no_grad():
        for parameter in trained_by(tuned, besides="head"):
            parameter.add_(0.5 * torch.randn_like(parameter))
    return tuned.model.eval()


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_what_stands_before_acts_by_its_gradient_and_texts_beside_it_do_not(name, kind):
    acts(classifier(name), kind)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("name", ["t5", "bart"])
def test_so_it_does_before_an_encoder_that_stands_alone_as_models_load_gives_it(name, kind):
    acts(Classifier(load(name, transformers.AutoModel).get_encoder(), outputs=2).eval(), kind)


def acts(model, kind):
    """Assert that it changes the answers, learns, leaves the text its places, and can be removed."""
    with torch.no_grad():
        before = model(TEXTS, MASK).logits
    tuned = BOTH[kind].apply(model)
    moved(tuned)
    logits = model(TEXTS, MASK).logits
    assert logits.shape == before.shape and not torch.equal(logits, before)
    assert model.trunk(input_ids=TEXTS, attention_mask=MASK).last_hidden_state.shape[1] == TEXTS.shape[1]
    for row, size in enumerate(SIZES):
        alone = model(TEXTS[row : row + 1, :size], MASK[row : row + 1, :size]).logits[0]
        assert torch.allclose(alone, logits[row], rtol=0, atol=1e-5)
    logits.square().sum().backward()
    assert all(p.grad.norm() > 0 for p in trained_by(tuned, besides="head"))
    assert torch.equal(copy.deepcopy(model)(TEXTS, MASK).logits, logits)
    {"prompt": prompt_tuning, "prefix": prefix_tuning}[kind].remove(model)
    with torch.no_grad():
        assert torch.allclose(model(TEXTS, MASK).logits, before, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in SHAPES if name not in NO_PREFIX])
def test_attention_without_its_pairs_is_what_transformers_computes(name):
    model = load(name, transformers.AutoModel)
    decoded = {"decoder_input_ids": TEXTS} if name == "bart" else {}
    with torch.no_grad():
        before = model(input_ids=TEXTS, attention_mask=MASK, **decoded).last_hidden_state
        rewire(model, nn.Identity())
        for module in [m for m in model.modules() if hasattr(m, "place")]:
            del module.place
        after = model(input_ids=TEXTS, attention_mask=MASK, **decoded).last_hidden_state
    assert torch.allclose(after[MASK.bool()], before[MASK.bool()], atol=1e-5)


@pytest.mark.parametrize("name", NO_PREFIX)
def test_a_family_without_such_keys_refuses_a_prefix_in_one_sentence(name):
    model = classifier(name)
    with pytest.raises(ValueError, match=f"takes no prefix: .*{NO_PREFIX[name]}.*use PromptTuning or LoRA"):
        PrefixTuning(LENGTH).apply(model)
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(("name", "kind"), CAUSAL)
def test_generate_goes_on_as_without_a_cache_and_padding_on_the_left_moves_nothing(name, kind):
    model = moved(BOTH[kind].apply(load(name, transformers.AutoModelForCausalLM)))
    options = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": PAD, "eos_token_id": None}
    text = TEXTS[:1, :4]
    written = model.generate(text, attention_mask=torch.ones_like(text), **options)
    for size in range(4, 9):
        logits = model(input_ids=written[:, :size], attention_mask=torch.ones(1, size).long()).logits
        assert logits[0, -1].argmax() == written[0, size]
    if (name, kind) == ("gemma2", "prompt"):
        return  # its window of 8 tokens is over the prompt's end by as many as there is padding
    padded = nn.functional.pad(text, (2, 0), value=PAD)
    mask = nn.functional.pad(torch.ones_like(text), (2, 0))
    assert torch.equal(model.generate(padded, attention_mask=mask, **options)[:, 6:], written[:, 4:])


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("name", ["t5", "bart"])
def test_an_encoder_decoder_reads_it_on_both_sides_and_generates(name, kind):
    model = load(name, transformers.AutoModelForSeq2SeqLM)
    tuned = BOTH[kind].apply(model)
    moved(tuned)
    assert kind == "prompt" or len(attentions(model)) == 2 + 2 * 2
    inputs = {"input_ids": TEXTS, "attention_mask": MASK}
    written = model.generate(**inputs, max_new_tokens=4, do_sample=False, eos_token_id=None, pad_token_id=PAD)
    logits = model(**inputs, decoder_input_ids=written[:, :-1]).logits
    assert torch.equal(logits.argmax(-1)[:, -1], written[:, -1])
    alone = model(input_ids=TEXTS[2:, :3], attention_mask=MASK[2:, :3], decoder_input_ids=written[2:, :-1])
    assert torch.allclose(alone.logits, logits[2:], atol=1e-5)


def test_the_kinds_of_tokens_are_lengthened_with_the_text():
    model = moved(PromptTuning(LENGTH).apply(classifier("bert")))
    kinds = torch.zeros_like(TEXTS)
    assert torch.equal(model(TEXTS, MASK, kinds).logits, model(TEXTS, MASK).logits)
    kinds[:, -1] = 1  # padding in all texts but the first
    same = (model(TEXTS, MASK, kinds).logits == model(TEXTS, MASK).logits).all(1)
    assert same.tolist() == [False, True, True]


@pytest.mark.parametrize("kind", BOTH)
def test_positions_are_counted_by_the_mask(kind):
    trunk = moved(BOTH[kind].apply(classifier("gpt2"))).trunk
    right = trunk(input_ids=TEXTS[1:2, :9], attention_mask=MASK[1:2, :9]).last_hidden_state
    left = trunk(input_ids=TEXTS[1:2, :9].roll(2), attention_mask=MASK[1:2, :9].roll(2)).last_hidden_state
    assert torch.allclose(left[:, 2:], right[:, :7], atol=1e-5)


@pytest.mark.parametrize("kind", [PromptTuning, PrefixTuning])
def test_roberta_has_fewer_places_than_its_table_of_positions(kind):
    with pytest.raises(ValueError, match="1 to 62 places before the text, in a context of 63, got 63"):
        kind(63).apply(classifier("roberta"))
    full = kind(63 - 12).apply(classifier("roberta")).model
    assert full(TEXTS, MASK).logits.isfinite().all()


def test_a_prefix_is_not_lost_in_silence_when_the_attention_is_exchanged():
    model = PrefixTuning(LENGTH).apply(classifier("bert")).model
    model.trunk.base.set_attn_implementation("eager")
    with pytest.raises(ValueError, match=r"expected the attention 'learned_prefix', .*got 'eager'"):
        model(TEXTS, MASK)
