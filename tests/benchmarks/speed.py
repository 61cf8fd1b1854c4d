"""The README's performance tables, from the newest kept result: python tests/benchmarks/speed.py

A new result comes from: ftkit benchmark --out tests/benchmarks
"""

from pathlib import Path

from ftkit.benchmark import report
from ftkit.show.tables import markdown

HERE = Path(__file__).parent
README = HERE.parents[1] / "README.md"


def page() -> str:
    """The README as it should be."""
    section = report.section(report.newest(HERE), table=markdown)
    return report.replaced(README.read_text(encoding="utf-8"), section)


if __name__ == "__main__":
    README.write_text(page(), encoding="utf-8")
