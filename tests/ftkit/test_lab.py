"""ftkit lab: copies without outputs that are never overwritten, and how JupyterLab is started on them."""

import json
import os
import sys
import time

import pytest

from ftkit.cli import lab, main
from ftkit.cli.copies import copies, digest


def notebook(*sources):
    """A notebook that ran: an opening text, and code cells with outputs."""
    cells = [{"cell_type": "markdown", "id": "a", "metadata": {}, "source": ["# 18 · LoRA\n", "Text."]}]
    for place, source in enumerate(sources):
        output = {"output_type": "stream", "name": "stdout", "text": "the answer\n"}
        cell = {"cell_type": "code", "id": f"b{place}", "metadata": {}, "source": source}
        cells.append(cell | {"outputs": [output], "execution_count": place + 1})
    own = {"ftkit": {"minutes": 40}, "widgets": {"state": {}}, "kernelspec": {"name": "python3"}}
    return {"cells": cells, "metadata": own, "nbformat": 4, "nbformat_minor": 5}


def put(file, found):
    file.write_text(json.dumps(found), encoding="utf-8")


def taken(file):
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.fixture
def course(tmp_path):
    """A clone with three notebooks."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (tmp_path / "data").mkdir()
    for stem in ("00_start_here", "02b_others", "18_lora"):
        put(folder / f"{stem}.ipynb", notebook(f"name = {stem!r}", "guess = ...  # your turn"))
    return folder


def work(file):
    """What a learner leaves in a copy."""
    own = taken(file)
    own["cells"][1]["source"] = "name = 'mine'"
    put(file, own)
    return file.read_bytes()


def change(course, stem="18_lora"):
    put(course / f"{stem}.ipynb", notebook("name = 'newer'"))


def test_copies_have_no_outputs_and_the_course_is_left_alone(course):
    before = {file: file.read_bytes() for file in course.glob("*.ipynb")}
    done = copies(course)
    assert done.made == ("00_start_here", "02b_others", "18_lora")
    copy = taken(course / "mine" / "18_lora.ipynb")
    codes = [cell for cell in copy["cells"] if cell["cell_type"] == "code"]
    assert [(cell["outputs"], cell["execution_count"]) for cell in codes] == [([], None), ([], None)]
    assert "outputs" not in copy["cells"][0]
    assert copy["metadata"]["ftkit"]["minutes"] == 40 and "widgets" not in copy["metadata"]
    assert copy["cells"][1]["source"] == "name = '18_lora'"
    assert {file: file.read_bytes() for file in course.glob("*.ipynb")} == before
    assert sorted(file.name for file in (course / "mine").iterdir()) == sorted(file.name for file in before)


def test_a_copy_that_exists_is_never_overwritten(course):
    copies(course)
    own = work(course / "mine" / "18_lora.ipynb")
    change(course)
    done = copies(course)
    assert (course / "mine" / "18_lora.ipynb").read_bytes() == own
    assert done.made == done.renewed == () and done.behind == ("18_lora",)


@pytest.mark.parametrize("content", ["", "[]", '{"cells": 3}', "not JSON"])
def test_what_is_no_notebook_is_left_too_and_renamed_only_when_asked(course, content):
    copies(course)
    place = course / "mine" / "18_lora.ipynb"
    place.write_text(content)
    change(course)
    assert copies(course).behind == ()
    assert place.read_text() == content
    [(stem, kept)] = copies(course, fresh=["18"]).renewed
    assert stem == "18_lora" and (course / "mine" / kept).read_text() == content


def test_new_outputs_alone_are_no_change_of_the_course(course):
    copies(course)
    found = notebook("name = '18_lora'", "guess = ...  # your turn")
    found["cells"][1]["outputs"] = []
    found["metadata"]["ftkit"]["measured"] = {"laptop": 2}
    put(course / "18_lora.ipynb", found)
    assert copies(course).behind == ()


def test_a_digest_reads_a_source_alike_as_lines_and_as_text():
    one, other = notebook("a\nb"), notebook(["a\n", "b"])
    assert digest(one) == digest(other) != digest(notebook("a\nc"))


def test_a_source_that_moves_from_code_to_text_is_a_change():
    one, other = notebook("a"), notebook("a")
    other["cells"][1]["cell_type"] = "markdown"
    assert digest(one) != digest(other)


def test_fresh_keeps_the_learners_under_another_name_and_never_overwrites_that_either(course):
    copies(course)
    place, names, kept = course / "mine" / "18_lora.ipynb", [], []
    day = time.mktime((2026, 11, 27, 12, 0, 0, 0, 0, -1))
    for round in range(3):
        kept.append(work(place) + b" " * round)
        place.write_bytes(kept[-1])
        os.utime(place, (day, day))
        change(course)
        done = copies(course, fresh=["18"])
        names.append(done.renewed[0][1])
        assert taken(place)["cells"][1]["source"] == "name = 'newer'" and done.behind == ()
    assert names == [
        "18_lora (yours of 2026-11-27).ipynb",
        "18_lora (yours of 2026-11-27, 2).ipynb",
        "18_lora (yours of 2026-11-27, 3).ipynb",
    ]
    assert [(course / "mine" / name).read_bytes() for name in names] == kept


def test_fresh_with_a_number_leaves_the_others_that_have_changed(course):
    copies(course)
    own = work(course / "mine" / "02b_others.ipynb")
    change(course)
    change(course, "02b_others")
    done = copies(course, fresh=["18"])
    assert [stem for stem, _ in done.renewed] == ["18_lora"] and done.behind == ("02b_others",)
    assert (course / "mine" / "02b_others.ipynb").read_bytes() == own


def test_fresh_replaces_a_copy_that_was_never_worked_in(course):
    copies(course)
    change(course)
    assert copies(course, fresh=["18_lora"]).renewed == (("18_lora", ""),)
    assert len(list((course / "mine").iterdir())) == 3


def test_a_copy_that_only_ran_is_the_learners(course):
    copies(course)
    place = course / "mine" / "18_lora.ipynb"
    own = taken(place)
    own["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "mine\n"}]
    put(place, own)
    [(_, kept)] = copies(course, fresh=["18"]).renewed
    assert taken(course / "mine" / kept) == own


def test_fresh_without_a_number_renews_what_has_changed_and_nothing_else(course):
    copies(course)
    own = work(course / "mine" / "02b_others.ipynb")
    work(course / "mine" / "18_lora.ipynb")
    change(course)
    done = copies(course, fresh=[])
    assert [stem for stem, _ in done.renewed] == ["18_lora"]
    assert (course / "mine" / "02b_others.ipynb").read_bytes() == own


@pytest.mark.parametrize("asked", ["2b", "02b", "02b_others", "notebooks/02b_others.ipynb"])
def test_a_notebook_is_named_as_people_name_it(course, asked):
    copies(course)
    assert [stem for stem, _ in copies(course, fresh=[asked]).renewed] == ["02b_others"]


@pytest.mark.parametrize("asked", ["19", "", "lora", "8"])
def test_a_number_that_is_not_there_is_refused_with_those_that_are(course, asked):
    copies(course)
    work(course / "mine" / "18_lora.ipynb")
    before = {file: file.read_bytes() for file in (course / "mine").iterdir()}
    with pytest.raises(ValueError, match=r"expected the number of a notebook \(00, 02b, 18\)"):
        copies(course, fresh=["18", asked])
    assert {file: file.read_bytes() for file in (course / "mine").iterdir()} == before


def test_a_broken_notebook_of_the_course_is_named(course):
    (course / "18_lora.ipynb").write_text("<<<<<<<")
    with pytest.raises(ValueError, match=r"18_lora\.ipynb: expected a notebook.*git checkout"):
        copies(course)


# the command


@pytest.fixture
def started(course, monkeypatch):
    """What JupyterLab would be started with: (command, environment), a call each."""
    calls = []
    monkeypatch.setenv("FTKIT_DATA", str(course.parent / "data"))
    monkeypatch.delenv("PYTHONSTARTUP", raising=False)
    monkeypatch.delenv("JUPYTER_CONFIG_PATH", raising=False)
    monkeypatch.setattr(lab, "become", lambda command, environment: calls.append((command, environment)) or 0)
    return calls


def test_lab_opens_the_first_copy_and_asks_no_network(course, started):
    assert main(["lab", "--no-browser", "--port", "8899"]) == 0
    [(command, environment)] = started
    assert command[:3] == [sys.executable, "-m", "jupyterlab"]
    for option in (
        "--port=8899",
        "--no-browser",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.root_dir={course.parent}",
        "--LabApp.default_url=/lab/tree/notebooks/mine/00_start_here.ipynb",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
    ):
        assert option in command
    assert (course / "mine" / "00_start_here.ipynb").is_file()
    assert environment["PYTHONSTARTUP"] == str(course / "course" / "startup.py")
    assert environment["JUPYTER_CONFIG_PATH"] == str(course / "course" / "jupyter")
    assert environment["PATH"] == os.environ["PATH"]


def test_lab_leaves_the_learners_own_startup_file_and_configuration_in_force(started, monkeypatch):
    monkeypatch.setenv("PYTHONSTARTUP", "/mine.py")
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "/mine")
    main(["lab"])
    [(_, environment)] = started
    assert environment["PYTHONSTARTUP"] == "/mine.py"
    assert environment["JUPYTER_CONFIG_PATH"].split(os.pathsep)[0] == "/mine"


def test_the_side_panels_are_folded_at_the_first_start_only(course, started):
    main(["lab"])
    [option] = [one for one in started[0][0] if one.startswith("--LabApp.workspaces_dir=")]
    [layout] = (course / "mine" / ".lab").iterdir()
    assert option.endswith(str(layout.parent))
    assert taken(layout)["data"]["layout-restorer:data"]["left"] == {"collapsed": True}
    layout.write_text("as the learner left it")
    main(["lab"])
    assert layout.read_text() == "as the learner left it"


def test_the_layout_has_the_name_under_which_jupyterlab_looks_for_it():
    handlers = pytest.importorskip("jupyterlab_server.workspaces_handler")
    assert lab.LAYOUT.name == handlers.slugify("default") + handlers.WORKSPACE_EXTENSION


def test_the_defaults_beside_the_learners_settings_exist_and_ask_for_no_news():
    pytest.importorskip("jupyterlab")
    from pathlib import Path

    notebooks = Path(lab.__file__).parents[2] / "notebooks"
    assert (notebooks / lab.STARTUP).is_file()
    file = notebooks / lab.DEFAULTS / "labconfig" / "default_setting_overrides.json"
    own = taken(file)["@jupyterlab/apputils-extension:notification"]
    assert own == {"fetchNews": "false", "checkForUpdates": False}


def test_only_copy_makes_the_copies_and_starts_nothing(course, started, monkeypatch):
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda name: None)  # no JupyterLab either
    assert main(["lab", "--only-copy"]) == 0
    assert started == [] and (course / "mine" / "18_lora.ipynb").is_file()


def test_lab_says_what_it_did_in_a_line_each(course, started, capsys):
    main(["lab"])
    assert capsys.readouterr().out.splitlines() == [
        "3 notebooks copied without outputs to notebooks/mine: work there, the course's own stay as they are"
    ]
    main(["lab"])
    assert capsys.readouterr().out == ""
    main(["lab", "--fresh"])
    assert "nothing has changed in the course" in capsys.readouterr().out
    work(course / "mine" / "18_lora.ipynb")
    change(course)
    change(course, "02b_others")
    main(["lab"])
    [line] = capsys.readouterr().out.splitlines()
    assert "02b_others, 18_lora" in line and line.endswith("ftkit lab --fresh 02b 18")
    main(["lab", "--fresh", "02b", "18"])
    two, one = capsys.readouterr().out.splitlines()
    assert two == "02b_others is a new copy; yours was untouched"
    assert one.startswith("18_lora is a new copy; yours is kept as 18_lora (yours of 2")


def test_lab_without_jupyterlab_says_what_to_install(course, started, monkeypatch, capsys):
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda name: None)
    assert main(["lab"]) == 2
    assert "pip install -r requirements.txt" in capsys.readouterr().err
    assert not (course / "mine").exists()


@pytest.mark.parametrize(("system", "way"), [("nt", "waits"), ("posix", "becomes")])
def test_the_command_becomes_jupyterlab_and_on_windows_waits_for_it(monkeypatch, system, way):
    called = []
    with monkeypatch.context() as patch:  # pathlib asks for os.name as well
        patch.setattr(lab.os, "name", system)
        patch.setattr(lab.subprocess, "call", lambda command, env: called.append(("waits", command)) or 3)
        patch.setattr(
            lab.os, "execve", lambda path, *given: called.append(("becomes", given[0])), raising=False
        )
        lab.become(["jupyter"], {})
    assert called[0] == (way, ["jupyter"])
