"""Tables: what is read stays as written, what cannot be trained on is refused in one line."""

import csv
import json
import math
import os
import random

import numpy
import pyarrow
import pyarrow.parquet
import pytest

from ftkit.tasks import table, tables

FORMATS = ["csv", "tsv", "jsonl", "parquet"]
JARGON = ("C error", "tokenizing", "rrow", "pandas", "ParserError", "Instruction", "schema", "BatchSize")
JARGON += ("magic bytes", "position", "Traceback", "dtype", "scalar", "object at 0x")


class Words:
    """A tokenizer whose tokens are words; a word's number is its place in the order of first appearance."""

    pad_token_id, model_max_length = 0, 512

    def __init__(self):
        self.known = {"<pad>": 0}

    def __call__(self, texts, truncation=False, max_length=None, verbose=True):
        ids = [[self.known.setdefault(w, len(self.known)) for w in text.split()] for text in texts]
        return {"input_ids": [i[:max_length] if truncation else i for i in ids]}


@pytest.fixture(autouse=True)
def laptop(monkeypatch):
    monkeypatch.setenv("FTKIT_SCALE", "laptop")


def write(file, rows, *, columns=None):
    """Rows (dicts of strings) in the format that the file's ending names."""
    columns = columns or list(rows[0])
    kind = file.suffix[1:]
    if kind in ("csv", "tsv"):
        with open(file, "w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, delimiter="\t" if kind == "tsv" else ",")
            writer.writerow(columns)
            writer.writerows([row[c] for c in columns] for row in rows)
    elif kind == "jsonl":
        lines = [json.dumps({c: row[c] for c in columns}, ensure_ascii=False) for row in rows]
        file.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    else:
        table = pyarrow.table({c: [row[c] for row in rows] for c in columns})
        pyarrow.parquet.write_table(table, file)
    return file


def rows_of(n, labels=("no", "yes"), *, start=0):
    return [{"text": f"row {start + i} of them", "label": labels[i % len(labels)]} for i in range(n)]


def read(file, **keys):
    return table(Words(), file, **{"text": "text", "label": "label"} | keys)


def everything(task):
    """Every example in the order of its number, as plain data."""
    found = [*task.train, *task.validation, *task.test]
    return [
        (e.number, e.text, e.ids.tolist(), task.labels[e.label], dict(sorted(e.row.items())))
        for e in sorted(found, key=lambda e: e.number)
    ]


def contents(task):
    return sorted((e.text, task.labels[e.label]) for e in (*task.train, *task.validation, *task.test))


AWKWARD = [
    {"text": text, "label": label, "note": note}
    for text, label, note in [
        ("01", "01", "007"),
        ("NA", "NA", ""),
        ("null", "null", "1.50"),
        ("True", "True", "nan"),
        ("None", "01", "NULL"),
        ("two\nlines, and a comma", "NA", "a,b"),
        ('she said "yes"', "null", '"'),
        ("tab\there", "True", "\t"),
        ("Zoë paid 5 € — naïve", "01", "日本"),
        ("1e5", "NA", "0x10"),
        ("2024-01-01", "null", "2024-01-01"),
        ("  two spaces on each side  ", "True", " "),
        ("# no comment", "01", "#"),
        ("-", "NA", "true"),
        ("false", "null", "0"),
        ("'", "True", "+1"),
    ]
]


@pytest.mark.parametrize("kind", FORMATS)
def test_values_stay_as_they_are_written(kind, tmp_path):
    task = read(write(tmp_path / f"file.{kind}", AWKWARD))
    assert task.labels == ("01", "NA", "True", "null")
    found = sorted((text, label, row["note"]) for _, text, _, label, row in everything(task))
    assert found == sorted((r["text"], r["label"], r["note"]) for r in AWKWARD)


def test_every_format_gives_the_same_task(tmp_path):
    tasks = [read(write(tmp_path / f"file.{kind}", AWKWARD)) for kind in FORMATS]
    for other in tasks[1:]:
        assert other.labels == tasks[0].labels
        assert everything(other) == everything(tasks[0])
        assert [len(s) for s in (other.train, other.validation, other.test)] == [8, 4, 4]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("labels", [("2024-01-01", "2024-01-02"), ("1", "0"), ("1.0", "1"), ("true", "True")])
def test_a_column_that_looks_like_dates_or_numbers_is_text(labels, kind, tmp_path):
    task = read(write(tmp_path / f"file.{kind}", rows_of(12, labels)))
    assert task.labels == tuple(sorted(labels))


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_labels_that_are_numbers_in_the_file_keep_their_digits(kind, tmp_path):
    rows = [{"text": f"row {i}", "label": i % 2} for i in range(12)]
    assert read(write(tmp_path / f"file.{kind}", rows)).labels == ("0", "1")


def test_a_column_of_mixed_types_does_not_rewrite_the_others(tmp_path):
    rows = [{"text": f"0{i}", "label": f"0{i % 2}", "other": i if i % 2 else f"id {i}"} for i in range(12)]
    task = read(write(tmp_path / "file.jsonl", rows))
    assert task.labels == ("00", "01")
    assert contents(task) == sorted((r["text"], r["label"]) for r in rows)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_a_byte_order_mark_is_not_part_of_the_first_column(kind, tmp_path):
    file = write(tmp_path / f"file.{kind}", rows_of(12))
    plain = everything(read(file))
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert everything(read(file)) == plain


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_of_either_kind_give_the_same_task(end, tmp_path):
    file = tmp_path / "file.csv"
    lines = ["text,label", *(f"row {i},{'yes' if i % 2 else 'no'}" for i in range(12))]
    file.write_bytes(end.join(lines).encode())  # and no line end at the end of the file
    assert contents(read(file)) == sorted((f"row {i}", "yes" if i % 2 else "no") for i in range(12))


@pytest.mark.parametrize("name", ["data[1].csv", "what?.csv", "all*.csv", "my file (2).CSV", ".hidden.csv"])
def test_a_files_name_is_a_name_and_not_a_pattern(name, tmp_path):
    write(tmp_path / "allofthem.csv", rows_of(12, ("wrong", "file")))
    file = tmp_path / name
    write(tmp_path / "good.csv", rows_of(12)).rename(file)
    assert read(file).labels == ("no", "yes")


def test_a_file_that_was_edited_is_read_anew(tmp_path):
    """Also when its time stamp is the old one, as after copying, unpacking or a coarse clock."""
    file = write(tmp_path / "file.csv", rows_of(12))
    stamp = file.stat().st_mtime_ns
    read(file)
    write(file, rows_of(12, ("bad", "fine")))
    os.utime(file, ns=(stamp, stamp))
    assert read(file).labels == ("bad", "fine")


def test_an_index_column_without_a_name_is_carried_along(tmp_path):
    """What pandas' to_csv writes unless told otherwise."""
    file = tmp_path / "file.csv"
    lines = [",text,label", *(f"{i},row {i},{'yes' if i % 2 else 'no'}" for i in range(12))]
    file.write_text("\n".join(lines), encoding="utf-8")
    assert contents(read(file)) == sorted((f"row {i}", "yes" if i % 2 else "no") for i in range(12))


def test_reading_prints_nothing(tmp_path, capfd):
    for kind in FORMATS:
        read(write(tmp_path / f"file.{kind}", rows_of(12)))
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""


def test_other_columns_travel_with_their_example(tmp_path):
    rows = [r | {"domain": f"domain {i}"} for i, r in enumerate(rows_of(12))]
    task = read(write(tmp_path / "file.csv", rows))
    assert {(e.text, e.row["domain"]) for e in (*task.train, *task.validation, *task.test)} == {
        (r["text"], r["domain"]) for r in rows
    }
    assert all(set(e.row) == {"domain"} for e in task.train)


def test_columns_may_have_any_name(tmp_path):
    rows = [{"Review text": r["text"], "stars": r["label"]} for r in rows_of(12)]
    task = read(write(tmp_path / "file.csv", rows), text="Review text", label="stars")
    assert contents(task) == sorted((r["Review text"], r["stars"]) for r in rows)


SIZES = {"rare": 3, "some": 24, "many": 97}


def uneven():
    rows = [{"text": f"{name} number {i}", "label": name} for name, n in SIZES.items() for i in range(n)]
    random.Random(3).shuffle(rows)
    return rows


def test_splits_are_disjoint_and_complete(tmp_path):
    rows = uneven()
    task = read(write(tmp_path / "file.csv", rows))
    texts = [e.text for e in (*task.train, *task.validation, *task.test)]
    assert len(set(texts)) == len(texts) == len(rows)
    assert contents(task) == sorted((r["text"], r["label"]) for r in rows)


def test_every_label_gives_a_tenth_of_its_rows_and_at_least_one_to_each_split(tmp_path):
    task = read(write(tmp_path / "file.csv", uneven()))
    for name, n in SIZES.items():
        label = task.labels.index(name)
        share = {3: 1, 24: 2, 97: 10}[n]
        counts = [sum(e.label == label for e in s) for s in (task.train, task.validation, task.test)]
        assert counts == [n - 2 * share, share, share]


def test_the_split_is_a_function_of_the_seed(tmp_path):
    file = write(tmp_path / "file.csv", uneven())
    numpy.random.seed(1)
    first = everything(read(file, seed=4))
    numpy.random.seed(2)
    assert everything(read(file, seed=4)) == first
    assert everything(read(file, seed=5)) != first
    assert contents(read(file, seed=5)) == contents(read(file, seed=4))


def test_a_split_does_not_take_the_first_rows(tmp_path):
    """Files are often sorted; a split by position would test on one kind of row."""
    rows = rows_of(200)
    task = read(write(tmp_path / "file.csv", rows))
    places = [int(e.text.split()[1]) for e in task.test]
    assert min(places) < 60 and max(places) > 140


@pytest.mark.parametrize("given", [("validation",), ("test",), ("validation", "test")])
def test_splits_given_as_files_are_used_as_they_are(given, tmp_path):
    rows = rows_of(40)
    files = {
        name: write(tmp_path / f"{name}.csv", rows_of(6, start=100 * i)) for i, name in enumerate(given, 1)
    }
    task = read(write(tmp_path / "train.csv", rows), **files)
    for i, name in enumerate(given, 1):
        assert [e.text for e in getattr(task, name)] == [r["text"] for r in rows_of(6, start=100 * i)]
    rest = [s for s in ("train", "validation", "test") if s not in given]
    texts = [e.text for s in rest for e in getattr(task, s)]
    assert sorted(texts) == sorted(r["text"] for r in rows)
    assert [len(getattr(task, s)) for s in rest] == ([40] if rest == ["train"] else [36, 4])


def test_numbers_are_unique_over_all_splits(tmp_path):
    own = {n: write(tmp_path / f"{n}.jsonl", rows_of(6, start=50)) for n in ("validation", "test")}
    for keys in ({}, own):
        task = read(write(tmp_path / "file.csv", rows_of(40)), **keys)
        numbers = [e.number for e in (*task.train, *task.validation, *task.test)]
        assert sorted(numbers) == list(range(len(numbers)))


def test_labels_are_sorted_whatever_row_comes_first(tmp_path):
    task = read(write(tmp_path / "file.csv", rows_of(30, ("c", "a", "b"))))
    assert task.labels == ("a", "b", "c")
    for e in task.train:
        assert task.labels[e.label] == "cab"[int(e.text.split()[1]) % 3]


def test_shortened_texts_are_counted_in_every_split(tmp_path):
    lengths = [1 + i % 9 for i in range(60)]
    rows = [
        {"text": " ".join(f"t{i}w{k}" for k in range(n)), "label": "ab"[i % 2]} for i, n in enumerate(lengths)
    ]
    own = [
        {"text": " ".join(f"v{i}w{k}" for k in range(n)), "label": "ab"[i % 2]}
        for i, n in enumerate([2, 6, 7, 5])
    ]
    file = write(tmp_path / "file.csv", rows)
    task = read(file, max_tokens=5)
    assert task.max_tokens == 5
    assert task.shortened == sum(n > 5 for n in lengths)
    task = read(file, max_tokens=5, validation=write(tmp_path / "own.csv", own))
    assert task.shortened == sum(n > 5 for n in lengths) + 2
    words = {i: w for w, i in task.tokenizer.known.items()}
    for e in (*task.train, *task.validation, *task.test):
        assert [words[i] for i in e.ids] == e.text.split()[:5]
    assert read(file, max_tokens=9).shortened == 0


def test_no_text_is_longer_than_the_scale_or_the_tokenizer_allows(tmp_path):
    rows = [{"text": f"{i} " + "word " * 200, "label": "ab"[i % 2]} for i in range(12)]
    file = write(tmp_path / "file.csv", rows)
    assert read(file).max_tokens == 128
    tokenizer = Words()
    tokenizer.model_max_length = 40
    task = table(tokenizer, file, text="text", label="label", max_tokens=100)
    assert task.max_tokens == 40
    assert {len(e) for e in task.train} == {40}


def refusal(capfd, file, *parts, **keys):
    """The message of a refusal: one line that names the file, then a remedy, and is all that is printed."""
    capfd.readouterr()
    with pytest.raises(ValueError) as caught:
        read(file, **keys)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert str(file) in message or any(str(path) in message for path in keys.values())
    assert "; " in message, f"no remedy: {message}"
    for word in JARGON:
        assert word not in message.replace(str(file), "")
    said = message.replace(f"{file.parent}{os.sep}", "")  # the folder's name may hold the word looked for
    for part in parts:
        assert part.replace(f"{file.parent}{os.sep}", "") in said
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""
    return said


def bad(rows, place, **values):
    """The rows with one of them (counted from 1) changed."""
    return [r | values if i == place else r for i, r in enumerate(rows, 1)]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_an_empty_text_is_refused_with_its_row(kind, text, tmp_path, capfd):
    file = write(tmp_path / f"file.{kind}", bad(rows_of(12), 7, text=text))
    refusal(capfd, file, "row 7:", "'text'", "empty")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_missing_column_is_refused_with_those_that_are_there(kind, tmp_path, capfd):
    file = write(tmp_path / f"file.{kind}", rows_of(12))
    refusal(capfd, file, "'review'", "'text'", "'label'", text="review")
    refusal(capfd, file, "'stars'", "'text'", "'label'", label="stars")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("label", ["", " ", "nan", "NaN"])
def test_a_missing_label_is_refused_with_its_row(kind, label, tmp_path, capfd):
    file = write(tmp_path / f"file.{kind}", bad(rows_of(12), 5, label=label))
    refusal(capfd, file, "row 5:", "'label'", "missing")


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("column", ["text", "label"])
def test_a_null_is_missing(kind, column, tmp_path, capfd):
    file = write(tmp_path / f"file.{kind}", bad(rows_of(12), 5, **{column: None}))
    refusal(capfd, file, "row 5:", f"'{column}'")


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_number_that_is_no_number_is_a_missing_label(kind, tmp_path, capfd):
    rows = [{"text": f"row {i}", "label": float(i % 2)} for i in range(12)]
    file = write(tmp_path / f"file.{kind}", bad(rows, 4, label=math.nan))
    refusal(capfd, file, "row 4:", "'label'", "missing")


@pytest.mark.parametrize("column", ["text", "label"])
@pytest.mark.parametrize(
    ("kind", "value"), [("jsonl", ["a", "b"]), ("jsonl", {"a": 1}), ("parquet", ["a"]), ("parquet", b"a")]
)
def test_a_cell_that_is_no_text_number_or_boolean_is_refused_with_its_row(
    kind, value, column, tmp_path, capfd
):
    """Its Python spelling would be trained on as a text, or be a class of its own."""
    rows = rows_of(12) if kind == "jsonl" else [r | {column: None} for r in rows_of(12)]
    rows[0] = rows_of(1)[0] if kind == "jsonl" else rows[0] | {column: value}
    place = 1 if kind == "parquet" else 7
    file = write(tmp_path / f"file.{kind}", bad(rows, place, **{column: value}))
    refusal(capfd, file, f"row {place}:", f"'{column}'", type(value).__name__)


def test_a_column_that_row_1_of_json_lines_lacks_is_missing_there_or_everywhere(tmp_path, capfd):
    file = tmp_path / "file.jsonl"
    file.write_text('{"text": "a"}\n{"text": "b", "label": "x", "more": 1}\n')
    refusal(capfd, file, "row 1:", "'label'", "missing")
    refusal(capfd, file, "expected a column 'stars'", "'text', 'label', 'more'", label="stars")


def test_a_role_may_be_of_any_name(tmp_path):
    file = write(tmp_path / "file.csv", [{"fr": "un", "en": "one", "note": "x"}])
    assert list(tables.rows(file, columns={"source": "fr", "target": "en"})) == [
        {"note": "x", "source": "un", "target": "one"}
    ]
    with pytest.raises(ValueError, match=r"row 1: the text in column 'en' is empty"):
        list(tables.rows(write(file, [{"fr": "un", "en": ""}]), columns={"source": "fr", "target": "en"}))


def test_a_key_left_out_of_a_json_line_is_refused_with_its_row(tmp_path, capfd):
    lines = [json.dumps(r) for r in rows_of(12)]
    lines[8] = json.dumps({"text": "no label here"})
    (tmp_path / "file.jsonl").write_text("\n".join(lines))
    refusal(capfd, tmp_path / "file.jsonl", "row 9:", "'label'")


@pytest.mark.parametrize("kind", FORMATS)
def test_one_class_alone_is_refused(kind, tmp_path, capfd):
    refusal(capfd, write(tmp_path / f"file.{kind}", rows_of(12, ("same",))), "'same'", "two", "'label'")


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_label_that_training_lacks_is_refused_with_its_row(split, tmp_path, capfd):
    file = write(tmp_path / "file.csv", rows_of(12))
    other = write(tmp_path / "other.csv", bad(rows_of(12), 6, label="maybe"))
    refusal(capfd, file, str(other), "'maybe'", "row 6", "no, yes", **{split: other})


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_another_encoding_is_refused_with_its_line(kind, tmp_path, capfd):
    file = write(tmp_path / f"file.{kind}", bad(rows_of(12), 5, text="a naïve one"))
    line = 5 if kind == "jsonl" else 6
    file.write_bytes(file.read_bytes().decode().encode("latin-1"))
    refusal(capfd, file, f"line {line}:", "UTF-8", "0xef")


def test_utf_16_as_spreadsheets_write_it_is_refused(tmp_path, capfd):
    file = write(tmp_path / "file.csv", rows_of(12))
    file.write_bytes(file.read_text().encode("utf-16"))
    refusal(capfd, file, "line 1:", "UTF-8")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_row_of_100000_characters_is_refused(kind, tmp_path, capfd):
    file = write(tmp_path / f"file.{kind}", bad(rows_of(12), 3, text="word " * 20_000))
    message = refusal(capfd, file, "row 3:", "100,000", "20,000")
    assert "word word" not in message


def test_how_long_a_text_may_be_is_a_setting(tmp_path, capfd):
    file = write(tmp_path / "file.csv", bad(rows_of(12), 3, text="w " * 15_000))
    assert read(file, max_characters=30_000).shortened == 1
    refusal(capfd, file, "row 3:", max_characters=29_999)


@pytest.mark.parametrize("kind", FORMATS)
def test_an_empty_file_is_refused(kind, tmp_path, capfd):
    file = tmp_path / f"file.{kind}"
    file.touch()
    refusal(capfd, file, "empty")


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize("content", ["\n", "\n\n", " \n"])
def test_a_file_of_blank_lines_is_refused(kind, content, tmp_path, capfd):
    file = tmp_path / f"file.{kind}"
    file.write_text(content)
    refusal(capfd, file)


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_a_header_without_rows_is_refused(kind, tmp_path, capfd):
    file = write(tmp_path / f"file.{kind}", [], columns=["text", "label"])
    refusal(capfd, file, "rows")


def test_a_folder_is_refused(tmp_path, capfd):
    refusal(capfd, tmp_path, "found a folder", ".csv")


def test_a_file_that_is_not_there_is_refused(tmp_path, capfd):
    refusal(capfd, tmp_path / "nowhere.csv", "no such file", "check the path")


@pytest.mark.parametrize("name", ["file.xlsx", "file.txt", "file", "file.json"])
def test_an_unknown_ending_is_refused_with_those_that_are_known(name, tmp_path, capfd):
    (tmp_path / name).write_text("text,label\na,b\n")
    refusal(capfd, tmp_path / name, ".csv", ".tsv", ".jsonl", ".parquet")


@pytest.mark.parametrize(
    "line", ['{"text": "a", "label":', "hello", "{'text': 'a', 'label': 'b'}", '["a", "b"]', "7"]
)
def test_a_broken_json_line_is_refused_with_its_row(line, tmp_path, capfd):
    lines = [json.dumps(r) for r in rows_of(12)]
    lines[7] = line
    (tmp_path / "file.jsonl").write_text("\n".join(lines) + "\n")
    message = refusal(capfd, tmp_path / "file.jsonl")
    assert "row 8" in message or "line 8" in message


@pytest.mark.parametrize("kind", ["csv", "tsv"])
@pytest.mark.parametrize("cells", [["only one"], ["a text", "yes", "one too many"]])
@pytest.mark.parametrize("place", [1, 4])
def test_a_row_of_another_width_is_refused_with_its_number(cells, place, kind, tmp_path, capfd):
    separator = "\t" if kind == "tsv" else ","
    lines = [separator.join(r.values()) for r in rows_of(12)]
    lines[place - 1] = separator.join(cells)
    file = tmp_path / f"file.{kind}"
    file.write_text("\n".join([separator.join(("text", "label")), *lines]) + "\n")
    refusal(capfd, file, f"row {place}")


def test_a_cell_too_many_in_every_row_does_not_shift_the_columns(tmp_path, capfd):
    lines = [f"row {i},{'yes' if i % 2 else 'no'},surplus {i % 2}" for i in range(12)]
    file = tmp_path / "file.csv"
    file.write_text("\n".join(["text,label", *lines]) + "\n")
    refusal(capfd, file, "row 1")


def test_a_row_that_ends_early_is_not_filled_up(tmp_path, capfd):
    """The columns that are left out are not needed, but a row that was torn is not to be trusted."""
    lines = [f"row {i},{'yes' if i % 2 else 'no'},x" for i in range(12)]
    lines[4] = "row 4,no"
    file = tmp_path / "file.csv"
    file.write_text("\n".join(["text,label,more", *lines]) + "\n")
    refusal(capfd, file, "row 5")


@pytest.mark.parametrize("place", ["row 3", "yes"])
def test_a_quote_that_is_never_closed_is_refused(place, tmp_path, capfd):
    """In the last column it would otherwise swallow the rest of the file without a word."""
    file = write(tmp_path / "file.csv", rows_of(12))
    file.write_text(file.read_text().replace(place, '"' + place, 1))
    assert "a quote" in refusal(capfd, file)


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_a_column_name_that_occurs_twice_is_refused(kind, tmp_path, capfd):
    separator = "\t" if kind == "tsv" else ","
    file = tmp_path / f"file.{kind}"
    file.write_text("\n".join([separator.join(("text", "label", "text")), *[separator.join("aba")] * 12]))
    refusal(capfd, file, "'text'", "twice")


def test_bytes_that_are_no_parquet_are_refused(tmp_path, capfd):
    (tmp_path / "file.parquet").write_bytes(b"text,label\n" * 20)
    refusal(capfd, tmp_path / "file.parquet", "PARQUET")


def test_a_parquet_file_with_damaged_pages_is_refused(tmp_path, capfd):
    file = write(tmp_path / "file.parquet", rows_of(4000))
    whole = bytearray(file.read_bytes())
    whole[100:3000] = bytes(2900)
    file.write_bytes(whole)
    refusal(capfd, file, "PARQUET")


@pytest.mark.parametrize("place", [1, 2, 9])
def test_a_quote_that_is_not_doubled_is_refused_with_its_row(place, tmp_path, capfd):
    lines = ["text,label", *(f"row {i},{'no' if i % 2 else 'yes'}" for i in range(1, 12))]
    lines[place] = '"a" b,no'
    (tmp_path / "file.csv").write_text("\n\n".join(lines))  # blank lines are no rows
    refusal(capfd, tmp_path / "file.csv", f"row {place}:")
    (tmp_path / "file.csv").write_text('"text"s,label\na,b\n')
    refusal(capfd, tmp_path / "file.csv", "row 1:")


def test_the_label_with_too_few_rows_is_named_wherever_it_stands(tmp_path, capfd):
    rows = [*rows_of(12, ("no",)), *rows_of(2, ("a rare one",)), *rows_of(12, ("maybe",))]
    refusal(capfd, write(tmp_path / "file.csv", rows), "'a rare one'", "found 2")


@pytest.mark.parametrize(("given", "enough"), [((), 3), (("test",), 2)])
def test_too_few_rows_of_a_label_to_split_are_refused(given, enough, tmp_path, capfd):
    own = {name: write(tmp_path / f"{name}.csv", rows_of(6, ("no", "rare"))) for name in given}
    rows = rows_of(12, ("no",)) + [{"text": f"row {i}", "label": "rare"} for i in range(enough)]
    file = tmp_path / "file.csv"
    assert "rare" in read(write(file, rows), **own).labels
    refusal(capfd, write(file, rows[:-1]), "'rare'", f"at least {enough}", f"found {enough - 1}", **own)


def test_with_all_splits_given_one_row_of_a_label_is_enough(tmp_path):
    own = {n: write(tmp_path / f"{n}.csv", rows_of(6)) for n in ("validation", "test")}
    task = read(write(tmp_path / "file.csv", rows_of(2)), **own)
    assert len(task.train) == 2


def test_a_fault_in_a_validation_file_names_that_file(tmp_path, capfd):
    file = write(tmp_path / "file.csv", rows_of(12))
    other = write(tmp_path / "other.csv", bad(rows_of(12), 2, text=" "))
    refusal(capfd, file, f"{other}, row 2:", validation=other)
