"""A large vocabulary's loss in chunks is the loss, with its gradients, and its logits never exist whole."""

import pytest
import torch
from benchmarks import costs
from small import PAD, SIZES, bert, language_model
from torch import nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from ftkit import surgery
from ftkit.families import family
from ftkit.loop import updates
from ftkit.strategies import IA3, Adapters, BitFit, Full, LoRA, PrefixTuning, PromptTuning
from ftkit.tasks import chunked
from ftkit.tasks.language_modelling import LanguageModelling, Tokens

STRATEGIES = {
    "full": Full(),
    "lora": LoRA(rank=2),
    "ia3": IA3(),
    "bitfit": BitFit(),
    "adapters": Adapters(size=4),
    "prompt": PromptTuning(length=3),
    "prefix": PrefixTuning(length=3),
}


def llama():
    torch.manual_seed(0)
    shape = {"num_key_value_heads": 2, "num_hidden_layers": 2, "intermediate_size": 48, "pad_token_id": PAD}
    return LlamaForCausalLM(LlamaConfig(**SIZES, **shape))


def masked_bert():
    torch.manual_seed(0)
    return BertForMaskedLM(BertConfig(**SIZES, num_hidden_layers=2, intermediate_size=48))


MODELS = {"gpt2": language_model, "llama": llama, "bert": masked_bert}


class Special:
    """As much of a tokenizer as the tasks use."""

    pad_token_id, mask_token_id, all_special_ids = PAD, 1, (0, 1, 2)

    def __len__(self):
        return SIZES["vocab_size"]


def task_of(name):
    draw = torch.Generator().manual_seed(3)
    rows = [Tokens(i, torch.randint(3, 60, (5 + 3 * i,), generator=draw).numpy()) for i in range(6)]
    return LanguageModelling(Special(), rows, rows, rows, 64, seed=0 if name == "bert" else None)


def gradients(model, task):
    """(loss, gradient of every parameter that got one) of all examples at once."""
    model.zero_grad()
    loss = task.loss(model, task.collate(task.train, "cpu"))[0]
    loss.backward()
    return loss.item(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def case(*, tokens=23, words=50, width=7, bias=True, dtype=torch.float64):
    torch.manual_seed(0)
    layer = nn.Linear(width, words, bias=bias, dtype=dtype)
    labels = torch.randint(words, (tokens,))
    labels[[0, 7, 22]] = chunked.UNKNOWN
    return torch.randn(tokens, width, dtype=dtype, requires_grad=True), layer, labels


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 5, 100])
def test_loss_and_gradients_are_those_of_all_logits_at_once(bias, rows, monkeypatch):
    monkeypatch.setattr(chunked, "CHUNK", rows * 50)
    hidden, layer, labels = case(bias=bias)
    given = [hidden, *layer.parameters()]
    whole = nn.functional.cross_entropy(layer(hidden), labels, reduction="sum")
    parts = chunked.summed_cross_entropy(hidden, layer, labels)
    torch.testing.assert_close(parts, whole)
    expected = torch.autograd.grad(3 * whole, given)
    torch.testing.assert_close(torch.autograd.grad(3 * parts, given), expected)


def test_the_gradient_is_that_of_finite_differences():
    hidden, layer, labels = case()
    chunked.summed_cross_entropy(hidden, layer, labels).backward()
    for tensor in (hidden, layer.weight, layer.bias):
        step = 1e-6 * torch.randn_like(tensor)
        with torch.no_grad():
            tensor += step
            up = chunked.summed_cross_entropy(hidden, layer, labels)
            tensor -= 2 * step
            down = chunked.summed_cross_entropy(hidden, layer, labels)
            tensor += step
        torch.testing.assert_close((tensor.grad * step).sum(), (up - down) / 2, rtol=1e-6, atol=1e-12)


def test_huge_logits_overflow_nothing():
    hidden, layer, labels = case(dtype=torch.float32)
    loss = chunked.summed_cross_entropy(1e4 * hidden, layer, labels)
    whole = nn.functional.cross_entropy(layer(1e4 * hidden), labels, reduction="sum")
    assert loss.item() == pytest.approx(whole.item(), rel=1e-5)


def test_what_is_frozen_gets_no_gradient_and_nothing_is_kept_for_it():
    hidden, layer, labels = case()
    layer.requires_grad_(False)
    chunked.summed_cross_entropy(hidden, layer, labels).backward()
    assert hidden.grad is not None and layer.weight.grad is None
    with torch.no_grad():
        assert not chunked.summed_cross_entropy(hidden, layer, labels).requires_grad


def test_a_chunk_has_no_more_logits_than_allowed(monkeypatch):
    monkeypatch.setattr(chunked, "CHUNK", 60 * 3)
    hidden, layer, labels = case(tokens=200, words=60)
    sizes = []
    layer_of = nn.functional.linear
    monkeypatch.setattr(
        nn.functional, "linear", lambda *given: sizes.append(len(given[0])) or layer_of(*given)
    )
    chunked.summed_cross_entropy(hidden, layer, labels)
    assert sizes == [3] * 66 + [2]


def test_an_evaluation_computes_no_gradient(monkeypatch):
    hidden, layer, labels = case()
    monkeypatch.setattr(chunked, "_add_product", lambda *given: pytest.fail("a gradient was computed"))
    with torch.no_grad():
        chunked.summed_cross_entropy(hidden, layer, labels)


def test_no_label_at_all_gives_0():
    hidden, layer, labels = case()
    loss = chunked.summed_cross_entropy(hidden, layer, torch.full_like(labels, chunked.UNKNOWN))
    loss.backward()
    assert loss.item() == 0.0
    assert not hidden.grad.any()


def test_a_second_backward_pass_is_refused():
    hidden, layer, labels = case()
    loss = chunked.summed_cross_entropy(hidden, layer, labels)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="second"):
        loss.backward()


def test_under_autocast_it_is_as_close_as_the_whole_path():
    hidden, layer, labels = case(dtype=torch.float32, tokens=40, words=200, width=32)
    exact = nn.functional.cross_entropy(layer(hidden), labels, reduction="sum")
    grad = torch.autograd.grad(exact, layer.weight)[0]
    with torch.autocast("cpu", torch.bfloat16):
        loss = chunked.summed_cross_entropy(hidden, layer, labels)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=1e-2)
    assert (layer.weight.grad - grad).norm() < 0.02 * grad.norm()


@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
def test_small_gradients_are_not_lost_in_fp16(kind):
    """As long as the loss is scaled; the chunks make their products before they know the scale."""
    scale = 2.0**16
    hidden, layer, labels = case(dtype=torch.float32, tokens=40, words=200, width=32)
    labels[10:20] = 150
    with torch.no_grad():
        layer.weight *= 0.01
        layer.bias[:100] -= 25  # p below what fp16 can hold
        layer.bias[150] += 15  # where 150 is right, p - y is small everywhere
    exact = nn.functional.cross_entropy(layer(hidden), labels, reduction="sum")
    for_weight, for_hidden = torch.autograd.grad(scale * exact, [layer.weight, hidden])
    low = hidden.detach().to(kind).requires_grad_()
    with torch.autocast("cpu", torch.float16):
        loss = chunked.summed_cross_entropy(low, layer, labels)
    (scale * loss).backward()
    rare = [word for word in range(100) if word not in labels]
    assert 0 < for_weight[rare].abs().max() < scale * 2**-25
    assert (layer.weight.grad - for_weight)[rare].norm() < 0.02 * for_weight[rare].norm()
    assert 0 < for_hidden[10:20].abs().max() < scale * 2**-20
    assert (low.grad - for_hidden)[10:20].norm() < 0.02 * for_hidden[10:20].norm()


def test_a_score_in_chunks_is_the_score(monkeypatch):
    task, model = task_of("gpt2"), language_model()
    whole = task.score(model, task.train)
    monkeypatch.setattr(chunked, "LARGE", 10)
    assert task.score(model, task.train) == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_the_same_loss_and_gradients_in_chunks(name, strategy, monkeypatch):
    if (name, strategy) == ("llama", "bitfit"):
        pytest.skip("a Llama has no biases")
    task = task_of(name)
    torch.manual_seed(1)
    model = STRATEGIES[strategy].apply(MODELS[name]().eval()).model
    whole, expected = gradients(model, task)
    used = []
    summed = chunked.summed_cross_entropy
    monkeypatch.setattr(chunked, "summed_cross_entropy", lambda *given: used.append(1) or summed(*given))
    monkeypatch.setattr(chunked, "LARGE", 10)
    monkeypatch.setattr(chunked, "CHUNK", 5 * SIZES["vocab_size"])
    loss, found = gradients(model, task)
    assert used, "the chunks were not used"
    assert loss == pytest.approx(whole, rel=1e-5)
    assert found.keys() == expected.keys()
    for n, grad in expected.items():
        torch.testing.assert_close(found[n], grad, rtol=1e-4, atol=1e-5, msg=n)


def test_a_run_in_chunks_is_the_run(monkeypatch):
    from small import finish, losses, start, weights

    task = task_of("gpt2")
    whole = finish(start(language_model(), task=task))
    monkeypatch.setattr(chunked, "LARGE", 10)
    parts = finish(start(language_model(), task=task))
    assert losses(parts) == pytest.approx(losses(whole), abs=1e-5)
    torch.testing.assert_close(weights(parts), weights(whole), rtol=1e-4, atol=1e-5)
    assert sum(1 for _ in updates(parts)) == 0


@pytest.mark.parametrize("large", [10, 10**9])
def test_losses_that_a_subclass_defines_are_those_of_the_sum(large, monkeypatch):
    class Unshifted(LanguageModelling):
        def losses(self, model, batch):
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            return nn.functional.cross_entropy(
                logits.flatten(0, 1), batch["labels"].flatten(), reduction="none"
            )

    monkeypatch.setattr(chunked, "LARGE", large)
    plain, model = task_of("gpt2"), language_model().eval()
    own = Unshifted(**vars(plain))
    batch = own.collate(own.train, "cpu")
    assert own.loss(model, batch)[0].item() == pytest.approx(own.losses(model, batch).sum().item())
    assert own.loss(model, batch)[0].item() != pytest.approx(plain.loss(model, batch)[0].item(), rel=1e-3)


def gemma(cap):
    shape = {"num_key_value_heads": 2, "num_hidden_layers": 1, "intermediate_size": 48, "head_dim": 8}
    return Gemma2ForCausalLM(Gemma2Config(**SIZES, **shape, final_logit_softcapping=cap))


def test_a_model_that_changes_its_logits_takes_the_whole_path(monkeypatch):
    assert not family(gemma(30.0)).plain_output and family(llama()).plain_output
    assert surgery.output_layer(bert()) is None  # a classifier has no such layer
    monkeypatch.setattr(chunked, "LARGE", 10)
    model, task = gemma(1.0), task_of("gpt2")
    batch = task.collate(task.train, "cpu")
    assert task.loss(model, batch)[0].item() == pytest.approx(
        task.losses(model, batch).sum().item(), rel=1e-6
    )


def test_an_output_layer_that_lora_wrapped_takes_the_whole_path():
    model = llama()
    assert surgery.output_layer(model) is not None
    LoRA(rank=2, targets=("lm_head",)).apply(model)
    assert surgery.output_layer(model) is None


def test_the_output_layer_is_put_back_whatever_happens():
    model = language_model(dropout=0.1).train()
    layer = surgery.output_layer(model)
    with pytest.raises((TypeError, ValueError)):
        surgery.before_output(model, layer, no_such_input=1)
    assert model.get_output_embeddings() is layer


def test_the_logits_of_a_large_vocabulary_never_exist_whole(monkeypatch):
    assert 0.01 < costs.logits() <= 1 / 8
    monkeypatch.setattr(chunked, "LARGE", 10**9)
    assert costs.logits() >= 1  # all of them, as the count sees it
