"""contents: the table of the notebooks and the paths through them, for README.md and notebook 00.

Everything comes from the notebooks: title, promise, "Read before:", minutes. The paths alone stand here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from .notebook import address, notebooks, read, tagged, write, write_text

FIRST = "00_start_here.ipynb"


@dataclass(frozen=True)
class Way:
    """A path through the course: which notebooks, in their order; none stands for all of them."""

    name: str
    numbers: tuple[str, ...]
    why: str


PATHS = (
    Way(
        "An afternoon",
        ("00", "10", "18", "21"),
        "fine-tune a BERT, train under 1% of it, and choose a method",
    ),
    Way(
        "A day",
        ("00", "02", "04", "08", "09", "10", "12", "18", "19", "21"),
        "the loss, attention, the optimizer and the loop as well, and the two methods that most people use",
    ),
    Way("All of it", (), "in order, an hour or two a week or all in a row"),
)


@dataclass(frozen=True)
class Entry:
    """What the contents say of a notebook."""

    number: str  # "18", "02b"
    stem: str  # "18_lora"
    title: str
    promise: str  # what the reader does there, one sentence
    minutes: int  # of a reader
    needs: tuple[str, ...]  # numbers of the notebooks to read before


def entries(files: Sequence[Path]) -> list[Entry]:
    """An entry for each notebook, in the order of the files."""
    return [entry(file.stem, read(file)) for file in files]


def entry(stem: str, notebook: NotebookNode) -> Entry:
    """What a notebook says of itself in its title and outcomes cells."""
    cells = {part: tagged(notebook, part, kind="markdown") for part in ("title", "outcomes")}
    lacking = [part for part, found in cells.items() if not found]
    if lacking:
        raise ValueError(
            f"{stem}: expected a markdown cell tagged {lacking[0]}, found none; add it or its tag"
        )
    first, *rest = cells["title"][0]["source"].strip().split("\n")
    paragraphs = (
        "\n".join(line for line in rest if not line.startswith("[Open in Colab]")).strip().split("\n\n")
    )
    return Entry(
        number=stem.split("_")[0],
        stem=stem,
        title=first.lstrip("# ").partition(" · ")[2] or first.lstrip("# "),
        promise=" ".join(paragraphs[0].split()),
        minutes=minutes(notebook),
        needs=needs(cells["outcomes"][0]["source"]),
    )


def minutes(notebook: NotebookNode) -> int:
    """The reader's minutes that refresh wrote, or what it would write."""
    known = notebook.metadata.get("ftkit", {}).get("minutes")
    if known is None:
        from .minutes import total

        known = total(notebook)
    return round(known)


def needs(outcomes: str) -> tuple[str, ...]:
    """The notebooks linked in the first sentence after "Read before:"; what follows is a remark."""
    after = re.search(r"Read before:\**\s*(.*?)(\.\s|\.$|\n\n|$)", outcomes + "\n", re.DOTALL)
    linked = re.findall(r"\]\((\d\d[a-z]?)_\w+\.ipynb", after[1] + after[2]) if after else []
    return tuple(dict.fromkeys(linked))


def table(found: Sequence[Entry], *, folder: str) -> str:
    """The contents as a Markdown table; `folder` ("" or "notebooks/") leads from the page to them."""
    rows = [
        f"| {one.number} | [{one.title}]({folder}{one.stem}.ipynb) | {_cell(one.promise)} | {one.minutes} | "
        f"{', '.join(one.needs)} |"
        for one in found
    ]
    head = ["| | notebook | what you do there | minutes | read before |", "|---|---|---|---|---|"]
    return "\n".join(head + rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def along(way: Way, found: Sequence[Entry]) -> list[Entry]:
    """The entries of a path."""
    known = {one.number: one for one in found}
    missing = [number for number in way.numbers if number not in known]
    if missing:
        raise ValueError(
            f"the path {way.name!r} names notebook {missing[0]}, which is not there; correct PATHS in "
            "notebooks/course/author/contents.py"
        )
    return [known[number] for number in way.numbers] or list(found)


def hours(found: Sequence[Entry]) -> str:
    """The hours of a reader: in halves below ten, whole from there on."""
    exact = sum(one.minutes for one in found) / 60
    return f"{max(1, round(2 * exact)) / 2:g}" if exact < 10 else f"{exact:.0f}"


def paths(found: Sequence[Entry], *, folder: str) -> str:
    """The paths as a Markdown list, with their hours."""
    lines = []
    for way in PATHS:
        those = along(way, found)
        linked = " → ".join(f"[{one.number}]({folder}{one.stem}.ipynb)" for one in those)
        shown = linked if way.numbers else f"all {len(those)} notebooks"
        lines.append(f"- **{way.name}, about {hours(those)} hours**: {shown}; {way.why}.")
    return "\n".join(lines)


def page(found: Sequence[Entry]) -> str:
    """What notebook 00 shows in its cell tagged `contents`."""
    return f"{paths(found, folder='')}\n\n{table(found, folder='')}"


def readme(text: str, found: Sequence[Entry], *, address: str) -> str:
    """README.md's text with its generated parts made afresh."""
    clone = f"```bash\ngit clone {address}\ncd {address.rpartition('/')[2]}\n```"
    parts = {
        "clone": clone,
        "paths": paths(found, folder="notebooks/"),
        "contents": table(found, folder="notebooks/"),
    }
    for name, part in parts.items():
        between = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
        text, times = between.subn(lambda _, part=part: part + "\n", text)
        if times != 1:
            raise ValueError(
                f"README.md: expected the lines <!-- {name} --> and <!-- /{name} --> once, found "
                f"them {times} times; restore them"
            )
    return text


def refresh(root: Path) -> list[str]:
    """Write the contents into README.md and into notebook 00; the names of the files that changed."""
    place = root / "README.md"
    if not place.is_file():
        return []
    found, changed = entries(notebooks(root)), []
    before = place.read_text(encoding="utf-8")
    after = readme(before, found, address=address(root))
    if after != before:
        write_text(place, after)
        changed.append(place.name)
    file = root / "notebooks" / FIRST
    notebook = read(file)
    for cell in tagged(notebook, "contents", kind="markdown"):
        if cell["source"] != page(found):
            cell["source"] = page(found)
            write(file, notebook)
            changed.append(file.name)
    return changed
