"""Run notebooks and store their outputs, so that they read without a kernel and change only with results."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from .measure import note
from .minutes import note_reading
from .notebook import code_cells, give_ids, is_checked, pictures, read, write, write_text
from .stamp import stamp

CELL_SECONDS = 300
PNG_BYTES = 60 * 1024
PEAK = "from course.author.measure import peak_bytes\npeak_bytes()"
WIDGET = "application/vnd.jupyter.widget-view+json"
VOLATILE = ("execution", "ExecuteTime", "executionInfo", "outputId", "collapsed", "scrolled")
PROGRESS = re.compile(r"\d+%\||\[\d+:\d+(:\d+)?[<,]|\d+it \[")  # what tqdm draws
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Refreshed:
    """What a person who refreshes should know about one notebook."""

    seconds: float
    size: int  # bytes of the file
    warnings: tuple[str, ...]


def refresh(file: Path, *, address: str, stamp_only: bool = False, root: Path) -> Refreshed:
    """Stamp, execute and tidy the notebook in `file`, then replace the file. An error leaves it as it is."""
    notebook = read(file)
    give_ids(notebook)
    stamp(notebook, stem=file.stem, address=address)
    began, warnings = time.perf_counter(), []
    if not stamp_only:
        peak = execute(notebook, file=file, root=root)
        note(notebook, seconds=time.perf_counter() - began, peak=peak)
        warnings = [f"{file.stem}, cell {name}: on stderr: {said}" for name, said in warned(notebook)]
        tidy(notebook)
        note_reading(notebook)
    for name, cell in code_cells(notebook):
        for size in pictures(cell):
            if size > PNG_BYTES:
                warnings.append(f"{file.stem}, cell {name}: a PNG of {size / 1024:.0f} KB; at most 60 KB")
    seconds, size = time.perf_counter() - began, write(file, notebook)
    if not stamp_only and file.resolve().parent == root / "notebooks":
        remember_checked(root, file.stem, sum(map(is_checked, notebook.cells)))
    return Refreshed(seconds, size, tuple(warnings))


def execute(notebook: NotebookNode, *, file: Path, root: Path) -> int:
    """Run all cells in a fresh kernel of this interpreter; the kernel's peak memory in bytes.

    The kernel works at laptop scale without a GPU, in the notebook's folder, and keeps solved exercises in a
    file of its own, so that the author's are neither read nor written.
    """
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    # Without folders to search, "python3" is ipykernel in this interpreter.
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    client = NotebookClient(
        notebook,
        km=manager,
        extra_arguments=["--log-level=ERROR"],  # it warns that others on this machine could listen
        timeout=CELL_SECONDS,
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(file.parent)}},
    )
    with tempfile.TemporaryDirectory() as folder:
        path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
        environment = os.environ | {
            "FTKIT_SCALE": "laptop",
            "FTKIT_PROGRESS": str(Path(folder) / "progress.json"),
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": path,
        }
        with client.setup_kernel(cleanup_kc=True, env=environment):
            for number, cell in enumerate(notebook.cells):
                try:
                    client.execute_cell(cell, number)
                except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                    raise RuntimeError(
                        f"{file.stem}, cell {cell['id']} (number {number + 1}): "
                        f"{ESCAPES.sub('', str(error)).strip()}\n{file.name} is left as it was; mend the cell"
                    ) from None
            notebook.cells.append(nbformat.v4.new_code_cell(PEAK))
            asked = client.execute_cell(notebook.cells[-1], len(notebook.cells) - 1)
    notebook.cells.pop()
    return int(asked.outputs[-1]["data"]["text/plain"])


def warned(notebook: NotebookNode) -> list[tuple[str, str]]:
    """(cell, line) of what is on stderr and no progress bar: it is not stored, so someone must hear of it."""
    found = []
    for name, cell in code_cells(notebook):
        text = "".join(
            o["text"] for o in cell.outputs if o["output_type"] == "stream" and o["name"] == "stderr"
        )
        for said in re.split(r"[\r\n]+", ESCAPES.sub("", text)):
            if said.strip() and not PROGRESS.search(said):
                found.append((name, said.strip()))
    return found


def tidy(notebook: NotebookNode) -> None:
    """Take out what differs from run to run or needs a kernel: timings, widgets, stderr, versions."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata["language_info"] = {
        "name": "python",
        "file_extension": ".py",
        "mimetype": "text/x-python",
    }
    count = 0
    for _, cell in code_cells(notebook):
        for key in VOLATILE:
            cell.metadata.pop(key, None)
        cell["outputs"] = _lasting(cell.outputs)
        if cell["execution_count"] is None:
            continue
        count += 1
        cell["execution_count"] = count
        for output in cell.outputs:
            if output["output_type"] == "execute_result":
                output["execution_count"] = count


def _lasting(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Without stderr and widget views; neighbouring pieces of stdout as one: where it is cut is chance."""
    kept: list[NotebookNode] = []
    for output in outputs:
        output.pop("transient", None)
        stream = output["output_type"] == "stream"
        if (stream and output["name"] == "stderr") or WIDGET in output.get("data", {}):
            continue
        if stream and kept and kept[-1]["output_type"] == "stream":
            kept[-1]["text"] += output["text"]
        else:
            kept.append(output)
    return kept


def remember_checked(root: Path, stem: str, count: int) -> None:
    """Note in tests/claims.json how many cells nbval compares, if they have become more; never fewer."""
    file = root / "tests" / "claims.json"
    counts = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if count > counts.get(stem, 0):
        write_text(file, json.dumps(counts | {stem: count}, indent=1, sort_keys=True) + "\n")
