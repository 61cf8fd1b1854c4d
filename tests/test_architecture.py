"""The shape of the package: who may import whom, how long a file is, what `import ftkit` costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ftkit

PACKAGE = Path(ftkit.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
PARTS = [
    ("records", "setup", "interrupts", "allocator"),
    ("surgery", "schedules", "metrics", "order", "language"),
    ("models", "tasks", "strategies", "checks"),
    ("loop", "interchange"),
    ("checkpoint", "memory", "pretraining"),
    ("fit", "comparison", "benchmark"),
    ("exercises",),
    ("show", "course"),
    ("cli",),
    ("__main__",),
]
LAYER = {"__init__": 0} | {part: layer for layer, parts in enumerate(PARTS) for part in parts}


def part(path):
    """The part of the package that a file belongs to; a folder counts as one."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path):
    """The parts that a file imports, anywhere in it, with the line."""
    here = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name.split(".")[1:] for alias in node.names if alias.name.startswith("ftkit.")]
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".") if node.module else []
            if node.level:
                module = [*here[: len(here) - node.level + 1], *module]
            elif module[:1] == ["ftkit"]:
                module = module[1:]
            else:
                continue
            found = [module] if module else [[alias.name] for alias in node.names]
        else:
            continue
        yield from ((names[0], node.lineno) for names in found if names[0] != "__version__")


def test_every_part_has_its_layer():
    assert {part(path) for path in FILES} <= set(LAYER), "give the new part a layer in PARTS"


def test_imports_only_go_down():
    upward = [
        f"{path.relative_to(PACKAGE)}, line {line}: {part(path)} imports {below}"
        for path in FILES
        for below, line in imported(path)
        if below != part(path) and LAYER.get(below, 99) >= LAYER.get(part(path), 0)
    ]
    assert upward == []


@pytest.mark.parametrize(
    "line",
    [
        "from .fit import fit",
        "from . import fit",
        "from ftkit.fit import fit",
        "from ftkit import fit",
        "import ftkit.fit",
        "def late():\n    from .fit import fit",
    ],
)
def test_no_way_of_importing_upward_is_missed(line, tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    (tmp_path / "loop.py").write_text(line)
    assert [name for name, _ in imported(tmp_path / "loop.py")] == ["fit"]


def test_a_package_reaches_its_neighbours_through_two_dots(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "table.py").write_text(
        "from ..fit import fit\nfrom .. import loop\nfrom .files import read"
    )
    assert [name for name, _ in imported(tmp_path / "tasks" / "table.py")] == ["fit", "loop", "tasks"]


def test_import_ftkit_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys, time; began = time.perf_counter(); import ftkit; print(time.perf_counter() - began); "
        "print(*({'torch', 'transformers', 'datasets', 'numpy'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, heavy = answer.stdout.split("\n")[:2]
    assert float(seconds) < 0.5
    assert heavy == ""


def test_no_file_is_longer_than_300_lines():
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert {name: n for name, n in lengths.items() if n > 300} == {}


def test_a_strategy_is_a_file_of_under_80_lines():
    lengths = {
        path.name: len(path.read_text("utf-8").splitlines()) for path in FILES if part(path) == "strategies"
    }
    assert {name: n for name, n in lengths.items() if n >= 80} == {}
