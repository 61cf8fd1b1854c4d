"""rows(file): a table row by row; what cannot be trained on is refused with file, row and remedy."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")
MAX_CHARACTERS = 20_000  # of a text; more is usually a quote that is never closed
CELLS = (str, int, float, Decimal)  # bool is an int


def rows(
    file: str | Path, *, columns: Mapping[str, str], max_characters: int = MAX_CHARACTERS
) -> Iterator[dict[str, str]]:
    """Rows as {role: cell, other columns by their names}, one by one: a long file need not fit the memory.

    `columns` says which column plays which role: {"text": "review", "label": "stars"}. Every role but
    "label" is a text. Raises ValueError with file, row and remedy; rows are counted from 1, the header not
    counted.
    """
    with opened(file, endings=FORMATS) as content:
        yield from checked(file, content, columns=columns, max_characters=max_characters)


def opened(file: str | Path, *, endings: Sequence[str] = ()) -> BinaryIO:
    """The file, open for reading. Raises ValueError for what is none, is empty or has another ending."""
    file = Path(file)
    if file.is_dir():
        raise ValueError(
            f"{file}: expected a file, found a folder; name a {', '.join(endings)} file inside it"
        )
    if not file.is_file():
        raise ValueError(f"{file}: no such file; check the path (looked in {file.resolve().parent})")
    if endings and file.suffix.lower() not in endings:
        raise ValueError(
            f"{file}: expected a file ending in {', '.join(endings)}, found {file.suffix or 'none'!r}; "
            "convert it"
        )
    if file.stat().st_size == 0:
        raise ValueError(f"{file}: the file is empty; name one that holds rows")
    return open(file, "rb")


def lines(file: str | Path, content: BinaryIO, *, newline: str | None = None) -> Iterator[str]:
    """Lines of an open UTF-8 file. Raises ValueError that names the line of the first other byte."""
    text = io.TextIOWrapper(content, encoding="utf-8-sig", newline=newline)
    try:
        yield from text
    except UnicodeDecodeError:
        content.seek(0)
        for number, line in enumerate(content, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{file}, line {number}: expected UTF-8, found byte 0x{line[error.start]:02x}; "
                    "save the file as UTF-8 (in a spreadsheet: export as CSV UTF-8)"
                ) from None
        raise  # the file has been changed in between


def checked(
    file: str | Path, content: BinaryIO, *, columns: Mapping[str, str], max_characters: int
) -> Iterator[dict[str, str]]:
    """What `rows` gives, from a file that `opened` has opened."""
    wanted = set(columns.values())
    names, table = _table(Path(file), content, wanted)
    missing = [column for column in columns.values() if column not in names]
    if missing:
        raise ValueError(
            f"{file}: expected a column {missing[0]!r}, found {', '.join(map(repr, names)) or 'none'}; name "
            "one of these"
        )
    number = 0
    for number, row in enumerate(table, 1):
        new = {str(k): "" if v is None else str(v) for k, v in row.items() if k not in wanted}
        for role, column in columns.items():
            try:
                new[role] = _cell(row.get(column), role=role, column=column, max_characters=max_characters)
            except ValueError as error:
                raise ValueError(f"{file}, row {number}: {error}") from None
        yield new
    if number == 0:
        raise ValueError(
            f"{file}: expected rows below the header, found none; add at least one labelled text"
        )


def with_splits(parts: dict[str, list], *, file: str | Path, seed: int) -> dict[str, list]:
    """The parts, with validation and test, where they are absent, split off "train" by `split`."""
    absent = [name for name in ("validation", "test") if name not in parts]
    train = parts["train"]
    rows = split(numpy.zeros(len(train), dtype=int), [None], absent, file=file, seed=seed)
    return parts | {name: [train[i] for i in chosen] for name, chosen in rows.items()}


def split(
    labels: numpy.ndarray, names: Sequence[str | None], absent: Sequence[str], *, file: str | Path, seed: int
) -> dict[str, numpy.ndarray]:
    """Rows of "train" and of every absent split: a tenth of each label, at least one row.

    labels: (rows,) numbers of `names`; [None] where there are none. Raises ValueError where a label has too
    few rows.
    """
    parts: dict[str, list] = {name: [] for name in ("train", *absent)}
    rng = numpy.random.default_rng(seed)
    ends = numpy.bincount(labels, minlength=len(names)).cumsum()[:-1]
    of_label = numpy.split(numpy.argsort(labels, kind="stable"), ends)
    for label, members in sorted(zip(names, of_label, strict=True), key=lambda pair: pair[0]):
        if len(members) <= len(absent):
            rows = "rows" if label is None else f"rows with label {label!r}"
            raise ValueError(
                f"{file}: expected at least {len(absent) + 1} {rows} to split off {' and '.join(absent)}, "
                f"found {len(members)}; add rows, or give {' and '.join(absent)} as files"
            )
        members = members[rng.permutation(len(members))]
        tenth = max(1, round(0.1 * len(members)))
        for k, name in enumerate(absent):
            parts[name].append(members[k * tenth : (k + 1) * tenth])
        parts["train"].append(members[len(absent) * tenth :])
    return {name: numpy.sort(numpy.concatenate(chosen)) for name, chosen in parts.items()}


def _cell(value, *, role: str, column: str, max_characters: int) -> str:
    """The cell as text. The message of its ValueError goes on after the file's name and the row."""
    what = "label" if role == "label" else "text"
    if value is not None and not isinstance(value, CELLS):
        raise ValueError(
            f"expected a text, a number, true or false in column {column!r}, found a value of type "
            f"{type(value).__name__}; write one {what} in every row"
        )
    text = "" if value is None else str(value)
    if role == "label":
        text = text.strip()
        if text in ("", "nan", "NaN"):
            raise ValueError(f"the label in column {column!r} is missing; fill it in or delete the row")
    elif not text.strip():
        raise ValueError(f"the text in column {column!r} is empty; fill it in or delete the row")
    elif len(text) > max_characters:
        raise ValueError(
            f"expected at most {max_characters:,} characters in {column!r}, found {len(text):,}; split the "
            "text, or check for a quote that is never closed"
        )
    return text


def _table(file: Path, content: BinaryIO, wanted: set[str]) -> tuple[Sequence[str], Iterable[dict]]:
    """(column names, rows). Cells stay as written: "NA" and "01" are texts and labels here, not numbers.

    Read with the standard library and Arrow rather than through `datasets`, which tells neither the row nor,
    in plain words, the fault, takes a file's name for a pattern, and may serve an edited file from its cache.
    """
    kind = file.suffix.lower()
    if kind == ".parquet":
        return _parquet(file, content)
    if kind == ".jsonl":
        return _jsonl(file, content, wanted)
    return _csv(file, content, separator="\t" if kind == ".tsv" else ",")


def _csv(file: Path, content: BinaryIO, *, separator: str) -> tuple[Sequence[str], Iterable[dict]]:
    table = _cells(file, content, separator)
    columns = next(table, [])
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise ValueError(f"{file}: expected every column once, found {twice[0]!r} twice; rename one")

    def rows() -> Iterator[dict]:
        for number, cells in enumerate(table, 1):
            if len(cells) != len(columns):
                raise ValueError(
                    f"{file}, row {number}: expected {len(columns)} cells, found {len(cells)}; "
                    f"put texts that contain {'a comma' if separator == ',' else 'a tab'} in quotes"
                )
            yield dict(zip(columns, cells, strict=True))

    return columns, rows()


def _cells(file: Path, content: BinaryIO, separator: str) -> Iterator[list[str]]:
    """The header and the rows, without blank lines."""
    table = csv.reader(lines(file, content, newline=""), delimiter=separator, strict=True)
    rows = 0  # the header included, so this is the number of the row that comes next
    while True:
        limit = csv.field_size_limit(2**31 - 1)  # how long a text may be is what max_characters says
        try:
            cells = next(table, None)
        except csv.Error:
            raise ValueError(
                f"{file}, row {max(1, rows)}: a double quote is not closed or not doubled; write a "
                'quote inside a quoted text as ""'
            ) from None
        finally:
            csv.field_size_limit(limit)
        if cells is None:
            return
        if cells:
            rows += 1
            yield cells


def _jsonl(file: Path, content: BinaryIO, wanted: set[str]) -> tuple[Sequence[str], Iterable[dict]]:
    objects = _objects(file, content)
    first = next(objects, {})
    if wanted <= first.keys():
        return list(first), chain([first], objects)
    # What row 1 lacks is refused; whether as a column or as a cell is for the other rows to say.
    return list(dict.fromkeys(chain(first, chain.from_iterable(objects)))), [first]


def _objects(file: Path, content: BinaryIO) -> Iterator[dict]:
    for number, line in enumerate(lines(file, content), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)  # digits stay
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise ValueError(
                f"{file}, line {number}: expected one JSON object, found {line.strip()[:40]!r}; "
                'write each row as {"text": "...", "label": "..."} on a line of its own'
            )
        yield row


def _parquet(file: Path, content: BinaryIO) -> tuple[Sequence[str], Iterable[dict]]:
    import pyarrow
    from pyarrow import parquet

    def rows() -> Iterator[dict]:
        try:
            for block in table.iter_batches(10_000):
                yield from block.to_pylist()
        except (pyarrow.ArrowInvalid, OSError):
            raise unreadable from None

    unreadable = ValueError(f"{file}: not readable as PARQUET; is it another format, or cut off?")
    try:
        table = parquet.ParquetFile(content)
    except (pyarrow.ArrowInvalid, OSError):
        raise unreadable from None
    return table.schema_arrow.names, rows()
