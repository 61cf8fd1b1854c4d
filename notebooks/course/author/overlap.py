"""The data checker: labels, columns and splits as the datasheet says, and no text in two places."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

COLUMNS = ["text", "label", "domain", "kind"]
LABELS = {"negative", "positive"}
HARD = {"mixed", "ironic", "negated"}
KINDS = {
    "train": {"plain"} | HARD,
    "validation": {"plain"} | HARD,
    "test": {"plain"} | HARD,
    "implied": {"implied"},
}
ANYWHERE, WITH_TRAINING = 8, 6  # so many words in a row may no two rows share; no held-out row with train


@dataclass(frozen=True)
class Row:
    """One line of a set; `number` counts from 1 below the header."""

    file: str  # "train"
    number: int
    text: str
    label: str
    domain: str
    kind: str

    def __str__(self) -> str:
        return f"{self.file}.csv row {self.number}"


@dataclass(frozen=True)
class Report:
    """What the sets hold and what is wrong with them, in lines."""

    counts: tuple[str, ...]
    faults: tuple[str, ...]


def words(text: str) -> tuple[str, ...]:
    """The words as they are compared: small letters, no punctuation.

    >>> words("It’s GREAT, really.")
    ("it's", 'great', 'really')
    """
    return tuple(re.findall(r"\w+(?:'\w+)*", text.replace("’", "'").casefold()))


def shared_runs(rows: Sequence[str], length: int = 8) -> list[tuple[int, int, str]]:
    """(i, j, run) for each pair i < j of texts that share `length` words in a row; the first such run of j.

    >>> shared_runs(["a b c d", "x b c d", "b c"], length=3)
    [(0, 1, 'b c d')]
    """
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    found: dict[tuple[int, int], str] = {}
    for j, text in enumerate(rows):
        said = words(text)
        for start in range(len(said) - length + 1):
            run = said[start : start + length]
            for i in holders[run]:
                if i != j:
                    found.setdefault((i, j), " ".join(run))
            if not holders[run] or holders[run][-1] != j:
                holders[run].append(j)
    return [(i, j, run) for (i, j), run in sorted(found.items())]


def repeated(rows: Sequence[str]) -> list[tuple[int, int]]:
    """(i, j) for each text j whose words are those of an earlier text i, however short they are."""
    first: dict[tuple[str, ...], int] = {}
    return [(i, j) for j, text in enumerate(rows) if (i := first.setdefault(words(text), j)) != j]


def examine(data: Path) -> Report:
    """Everything that is checked about data/reviews and its datasheet, data/README.md."""
    rows, faults = read(data / "reviews")
    texts = [row.text for row in rows]
    for row in rows:
        faults += [f"{row}: {said}" for said in values(row)]
    faults += [f"{rows[j]} repeats {rows[i]}: delete one" for i, j in repeated(texts)]
    for i, j, run in shared_runs(texts, ANYWHERE):
        faults.append(f"{rows[i]} and {rows[j]} share {ANYWHERE} words ({run}): reword one")
    for i, j, run in shared_runs(texts, WITH_TRAINING):
        files = {rows[i].file, rows[j].file}
        if "train" in files and files & {"validation", "test"}:
            faults.append(f"{rows[i]} and {rows[j]} share {WITH_TRAINING} words ({run}): reword one")
    faults += datasheet(data / "README.md", rows)
    return Report(tuple(summary(rows)), tuple(faults))


def read(folder: Path) -> tuple[list[Row], list[str]]:
    """The rows of the sets, and what is wrong with the files themselves."""
    rows, faults = [], []
    names = {file.stem for file in folder.glob("*.csv")}
    faults += [f"{name}.csv: not there" for name in KINDS if name not in names]
    faults += [f"{name}.csv: not a set of the datasheet" for name in sorted(names - set(KINDS))]
    for name in KINDS:
        if name not in names:
            continue
        with open(folder / f"{name}.csv", encoding="utf-8", newline="") as lines:
            header, *body = list(csv.reader(lines)) or [[]]
        if header != COLUMNS:
            faults.append(f"{name}.csv: expected the columns {', '.join(COLUMNS)}, found {', '.join(header)}")
            continue
        for number, cells in enumerate(body, 1):
            if len(cells) == len(COLUMNS):
                rows.append(Row(name, number, *cells))
            else:
                faults.append(f"{name}.csv row {number}: expected {len(COLUMNS)} cells, found {len(cells)}")
    return rows, faults


def values(row: Row) -> list[str]:
    """What is wrong with one row by itself."""
    found = []
    if not words(row.text):
        found.append("no words")
    if row.label not in LABELS:
        found.append(f"expected a label out of {', '.join(sorted(LABELS))}, found {row.label!r}")
    if row.kind not in KINDS[row.file]:
        found.append(f"expected a kind out of {', '.join(sorted(KINDS[row.file]))}, found {row.kind!r}")
    if not row.domain:
        found.append("no domain")
    return found


def datasheet(file: Path, rows: Sequence[Row]) -> list[str]:
    """Sets whose counts (rows, each label, each kind) stand on no line of the datasheet beside their name."""
    place = f"{file.parent.name}/{file.name}"
    if not file.is_file():
        return [f"{place}: the datasheet is not there"]
    lines = [
        re.findall(r"\w+", line) for line in file.read_text(encoding="utf-8").replace(",", "").splitlines()
    ]
    faults = []
    for name in dict.fromkeys(row.file for row in rows):
        own = [row for row in rows if row.file == name]
        counts = [
            len(own),
            *Counter(row.label for row in own).values(),
            *Counter(row.kind for row in own).values(),
        ]
        if not any(Counter([name, *map(str, counts)]) <= Counter(line) for line in lines):
            said = ", ".join(map(str, counts))
            faults.append(f"{place}: no line gives {name} and its counts, {said}; correct the datasheet")
    return faults


def summary(rows: Sequence[Row]) -> list[str]:
    """A line per set: rows, labels, domains, kinds."""
    said = []
    for name in KINDS:
        own = [row for row in rows if row.file == name]
        parts = (Counter(getattr(row, column) for row in own) for column in COLUMNS[1:])
        told = "; ".join(", ".join(f"{k} {n}" for k, n in sorted(part.items())) for part in parts)
        said.append(f"{name}: {len(own)} rows; {told}")
    return said
