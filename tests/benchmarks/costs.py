"""What the loop asks of the machine besides time per update: rows, start, logits."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from ftkit.tasks.language_modelling import LanguageModelling, Tokens

from . import workload
from .report import SPREAD, rates, spread
from .systems import System
from .workers import workers
from .workload import SHAPES, Padding, Shape, Workload, text_lengths

FEW, MANY = 10_000, 1_000_000
FIRST_CELL = "from course import check, claim, hint, setup, show, solution\n\nlab = setup()"


def costs(*, say: Callable[[str], None], threads: int = 2) -> dict:
    """All of them, as `report.goals` reads them."""
    say("start: importing, and the first cell of a notebook")
    found = {"import": importing(), "first_cell": first_cell(), "logits": logits()}
    say(f"rows: {FEW:,} and {MANY:,}, prepared and trained on; this takes some minutes")
    return found | rows(few=FEW, many=MANY, threads=threads)


def importing(*, times: int = 5) -> SPREAD:
    """Seconds of `import ftkit` in a fresh interpreter."""
    code = "import time; began = time.perf_counter(); import ftkit; print(time.perf_counter() - began)"
    answers = [subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)]
    answers += [
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
        for _ in range(times - 1)
    ]
    return spread([float(answer.stdout) for answer in answers])


def first_cell(*, times: int = 3) -> SPREAD:
    """Seconds from asking for a kernel until a notebook's first cell has run in it."""
    import nbformat
    from nbclient import NotebookClient

    found = []
    for _ in range(times):
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(FIRST_CELL)])
        began = time.perf_counter()
        where = {"metadata": {"path": str(Path(__file__).parents[2] / "notebooks")}}
        NotebookClient(book, kernel_name="python3", resources=where).execute()
        found.append(time.perf_counter() - began)
    return spread(found)


def logits(*, words: int = 50_257, tokens: int = 512) -> float:
    """Bytes of logits (and what is made of them) that an update holds at once, over those of all logits."""
    shape = Shape("gpt2", words=words, width=64, blocks=2, heads=2, inner=128)
    task = LanguageModelling(
        Padding(), [Tokens(i, numpy.arange(64)) for i in range(tokens // 64)], [], [], 64
    )
    model = workload.model(shape, task)
    batch = task.collate(task.train, "cpu")
    with Alive(words, apart=shape.width) as seen:
        task.loss(model, batch)[0].backward()
    return seen.most / (tokens * words * 4)


class Alive(TorchDispatchMode):
    """Counts the bytes, alive at once, of the tensors with one dimension of `words` and none of `apart`."""

    def __init__(self, words: int, *, apart: int):
        super().__init__()
        self.words, self.apart, self.most = words, apart, 0
        self._now: dict[int, int] = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_iter(result):
            if isinstance(tensor, Tensor) and self.words in tensor.shape and self.apart not in tensor.shape:
                self._note(tensor.untyped_storage())
        self.most = max(self.most, sum(self._now.values()))
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = storage.data_ptr()
        if key not in self._now and storage.nbytes():
            self._now[key] = storage.nbytes()
            weakref.finalize(storage, self._now.pop, key, None)


def rows(*, few: int, many: int, threads: int = 2, updates: int = 10, turns: int = 5) -> dict:
    """Memory of the process and time per token with many rows over those with few, in turns."""
    load = Workload(updates=updates, turns=turns, threads=threads)
    who = System("rows", "lora", "ftkit")
    with tempfile.TemporaryDirectory() as folder:
        met = []
        for count in (few, many):
            file = Path(folder) / f"{count}.csv"
            write(file, count=count, load=load)
            met.append(replace(who, name=f"{count:,} rows", file=str(file)))
        with workers(met, load) as running:
            records: list[dict] = [{"turns": []} for _ in running]
            for number in range(turns + 1):
                for worker, record in zip(running, records, strict=True):
                    turn = worker.ask("turn", number)
                    if number:  # the first is warm-up
                        record["turns"].append({"seconds": turn.seconds, "tokens": turn.tokens})
            for worker in running:
                worker.ask("memory")  # an update on the longest texts: both processes have met the worst
            memory = [worker.ask("resident") for worker in running]
    pairs = zip(rates(records[0]), rates(records[1]), strict=True)
    return {
        "rows_time": spread([less / more for less, more in pairs]),
        "rows_memory": memory[1]["now"] / memory[0]["now"],
        "rows_resident": memory,
    }


def write(file: Path, *, count: int, load: Workload) -> None:
    """A CSV file of so many texts of whole words, each one token, with two labels."""
    from ftkit import models

    vocabulary = models.tokenizer(SHAPES["minilm"].checkpoint).get_vocab()
    words = numpy.array(sorted(w for w in vocabulary if w.isalpha() and w.isascii() and len(w) > 2))
    rng = numpy.random.default_rng(load.seed)
    lengths = numpy.maximum(1, text_lengths(load, count) - 2)  # the first and the last token are added
    with open(file, "w", encoding="utf-8") as out:
        out.write("text,label\n")
        for block in numpy.array_split(lengths, max(1, count // 10_000)):
            drawn = words[rng.integers(len(words), size=block.sum())]
            texts = numpy.split(drawn, block.cumsum()[:-1])
            labels = rng.integers(2, size=len(block))
            out.writelines(
                f"{' '.join(text)},{'yes' if y else 'no'}\n" for text, y in zip(texts, labels, strict=True)
            )
