"""Tagging: the tag stands on a word's first token, entities are counted strictly, files refused by line."""

import math
import random
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE
from toys import sentences, tagger, tagging, tokenizer
from transformers import PreTrainedTokenizerFast

from ftkit import models
from ftkit.tasks import conll, tagged
from ftkit.tasks.entities import Entity, entities, entity_scores, from_iob1, spell_entities
from ftkit.tasks.sentences import encode
from ftkit.tasks.task import UNKNOWN

WIKIGOLD = Path(__file__).parents[4] / "shared" / "data" / "wikigold" / "wikigold.conll.txt"


class Fixed(torch.nn.Module):
    """A model whose logits are a row for each token's number."""

    def __init__(self, outputs: int = 3):
        super().__init__()
        self.rows = torch.nn.Parameter(torch.randn(64, outputs, generator=torch.Generator().manual_seed(0)))

    def forward(self, input_ids, attention_mask):
        class Output:
            logits = self.rows[input_ids]

        return Output


@pytest.mark.parametrize("name", ["letters", "bert", "gpt"])
def test_a_tag_stands_on_the_first_token_of_its_word(name):
    """Whatever the tokenizer does with spaces: a word's first tokens alone spell how the word begins."""
    made = {
        "letters": tokenizer,
        "bert": lambda: models.tokenizer("sentence-transformers/all-MiniLM-L6-v2"),
        "gpt": lambda: models.tokenizer("tiny-gpt"),
    }[name]()
    words = ["the", "zebra", "unputdownable", "a", "why", "supercalifragilistic"]
    (sentence,), shortened = encode(made, [words], max_tokens=60)
    assert shortened == 0 and len(set(sentence.firsts.tolist())) == len(words)
    bounds = [*sentence.firsts.tolist(), len(sentence.ids)]
    for word, start, end in zip(words, bounds, bounds[1:], strict=False):
        assert made.decode(sentence.ids[start:end], skip_special_tokens=True).strip().startswith(word)
    assert bounds[0] == (1 if name != "letters" else 0)


def test_a_word_without_a_token_of_its_own_does_not_take_the_space_behind_it():
    inner = Tokenizer(BPE({"a": 0, "b": 1, "\u0120": 2}, []))  # one token a letter, and one for a space
    inner.normalizer, inner.pre_tokenizer = normalizers.Replace("x", ""), pre_tokenizers.ByteLevel(False)
    (sentence,), _ = encode(PreTrainedTokenizerFast(tokenizer_object=inner), [["a", "x", "b"]], max_tokens=9)
    assert sentence.ids.tolist() == [0, 2, 2, 1]
    assert sentence.firsts.tolist() == [0, -1, 3]


def test_labels_are_unknown_everywhere_but_on_the_first_tokens():
    task = tagged.examples({"train": [(["zoe", "yz"], ["B-P", "I-P"]), (["a"], ["O"])]}, tokenizer())
    batch = task.collate(task.train, "cpu")
    no = UNKNOWN
    assert task.tags == ("B-P", "I-P", "O") and task.outputs == 3
    assert batch["labels"].tolist() == [[0, no, no, 1, no, no], [2, no, no, no, no, no]]
    assert batch["attention_mask"].sum(1).tolist() == [6, 2]


def test_words_beyond_the_limit_are_neither_trained_on_nor_answered():
    task = tagged.examples(
        {"train": [(["abc", "zed", "zoe"], ["O", "B-P", "B-P"])]}, tokenizer(), max_tokens=5
    )
    assert task.shortened == 1 and len(task.train[0]) == 5
    assert (task.collate(task.train, "cpu")["labels"] != UNKNOWN).sum() == 2
    (answer,) = task.predict(Fixed(2), task.train)
    assert answer.tags[2] == "O" and len(answer.tags) == 3


def test_the_loss_is_a_sum_over_words_and_scores_are_counted_by_hand():
    task, model = tagging(), Fixed()
    model.requires_grad_(False)
    total, right, words, grades = 0.0, 0, 0, []
    for e in task.train:
        logits = model.rows[torch.tensor(e.ids)[torch.tensor(e.firsts)]]
        truth = torch.tensor([task.tags.index(tag) for tag in e.tags])
        total -= float(logits.log_softmax(-1)[range(len(truth)), truth].sum())
        hits = (logits.argmax(-1) == truth).tolist()
        right, words, grades = right + sum(hits), words + len(hits), [*grades, sum(hits) / len(hits)]
    loss, terms = task.loss(model, task.collate(task.train, "cpu"))
    assert (loss.item(), terms.item()) == (pytest.approx(total, rel=1e-5), words)
    scores = task.score(model, task.train)
    assert scores["loss"] == pytest.approx(total / words, rel=1e-5)
    assert scores["accuracy"] == pytest.approx(right / words)
    assert task.grades(model, task.train) == pytest.approx(grades)
    assert all(type(value) is float for value in scores.values())


def test_answers_are_words_tags_and_entities_in_the_order_asked():
    task, model = tagging(), Fixed()
    texts = [" ".join(words) for words, _ in sentences(70, seed=5)]
    answers = task.predict(model, task.encode(texts))
    assert [" ".join(a.words) for a in answers] == texts
    for answer in answers:
        assert len(answer.tags) == len(answer.words) and list(answer.entities) == entities(answer.tags)
    alone = [task.predict(model, task.encode([text]))[0] for text in texts]
    assert alone == answers


def test_what_a_tagger_cannot_read_to_its_end_is_said():
    task = tagged.examples({"train": [(["abc"], ["O"])]}, tokenizer(), max_tokens=5)
    with pytest.warns(UserWarning, match="1 of 2 texts are longer than 5 tokens"):
        task.encode(["abc zed", "abc"])
    with pytest.raises(ValueError, match="expected labelled examples to score, got none"):
        task.score(Fixed(1), task.encode(["abc"]))


def test_parts_of_speech_have_no_entities_to_score():
    task = tagged.examples({"train": [(["a", "b"], ["DET", "NOUN"])]}, tokenizer())
    assert set(task.score(Fixed(2), task.train)) == {"loss", "accuracy"}


def test_entities_are_read_strictly():
    assert spell_entities(["B-P", "O"]) and not spell_entities(["IN", "O"])
    assert entities(["B-P", "I-P", "O", "I-P", "B-Q", "I-P", "B-P", "B-P", "I-P"]) == [
        Entity("P", 0, 2),
        Entity("Q", 4, 5),
        Entity("P", 6, 7),
        Entity("P", 7, 9),
    ]
    assert entities([]) == []
    assert from_iob1(["I-P", "I-P", "O", "I-Q", "B-Q", "I-P"]) == ["B-P", "I-P", "O", "B-Q", "B-Q", "B-P"]
    assert entity_scores([["O"]], [["O"]]) == {"precision": 0.0, "recall": 0.0, "f1": 0.0}


def test_entity_scores_are_those_of_seqeval():
    metrics = pytest.importorskip("seqeval.metrics.v1")
    from seqeval.scheme import IOB2

    draw = random.Random(0)
    for _ in range(200):
        sizes = [draw.randint(1, 8) for _ in range(draw.randint(1, 4))]
        truth, answers = (
            [[draw.choice(("O", "B-P", "I-P", "B-Q", "I-Q")) for _ in range(n)] for n in sizes] for _ in "ab"
        )
        answers = [t if draw.random() < 0.5 else a for t, a in zip(truth, answers, strict=True)]
        keys = {"scheme": IOB2, "average": "micro", "zero_division": 0}
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(truth, answers, **keys)
        expected = {"precision": precision, "recall": recall, "f1": f1}
        assert entity_scores(truth, answers) == pytest.approx(expected)


GOOD = "zoe B-P\nyz I-P\n\na O\nzed B-P\n\n\nb O\n"


def test_a_file_gives_its_sentences_and_a_split(tmp_path):
    file = tmp_path / "file.conll"
    file.write_text("-DOCSTART- O\n\n" + GOOD, encoding="utf-8-sig")
    expected = [(["zoe", "yz"], ["B-P", "I-P"]), (["a", "zed"], ["O", "B-P"]), (["b"], ["O"])]
    assert tagged.read(file) == expected
    file.write_text(GOOD.replace("B-P", "I-P"))
    assert tagged.read(file, scheme="IOB1") == expected
    file.write_text("zoe X _ B-P\n")
    assert tagged.read(file) == [(["zoe"], ["B-P"])]  # the first column and the last
    file.write_text("".join(f"{'b' * (1 + i % 4)} O\nz B-P\n\n" for i in range(30)))
    tasks = [conll(tokenizer(), file, seed=3, max_tokens=9) for _ in range(2)]
    assert [len(s) for s in (tasks[0].train, tasks[0].validation, tasks[0].test)] == [24, 3, 3]
    assert [e.words for e in tasks[0].test] == [e.words for e in tasks[1].test]
    numbers = [e.number for s in (tasks[0].train, tasks[0].validation, tasks[0].test) for e in s]
    assert numbers == list(range(30))


def test_another_seed_splits_off_other_sentences_and_no_sentence_is_longer_than_the_model_reads(tmp_path):
    file = tmp_path / "file.conll"
    file.write_text("".join(f"{'ab' * (1 + i)} O\nz B-P\n\n" for i in range(60)))
    tasks = [conll(tokenizer(), file, seed=seed, max_tokens=999) for seed in (3, 4)]
    assert [e.words for e in tasks[0].test] != [e.words for e in tasks[1].test]
    assert max(map(len, tasks[0].train)) == 64 and tasks[0].shortened > 0


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (GOOD + "c I-P\n", 9, "'I-P' cannot stand after 'O'"),
        ("c I-P\n", 1, "at the beginning of a sentence; write 'B-P'"),
        ("a O\n\nz B-P\ny I-Q\n", 4, "'I-Q' cannot stand after 'B-P'"),
        ("a O\nb\n", 2, "expected 2 columns, found 1"),
        ("a\n", 1, "expected 2 columns, found 1"),
        ("a O\nb X O\n", 2, "expected 2 columns, found 3"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(text, line, words, tmp_path):
    file = tmp_path / "file.conll"
    file.write_text(text)
    with pytest.raises(ValueError) as caught:
        tagged.read(file)
    assert str(caught.value).startswith(f"{file}, line {line}: ") and words in str(caught.value)


def test_other_faults_are_refused_in_a_line(tmp_path):
    file = tmp_path / "file.conll"
    file.write_bytes("a O\nna\u00efve O\n".encode("latin-1"))
    with pytest.raises(ValueError, match="line 2: expected UTF-8"):
        tagged.read(file)
    file.write_text("\n\n")
    with pytest.raises(ValueError, match="expected sentences, found none"):
        tagged.read(file)
    file.write_text("a O\n\nb O\n")
    with pytest.raises(ValueError, match="at least 3 rows to split off validation and test, found 2"):
        conll(tokenizer(), file)
    for words, tags, fault in (
        (["a"], ["O", "O"], "each of 1 words.*got 2"),
        ([], [], "expected words"),
        (["a", " "], ["O", "O"], "expected words"),
    ):
        with pytest.raises(ValueError, match=fault):
            tagged.examples({"train": [(words, tags)]}, tokenizer())
    with pytest.raises(ValueError, match=r"validation, sentence 1: .*'B-Q'"):
        tagged.examples({"train": [(["a"], ["O"])], "validation": [(["a"], ["B-Q"])]}, tokenizer())
    with pytest.raises(ValueError, match="tells which characters"):
        encode(object(), [["a"]], max_tokens=9)


def test_a_tagger_learns_names_and_their_continuation():
    from small import finish, start

    from ftkit.strategies import Full

    task = tagging(200)
    run = finish(start(tagger(), strategy=Full(), task=task, epochs=12, lr=5e-3))
    scores = task.score(run.tuned.model, task.validation)
    assert scores["f1"] > 0.9 and scores["loss"] < math.log(3) / 3


@pytest.mark.skipif(not WIKIGOLD.is_file(), reason="needs the shared data")
def test_a_file_that_people_have_is_read():
    task = conll(models.tokenizer("sentence-transformers/all-MiniLM-L6-v2"), WIKIGOLD, scheme="IOB1")
    assert len(task.train) + len(task.validation) + len(task.test) == 1696
    assert len(task.tags) == 9
    with pytest.raises(ValueError, match=r"line 1: 'I-MISC' cannot stand .*IOB1"):
        tagged.read(WIKIGOLD)
