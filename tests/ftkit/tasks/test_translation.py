"""Translation: the loss is the model's own, summed; answers are greedy; files are read line by line."""

import math

import pytest
import torch
from toys import pairs, t5, tokenizer, translation
from transformers import BartConfig, BartForConditionalGeneration

from ftkit.tasks import parallel, translated
from ftkit.tasks.task import UNKNOWN
from ftkit.tasks.translation import Translated, overlap


def bart():
    torch.manual_seed(0)
    sizes = {"vocab_size": 64, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1}
    sizes |= {
        f"{part}_{what}": n
        for part in ("encoder", "decoder")
        for what, n in (("attention_heads", 4), ("ffn_dim", 48))
    }
    ends = {
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 1,
        "decoder_start_token_id": 1,
        "forced_eos_token_id": None,
    }
    return BartForConditionalGeneration(BartConfig(**sizes, **ends, dropout=0.0, max_position_embeddings=64))


def test_a_batch_holds_sources_and_unshifted_targets_with_their_masks():
    task = translated.examples({"train": [("a b", "b"), ("c", "c a d")]}, tokenizer())
    batch = {name: tensor.tolist() for name, tensor in task.collate(task.train, "cpu").items()}
    a, b, c, d = (3, 4, 5, 6)
    assert batch == {
        "input_ids": [[a, b, 1], [c, 1, 0]],
        "attention_mask": [[1, 1, 1], [1, 1, 0]],
        "labels": [[b, 1, UNKNOWN, UNKNOWN], [c, a, d, 1]],
        "decoder_attention_mask": [[1, 1, 0, 0], [1, 1, 1, 1]],
    }
    assert [len(e) for e in task.train] == [5, 6]


@pytest.mark.parametrize("make", [t5, bart])
def test_the_loss_is_the_models_own_times_its_terms(make):
    task, model = translation(), make().eval()
    batch = task.collate(task.train[:9], "cpu")
    loss, terms = task.loss(model, batch)
    assert terms == sum(len(e.target_ids) for e in task.train[:9])
    torch.testing.assert_close(loss, model(**batch).loss * terms, rtol=1e-5, atol=1e-4)
    apart = sum(task.loss(model, task.collate([e], "cpu"))[0] for e in task.train[:9])
    torch.testing.assert_close(apart, loss, rtol=1e-5, atol=1e-4)


def test_answers_are_the_likeliest_token_at_every_place_and_in_the_order_asked():
    task, model = translation(), t5().eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(20)  # the runner-up is far away, whatever the padding
    texts = [source for source, _ in pairs(70, seed=7)]
    answers = task.predict(model, task.encode(texts))
    assert [a.source for a in answers] == texts
    for text, answer in list(zip(texts, answers, strict=True))[::9]:
        ids, before = task.tokenizer(text, return_tensors="pt")["input_ids"], [0]
        while len(before) <= 8 and before[-1] != 1:
            logits = model(input_ids=ids, decoder_input_ids=torch.tensor([before])).logits
            before.append(int(logits[0, -1].argmax()))
        expected = task.tokenizer.decode(before, skip_special_tokens=True)
        assert answer == Translated(text, expected)


def test_answers_are_greedy_whatever_the_models_folder_says():
    task, model = translation(), t5().eval()
    wanted = task.predict(model, task.train[:8])
    model.generation_config.update(num_beams=3, do_sample=True, temperature=9.0)
    assert task.predict(model, task.train[:8]) == wanted


def test_a_target_is_tokenised_as_one():
    class Marking:
        """A tokenizer with a mark before what is to be written, as those of several languages have."""

        pad_token_id, model_max_length = 0, 64

        def __call__(self, text=None, text_target=None, **_):
            return {"input_ids": [[7 if text is None else 8, 1] for _ in text or text_target]}

    task = translated.examples({"train": [("a", "b")]}, Marking())
    assert (task.train[0].ids[0], task.train[0].target_ids[0]) == (8, 7)


def test_scores_and_grades_are_counted_by_hand(monkeypatch):
    rows = [("a", "b c"), ("b", "a "), ("c", "d d")]
    task, model = translated.examples({"train": rows}, tokenizer()), t5()
    answers = [Translated("a", "c x b"), Translated("b", " a "), Translated("c", "e")]
    monkeypatch.setattr(type(task), "predict", lambda self, model, examples: answers)
    scores = task.score(model, task.train)
    loss, terms = task.loss(model, task.collate(task.train, "cpu"))
    assert scores["loss"] == pytest.approx(float(loss.detach()) / int(terms), rel=1e-5)
    assert scores["perplexity"] == pytest.approx(math.exp(scores["loss"]))
    assert scores["exact"] == pytest.approx(1 / 3)
    assert task.grades(model, task.train) == pytest.approx([2 * 2 / 5, 1.0, 0.0])
    assert overlap(["a", "b"], ["b", "b", "c"]) == pytest.approx(2 / 5) and overlap([], []) == 1.0


def test_a_hopeless_loss_has_a_perplexity_all_the_same(monkeypatch):
    task = translation()
    monkeypatch.setattr("ftkit.tasks.translation.mean_loss", lambda *_: 1e4)
    assert math.isfinite(task.score(t5().eval(), task.train[:1])["perplexity"])


def test_long_texts_are_shortened_and_counted():
    rows = [("a b c d", "a"), ("a", "a b c d"), ("a", "a")]
    task = translated.examples({"train": rows}, tokenizer(), max_tokens=3)
    assert task.shortened == 2
    assert [(len(e.ids), len(e.target_ids)) for e in task.train] == [(3, 2), (2, 3), (2, 2)]
    with pytest.warns(UserWarning, match="1 of 2 texts are longer than 3 tokens"):
        task.encode(["a b c d", "a"])


def test_two_files_are_read_line_by_line(tmp_path):
    rows = pairs(30, seed=1)
    files = tmp_path / "source.txt", tmp_path / "target.txt"
    for file, column in zip(files, zip(*rows, strict=True), strict=True):
        file.write_text("\ufeff" + "\r\n".join(column), encoding="utf-8")
    task = parallel(tokenizer(), *files, seed=3)
    splits = task.train, task.validation, task.test
    assert [len(split) for split in splits] == [24, 3, 3]
    assert sorted((e.source, e.target) for split in splits for e in split) == sorted(rows)
    assert [e.number for split in splits for e in split] == list(range(30))
    other = parallel(tokenizer(), *files, seed=4)
    assert [e.source for e in other.test] != [e.source for e in task.test]
    own = parallel(tokenizer(), *files, validation=files, test=files)
    assert [(e.source, e.target) for e in own.test] == rows


@pytest.mark.parametrize(
    ("source", "target", "fault"),
    [
        ("a\nb\nc\n", "a\nb\n", r"found 3 and 2; each line"),
        ("a\nb\nc\n", "a\n\nc\n", r"target.txt, line 2: expected a text, found none"),
        ("a\n \nc\n", "a\nb\nc\n", r"source.txt, line 2: expected a text, found none"),
        ("a\nb\n", "a\nb\n", r"at least 3 rows to split off validation and test, found 2"),
        ("", "a\n", r"source.txt: the file is empty"),
    ],
)
def test_files_that_do_not_fit_are_refused(source, target, fault, tmp_path):
    (tmp_path / "source.txt").write_text(source)
    (tmp_path / "target.txt").write_text(target)
    with pytest.raises(ValueError, match=fault):
        parallel(tokenizer(), tmp_path / "source.txt", tmp_path / "target.txt")
    with pytest.raises(ValueError, match=r"no such file|the file is empty"):
        parallel(tokenizer(), tmp_path / "source.txt", tmp_path / "nowhere.txt")


def test_an_empty_text_in_memory_is_refused():
    with pytest.raises(ValueError, match=r"validation, pair 2: expected two texts"):
        translated.examples({"train": [("a", "b")], "validation": [("a", "b"), ("a", "")]}, tokenizer())


def test_a_small_model_learns_to_turn_letters_around():
    from small import finish, start

    from ftkit.strategies import Full

    splits = {
        "train": pairs(300, seed=1, letters="abcd", longest=2),
        "validation": pairs(20, seed=2, letters="abcd", longest=2),
    }
    task = translated.examples(splits, tokenizer(), max_tokens=4)
    run = finish(start(t5(blocks=1), strategy=Full(), task=task, epochs=16, lr=1e-2, batch_size=16))
    scores = task.score(run.tuned.model, task.validation)
    assert scores["exact"] > 0.8


def test_no_text_is_longer_than_the_model_reads(tmp_path):
    files = tmp_path / "source.txt", tmp_path / "target.txt"
    for file in files:
        file.write_text(("a " * 99 + "\n") * 3)
    task = parallel(tokenizer(), *files, max_tokens=999)
    assert len(task.train[0].ids) == len(task.train[0].target_ids) == 64
