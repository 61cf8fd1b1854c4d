"""The table of contents, the paths and the map: made from the notebooks, and as they stand here."""

import re
import sys
import types

import pytest
from course.author import contents
from course.author.contents import Entry, Way, along, entry, hours, needs, page, paths, readme, table
from course.author.limits import exceptions
from course.author.notebook import notebooks, read, root, write
from course.show import contents as drawing
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ADDRESS = "https://github.com/someone/a-course"
TITLE = "# 18 · LoRA\n[Open in Colab](https://colab.research.google.com/x.ipynb)\n\nTrain under 1%:\nsee why."
OUTCOMES = "**You will**\n\n- write LoRA.\n\n**Read before:** [10 · Full](10_full.ipynb), [02b](02b_x.ipynb)."
README = "\n".join(
    f"<!-- {name} -->\nold\n<!-- /{name} -->\nbetween" for name in ("clone", "paths", "contents")
)


def lora(*, title=TITLE, outcomes=OUTCOMES, minutes=41.6):
    cells = [
        new_markdown_cell(title, metadata={"tags": ["title"]}),
        new_markdown_cell(outcomes, metadata={"tags": ["outcomes"]}),
        new_code_cell("1"),
    ]
    return new_notebook(cells=cells, metadata={"ftkit": {"minutes": minutes}} if minutes else {})


def some(*numbers, minutes=40, needs=()):
    return [Entry(n, f"{n}_x", f"Title {n}", "Do it.", minutes, tuple(needs)) for n in numbers]


ALL = some("00", *sorted({number for way in contents.PATHS for number in way.numbers} - {"00"}))


def test_an_entry_is_what_the_notebook_says_of_itself():
    found = entry("18_lora", lora())
    assert found == Entry("18", "18_lora", "LoRA", "Train under 1%: see why.", 42, ("10", "02b"))


def test_minutes_that_no_refresh_wrote_are_computed(monkeypatch):
    stub = types.ModuleType("course.author.minutes")
    stub.total = lambda notebook: len(notebook.cells) + 0.6
    monkeypatch.setitem(sys.modules, "course.author.minutes", stub)
    monkeypatch.setattr(sys.modules["course.author"], "minutes", stub, raising=False)
    assert entry("18_lora", lora(minutes=None)).minutes == 4
    assert entry("18_lora", lora(minutes=0.7)).minutes == 1


def test_a_cell_that_is_missing_is_named():
    notebook = lora()
    notebook.cells[1].metadata["tags"] = []
    with pytest.raises(ValueError, match="18_lora: expected a markdown cell tagged outcomes"):
        entry("18_lora", notebook)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("**Read before:** nothing. Some Python is enough.", ()),
        ("**Read before:** [00 · Start](00_s.ipynb). Of [04](04_a.ipynb) one thing is needed.", ("00",)),
        (
            "Read before: [01 · A](01_a.ipynb),\n[02b · B](02b_b.ipynb) and\n[03](03_c.ipynb).",
            ("01", "02b", "03"),
        ),
        ("**Read before:** [01](01_a.ipynb), [01](01_a.ipynb)\n\n**Next:** [03](03_c.ipynb)", ("01",)),
        ("[01](01_a.ipynb) is near.", ()),
    ],
)
def test_only_the_first_sentence_names_what_to_read_before(said, expected):
    assert needs(f"**You will**\n\n- do.\n\n{said}") == expected


def test_a_table_has_a_row_for_each_and_links_from_its_page():
    one = Entry("18", "18_lora", "LoRA", "p(a|b) is learned.", 42, ("10", "02b"))
    assert table([one], folder="notebooks/").splitlines()[2:] == [
        r"| 18 | [LoRA](notebooks/18_lora.ipynb) | p(a\|b) is learned. | 42 | 10, 02b |"
    ]
    assert "](18_lora.ipynb)" in table([one], folder="")


def test_hours_are_the_sum_of_the_minutes():
    assert [hours(some("00", minutes=m)) for m in (1, 45, 165, 599, 601, 1000)] == [
        "0.5",
        "1",
        "3",
        "10",
        "10",
        "17",
    ]


def test_a_path_without_numbers_is_the_whole_course_and_an_unknown_number_is_refused():
    assert along(Way("all", (), ""), ALL) == ALL
    assert [one.number for one in along(Way("two", ("10", "00"), ""), ALL)] == ["10", "00"]
    with pytest.raises(ValueError, match="path 'two' names notebook 77"):
        along(Way("two", ("00", "77"), ""), ALL)


def test_paths_say_their_hours_and_link_their_notebooks():
    lines = paths(ALL, folder="notebooks/").splitlines()
    assert len(lines) == 3
    for line, way in zip(lines, contents.PATHS, strict=True):
        those = along(way, ALL)
        assert f"{way.name}, about {hours(those)} hours" in line
        assert len(re.findall(r"\]\(notebooks/\w+\.ipynb\)", line)) == len(way.numbers)
    assert f"all {len(ALL)} notebooks" in lines[2]


def test_the_readmes_generated_parts_are_replaced_and_the_rest_stays():
    text = readme(README, ALL, address=ADDRESS)
    assert text.count("between") == 3 and "old" not in text
    assert f"git clone {ADDRESS}\ncd a-course\n" in text
    assert table(ALL, folder="notebooks/") in text and paths(ALL, folder="notebooks/") in text
    assert readme(text, ALL, address=ADDRESS) == text


@pytest.mark.parametrize("broken", [README.replace("<!-- paths -->", ""), README + README])
def test_a_marker_that_is_missing_or_twice_there_is_named(broken):
    with pytest.raises(ValueError, match=r"README.md: expected the lines <!-- \w+ -->"):
        readme(broken, ALL, address=ADDRESS)


def test_refresh_writes_the_readme_and_notebook_00_once(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").write_text(
        f'[project.urls]\nRepository = "{ADDRESS}"\n'.replace("[project.urls]", "[project]\n[project.urls]")
    )
    (tmp_path / "README.md").write_text(README)
    first = lora(title="# 00 · Start\n\nBegin.", outcomes="**Read before:** nothing.")
    first.cells.append(new_markdown_cell("old", metadata={"tags": ["contents"]}))
    write(tmp_path / "notebooks" / "00_start_here.ipynb", first)
    monkeypatch.setattr(contents, "PATHS", (Way("All", (), "all"),))
    assert contents.refresh(tmp_path) == ["README.md", "00_start_here.ipynb"]
    cell = read(tmp_path / "notebooks" / "00_start_here.ipynb").cells[-1]
    assert cell.source.startswith("- **All, about 0.5 hours**") and "](00_start_here.ipynb)" in cell.source
    before = [file.stat().st_mtime_ns for file in tmp_path.rglob("*.*")]
    assert contents.refresh(tmp_path) == []
    assert [file.stat().st_mtime_ns for file in tmp_path.rglob("*.*")] == before


# the map


def test_what_follows_from_the_rest_is_left_out():
    direct = drawing.reduced(
        {"00": [], "09": ["00"], "10": ["09", "00"], "18": ["09", "10"], "19": ["77", "20"]}
    )
    assert direct == {"00": [], "09": ["00"], "10": ["09"], "18": ["10"], "19": []}


def test_each_notebook_stands_once_under_the_last_that_it_needs():
    assert drawing.opened({"00": [], "05": ["00"], "10": ["00"], "20": ["05", "10"], "21": ["10"]}) == {
        "00": ["05", "10"],
        "10": ["20", "21"],
    }


def test_the_map_shows_every_link_in_words_and_the_paths_by_their_signs():
    need = {"00": [], "05": ["00"], "10": ["00"], "20": ["05", "10"]}
    fig = drawing.draw(
        need, titles=dict.fromkeys(need, "A title"), short={"00", "10"}, day={"00", "05", "10"}
    )
    words = [text.get_text() for text in fig.axes[0].texts if text.get_text()]
    assert words == ["00", "A title", "05", "10", "10", "A title", "20", "+05"]
    marks = [line.get_marker() for line in fig.axes[0].lines if line.get_marker() != "None"]
    assert marks == ["s", "o", "s", "s", "o"]


# the repository


def test_the_contents_of_readme_and_notebook_00_are_current():
    found = contents.entries(notebooks(root()))
    text = (root() / "README.md").read_text(encoding="utf-8")
    remedy = "run python notebooks/course refresh --stamp-only"
    assert readme(text, found, address=contents.address(root())) == text, remedy
    first = read(root() / "notebooks" / contents.FIRST)
    for cell in first.cells:
        if "contents" in cell.metadata.get("tags", []):
            assert cell["source"] == page(found), remedy


def said(file):
    """A notebook's outcomes."""
    [cell] = [c for c in read(file).cells if "outcomes" in c.metadata.get("tags", [])]
    return cell["source"]


def test_nothing_is_to_be_read_before_that_comes_later_or_is_not_there():
    numbers = [file.stem.split("_")[0] for file in notebooks(root())]
    wrong = [
        f"{number} needs {other}"
        for number, file in zip(numbers, notebooks(root()), strict=True)
        for other in needs(said(file))
        if other not in numbers or other >= number
    ]
    assert wrong == []


def test_every_path_names_notebooks_that_are_there_in_their_order():
    numbers = [file.stem.split("_")[0] for file in notebooks(root())]
    for way in contents.PATHS:
        assert list(way.numbers) == sorted(way.numbers)
        assert set(way.numbers) <= set(numbers)


def test_an_afternoon_is_an_afternoon_and_a_day_a_day():
    tolerated = {stem.split("_")[0] for stem in exceptions()}
    found = contents.entries(notebooks(root()))
    for way, most in zip(contents.PATHS, (3.5, 8), strict=False):
        if tolerated & set(way.numbers):
            pytest.skip("pages of the first edition are among them")
        assert sum(one.minutes for one in along(way, found)) / 60 <= most, way.name


def test_links_of_the_notebooks_lead_to_notebooks_beside_them():
    """So that they work in the learner's copies, too."""
    names = {file.name for file in notebooks(root())}
    for file in notebooks(root()):
        for cell in read(file).cells:
            if cell["cell_type"] == "markdown":
                for target in re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", cell["source"]):
                    target = "".join(target)
                    assert target.startswith(("https:", "#")) or target.partition("#")[0] in names, target
