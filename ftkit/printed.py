"""Rows of plain records as tables: in Markdown, and in columns for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real


def markdown(rows: Sequence[Mapping[str, object]]) -> str:
    """The rows in Markdown.

    >>> print(markdown([{"strategy": "LoRA", "accuracy": 0.8859}]))
    | strategy | accuracy |
    | :-- | --: |
    | LoRA | 0.886 |
    """
    names = columns(rows)
    lines = [names, [":--" if not numeric(rows, name) else "--:" for name in names]]
    lines += [
        [cell(row.get(name, "")).replace("|", "\\|").replace("\n", " ") for name in names] for row in rows
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(rows: Sequence[Mapping[str, object]]) -> str:
    """The rows in columns of a fixed width, for a terminal."""
    names = columns(rows)
    lines = [names, *([cell(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    right = [numeric(rows, name) for name in names]
    return "\n".join(
        "  ".join(
            t.rjust(w) if r else t.ljust(w) for t, w, r in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def columns(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """All columns' names, in order of first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def numeric(rows: Sequence[Mapping[str, object]], name: str) -> bool:
    """Whether a column holds numbers and nothing else."""
    values = [row[name] for row in rows if name in row]
    return all(isinstance(v, Real) and not isinstance(v, bool) for v in values)


def cell(value: object) -> str:
    """A value as text: three digits after the point, or three in all where that would say 0."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return f"{int(value):,}"
    if isinstance(value, Real):
        number = float(value)
        if number and abs(number) < 0.001:
            return f"{number:.3g}"
        return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3f}"
    if isinstance(value, (tuple, list)):
        return ", ".join(cell(v) for v in value)
    return "" if value is None else str(value)
