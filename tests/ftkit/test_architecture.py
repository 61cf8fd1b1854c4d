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
    ("records", "place", "interrupts", "checksums", "style", "printed"),
    ("scales", "order", "schedules", "metrics", "families", "plots"),
    ("surgery", "heads"),
    ("models", "tasks", "strategies", "checks", "batches"),
    ("loop", "adapters"),
    ("checkpoint", "memory"),
    ("fit", "compare"),
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


def sources(root, name):
    """{module: file} of a package under the name that its files are imported by."""
    files = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        files[".".join([name, *(parts[:-1] if parts[-1] == "__init__" else parts)])] = path
    return files


def modules_of(module, path, known):
    """The modules of the same package that a file imports, anywhere in it."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names] + [base]
            inside = [name for name in names[:-1] if name in known]
            names = inside if len(inside) == len(node.names) else names
        else:
            continue
        yield from (name for name in names if name in known and name != module)


def circle(graph):
    """A path of modules that ends where it began; empty where there is none."""
    done, path = set(), []

    def visit(module):
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        path.append(module)
        found = next((c for other in graph[module] if (c := visit(other))), [])
        path.pop()
        done.add(module)
        return found

    return next((c for module in graph if (c := visit(module))), [])


REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("place", ["ftkit", "notebooks/course", "tests/benchmarks"])
def test_no_files_import_each_other_in_a_circle(place):
    files = sources(REPOSITORY / place, Path(place).name)
    graph = {module: set(modules_of(module, path, files)) for module, path in files.items()}
    assert sum(map(len, graph.values())) > 10
    assert circle(graph) == []


def test_a_circle_is_found():
    assert circle({"a": ["b"], "b": ["c"], "c": ["a"], "d": []}) == ["a", "b", "c", "a"]


def test_the_workbench_does_not_know_the_course():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if name.split(".")[0] == "course"], path


def lines_of(place):
    return {path.name: len(path.read_text("utf-8").splitlines()) for path in FILES if part(path) == place}


def test_the_workbench_is_small():
    lines = [line for path in FILES for line in path.read_text("utf-8").splitlines() if line.strip()]
    assert len(lines) <= 5600


def test_the_loop_is_one_screen():
    assert lines_of("loop")["loop.py"] < 200


def test_a_task_is_a_file_of_at_most_150_lines():
    infrastructure = ("task.py", "tables.py", "store.py")  # the protocol, reading, keeping
    assert {n: k for n, k in lines_of("tasks").items() if k > 150 and n not in infrastructure} == {}


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
