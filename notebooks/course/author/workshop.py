"""workshop: the folder an instructor hands out, the notebooks without outputs and how to open them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .notebook import code_cells, give_ids, read, write, write_text

README = """\
# Workshop

To open: `git clone {address}`, `pip install -e` that folder, then `jupyter lab` in this one.
In the browser alone: the link at the top of each notebook opens it in Colab.

"""


def workshop(folder: Path, files: Sequence[Path], *, address: str) -> int:
    """Copy the notebooks into a new or empty folder, outputs cleared, exercises as they are; how many."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"expected a new or empty folder, found {folder} with something in it; name another")
    if not files:
        raise ValueError("expected notebooks to copy, found none in notebooks/; restore them")
    cleared = [(file.name, read(file)) for file in files]
    folder.mkdir(parents=True, exist_ok=True)
    for name, notebook in cleared:
        give_ids(notebook)
        notebook.metadata.pop("widgets", None)
        for _, cell in code_cells(notebook):
            cell["outputs"], cell["execution_count"] = [], None
        write(folder / name, notebook)
    listed = "".join(f"- [{name}]({name})\n" for name, _ in cleared)
    write_text(folder / "README.md", README.format(address=address) + listed)
    return len(cleared)
