"""The title cell's Colab link and the set-up cell: one template, the repository's address filled in."""

from __future__ import annotations

from nbformat import NotebookNode

from .minutes import note_reading
from .notebook import CHECKED, FOLDED, calls, code_cells, kind, tagged

SETUP = """\
# @title Set-up: run this cell first. After a restart: Run, Run All Above
import os
import subprocess
import sys

SCALE = ""  # @param ["", "laptop", "colab", "server"]
if "google.colab" in sys.modules:  # fetch the course and what Colab lacks
    address = "{address}"
    if not os.path.isdir("../ftkit"):
        if not os.path.isdir("ftkit-course"):
            if "your-name" in address:
                sys.exit("This copy of the course has no public address yet: "
                         "write it into pyproject.toml, [project.urls].")
            clone = ["git", "clone", "--quiet", "--depth", "1"]
            subprocess.run([*clone, address, "ftkit-course"], check=True)
        os.chdir("ftkit-course/notebooks")
    sys.path[:0] = [os.path.abspath("."), os.path.abspath("..")]
    install = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps"]
    lacking = ["-r", "../data/models.txt", "bitsandbytes>=0.48"]
    lacking += ["torchao==0.16.*"]  # with Colab's own PEFT raises
    subprocess.run([*install, *lacking, "-e", ".."], check=True)
elif os.path.isdir("../course"):  # a working copy in notebooks/mine
    os.chdir("..")
    sys.path[:0] = [os.path.abspath(".")]

from course import case, check, claim, hint, setup, show, solution

lab = setup(scale=SCALE or None)"""
LINK = "[Open in Colab]"


def setup_source(address: str) -> str:
    return SETUP.format(address=address)


def badge(stem: str, address: str) -> str:
    """The title cell's second line. Words, not a picture: nothing is fetched to read a notebook."""
    repository = address.removeprefix("https://github.com/")
    return f"{LINK}(https://colab.research.google.com/github/{repository}/blob/main/notebooks/{stem}.ipynb)"


def stamp(notebook: NotebookNode, *, stem: str, address: str) -> None:
    """Write the link and the set-up cell into the notebook. All parts that are missing are named at once."""
    title, setup = tagged(notebook, "title", kind="markdown"), tagged(notebook, "setup", kind="code")
    outcomes = tagged(notebook, "outcomes", kind="markdown")
    expected = {"markdown, title": title, "markdown, outcomes": outcomes, "code, setup": setup}
    missing = [name for name, cells in expected.items() if not cells]
    if missing:
        raise ValueError(
            f"{stem}: expected a cell of each kind and tag ({'; '.join(expected)}), found none of "
            f"{'; '.join(missing)}; add it or its tag"
        )
    first, *rest = title[0]["source"].splitlines() or [""]
    rest = [line for line in rest if not line.startswith(LINK)]
    while rest and not rest[0].strip():
        rest = rest[1:]
    title[0]["source"] = "\n".join([first, badge(stem, address), *(["", *rest] if rest else [])])
    setup[0]["source"] = setup_source(address)
    for _, cell in code_cells(notebook):
        dress(cell)
    note_reading(notebook)


def dress(cell: NotebookNode) -> None:
    """Fold a cell by its kind, for JupyterLab and for Colab, and mark what nbval compares."""
    metadata = cell.setdefault("metadata", {})
    metadata.pop("jupyter", None)
    metadata.pop("cellView", None)
    if kind(cell) in FOLDED:
        metadata |= {"jupyter": {"source_hidden": True}, "cellView": "form"}
    others = [tag for tag in metadata.get("tags", []) if tag != CHECKED]
    compared = calls(cell, "claim") or calls(cell, "check")
    metadata["tags"] = [*others, CHECKED] if compared else others
