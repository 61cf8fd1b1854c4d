"""Read a learner's table and refuse, with file, row and remedy, what cannot be trained on."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy

FORMATS = {".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".parquet": "parquet"}


def read(file: str | Path, *, text: str, label: str | None, max_characters: int) -> list[dict[str, str]]:
    """Rows as {"text": …, "label": …, other columns}; errors count rows from 1, the header not counted."""
    file = Path(file)
    columns, rows = _table(file)
    wanted = [c for c in (text, label) if c is not None]
    missing = [c for c in wanted if c not in columns]
    if missing:
        raise ValueError(
            f"{file}: expected a column {missing[0]!r}, found {', '.join(map(repr, columns))}; name one "
            "of these"
        )
    if not rows:
        raise ValueError(
            f"{file}: expected rows below the header, found none; add at least one labelled text"
        )
    found = []
    for number, row in enumerate(rows, 1):
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
        found.append(new)
    return found


def split(rows: dict[str, list], *, file: str | Path, seed: int) -> dict[str, list]:
    """Take what is missing of validation and test out of train: a tenth of each label, at least one row."""
    absent = [name for name in ("validation", "test") if name not in rows]
    if not absent:
        return rows
    by_label: dict[str, list[int]] = {}
    for i, row in enumerate(rows["train"]):
        by_label.setdefault(row["label"], []).append(i)
    parts: dict[str, list[int]] = {name: [] for name in ("train", *absent)}
    rng = numpy.random.default_rng(seed)
    for label, members in sorted(by_label.items()):
        if len(members) <= len(absent):
            raise ValueError(
                f"{file}: expected at least {len(absent) + 1} rows with label {label!r} to split off "
                f"{' and '.join(absent)}, found {len(members)}; add rows, or give {' and '.join(absent)} "
                "as files"
            )
        members = [members[i] for i in rng.permutation(len(members))]
        share = max(1, round(0.1 * len(members)))
        for k, name in enumerate(absent):
            parts[name] += members[k * share : (k + 1) * share]
        parts["train"] += members[len(absent) * share :]
    return rows | {name: [rows["train"][i] for i in sorted(chosen)] for name, chosen in parts.items()}


def _table(file: Path) -> tuple[list[str], list[dict]]:
    if file.is_dir():
        raise ValueError(
            f"{file}: expected a file, found a folder; name one {', '.join(FORMATS)} file inside it"
        )
    if not file.is_file():
        raise ValueError(f"{file}: no such file; check the path (looked in {file.resolve().parent})")
    if file.suffix.lower() not in FORMATS:
        raise ValueError(
            f"{file}: expected a file ending in {', '.join(FORMATS)}, found {file.suffix or 'no ending'!r}"
        )
    if file.stat().st_size == 0:
        raise ValueError(
            f"{file}: the file is empty; it needs a header with column names and at least one row"
        )
    if file.suffix.lower() != ".parquet":
        _refuse_other_encodings(file)
    import datasets

    keys = _as_written(file) if FORMATS[file.suffix.lower()] == "csv" else {}
    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        rows = datasets.load_dataset(
            FORMATS[file.suffix.lower()], data_files=str(file), split="train", **keys
        )
    except (datasets.exceptions.DatasetGenerationError, ValueError) as error:
        raise ValueError(
            f"{file}: not readable as {file.suffix[1:].upper()}: {_root(error)}; correct the file"
        ) from None
    finally:
        if shown:
            datasets.enable_progress_bars()
    return rows.column_names, rows.to_list()


def _as_written(file: Path) -> dict:
    """Settings that leave every cell as it stands: "NA", "01" and "" are texts here, not numbers."""
    from datasets import Features, Value

    separator = "\t" if file.suffix.lower() == ".tsv" else ","
    with open(file, encoding="utf-8-sig", newline="") as lines:
        columns = next(csv.reader(lines, delimiter=separator), [])
    twice = sorted({c for c in columns if columns.count(c) > 1})
    if twice:
        raise ValueError(f"{file}: expected every column name once, found {twice[0]!r} twice; rename one")
    features = Features({column: Value("string") for column in columns})
    return {"features": features, "sep": separator, "keep_default_na": False, "encoding": "utf-8-sig"}


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


def _root(error: BaseException) -> str:
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__
    return " ".join(str(error).split())
