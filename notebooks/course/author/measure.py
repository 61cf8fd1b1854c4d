"""What a run of a notebook cost, rounded so that it does not change from run to run."""

from __future__ import annotations

import sys
from pathlib import Path

from nbformat import NotebookNode

from .notebook import tagged

LINE = "**Time and memory**"
STEP = 0.5  # minutes and gigabytes


def peak_bytes() -> int:
    """The largest resident memory this process has had.

    Linux's own mark is read where there is one: `ru_maxrss` starts at what the parent had.
    """
    status = Path("/proc/self/status")
    if status.exists():
        mark = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(mark.split()[1]) * 1024
    if sys.platform == "win32":
        import psutil  # comes with ipykernel

        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def coarse(value: float, *, former: float | None) -> float:
    """`value` in steps of a half, at least one step; `former` again where that is still about right."""
    if former is not None and abs(value - former) <= 0.75 * STEP:
        return former
    return max(STEP, round(value / STEP) * STEP)


def note(notebook: NotebookNode, *, seconds: float, peak: int) -> None:
    """Put minutes and gigabytes into the metadata and into the line of the outcomes cell."""
    scales = notebook.metadata.setdefault("ftkit", {}).setdefault("measured", {})
    former = scales.get("laptop", {})
    scales["laptop"] = {
        "minutes": coarse(seconds / 60, former=former.get("minutes")),
        "gigabytes": coarse(peak / 1e9, former=former.get("gigabytes")),
    }
    cell = tagged(notebook, "outcomes", kind="markdown")[0]
    lines = cell["source"].splitlines()
    places = [i for i, line in enumerate(lines) if line.startswith(LINE)]
    if not places:
        lines, places = [*lines, "", ""], [len(lines) + 1]
    lines[places[0]] = line(notebook)
    cell["source"] = "\n".join(lines)


def line(notebook: NotebookNode) -> str:
    """The sentence about the scales that were measured; of the others it says nothing."""
    scales = notebook.metadata.get("ftkit", {}).get("measured", {})
    said = (f"{name} {one['minutes']:g} min, {one['gigabytes']:g} GB" for name, one in scales.items())
    return f"{LINE} to run all cells, measured: {'; '.join(said)}."
