"""Tokens are prepared once: a table's rows in an Arrow file that is mapped into memory, not read into it.

The file lies in the cache folder under the SHA-256 of all that decides what is in it, so that an edited table
or another tokenizer is prepared anew. It holds four columns: ids (the tokens), text, label (a number) and row
(the other columns, as JSON). Every block carries the labels' names and the number of shortened texts so far.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy

from . import files

FORMAT = 1  # raise it when what is written below changes
BLOCK = 10_000  # rows that are tokenised, written and mapped together


def lengths(examples: Sequence) -> numpy.ndarray:
    """(examples,) tokens of each."""
    if isinstance(examples, Stored):
        return examples.file.lengths[examples.rows]
    return numpy.fromiter(map(len, examples), dtype=numpy.int64, count=len(examples))


def prepared(
    file: str | Path, tokenizer, *, text: str, label: str, max_tokens: int, max_characters: int
) -> Prepared:
    """The table's rows, tokenised: from the cache folder, or written there first.

    Raises ValueError as `files.rows` does, and OSError where the cache folder cannot be written.
    """
    import pyarrow

    given = {"text": text, "label": label, "max_characters": max_characters}
    known = _fingerprint(tokenizer)
    if known is None or not Path(file).is_file():  # `files.rows` says what is wrong with the path
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            target = Path(folder) / "tokens.arrow"
            _write(target, files.rows(file, **given), tokenizer, max_tokens)
            return Prepared(target)
    with open(file, "rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    key = json.dumps([FORMAT, digest, Path(file).suffix.lower(), given, max_tokens, known])
    target = cache_folder() / f"tokens-{hashlib.sha256(key.encode()).hexdigest()[:32]}.arrow"
    with suppress(OSError, pyarrow.ArrowInvalid):  # not there, or damaged: prepared anew below
        return Prepared(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        place = tempfile.TemporaryDirectory(dir=target.parent, prefix="tokens-")
    except OSError as error:
        raise OSError(
            f"{target.parent}: expected a folder where prepared tokens can be kept, found {error}; name "
            "another one in FTKIT_CACHE"
        ) from None
    with place as folder:
        part = Path(folder) / target.name
        _write(part, files.rows(file, **given), tokenizer, max_tokens)
        os.replace(part, target)  # whole or not at all, whoever else is at it
    return Prepared(target)


def cache_folder() -> Path:
    """Where prepared tokens are kept: FTKIT_CACHE, or ftkit in the user's cache folder. It may be emptied."""
    own = os.environ.get("FTKIT_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ftkit"


class Prepared:
    """A mapped Arrow file: what is not looked at is not in memory."""

    def __init__(self, path: Path):
        import pyarrow

        reader = pyarrow.ipc.open_file(pyarrow.memory_map(str(path)))
        last, about = reader.get_batch_with_custom_metadata(reader.num_record_batches - 1)
        self._blocks = [*map(reader.get_batch, range(reader.num_record_batches - 1)), last]
        self._rows = self._blocks[0].num_rows  # of every block but the last
        self.names: tuple[str, ...] = tuple(json.loads(about[b"names"]))  # of the labels, as they came
        self.cut = int(about[b"cut"])  # texts that were longer than max_tokens
        self._ids = [(b["ids"].offsets.to_numpy(), b["ids"].values.to_numpy()) for b in self._blocks]
        self.lengths = numpy.concatenate([numpy.diff(offsets) for offsets, _ in self._ids])
        kind = numpy.min_scalar_type(len(self.names))  # a byte per row where that suffices
        self.labels = numpy.concatenate([b["label"].to_numpy().astype(kind) for b in self._blocks])

    def __len__(self) -> int:
        return len(self.labels)

    def ids(self, row: int) -> numpy.ndarray:
        """(tokens,)"""
        block, place = divmod(row, self._rows)
        offsets, values = self._ids[block]
        return values[offsets[place] : offsets[place + 1]].astype(numpy.int64)

    def cell(self, column: str, row: int) -> str:
        """What a column holds in that row."""
        block, place = divmod(row, self._rows)
        return self._blocks[block][column][place].as_py()


@dataclass(frozen=True)
class StoredExample:
    """An `Example` whose text stays in the file until somebody asks for it."""

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


def encode(tokenizer, texts: list[str], *, max_tokens: int) -> tuple[list[list[int]], int]:
    """(tokens of every text, at most `max_tokens`; how many texts were longer)."""
    tokens = tokenizer(texts, truncation=False, verbose=False)["input_ids"]
    over = [i for i, ids in enumerate(tokens) if len(ids) > max_tokens]
    if over:
        cut = tokenizer([texts[i] for i in over], truncation=True, max_length=max_tokens)["input_ids"]
        for i, ids in zip(over, cut, strict=True):
            tokens[i] = ids
    return tokens, len(over)


def _write(target: Path, rows: Iterable[dict[str, str]], tokenizer, max_tokens: int) -> None:
    """Tokenise the rows and write them, block by block: never more than a block is in memory."""
    import pyarrow

    ids = getattr(tokenizer, "get_vocab", dict)().values()
    number = pyarrow.uint16() if ids and max(ids) < 2**16 else pyarrow.int32()
    kinds = {
        "ids": pyarrow.list_(number),
        "text": pyarrow.string(),
        "label": pyarrow.int32(),
        "row": pyarrow.string(),
    }
    schema, rows = pyarrow.schema(kinds), iter(rows)
    names: dict[str, int] = {}
    cut = 0
    with pyarrow.OSFile(str(target), "wb") as out, pyarrow.ipc.new_file(out, schema) as file:
        while block := list(islice(rows, BLOCK)):
            tokens, over = encode(tokenizer, [row["text"] for row in block], max_tokens=max_tokens)
            cut += over
            columns = {
                "ids": tokens,
                "text": [row["text"] for row in block],
                "label": [names.setdefault(row["label"], len(names)) for row in block],
                "row": [json.dumps(files.others(row), ensure_ascii=False) for row in block],
            }
            arrays = [pyarrow.array(columns[name], type=kind) for name, kind in kinds.items()]
            about = {"names": json.dumps(list(names)), "cut": str(cut)}
            file.write_batch(pyarrow.record_batch(arrays, schema=schema), custom_metadata=about)
