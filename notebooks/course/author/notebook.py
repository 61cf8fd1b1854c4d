"""A notebook as a file of the repository: where it lies, its parts, reading, writing, faults found in it."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import os
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat import NotebookNode

# What a code cell is for. Picture and proof cells are folded: a page is understood without opening them.
KINDS = ("setup", "main", "picture", "proof", "exercise")
FOLDED = ("setup", "picture", "proof")
CHECKED = "nbval-check-output"  # nbval compares what a cell of this tag prints
TITLE = "# @title "  # Colab shows the rest of a folded cell's first line in the cell's place


@dataclass(frozen=True)
class Fault:
    """What is wrong in a notebook, where, and what to do about it."""

    notebook: str
    cell: str
    fault: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.notebook}, cell {self.cell}: {self.fault}; {self.remedy}"


@dataclass(frozen=True)
class Page:
    """One notebook and what the rest of the repository says about it."""

    stem: str  # "18_lora"
    notebook: NotebookNode
    size: int  # bytes of the file
    address: str  # of the public repository
    exercises: frozenset[str]  # numbers in course.answers
    checked: int  # cells that nbval compared before
    exceptions: Mapping[str, float] = field(default_factory=dict)  # limit: value that is tolerated


def root() -> Path:
    """The repository this package lies in."""
    place = Path(__file__).resolve().parents[3]
    if not (place / "pyproject.toml").is_file():
        raise ValueError(
            f"expected the repository's pyproject.toml in {place}, found none; run from a clone of the "
            "repository, installed with pip install -e ."
        )
    return place


def address(place: Path) -> str:
    """The repository's public address, which only pyproject.toml knows."""
    project = tomllib.loads((place / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = project.get("urls", {}).get("Repository", "").rstrip("/").removesuffix(".git")
    if not found.startswith("https://github.com/") or found.count("/") != 4:
        raise ValueError(
            'pyproject.toml, [project.urls]: expected Repository = "https://github.com/OWNER/NAME" (Colab '
            f"opens notebooks from GitHub), found {found!r}; correct it"
        )
    return found


def notebooks(place: Path) -> list[Path]:
    """The course's notebooks in order."""
    return sorted((place / "notebooks").glob("*.ipynb"))


def read(file: Path) -> NotebookNode:
    """The notebook as it stands in the file: nothing is added, so that lint sees what is missing."""
    try:
        text = file.read_text(encoding="utf-8")
        found = json.loads(text)
    except FileNotFoundError:
        raise ValueError(f"{file}: no such notebook; check the path") from None
    except ValueError as error:  # neither UTF-8 nor JSON
        raise ValueError(f"{file}: not a notebook ({error}); restore it or save it again") from None
    if not isinstance(found, dict) or found.get("nbformat") != 4 or "cells" not in found:
        raise ValueError(f"{file}: expected notebook format 4; open it in Jupyter and save it")
    return nbformat.v4.reads(text)


def write(file: Path, notebook: NotebookNode) -> int:
    """Replace the file in one step, so that a reader sees the old one or the new one. Returns the bytes."""
    nbformat.validate(notebook)
    return write_text(file, nbformat.writes(notebook, indent=1) + "\n")


def write_text(file: Path, text: str) -> int:
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as out:
            out.write(text)
        os.chmod(name, file.stat().st_mode & 0o777 if file.exists() else 0o644)
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise
    return len(text.encode("utf-8"))


def give_ids(notebook: NotebookNode) -> None:
    """An id for each cell that has none or another's: from place and content, the same at every call."""
    taken: set[str] = set()
    for number, cell in enumerate(notebook.cells):
        if not cell.get("id") or cell["id"] in taken:
            text = f"{number} {cell['source']}".encode()
            cell["id"] = hashlib.sha256(text).hexdigest()[:8]
        taken.add(cell["id"])
    notebook["nbformat_minor"] = max(5, notebook.get("nbformat_minor", 0))


def tags(cell: NotebookNode) -> list[str]:
    return list(cell.get("metadata", {}).get("tags", []))


def tagged(notebook: NotebookNode, part: str, *, kind: str) -> list[NotebookNode]:
    """The cells of a part that are of a kind, "markdown" or "code"."""
    return [cell for cell in notebook.cells if cell["cell_type"] == kind and part in tags(cell)]


def code_cells(notebook: NotebookNode) -> Iterator[tuple[str, NotebookNode]]:
    """(name, cell) of each code cell."""
    return ((name, cell) for name, cell in named_cells(notebook) if cell["cell_type"] == "code")


def named_cells(notebook: NotebookNode) -> Iterator[tuple[str, NotebookNode]]:
    """(name, cell): a cell is called by its id, one without an id by its number from 1."""
    for number, cell in enumerate(notebook.cells, 1):
        yield cell.get("id") or f"number {number}", cell


def pictures(cell: NotebookNode) -> Iterator[int]:
    """The size in bytes of each PNG among the outputs."""
    for output in cell.get("outputs", []):
        data = output.get("data", {}).get("image/png")
        if data:
            encoded = "".join(data).replace("\n", "")
            yield len(encoded) * 3 // 4 - encoded[-2:].count("=")


def kind(cell: NotebookNode) -> str:
    """What a code cell is for, by its tag; empty where it has none."""
    return next((tag for tag in tags(cell) if tag in KINDS), "")


def is_visible(cell: NotebookNode) -> bool:
    """Whether a reader sees the cell's code without opening it."""
    return cell["cell_type"] == "code" and kind(cell) not in FOLDED


def is_checked(cell: NotebookNode) -> bool:
    """Whether nbval compares the cell's output."""
    return cell["cell_type"] == "code" and CHECKED in tags(cell)


def calls(cell: NotebookNode, verb: str) -> list[str | None]:
    """The first argument of each call of `verb` in a cell; None where it is not written out."""
    return list(_calls(parse(cell), verb))


def _calls(tree: ast.Module | None, verb: str) -> Iterator[str | None]:
    for node in ast.walk(tree or ast.Module([], [])):
        named = getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
        if named == verb:
            literal = node.args and isinstance(node.args[0], ast.Constant)
            yield node.args[0].value if literal else None


def parse(cell: NotebookNode) -> ast.Module | None:
    """The cell's Python, magics made calls; None where it is no Python."""
    return _parse(cell["source"])


@functools.lru_cache(maxsize=1000)  # every rule asks again, and IPython's transformer is slow
def _parse(source: str) -> ast.Module | None:
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        return ast.parse(TransformerManager().transform_cell(source))
    except SyntaxError:
        return None
