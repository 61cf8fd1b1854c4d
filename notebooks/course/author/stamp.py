"""The title cell's Colab link and the set-up cell: one template, the repository's address filled in."""

from __future__ import annotations

from nbformat import NotebookNode

from .notebook import tagged

SETUP = """\
# On Colab this fetches the course and the packages Colab lacks. Elsewhere only its end acts.
import os
import subprocess
import sys

if "google.colab" in sys.modules:
    address = "{address}"
    if not os.path.isdir("../ftkit"):
        if not os.path.isdir("ftkit-course"):
            clone = ["git", "clone", "--quiet", "--depth", "1", address, "ftkit-course"]
            subprocess.run(clone, check=True)
        os.chdir("ftkit-course/notebooks")
    sys.path[:0] = [os.path.abspath("."), os.path.abspath("..")]  # the course and ftkit
    lacking = ["-r", "../data/models.txt", "bitsandbytes>=0.48"]
    lacking += ["torchao>=0.16,<0.19"]  # with Colab's torchao 0.10 PEFT raises
    install = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--root-user-action=ignore"]
    subprocess.run([*install, *lacking], check=True)

from course import check, claim, hint, setup, show, solution

lab = setup()"""
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
