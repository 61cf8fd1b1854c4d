"""Tokens are prepared once and mapped, not read: what comes out is what the file says, however often."""

import csv
import os
import subprocess
import sys
from dataclasses import replace

import numpy
import pytest
import torch
from small import finish, losses, start, weights

from ftkit import models
from ftkit.tasks import store, table
from ftkit.tasks.classification import Example
from ftkit.tasks.store import StoredExample, lengths

ROWS = [
    {
        "text": " ".join(["good", "bad", "plain"][(i + k) % 3] for k in range(1 + i * i % 17)),
        "label": y,
        "note": str(i),
    }
    for i, y in enumerate(("yes", "no", "maybe") * 30)
]


@pytest.fixture(scope="module")
def tokenizer():
    return models.tokenizer("sentence-transformers/all-MiniLM-L6-v2")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("FTKIT_CACHE", str(folder))
    return folder


def write(file, rows=ROWS):
    with open(file, "w", newline="", encoding="utf-8") as out:
        lines = csv.DictWriter(out, fieldnames=list(rows[0]))
        lines.writeheader()
        lines.writerows(rows)
    return file


def read(tokenizer, file, **keys):
    return table(tokenizer, file, **{"text": "text", "label": "label", "max_tokens": 12} | keys)


def plain(examples):
    return [(e.number, e.text, e.ids.tolist(), e.label, e.row) for e in examples]


def everything(task):
    return [plain(split) for split in (task.train, task.validation, task.test)]


def kept(cache):
    return sorted(cache.iterdir())


@pytest.mark.parametrize("block", [1, 7, 90, 1000])
def test_what_comes_out_is_what_the_file_says(block, tokenizer, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "BLOCK", block)
    task = read(tokenizer, write(tmp_path / "file.csv"))
    found = {e.row["note"]: e for e in (*task.train, *task.validation, *task.test)}
    assert len(found) == len(ROWS) == sum(map(len, (task.train, task.validation, task.test)))
    for row in ROWS:
        e = found[row["note"]]
        assert (e.text, task.labels[e.label], e.row) == (row["text"], row["label"], {"note": row["note"]})
        assert e.ids.tolist() == tokenizer(row["text"], truncation=True, max_length=12)["input_ids"]
        assert e.ids.dtype == numpy.int64
    assert task.cut == sum(len(tokenizer(r["text"])["input_ids"]) > 12 for r in ROWS) > 0
    assert lengths(task.train).tolist() == [len(e) for e in task.train]


def test_a_slice_is_a_view_with_the_same_examples(tokenizer, cache, tmp_path):
    train = read(tokenizer, write(tmp_path / "file.csv")).train
    listed = plain(train)
    assert plain(train[3:11]) == listed[3:11] and plain(train[::-2]) == listed[::-2]
    assert plain(train[5:][2:6]) == listed[7:11] and plain([train[-1], train[numpy.int64(4)]]) == [
        listed[-1],
        listed[4],
    ]
    assert lengths(train[3:11]).tolist() == [len(ids) for _, _, ids, _, _ in listed[3:11]]
    with pytest.raises(IndexError):
        train[len(train)]
    assert plain([replace(train[0], label=2)]) == [(*listed[0][:3], 2, listed[0][4])]


def test_tokens_are_prepared_once(tokenizer, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "BLOCK", 8)
    file = write(tmp_path / "file.csv")
    first = everything(read(tokenizer, file))
    (made,) = kept(cache)
    before = made.read_bytes()

    def refuse(*given, **keys):
        raise AssertionError("tokenised again")

    monkeypatch.setattr(store, "encode", refuse)
    monkeypatch.setattr(store, "BLOCK", store.BLOCK - 1)  # how a file was written, the file knows
    assert everything(read(tokenizer, file)) == first
    os.rename(file, file := tmp_path / "elsewhere.csv")  # the contents count, not the name
    assert everything(read(tokenizer, file)) == first
    tokenizer("something", truncation=True, max_length=3, padding="max_length")  # changes a tokenizer's state
    assert everything(read(tokenizer, file, seed=0)) == first
    assert everything(read(tokenizer, file, seed=1)) != first  # other splits of the same tokens
    assert kept(cache) == [made] and made.read_bytes() == before


@pytest.mark.parametrize("what", ["contents", "max_tokens", "column", "tokenizer", "side"])
def test_whatever_decides_the_tokens_makes_another_file(what, tokenizer, cache, tmp_path):
    file = write(tmp_path / "file.csv")
    first = everything(read(tokenizer, file))
    keys = {}
    if what == "contents":
        write(file, [*ROWS[:-1], ROWS[-1] | {"text": "another"}])
    elif what == "max_tokens":
        keys["max_tokens"] = 11
    elif what == "column":
        keys["text"] = "note"
    elif what == "tokenizer":
        tokenizer = models.tokenizer("sentence-transformers/all-MiniLM-L6-v2")
        tokenizer.backend_tokenizer.normalizer = None
        tokenizer.add_tokens(["good bad"])
    else:
        tokenizer = models.tokenizer("sentence-transformers/all-MiniLM-L6-v2")
        tokenizer.truncation_side = "left"
    assert everything(read(tokenizer, file, **keys)) != first
    assert len(kept(cache)) == 2


def test_the_same_bytes_in_a_file_of_another_kind_are_read_anew(tokenizer, cache, tmp_path):
    content = "text\tlabel\n" + "".join(f"a {i}\t{'xyz'[i % 3]}\n" for i in range(30))
    for kind in ("tsv", "csv"):
        (tmp_path / f"file.{kind}").write_text(content)
    assert len(read(tokenizer, tmp_path / "file.tsv").labels) == 3
    with pytest.raises(ValueError, match="expected a column"):
        read(tokenizer, tmp_path / "file.csv")


@pytest.mark.parametrize("left", [0, 100, -1])
def test_a_damaged_file_of_the_cache_is_made_anew(left, tokenizer, cache, tmp_path):
    file = write(tmp_path / "file.csv")
    first = everything(read(tokenizer, file))
    (made,) = kept(cache)
    whole = made.read_bytes()
    made.write_bytes(whole[:left])
    assert everything(read(tokenizer, file)) == first
    assert made.read_bytes() == whole


def test_a_tokenizer_that_cannot_be_told_apart_is_asked_each_time(tokenizer, cache, tmp_path):
    class Plain:
        model_max_length = 100

        def get_vocab(self):
            return {"first": 70_000}  # more than 16 bits hold

        def __call__(self, texts, **keys):
            return {"input_ids": [[70_000, *map(len, text.split())] for text in texts]}

    task = read(Plain(), write(tmp_path / "file.csv"))
    assert all(e.ids.tolist() == [70_000, *map(len, e.text.split())] for e in task.train)
    assert not cache.exists()


def test_a_refused_file_leaves_nothing_behind(tokenizer, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "BLOCK", 10)
    file = write(tmp_path / "file.csv", [*ROWS[:50], ROWS[50] | {"text": " "}])
    with pytest.raises(ValueError, match="row 51"):
        read(tokenizer, file)
    assert kept(cache) == []


def test_a_process_that_is_killed_leaves_no_half_file(tokenizer, cache, tmp_path):
    file = write(tmp_path / "file.csv")
    code = """
import os
from ftkit import models
from ftkit.tasks import store, table
calls, encode, store.BLOCK = [], store.encode, 20
def dying(*given, **keys):
    calls.append(given)
    return encode(*given, **keys) if len(calls) < 3 else os._exit(9)
store.encode = dying
tokenizer = models.tokenizer("sentence-transformers/all-MiniLM-L6-v2")
table(tokenizer, "file.csv", text="text", label="label", max_tokens=12)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path).returncode == 9
    assert not [path for path in kept(cache) if path.suffix == ".arrow"]
    task = read(tokenizer, file)
    assert len(task.train) + len(task.validation) + len(task.test) == len(ROWS)


def test_a_file_of_other_tokens_does_not_change_a_task_that_is_open(tokenizer, cache, tmp_path):
    file = write(tmp_path / "file.csv")
    task = read(tokenizer, file)
    first = everything(task)
    write(file, [row | {"text": "something else"} for row in ROWS])
    for made in kept(cache):
        made.unlink()  # the cache may be emptied at any time
    assert everything(task) == first


def test_a_cache_folder_that_cannot_be_written_is_named_with_the_remedy(tokenizer, tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("mine")
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path / "taken"))
    with pytest.raises(OSError, match=r"taken: expected a folder.*FTKIT_CACHE"):
        read(tokenizer, write(tmp_path / "file.csv"))


def test_without_a_cache_folder_of_its_own_it_is_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("FTKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store.cache_folder() == tmp_path / "ftkit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store.cache_folder() == tmp_path / ".cache" / "ftkit"


def test_training_is_the_same_from_the_file_as_from_the_memory(tokenizer, cache, tmp_path):
    from small import bert

    task = read(tokenizer, write(tmp_path / "file.csv"))
    listed = replace(
        task,
        **{
            name: [Example(e.number, e.text, e.ids % 60, e.label, e.row) for e in getattr(task, name)]
            for name in ("train", "validation", "test")
        },
    )

    class Low(type(task)):  # the small model knows 64 words
        def collate(self, examples, device):
            return super().collate([replace(e, ids=e.ids % 60) for e in examples], device)

    stored = Low(**vars(task))
    assert isinstance(stored.train[0], StoredExample)
    runs = [finish(start(bert(labels=3), task=each)) for each in (stored, listed)]
    assert losses(runs[0]) == losses(runs[1])
    torch.testing.assert_close(weights(runs[0]), weights(runs[1]), rtol=0, atol=0)


def test_a_long_table_is_not_in_the_memory(tokenizer, cache, tmp_path):
    """What a task of 40,000 long texts holds is a few numbers per text, not its words."""
    import tracemalloc

    file = tmp_path / "file.csv"
    with open(file, "w", encoding="utf-8") as out:
        out.write("text,label\n")
        out.writelines(f"{'word ' * 60}{i},{'yes' if i % 2 else 'no'}\n" for i in range(40_000))
    read(tokenizer, file, max_tokens=70)  # writes
    tracemalloc.start()
    task = read(tokenizer, file, max_tokens=70)
    now, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert lengths(task.train).sum() > 60 * len(task.train) == 60 * 32_000
    assert now < 40 * 40_000  # bytes; a text has 300
