"""The notebooks in notebooks/ keep the standard. That they run is nbval's part."""

import pytest
from course.author.lint import lint, lint_course
from course.author.notebook import notebooks, root

FILES = notebooks(root())


def test_there_are_notebooks():
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_notebook_has_no_fault(file):
    assert [str(fault) for fault in lint(file, root=root())] == []


def test_every_notebook_that_was_promised_is_there():
    assert [str(fault) for fault in lint_course(root())] == []
