"""The learner's copies of the notebooks: without outputs, in notebooks/mine, and never overwritten."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = "mine"
KEY = "copy_of"  # in metadata.ftkit of a copy: the digest of the notebook that it was made from


@dataclass(frozen=True)
class Copies:
    """What was done in the learner's folder, as names of notebooks without their ending."""

    folder: Path
    made: tuple[str, ...]  # there was no copy
    renewed: tuple[tuple[str, str], ...]  # (notebook, the name under which the learner's is kept, or "")
    behind: tuple[str, ...]  # the course's notebook has changed since the copy was made


def copies(notebooks: Path, *, fresh: Sequence[str] | None = None) -> Copies:
    """Copy the notebooks that the learner has no copy of, without outputs.

    `fresh` names notebooks ("18", "18_lora") whose copy is to be replaced: the learner's is renamed first,
    unless it holds nothing of the learner's. An empty `fresh` names all whose original has changed since.
    """
    originals = {file.stem: _read(file) for file in sorted(notebooks.glob("*.ipynb"))}
    asked = {_named(number, originals) for number in fresh or ()}
    folder = notebooks / FOLDER
    folder.mkdir(exist_ok=True)
    made, renewed, behind = [], [], []
    for stem, original in originals.items():
        place = folder / f"{stem}.ipynb"
        if not os.path.lexists(place):
            made.append(stem)
            _write(place, cleared(original))
            continue
        changed = _changed(place, original)
        if stem in asked or (fresh is not None and not asked and changed):
            renewed.append((stem, _put_aside(place)))
            _write(place, cleared(original))
        elif changed:
            behind.append(stem)
    return Copies(folder, tuple(made), tuple(renewed), tuple(behind))


def cleared(notebook: dict) -> dict:
    """The notebook without outputs, counts and the state of widgets, and with the digest of what it says."""
    own = {key: value for key, value in notebook["metadata"].items() if key != "widgets"}
    own["ftkit"] = own.get("ftkit", {}) | {KEY: digest(notebook)}
    empty = {"outputs": [], "execution_count": None}
    cells = [cell | (empty if cell["cell_type"] == "code" else {}) for cell in notebook["cells"]]
    return notebook | {"metadata": own, "cells": cells}


def digest(notebook: dict) -> str:
    """The same for two notebooks whose cells say the same, whatever their outputs."""
    said = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _changed(place: Path, original: dict) -> bool:
    """Whether the original says something else than when the copy was made; False where nobody knows."""
    try:
        made_from = _read(place)["metadata"]["ftkit"][KEY]
    except (ValueError, KeyError, TypeError):  # not made here, or no longer a notebook
        return False
    return made_from != digest(original)


def _put_aside(place: Path) -> str:
    """Rename the learner's notebook and return its new name; delete a copy that was never worked in."""
    try:
        own = _read(place)
        untouched = digest(own) == own["metadata"]["ftkit"][KEY] and not any(
            cell.get("outputs") for cell in own["cells"]
        )
    except (ValueError, KeyError, TypeError):
        untouched = False
    if untouched:
        place.unlink()
        return ""
    saved = datetime.date.fromtimestamp(place.lstat().st_mtime)
    name, number = f"{place.stem} (yours of {saved}){place.suffix}", 1
    while os.path.lexists(place.with_name(name)):
        number += 1
        name = f"{place.stem} (yours of {saved}, {number}){place.suffix}"
    place.rename(place.with_name(name))
    return name


def _named(number: str, originals: dict) -> str:
    """The notebook that a learner means by "18", "2", "02b" or "18_lora"."""
    asked = Path(number).name.removesuffix(".ipynb")
    digits, letters = re.match(r"(\d*)(.*)", asked).groups()
    wanted = f"{digits.zfill(2)}{letters}" if digits else ""
    for stem in originals:
        if wanted in (stem, stem.split("_")[0]):
            return stem
    known = ", ".join(stem.split("_")[0] for stem in originals)
    raise ValueError(f"expected the number of a notebook ({known}), got {number!r}")


def _read(file: Path) -> dict:
    try:
        notebook = json.loads(file.read_text(encoding="utf-8"))
        notebook["metadata"], notebook["cells"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file}: expected a notebook, found something else ({error}); restore it with git checkout"
        ) from None
    return notebook


def _write(place: Path, notebook: dict) -> None:
    """Under its name only when it is whole."""
    draft = place.with_name(f".{place.name}.draft")
    draft.write_text(
        json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n"
    )
    draft.rename(place)
