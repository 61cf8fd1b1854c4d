"""The reader's minutes: what a section costs in words, visible code, pictures and exercises."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nbformat import NotebookNode

from .notebook import calls, is_visible, pictures, tagged, tags

LINE = "**Reading:**"
WORDS_A_MINUTE = 150  # technical prose, read once and thought about
CODE_LINE, PICTURE, EXERCISE = 4 / 60, 0.5, 3.0  # minutes for each


@dataclass(frozen=True)
class Section:
    """A `##` heading and what stands below it."""

    title: str
    words: int = 0
    lines: int = 0  # of visible code
    pictures: int = 0
    exercises: int = 0

    @property
    def minutes(self) -> float:
        return (
            self.words / WORDS_A_MINUTE
            + self.lines * CODE_LINE
            + self.pictures * PICTURE
            + self.exercises * EXERCISE
        )


def sections(notebook: NotebookNode) -> list[Section]:
    """The page's sections in order; what stands above the first heading is called "Opening"."""
    return _sections(notebook.cells)


def total(notebook: NotebookNode) -> float:
    """Minutes for the whole page."""
    return sum(section.minutes for section in sections(notebook))


def before_first_exercise(notebook: NotebookNode) -> float:
    """Minutes until the first exercise; all of them where there is none."""
    places = [
        i for i, cell in enumerate(notebook.cells) if cell["cell_type"] == "code" and calls(cell, "check")
    ]
    return sum(section.minutes for section in _sections(notebook.cells[: places[0] if places else None]))


def note_reading(notebook: NotebookNode) -> None:
    """Write the line with each section's minutes into the outcomes, above time and memory."""
    cell = tagged(notebook, "outcomes", kind="markdown")[0]
    lines = [one for one in cell["source"].splitlines() if not one.startswith(LINE)]
    measured = [i for i, one in enumerate(lines) if one.startswith("**Time and memory**")]
    place = measured[0] if measured else len(lines)
    while place and not lines[place - 1].strip():
        del lines[place - 1]
        place -= 1
    lines[place:place] = ["", line(notebook), ""] if measured else ["", line(notebook)]
    cell["source"] = "\n".join(lines)


def line(notebook: NotebookNode) -> str:
    """The sentence with the minutes of the page and of its sections."""
    parts = [f"{section.title} {max(1, round(section.minutes))}" for section in sections(notebook)]
    return f"{LINE} about {round(total(notebook))} minutes: {' · '.join(parts)}."


def _sections(cells: list[NotebookNode]) -> list[Section]:
    found = [{"title": "Opening"}]
    for cell in cells:
        if "contents" in tags(cell):  # made by refresh and looked things up in, not read
            continue
        if cell["cell_type"] == "markdown":
            fenced = False  # a # there is a comment
            for part in cell["source"].splitlines():
                fenced ^= part.startswith("```")
                if part.startswith("## ") and not fenced:
                    found.append({"title": part.removeprefix("## ").strip()})
                words = 0 if part.startswith((LINE, "**Time and memory**")) else read_words(part)
                _add(found[-1], words=words)
        elif cell["cell_type"] == "code":
            lines = visible_lines(cell) if is_visible(cell) else 0
            _add(
                found[-1],
                lines=lines,
                pictures=len(list(pictures(cell))),
                exercises=len(calls(cell, "check")),
            )
    return [Section(**one) for one in found]


def _add(section: dict, **counts: int) -> None:
    for name, count in counts.items():
        section[name] = section.get(name, 0) + count


def read_words(text: str) -> int:
    """How many words a reader reads: formulas and links count as one, tables by their words."""
    text = re.sub(r"\$\$.*?\$\$|\$[^$\n]*\$", " x ", re.sub(r"\]\([^)]*\)", "]", text))
    return len(re.findall(r"\w[\w'’.,-]*", text))


def visible_lines(cell: NotebookNode) -> int:
    """Lines of code that are not empty."""
    return sum(bool(line.strip()) for line in cell["source"].splitlines())
