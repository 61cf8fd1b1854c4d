"""README.md, for a stranger: its commands agree, its links lead somewhere, its layout is as it says."""

import re
import struct
import subprocess

import pytest
from course.author.notebook import root

README = root() / "README.md"


@pytest.fixture(scope="module")
def text():
    return README.read_text(encoding="utf-8")


def command(text, name):
    """As .ci/run reads it."""
    found = re.search(rf"<!-- {name} -->\n```bash\n(.+?)\n```", text)
    assert found, f"README.md has no command marked {name}"
    return found[1]


def test_both_commands_are_one_line_and_differ_in_their_end_only(text):
    one, other = command(text, "open"), command(text, "test")
    assert "\n" not in one + other
    assert one.rpartition(" && ")[0] == other.rpartition(" && ")[0]
    assert one.endswith(" && .venv/bin/ftkit lab")
    assert other.rpartition(" && ")[2].startswith(".venv/bin/python -m pytest")


def test_powershell_does_what_bash_does(text):
    [block] = re.findall(r"```powershell\n(.+?)\n```", text, re.DOTALL)
    assert "&&" not in block  # PowerShell 5 does not know it
    windows = (
        block.replace(".venv\\Scripts\\", ".venv/bin/").replace("\\", "/").replace("py -m", "python3 -m")
    )
    assert windows.split("\n") == command(text, "open").split(" && ")


def test_ci_takes_its_commands_from_here():
    script = (root() / ".ci" / "run").read_text(encoding="utf-8")
    assert "command_of open" in script and "command_of test" in script
    assert "/lab/tree/notebooks/mine/00_start_here" in script


def test_every_link_leads_to_a_file(text):
    targets = [t for t in re.findall(r"\]\(([^)\s]+)\)", text) if not t.startswith("https:")]
    assert len(targets) > 10
    assert [target for target in targets if not (root() / target).exists()] == []


def test_every_picture_has_words_and_is_small(text):
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text)
    assert pictures
    for words, target in pictures:
        assert len(words.split()) >= 5
        data = (root() / target).read_bytes()
        wide, _ = struct.unpack(">II", data[16:24])
        assert data[:8] == b"\x89PNG\r\n\x1a\n" and 600 <= wide <= 1400 and len(data) < 200_000


def test_the_layout_names_what_is_there(text):
    """A folder ends in a slash, and two more spaces lead into it."""
    section = text.partition("## What is where")[2].partition("\n## ")[0]
    place, shown = [], set()
    for indent, names in re.findall(r"^    ( *)([\w./-]+(?: [\w./-]+\.py)*)(?=  |$)", section, re.M):
        place = place[: len(indent) // 2]
        for name in names.split():
            path = root().joinpath(*place, name)
            shown.add(path.relative_to(root()).as_posix())
            assert path.exists() or name == "mine/", f"{path} is not there"
        if names.endswith("/"):
            place.append(names)
    assert len(shown) > 20
    files = {f"ftkit/{file.name}" for file in (root() / "ftkit").glob("[!_]*.py")}
    assert files <= shown, files - shown


def test_a_learners_copies_are_neither_tracked_nor_tested(tmp_path):
    assert subprocess.run(["git", "check-ignore", "-q", "notebooks/mine/x.ipynb"], cwd=root()).returncode in (
        0,
        128,
    )
    settings = (root() / "pyproject.toml").read_text(encoding="utf-8")
    [folders] = re.findall(r"norecursedirs = \[(.+?)\]", settings)
    assert '"mine"' in folders and '".*"' in folders
    assert 'extend-exclude = ["notebooks/mine"]' in settings
