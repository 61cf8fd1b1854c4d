"""prepared(file): the rows of a table, tokenised once, in an Arrow file that is mapped into memory.

The file lies in the cache folder under the SHA-256 of all that decides what is in it, so that an edited table
or another tokenizer is prepared anew; so is a file that its checksum, beside it, does not fit. It is written
and mapped by `datasets`, in these columns: ids (the tokens), shortened, one for each role, and row (the
table's other columns, as JSON).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import warnings
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy

from ..checksums import sha256
from . import tables
from .task import encode

FORMAT = 2  # raise it when what is written below changes
BLOCK = 10_000  # rows that are tokenised, written and mapped together


def prepared(
    file: str | Path,
    tokenizer,
    *,
    columns: Mapping[str, str],
    max_tokens: int,
    max_characters: int = tables.MAX_CHARACTERS,
) -> Prepared:
    """The table's rows, the role "text" tokenised: from the cache folder, or written there first.

    Raises ValueError as `tables.rows` does, and OSError where the cache folder cannot be written.
    """
    with tables.opened(file, endings=tables.FORMATS) as content:
        digest = sha256(content)
        content.seek(0)
        rows = tables.checked(file, content, columns=columns, max_characters=max_characters)
        known = _fingerprint(tokenizer)
        if known is None:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                target = Path(folder) / "tokens.arrow"
                _write(target, rows, tokenizer, columns=columns, max_tokens=max_tokens)
                return Prepared(target, sha256=digest)
        kind = Path(file).suffix.lower()
        key = json.dumps([FORMAT, digest, kind, dict(columns), max_characters, max_tokens, known])
        target = cache_folder() / f"tokens-{hashlib.sha256(key.encode()).hexdigest()[:32]}.arrow"
        if not _whole(target):
            with _alone(target.parent):
                if not _whole(target):  # another process may have written it in the meantime
                    draft = target.parent / "tokens.part"  # one name: what a killed process left is replaced
                    try:
                        _write(draft, rows, tokenizer, columns=columns, max_tokens=max_tokens)
                        _checksum(target).write_text(f"{sha256(draft)}  {target.name}\n", encoding="ascii")
                        os.replace(draft, target)
                    finally:
                        draft.unlink(missing_ok=True)
        return Prepared(target, sha256=digest)


def cache_folder() -> Path:
    """Where prepared tokens are kept: FTKIT_CACHE, or ftkit in the user's cache folder. It may be emptied."""
    own = os.environ.get("FTKIT_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ftkit"


class Prepared:
    """A mapped file of tokens: what is not looked at is not in memory."""

    def __init__(self, path: Path, *, sha256: str):
        import datasets

        table = datasets.Dataset.from_file(str(path)).data.table
        self.sha256 = sha256  # of the table that this was made from
        self._columns = {name: table[name].chunks for name in table.column_names}
        self._ids = [(block.offsets.to_numpy(), block.values.to_numpy()) for block in self._columns["ids"]]
        self.lengths = numpy.concatenate([numpy.diff(offsets) for offsets, _ in self._ids])  # (rows,)
        self._starts = numpy.cumsum([0, *map(len, self._columns["ids"])]).tolist()  # first row of each block
        self.shortened = sum(block.true_count for block in self._columns["shortened"])  # texts
        self.names: tuple[str, ...] = ()  # of the labels, in the order of their first rows
        self.labels = numpy.zeros(0, dtype=numpy.uint8)  # (rows,), numbers of `names`
        if "label" in self._columns:
            blocks = table["label"].dictionary_encode().unify_dictionaries().chunks
            self.names = tuple(blocks[0].dictionary.to_pylist())
            kind = numpy.min_scalar_type(len(self.names))  # a byte per row where that suffices
            self.labels = numpy.concatenate([block.indices.to_numpy().astype(kind) for block in blocks])

    def __len__(self) -> int:
        return len(self.lengths)

    def ids(self, row: int) -> numpy.ndarray:
        """(tokens,)"""
        block = bisect_right(self._starts, row) - 1
        offsets, values = self._ids[block]
        place = row - self._starts[block]
        return values[offsets[place] : offsets[place + 1]].astype(numpy.int64)

    def cell(self, column: str, row: int) -> str:
        """What a column holds in that row."""
        block = bisect_right(self._starts, row) - 1
        return self._columns[column][block][row - self._starts[block]].as_py()


@dataclass(frozen=True)
class StoredExample:
    """A labelled text that stays in the file until somebody asks for it."""

    number: int
    ids: numpy.ndarray = field(repr=False)  # (tokens,)
    label: int
    file: Prepared = field(repr=False, compare=False)
    at: int = field(repr=False)  # row of the file, from 0

    @property
    def text(self) -> str:
        """The text that `ids` are the tokens of."""
        return self.file.cell("text", self.at)

    @property
    def row(self) -> dict[str, str]:
        """The table's other columns."""
        return json.loads(self.file.cell("row", self.at))

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Stored(Sequence):
    """Rows of a prepared file as examples, each made when it is asked for; a slice is another such view."""

    file: Prepared = field(repr=False)
    rows: numpy.ndarray = field(repr=False)  # (examples,), counted from 0
    numbers: range
    labels: numpy.ndarray = field(repr=False)  # the file's label -> the task's

    @property
    def lengths(self) -> numpy.ndarray:
        """(examples,) tokens of each."""
        return self.file.lengths[self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int | slice) -> StoredExample | Stored:
        if isinstance(index, slice):
            return Stored(self.file, self.rows[index], self.numbers[index], self.labels)
        at = int(self.rows[index])
        label = int(self.labels[self.file.labels[at]])
        return StoredExample(self.numbers[index], self.file.ids(at), label, self.file, at)


def _fingerprint(tokenizer) -> dict | None:
    """All that decides which tokens a text becomes; None where it cannot be told."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    about = json.loads(backend.to_str())
    about = {k: v for k, v in about.items() if k not in ("truncation", "padding")}  # set by every call
    return about | {
        name: getattr(tokenizer, name, None) for name in ("truncation_side", "split_special_tokens")
    }


def _checksum(target: Path) -> Path:
    """Where the SHA-256 of a prepared file stands."""
    return target.with_name(f"{target.name}.sha256")


def _whole(target: Path) -> bool:
    """Whether the prepared file is there and holds what was written."""
    try:
        return _checksum(target).read_bytes().split()[:1] == [sha256(target).encode()]
    except OSError:
        return False


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The right to write in the cache folder, which one process has at a time."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        try:
            lock.acquire(timeout=10)
        except Timeout:
            warnings.warn(f"waiting for another process that prepares tokens in {folder}", stacklevel=5)
            lock.acquire()
    except (OSError, NotImplementedError) as error:  # no folder, no right to write, or no locks there
        raise OSError(
            f"{folder}: expected a folder where prepared tokens can be kept, found {error}; name another one "
            "in FTKIT_CACHE"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _write(
    target: Path, rows: Iterable[dict[str, str]], tokenizer, *, columns: Mapping[str, str], max_tokens: int
) -> None:
    """Tokenise the rows and write them, block by block: never more than a block is in memory."""
    import pyarrow
    from datasets import Features, List, Value
    from datasets.arrow_writer import ArrowWriter

    vocabulary = getattr(tokenizer, "get_vocab", dict)().values()
    number = "uint16" if vocabulary and max(vocabulary) < 2**16 else "int32"
    strings = [*columns, "row"]
    kinds = {"ids": List(Value(number)), "shortened": Value("bool")} | dict.fromkeys(strings, Value("string"))
    features, rows = Features(kinds), iter(rows)
    with ArrowWriter(path=str(target), features=features, writer_batch_size=BLOCK) as file:
        while block := list(islice(rows, BLOCK)):
            ids, shortened = encode(tokenizer, [row["text"] for row in block], max_tokens=max_tokens)
            others = [{name: cell for name, cell in row.items() if name not in columns} for row in block]
            cells = {role: [row[role] for row in block] for role in columns}
            cells["row"] = [json.dumps(other, ensure_ascii=False) for other in others]
            ends = numpy.cumsum([0, *map(len, ids)], dtype=numpy.int32)
            tokens = numpy.concatenate(ids).astype(number)
            arrays = [pyarrow.ListArray.from_arrays(ends, tokens), pyarrow.array(shortened)]
            arrays += [pyarrow.array(cells[name], type=pyarrow.string()) for name in strings]
            file.write_table(pyarrow.table(arrays, schema=features.arrow_schema))
        file.finalize()
