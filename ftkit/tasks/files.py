"""Read a learner's table and refuse, with file, row and remedy, what cannot be trained on."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")


def read(file: str | Path, *, text: str, label: str | None, max_characters: int) -> list[dict[str, str]]:
    """All of `rows`."""
    return list(rows(file, text=text, label=label, max_characters=max_characters))


def rows(file: str | Path, *, text: str, label: str | None, max_characters: int) -> Iterator[dict[str, str]]:
    """Rows as {"text": …, "label": …, other columns}, one by one: a long file need not fit the memory.

    Raises ValueError with file, row and remedy; rows are counted from 1, the header not counted.
    """
    file = Path(file)
    columns, table = _table(file)
    wanted = [c for c in (text, label) if c is not None]
    missing = [c for c in wanted if c not in columns]
    if missing:
        raise ValueError(
            f"{file}: expected a column {missing[0]!r}, found {', '.join(map(repr, columns))}; name one "
            "of these"
        )
    number = 0
    for number, row in enumerate(table, 1):
        content = row[text]
        if content is None or not str(content).strip():
            raise ValueError(
                f"{file}, row {number}: the text in column {text!r} is empty; fill it in or delete the row"
            )
        if len(str(content)) > max_characters:
            raise ValueError(
                f"{file}, row {number}: expected at most {max_characters:,} characters in {text!r}, found "
                f"{len(str(content)):,}; split the text, or check for a quote that is never closed"
            )
        new = {str(k): "" if v is None else str(v) for k, v in row.items() if k not in wanted}
        new["text"] = str(content)
        if label is not None:
            if row[label] is None or str(row[label]).strip() in ("", "nan", "NaN"):
                raise ValueError(
                    f"{file}, row {number}: the label in column {label!r} is missing; fill it in or "
                    "delete the row"
                )
            new["label"] = str(row[label]).strip()
        yield new
    if number == 0:
        raise ValueError(
            f"{file}: expected rows below the header, found none; add at least one labelled text"
        )


def others(row: dict[str, str]) -> dict[str, str]:
    """A row's columns besides text and label."""
    return {k: v for k, v in row.items() if k not in ("text", "label")}


def split(
    labels: numpy.ndarray, names: Sequence[str], absent: Sequence[str], *, file: str | Path, seed: int
) -> dict[str, numpy.ndarray]:
    """Rows of "train" and of every absent split: a tenth of each label, at least one row.

    labels: (rows,) numbers of `names`. Raises ValueError where a label has too few rows.
    """
    parts: dict[str, list] = {name: [] for name in ("train", *absent)}
    rng = numpy.random.default_rng(seed)
    for label in sorted(names):
        members = numpy.flatnonzero(labels == names.index(label))
        if len(members) <= len(absent):
            raise ValueError(
                f"{file}: expected at least {len(absent) + 1} rows with label {label!r} to split off "
                f"{' and '.join(absent)}, found {len(members)}; add rows, or give {' and '.join(absent)} "
                "as files"
            )
        members = members[rng.permutation(len(members))]
        share = max(1, round(0.1 * len(members)))
        for k, name in enumerate(absent):
            parts[name].append(members[k * share : (k + 1) * share])
        parts["train"].append(members[len(absent) * share :])
    return {name: numpy.sort(numpy.concatenate(chosen)) for name, chosen in parts.items()}


def _table(file: Path) -> tuple[list[str], Iterable[dict]]:
    """(column names, rows). Cells stay as written: "NA" and "01" are texts and labels here, not numbers.

    Read with the standard library and Arrow rather than through `datasets`, which tells neither the row nor,
    in plain words, the fault, takes a file's name for a pattern, and may serve an edited file from its cache.
    """
    if file.is_dir():
        raise ValueError(
            f"{file}: expected a file, found a folder; name a {', '.join(FORMATS)} file inside it"
        )
    if not file.is_file():
        raise ValueError(f"{file}: no such file; check the path (looked in {file.resolve().parent})")
    kind = file.suffix.lower()
    if kind not in FORMATS:
        raise ValueError(
            f"{file}: expected a file ending in {', '.join(FORMATS)}, found {file.suffix or 'none'!r}; "
            "convert it"
        )
    if file.stat().st_size == 0:
        raise ValueError(f"{file}: the file is empty; it needs column names and at least one row")
    if kind == ".parquet":
        return _parquet(file)
    _refuse_other_encodings(file)
    return _jsonl(file) if kind == ".jsonl" else _csv(file, separator="\t" if kind == ".tsv" else ",")


def _csv(file: Path, *, separator: str) -> tuple[list[str], Iterable[dict]]:
    lines = _cells(file, separator)
    columns = next(lines, [])
    twice = sorted({c for c in columns if columns.count(c) > 1})
    if twice:
        raise ValueError(f"{file}: expected every column once, found {twice[0]!r} twice; rename one")

    def rows() -> Iterator[dict]:
        for number, cells in enumerate(lines, 1):
            if len(cells) != len(columns):
                raise ValueError(
                    f"{file}, row {number}: expected {len(columns)} cells, found {len(cells)}; "
                    f"put texts that contain {'a comma' if separator == ',' else 'a tab'} in quotes"
                )
            yield dict(zip(columns, cells, strict=True))

    return columns, rows()


def _cells(file: Path, separator: str) -> Iterator[list[str]]:
    """The header and the rows, without blank lines."""
    found = 0
    with open(file, encoding="utf-8-sig", newline="") as lines:
        table = csv.reader(lines, delimiter=separator, strict=True)
        while True:
            limit = csv.field_size_limit(2**31 - 1)  # how long a text may be is said by max_characters
            try:
                cells = next(table, None)
            except csv.Error:
                raise ValueError(
                    f"{file}, row {max(1, found)}: a double quote is not closed or not doubled; write a "
                    'quote inside a quoted text as ""'
                ) from None
            finally:
                csv.field_size_limit(limit)
            if cells is None:
                return
            if cells:
                found += 1
                yield cells


def _jsonl(file: Path) -> tuple[list[str], Iterable[dict]]:
    columns = list(dict.fromkeys(name for row in _objects(file) for name in row))  # any row may add some
    return columns, ({name: row.get(name) for name in columns} for row in _objects(file))


def _objects(file: Path) -> Iterator[dict]:
    with open(file, encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)  # digits stay
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise ValueError(
                    f"{file}, line {number}: expected one JSON object, found {line.strip()[:40]!r}; "
                    'write each row as {"text": "...", "label": "..."} on a line of its own'
                )
            yield row


def _parquet(file: Path) -> tuple[list[str], Iterable[dict]]:
    import pyarrow
    from pyarrow import parquet

    def rows() -> Iterator[dict]:
        try:
            for block in content.iter_batches(10_000):
                yield from block.to_pylist()
        except (pyarrow.ArrowInvalid, OSError):
            raise unreadable from None

    unreadable = ValueError(f"{file}: not readable as PARQUET; is it another format, or cut off?")
    try:
        content = parquet.ParquetFile(file)
    except (pyarrow.ArrowInvalid, OSError):
        raise unreadable from None
    return content.schema_arrow.names, rows()


def _refuse_other_encodings(file: Path) -> None:
    with open(file, "rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{file}, line {number}: expected UTF-8, found byte 0x{line[error.start]:02x}; "
                    "save the file as UTF-8 (in a spreadsheet: export as CSV UTF-8)"
                ) from None
