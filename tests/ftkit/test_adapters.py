"""What was trained here opens in PEFT, what PEFT trained opens here; what does not fit is refused whole."""

import copy
import json

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from small import bert, finish, gpt2, head, language_model, language_modelling, llama, start
from test_parity import CAUSAL, answers, llama_language_model, randomised

from ftkit.adapters import CONFIG, WEIGHTS, from_peft, to_peft
from ftkit.strategies import IA3, Adapters, BitFit, Full, LoRA, PrefixTuning, PromptTuning
from ftkit.strategies.low_rank import pairs
from ftkit.surgery import trained_by

LAYERED = [LoRA(rank=3, alpha=5.0), LoRA(rank=4, rslora=True), LoRA(rank=3, dora=True), IA3()]
BEFORE = [PromptTuning(5), PrefixTuning(5), PrefixTuning(5, hidden=7)]
EVERY = [(make, s) for make in (bert, gpt2, llama, *CAUSAL.values()) for s in LAYERED]
EVERY += [(make, s) for make in CAUSAL.values() for s in BEFORE]
NAMED = [f"{make.__name__}-{s}" for make, s in EVERY]


def trained(model, strategy):
    """As after training: nothing that trains is at a special value."""
    tuned = strategy.apply(model)
    parameters = [p for p in trained_by(tuned)]
    randomised(parameters, around=0.2)
    return tuned.model.eval()


def answers_of_peft(model, places=0):
    found = model(**_inputs()).logits
    return found[:, places:][_inputs()["attention_mask"].bool()] if found.dim() == 3 else found


def _inputs():
    from test_parity import INPUTS

    return INPUTS


@pytest.mark.parametrize(("make", "strategy"), EVERY, ids=NAMED)
def test_what_is_trained_here_opens_in_peft(make, strategy, tmp_path):
    base = make().eval()
    ours = trained(copy.deepcopy(base), strategy)
    to_peft(ours, tmp_path / "adapter", base="somewhere/a-base")
    theirs = peft.PeftModel.from_pretrained(copy.deepcopy(base), tmp_path / "adapter").eval()
    places = 5 if isinstance(strategy, PromptTuning) else 0
    assert not torch.allclose(answers(base), answers(ours), atol=1e-3)
    assert torch.allclose(answers_of_peft(theirs, places), answers(ours), rtol=0, atol=1e-5)


def peft_config(strategy, model):
    causal = None if head(model) else "CAUSAL_LM"
    heads = [n for n, _ in model.named_children() if n in ("classifier", "score")] or None
    if isinstance(strategy, LoRA):
        names = list(pairs(LoRA(rank=2).apply(copy.deepcopy(model)).model))
        options = {"use_rslora": strategy.rslora, "use_dora": strategy.dora, "modules_to_save": heads}
        return peft.LoraConfig(
            r=strategy.rank, lora_alpha=7, target_modules=names, task_type=causal, **options
        )
    if isinstance(strategy, IA3):
        return peft.IA3Config(task_type=causal, modules_to_save=heads, **_ia3_names(model))
    if isinstance(strategy, PromptTuning):
        return peft.PromptTuningConfig(task_type=causal, num_virtual_tokens=5)
    options = {"prefix_projection": bool(strategy.hidden), "encoder_hidden_size": strategy.hidden}
    return peft.PrefixTuningConfig(task_type=causal, num_virtual_tokens=5, **options)


def _ia3_names(model):
    from ftkit.strategies.ia3 import rescaled

    found = rescaled(IA3().apply(copy.deepcopy(model)).model)
    return {"target_modules": list(found), "feedforward_modules": [n for n, m in found.items() if m.before]}


@pytest.mark.parametrize(("make", "strategy"), EVERY, ids=NAMED)
def test_what_peft_trained_opens_here_and_trains_on(make, strategy, tmp_path):
    base = make().eval()
    theirs = peft.get_peft_model(copy.deepcopy(base), peft_config(strategy, base)).eval()
    randomised([p for p in theirs.parameters() if p.requires_grad], around=0.2)
    theirs.save_pretrained(tmp_path)
    tuned = from_peft(copy.deepcopy(base), tmp_path)
    places = 5 if isinstance(strategy, PromptTuning) else 0
    expected = answers_of_peft(theirs, places)
    assert torch.allclose(answers(tuned.model.eval()), expected, rtol=0, atol=1e-5)
    assert sum(p.numel() for p in trained_by(tuned)) > 0
    assert all(p.requires_grad for p in trained_by(tuned))


def test_an_adapter_trained_by_the_loop_makes_the_round_trip(tmp_path):
    run = finish(start(language_model(), strategy=LoRA(rank=2), task=language_modelling(), epochs=1))
    to_peft(run.tuned.model, tmp_path / "a")
    again = from_peft(language_model(), tmp_path / "a").model.eval()
    assert torch.equal(answers(again), answers(run.tuned.model.eval()))


@pytest.mark.parametrize("strategy", [Full(), BitFit(), Adapters(size=2)], ids=["full", "bitfit", "adapters"])
def test_a_strategy_without_a_file_in_peft_is_refused(strategy, tmp_path):
    with pytest.raises(ValueError, match=r"LoRA, IA3, a soft prompt or a prefix.*checkpoint"):
        to_peft(strategy.apply(bert()).model, tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("strategy", BEFORE[:2], ids=["prompt", "prefix"])
def test_a_prompt_under_a_classifier_is_refused(strategy, tmp_path):
    with pytest.raises(ValueError, match=r"causal language model.*Classifier"):
        to_peft(strategy.apply(bert()).model, tmp_path / "a")


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("important")
    with pytest.raises(ValueError, match="new or empty folder"):
        to_peft(trained(bert(), LoRA(rank=2)), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_an_adapter_for_another_base_is_refused_with_all_that_does_not_fit(tmp_path):
    to_peft(trained(bert(), LoRA(rank=2)), tmp_path / "a")
    other = gpt2()
    before = [n for n, _ in other.named_modules()], [p.requires_grad for p in other.parameters()]
    with pytest.raises(ValueError, match=r"has base_model.model.trunk.*; it has .*and \d+ more"):
        from_peft(other, tmp_path / "a")
    assert before == ([n for n, _ in other.named_modules()], [p.requires_grad for p in other.parameters()])


def test_another_width_a_missing_value_and_an_unknown_setting_are_told_at_once(tmp_path):
    to_peft(trained(bert(), LoRA(rank=2)), tmp_path / "a")
    values = load_file(tmp_path / "a" / WEIGHTS)
    first, second, third, *_ = sorted(n for n in values if "lora_A" in n)
    values[first] = torch.zeros(2, 31)
    del values[second], values[third]
    save_file(values, tmp_path / "a" / WEIGHTS)
    settings = json.loads((tmp_path / "a" / CONFIG).read_text())
    (tmp_path / "a" / CONFIG).write_text(json.dumps(settings | {"rank_pattern": {"query": 4}}))
    with pytest.raises(ValueError) as refused:
        from_peft(bert(), tmp_path / "a")
    for part in (
        f"{first} is (2, 31) there and should be (2, 32)",
        f"lacks {second}",
        f"lacks {third}",
        "rank_pattern",
    ):
        assert part in str(refused.value)


@pytest.mark.parametrize(
    ("strategy", "make", "other"),
    [
        (PromptTuning(5), language_model, lambda: _wider(language_model())),
        (PrefixTuning(5), llama_language_model, language_model),
        (IA3(), bert, llama),
    ],
    ids=["prompt", "prefix", "ia3"],
)
def test_other_adapters_for_another_base_are_refused_too(strategy, make, other, tmp_path):
    to_peft(trained(make(), strategy), tmp_path / "a")
    with pytest.raises(ValueError, match="an adapter for another model"):
        from_peft(other(), tmp_path / "a")


def _wider(model):
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(n_embd=48, n_layer=2, n_head=4, vocab_size=64, n_positions=64))


def test_no_adapter_half_an_adapter_and_a_damaged_one_are_told_apart(tmp_path):
    with pytest.raises(ValueError, match=r"no adapter_config\.json and no adapter_model\.safetensors"):
        from_peft(bert(), tmp_path)
    to_peft(trained(bert(), LoRA(rank=2)), tmp_path / "a")
    whole = (tmp_path / "a" / WEIGHTS).read_bytes()
    (tmp_path / "a" / WEIGHTS).write_bytes(whole[:100])
    with pytest.raises(ValueError, match="cannot be read"):
        from_peft(bert(), tmp_path / "a")
    (tmp_path / "a" / WEIGHTS).unlink()
    with pytest.raises(ValueError, match=r"got no adapter_model\.safetensors"):
        from_peft(bert(), tmp_path / "a")


def test_a_kind_of_adapter_that_is_not_known_is_named(tmp_path):
    to_peft(trained(bert(), LoRA(rank=2)), tmp_path / "a")
    (tmp_path / "a" / CONFIG).write_text(json.dumps({"peft_type": "VERA"}))
    with pytest.raises(ValueError, match="LORA, IA3, PROMPT_TUNING, PREFIX_TUNING, got VERA"):
        from_peft(bert(), tmp_path / "a")
