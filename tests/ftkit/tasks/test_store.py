"""Tokens are prepared once and mapped, not read: what comes out is what the file says, however often."""

import csv
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy
import pytest
import torch

from ftkit import models
from ftkit.order import lengths
from ftkit.tasks import store, table
from ftkit.tasks.classification import Example
from ftkit.tasks.store import StoredExample

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
    """The prepared files; each has its checksum beside it, and nothing else but the lock lies there."""
    arrows = sorted(cache.glob("*.arrow"))
    assert {*cache.iterdir()} - {cache / "lock"} == {
        *arrows,
        *(path.with_name(f"{path.name}.sha256") for path in arrows),
    }
    return arrows


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
    assert task.shortened == sum(len(tokenizer(r["text"])["input_ids"]) > 12 for r in ROWS) > 0
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


def flipped(whole, bit):
    damaged = bytearray(whole)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


@pytest.mark.parametrize("name", ["arrow", "sha256"])
def test_a_damaged_file_of_the_cache_is_made_anew(name, tokenizer, cache, tmp_path):
    """Cut short, gone, or with one of its bits turned over."""
    file = write(tmp_path / "file.csv")
    first = everything(read(tokenizer, file))
    (made,) = cache.glob(f"*.{name}")
    whole = made.read_bytes()
    bits = random.Random(0).sample(range(8 * 64 if name == "sha256" else 8 * len(whole)), 20)
    for damage in (*(flipped(whole, bit) for bit in bits), b"", whole[:40], None):
        made.unlink()
        if damage is not None:
            made.write_bytes(damage)
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
    with pytest.raises(ValueError, match="row 51") as caught:
        read(tokenizer, file)
    assert type(caught.value) is ValueError  # the reader's own, whatever `datasets` makes of it
    assert kept(cache) == []


def test_processes_that_are_killed_leave_one_half_file_until_the_next_preparation(tokenizer, cache, tmp_path):
    code = """
import os, sys
from transformers import AutoTokenizer
from ftkit.tasks import store
calls, encode, store.BLOCK = [], store.encode, 20
def dying(*given, **keys):
    calls.append(given)
    return encode(*given, **keys) if len(calls) < 3 else os._exit(9)
store.encode = dying
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
store.prepared(sys.argv[2], tokenizer, columns={"text": "text", "label": "label"}, max_tokens=12)
"""
    files = [write(tmp_path / "first.csv"), write(tmp_path / "second.csv", ROWS[:60])]
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    for file in files:
        command = [sys.executable, "-c", code, str(tmp_path / "tokenizer"), str(file)]
        assert subprocess.run(command).returncode == 9
    assert {path.name for path in cache.iterdir()} == {"lock", "tokens.part"}
    task = read(tokenizer, files[0])
    assert len(task.train) + len(task.validation) + len(task.test) == len(ROWS)
    assert len(kept(cache)) == 1


def test_who_prepares_waits_for_whoever_prepares_the_same(tokenizer, cache, tmp_path, monkeypatch):
    """Four threads stand for four processes of one run: the tokens are made once."""
    file, calls, encode = write(tmp_path / "file.csv"), [], store.encode

    def slow(*given, **keys):
        calls.append(given)
        time.sleep(0.2)
        return encode(*given, **keys)

    monkeypatch.setattr(store, "encode", slow)
    keys = {"columns": {"text": "text", "label": "label"}, "max_tokens": 12}
    with ThreadPoolExecutor(4) as pool:
        files = list(pool.map(lambda _: store.prepared(file, tokenizer, **keys), range(4)))
    assert len(calls) == 1 and [len(prepared) for prepared in files] == [90] * 4


def test_a_data_file_is_opened_once(tokenizer, cache, tmp_path, monkeypatch):
    opened, real = [], open
    monkeypatch.setattr(
        "builtins.open", lambda path, *a, **k: opened.append(str(path)) or real(path, *a, **k)
    )
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "file.jsonl").write_text(lines)
    for file in (write(tmp_path / "file.csv"), tmp_path / "file.jsonl"):
        opened.clear()
        prepared = store.prepared(file, tokenizer, columns={"text": "text", "label": "label"}, max_tokens=12)
        assert opened.count(str(file)) == 1
        assert prepared.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_nothing_is_printed_and_nothing_written_elsewhere(tokenizer, tmp_path):
    code = """
import sys
from transformers import AutoTokenizer
from ftkit.tasks import store
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
for _ in range(2):
    store.prepared(sys.argv[2], tokenizer, columns={"text": "text", "label": "label"}, max_tokens=12)
"""
    home = tmp_path / "home"
    home.mkdir()
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    own = {"FTKIT_CACHE": str(home / "cache"), "HOME": str(home), "TMPDIR": str(home)}
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "tokenizer"), str(write(tmp_path / "file.csv"))],
        env={k: v for k, v in os.environ.items() if not k.startswith(("HF_", "XDG_"))} | own,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert [path.name for path in home.iterdir()] == ["cache"] and len(kept(home / "cache")) == 1


def test_a_file_of_other_tokens_does_not_change_a_task_that_is_open(tokenizer, cache, tmp_path):
    file = write(tmp_path / "file.csv")
    task = read(tokenizer, file)
    first = everything(task)
    write(file, [row | {"text": "something else"} for row in ROWS])
    for made in cache.iterdir():
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
    from small import bert, finish, losses, start, weights

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
    """What a task of 15,000 long texts holds is a few numbers per text, not its words."""
    import tracemalloc

    file = tmp_path / "file.csv"
    with open(file, "w", encoding="utf-8") as out:
        out.write("text,label\n")
        out.writelines(f"{'word ' * 60}{i},{'yes' if i % 2 else 'no'}\n" for i in range(15_000))
    read(tokenizer, file, max_tokens=70)  # writes
    tracemalloc.start()
    task = read(tokenizer, file, max_tokens=70)
    now, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert lengths(task.train).sum() > 60 * len(task.train) == 60 * 12_000
    assert now < 40 * 15_000  # bytes; a text has 300
