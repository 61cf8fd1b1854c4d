"""Language-model tasks, the tokenizer, the shipped models, and pretraining by command line."""

import json
import math
import subprocess
import sys
from pathlib import Path

import course
import numpy
import pytest
import torch
from course import language, pretraining
from torch.nn.functional import cross_entropy

from ftkit import checkpoint, models, tasks
from ftkit.loop import Run, updates
from ftkit.records import TrainConfig
from ftkit.strategies import Full

SHIPPED = {"tiny-gpt": "causal", "tiny-bert": "masked"}


@pytest.fixture(scope="module")
def lang():
    return language.load()


@pytest.fixture(scope="module")
def tokenizer():
    return models.tokenizer("tiny-gpt")


def strings(lang, count, seed=21):
    return list(pretraining.strings(lang, count, seed=seed))


def small(kind, tokenizer):
    return pretraining.network(kind, tokenizer, seed=1, width=16, blocks=1)


def task_of(kind, lang, tokenizer, train=24, **more):
    texts = {"train": strings(lang, train), "validation": strings(lang, 4, seed=22)}
    return getattr(tasks, kind)(texts, tokenizer, **more)


def test_every_word_is_one_token_and_any_text_comes_back(lang, tokenizer):
    assert all(len(tokenizer.tokenize(w)) == 1 for w in lang.words)
    text = lang.texts(1, seed=3)[0]
    ids = tokenizer(language.written(text.words))["input_ids"]
    assert ids == tokenizer(" ".join(text.words))["input_ids"]
    assert len(ids) == len(text.words) + 2
    assert tokenizer.decode(ids, skip_special_tokens=True).split() == list(text.words)
    strange = "zażółć gęślą jaźń 漢字 🙂"
    assert tokenizer.decode(tokenizer(strange)["input_ids"], skip_special_tokens=True).replace(
        " ", ""
    ) == strange.replace(" ", "")


def test_the_tokenizer_is_made_anew_the_same(lang, tokenizer):
    made = pretraining.tokenizer(lang, strings(lang, 5000, seed=0))
    assert made.get_vocab() == tokenizer.get_vocab()


def test_causal_loss_is_that_of_a_loop_over_prefixes(lang, tokenizer):
    task, model = task_of("causal", lang, tokenizer), small("causal", tokenizer).eval()
    batch = task.collate(task.train[:3], "cpu")
    total, terms = 0.0, 0
    with torch.no_grad():
        for example in task.train[:3]:
            ids = torch.from_numpy(example.ids)
            for i in range(1, len(ids)):
                total += cross_entropy(model(ids[None, :i]).logits[0, -1], ids[i]).item()
                terms += 1
        assert task.loss(model, batch)[0].item() == pytest.approx(total, rel=1e-5)
    assert task.loss(model, batch)[1].item() == terms
    assert task.score(model, task.train[:3])["loss"] == pytest.approx(total / terms, rel=1e-5)
    assert task.losses(model, batch).shape == batch["labels"].shape


def test_masked_loss_counts_hidden_tokens_only(lang, tokenizer):
    task, model = task_of("masked", lang, tokenizer), small("masked", tokenizer).eval()
    batch = task.collate(task.train[:5], "cpu")
    asked = batch["labels"] != -100
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        wanted = cross_entropy(logits[asked], batch["labels"][asked], reduction="sum").item()
        assert task.loss(model, batch)[0].item() == pytest.approx(wanted, rel=1e-5)
    assert task.loss(model, batch)[1].item() == asked.sum().item()


def test_what_is_hidden_is_15_percent_and_80_10_10(lang, tokenizer):
    task = task_of("masked", lang, tokenizer, train=300)
    words = hidden = masked = kept = 0
    for example in task.train:
        seen, labels = task.hidden(example)
        asked = labels != -100
        assert (labels[asked] == example.ids[asked]).all()
        assert (seen[~asked] == example.ids[~asked]).all()
        assert not asked[0] and not asked[-1], "the ends are no words"
        words, hidden = words + len(example) - 2, hidden + asked.sum()
        masked += (seen[asked] == tokenizer.mask_token_id).sum()
        kept += (seen[asked] == example.ids[asked]).sum()
    assert hidden / words == pytest.approx(0.15, abs=0.01)
    assert masked / hidden == pytest.approx(0.8, abs=5 * math.sqrt(0.16 / hidden))
    assert kept / hidden == pytest.approx(0.1, abs=5 * math.sqrt(0.09 / hidden))


def test_a_copy_hides_other_tokens_and_the_same_example_the_same_ones(lang, tokenizer):
    task = task_of("masked", lang, tokenizer, train=4, copies=3)
    assert len(task.train) == 12
    assert len({e.number for e in (*task.train, *task.validation)}) == 16
    first, second = task.train[:2]
    assert (first.ids == second.ids).all()
    assert (task.hidden(first)[1] != task.hidden(second)[1]).any()
    assert (task.hidden(first)[0] == task.hidden(first)[0]).all()


@pytest.mark.parametrize("kind", ["causal", "masked"])
def test_micro_batches_do_not_change_the_update(kind, lang, tokenizer):
    weights = []
    for size in (None, 3):
        task = task_of(kind, lang, tokenizer, train=16)
        config = TrainConfig(lr=1e-3, epochs=1, batch_size=8, micro_batch_size=size)
        run = Run(Full().apply(small(kind, tokenizer)), task, config)
        list(updates(run))
        weights.append(torch.cat([p.detach().flatten() for p in run.tuned.model.parameters()]))
    assert (weights[0] - weights[1]).abs().max() < 2e-5


@pytest.mark.parametrize("kind", ["causal", "masked"])
def test_a_resumed_run_equals_an_uninterrupted_one(kind, lang, tokenizer, tmp_path):
    def begin():
        task = task_of(kind, lang, tokenizer, train=16)
        return Run(Full().apply(small(kind, tokenizer)), task, TrainConfig(lr=1e-3, epochs=2, batch_size=8))

    whole = begin()
    list(updates(whole))
    half = begin()
    for step in updates(half):
        if step.step == 1:
            break
    place = checkpoint.save(half, tmp_path)
    rest = begin()
    checkpoint.restore(rest, place)
    list(updates(rest))
    for one, other in zip(whole.tuned.model.parameters(), rest.tuned.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_texts_that_cannot_be_learned_from_are_refused(tokenizer):
    with pytest.raises(ValueError, match="text 2 is empty"):
        tasks.causal({"train": ["the soup", " "]}, tokenizer)
    with pytest.raises(ValueError, match="got 'tran'"):
        tasks.causal({"tran": ["the soup"]}, tokenizer)
    with pytest.raises(ValueError, match="with some to train on"):
        tasks.causal({"train": [], "test": ["the soup"]}, tokenizer)
    with pytest.raises(ValueError, match="expected labelled examples to score, got none"):
        task = tasks.causal({"train": ["the soup"]}, tokenizer)
        task.score(small("causal", tokenizer), task.test)
    unmasked = models.tokenizer("tiny-gpt")
    unmasked.mask_token = None
    with pytest.raises(ValueError, match="mask token, got one without"):
        tasks.masked({"train": ["the soup"]}, unmasked)


def test_pairs_make_a_classification_task(tokenizer):
    pairs = {"train": [("the soup", "kitchen"), ("the boat", "harbour")], "test": [("soups", "kitchen")]}
    task = tasks.examples(pairs, tokenizer)
    assert task.labels == ("harbour", "kitchen")
    assert [e.label for e in (*task.train, *task.test)] == [1, 0, 1]
    with pytest.raises(ValueError, match="elsewhere farm"):
        tasks.examples(pairs | {"test": [("the cow", "farm")]}, tokenizer)
    with pytest.raises(ValueError, match="at least two labels"):
        tasks.examples({"train": pairs["train"][:1]}, tokenizer)


def test_models_are_loaded_for_what_they_can_do(tokenizer):
    causal, masked = (tasks.__dict__[k]({"train": ["the soup"]}, tokenizer) for k in ("causal", "masked"))
    assert type(models.load("decoder", causal)).__name__ == "GPT2LMHeadModel"
    assert type(models.load("tiny-bert", masked)).__name__ == "BertForMaskedLM"
    with pytest.raises(ValueError, match="next words need a decoder, hidden ones an encoder"):
        models.load("tiny-gpt", masked)
    with pytest.raises(ValueError, match="next words need a decoder, hidden ones an encoder"):
        models.load("tiny-bert", causal)
    pairs = tasks.examples({"train": [("the soup", "kitchen"), ("the boat", "harbour")]}, tokenizer)
    for name in SHIPPED:
        assert models.load(name, pairs)(**inputs(pairs)).logits.shape == (2, 2)


def inputs(task):
    batch = task.collate(task.train, "cpu")
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


def test_random_weights_are_asked_for_by_seed(tokenizer):
    task = tasks.causal({"train": ["the soup"]}, tokenizer)
    first, again, other = (models.load("tiny-gpt", task, pretrained=False, seed=s) for s in (1, 1, 2))
    weight = lambda m: m.transformer.wte.weight  # noqa: E731
    assert torch.equal(weight(first), weight(again))
    assert not torch.equal(weight(first), weight(other))
    assert not torch.equal(weight(first), weight(models.load("tiny-gpt", task)))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_checkpoints_are_small_safe_and_described(name):
    folder = models.folder(name)
    found = {f.name: f.stat().st_size for f in folder.iterdir()}
    assert max(found.values()) < 10e6
    assert not [f for f in found if f.endswith((".bin", ".pt", ".pkl"))]
    record = json.loads((folder / "pretraining.json").read_text(encoding="utf-8"))
    assert 1e6 <= record["parameters"] <= 4e6
    assert record["minutes"] <= 60
    assert record["recipe"]["texts"] == pretraining.RECIPES[name].texts
    assert f"{record['test']['loss']:.4f} nats" in (folder / "README.md").read_text(encoding="utf-8")


def test_tiny_gpt_is_within_one_and_a_half_percent_of_the_entropy(lang, tokenizer):
    texts = lang.texts(150, seed=77)
    task = tasks.causal({"train": ["the soup"]}, tokenizer)
    found = pretraining.distance(models.load("decoder", task), task, lang, texts)
    assert 0 < found.above < 0.015
    low, high = found.above_interval
    assert low < found.above < high
    exact = numpy.concatenate(
        [lang.surprisals(t.words) for t in texts if len(t.words) + 2 <= pretraining.POSITIONS]
    )
    assert found.truth == pytest.approx(exact.mean(), rel=1e-9)
    assert found.words == len(exact)


def test_what_tiny_gpt_says_parses(lang, tokenizer):
    task = tasks.causal({"train": ["the soup"]}, tokenizer)
    texts = pretraining.sampled(models.load("decoder", task), tokenizer, 40)
    single = lang.starting_at("sentence")
    assert numpy.mean([single.parses(s) for s in pretraining.sentences(texts)]) > 0.9
    fresh = pretraining.sampled(small("causal", tokenizer), tokenizer, 5)
    assert not any(lang.parses(words) for words in fresh)


def test_sentences_end_with_their_full_stop():
    assert pretraining.sentences([("a", ".", "b", "c", "."), ("d", "e")]) == [
        ("a", "."),
        ("b", "c", "."),
        ("d", "e"),
    ]


COURSE = Path(course.__file__).parent


def pretrain(*arguments):
    return subprocess.run(
        [sys.executable, str(COURSE), "pretrain", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=250,
    )


def test_pretrain_leaves_a_model_that_loads_and_refuses_to_overwrite_it(tmp_path):
    out = tmp_path / "gpt"
    done = pretrain("tiny-gpt", "--out", out, "--texts", 64)
    assert done.returncode == 0, done.stderr
    assert "distance" in done.stdout
    task = tasks.causal({"train": ["the soup"]}, models.tokenizer(str(out)))
    assert models.load(str(out), task).config.n_embd == pretraining.WIDTH
    before = (out / "model.safetensors").read_bytes()
    again = pretrain("tiny-gpt", "--out", out, "--texts", 64)
    assert again.returncode == 1
    assert "go on with --resume, or choose another --out" in again.stderr
    assert (out / "model.safetensors").read_bytes() == before
    other = pretrain("tiny-gpt", "--out", out, "--texts", 96, "--resume")
    assert other.returncode == 1
    assert "was started with other texts" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tiny-t5", "--out", "x"), "expected a model out of tiny-gpt, tiny-bert, found 'tiny-t5'"),
        (("tiny-gpt", "--out", "nowhere", "--resume"), "expected pretraining.json of a run to go on with"),
        (("tiny-gpt", "--out", "x", "--texts", "3"), "at least one batch of 32 texts, found --texts 3"),
    ],
)
def test_pretrain_tells_what_is_wrong(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = pretrain(*arguments)
    assert done.returncode == 1
    assert said in done.stderr


@pytest.mark.parametrize("name", SHIPPED)
def test_pretraining_is_worth_15_points_with_200_labels(name, lang, tokenizer):
    def pairs(found):
        return [(" ".join(x.words), x.label) for x in found]

    texts = {"train": pairs(lang.labelled(200, seed=10)), "test": pairs(lang.labelled(300, seed=99))}
    best = numpy.mean([max(lang.bayes(x.words).values()) for x in lang.labelled(300, seed=99)])
    accuracy = {}
    for pretrained in (True, False):
        task = tasks.examples(texts, tokenizer)
        model = models.load(name, task, pretrained=pretrained)
        run = Run(Full().apply(model), task, TrainConfig(lr=1e-3, epochs=10, batch_size=16))
        list(updates(run))
        accuracy[pretrained] = task.score(model, task.test)["accuracy"]
    assert accuracy[True] > accuracy[False] + 0.15
    assert accuracy[True] < best + 0.06, "nobody is better than Bayes, but for the chance of 300 sentences"
