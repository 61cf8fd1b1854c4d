"""data/reviews is what its datasheet says, and the checker that says so finds what is planted."""

import csv
import re

import pytest
from course import __main__ as command
from course.author.notebook import root
from course.author.overlap import COLUMNS, HARD, Row, datasheet, examine, read, repeated, shared_runs, words

ROWS, FAULTS = read(root() / "data" / "reviews")


def test_the_data_has_no_fault():
    about_rows = [
        fault for fault in examine(root() / "data").faults if not fault.startswith("data/README.md")
    ]
    assert about_rows == []


def test_the_datasheet_gives_the_counts_of_every_set():
    assert datasheet(root() / "data" / "README.md", ROWS) == []


def test_there_are_at_least_1600_rows_of_five_domains():
    assert FAULTS == []
    assert len(ROWS) >= 1600
    assert len({row.domain for row in ROWS}) >= 5


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_every_split_has_every_domain_both_labels_and_the_hard_kinds(name):
    own = [row for row in ROWS if row.file == name]
    assert {row.domain for row in own} == {row.domain for row in ROWS}
    assert {row.label for row in own} == {"negative", "positive"}
    assert {row.kind for row in own} == {"plain"} | HARD


# the checker


def test_words_are_compared_without_case_or_punctuation():
    assert words("It’s GREAT — really, “great”!") == ("it's", "great", "really", "great")


def test_a_shared_run_is_found_wherever_it_stands_and_is_told_once():
    run = "one two three four five six seven eight"
    rows = [
        "Nothing here at all.",
        f"So: {run.upper()}!",
        f"{run} nine, and {run}",
        "one two three four five six seven",
    ]
    assert shared_runs(rows) == [(1, 2, run)]
    assert shared_runs(rows, length=7) == [
        (1, 2, "one two three four five six seven"),
        (1, 3, "one two three four five six seven"),
        (2, 3, "one two three four five six seven"),
    ]


def test_shared_runs_equal_those_of_a_brute_force_search():
    rows = [row.text for row in ROWS[:150]] + [row.text for row in ROWS[:5]]

    def grams(text):
        said = words(text)
        return {said[k : k + 4] for k in range(len(said) - 3)}

    expected = [
        (i, j) for i in range(len(rows)) for j in range(i + 1, len(rows)) if grams(rows[i]) & grams(rows[j])
    ]
    assert len(expected) >= 5
    assert [(i, j) for i, j, _ in shared_runs(rows, length=4)] == expected


def test_a_row_that_repeats_its_own_words_shares_nothing():
    assert shared_runs(["a b c a b c a b c"], length=3) == []


def test_short_repetitions_are_found_too():
    assert repeated(["Good soup.", "good SOUP", "Good soup? No."]) == [(0, 1)]


TEXTS = {
    "train": ["The soup was cold and the waiter colder still.", "A fine lamp.", "Loved it.", "Never again."],
    "validation": [
        "Rooms smelled of paint.",
        "Not a bad shirt.",
        "Great, it broke.",
        "Nice bed, thin walls.",
    ],
    "test": ["The film drags.", "Not what I feared.", "Lovely, a leak.", "Warm coat, poor zip."],
    "implied": ["We left before the dessert.", "I bought a second one."],
}
KIND = ["plain", "negated", "ironic", "mixed"]


def tiny_sheet(file, texts=TEXTS):
    """Half of each set is negative, half positive; a kind each, but for the implied ones."""
    lines = []
    for name, said in texts.items():
        kinds = [len(said)] if name == "implied" else [1] * len(said)
        lines.append(" | ".join(map(str, [f"| {name}", len(said), *[len(said) // 2] * 2, *kinds])))
    file.write_text("\n".join(lines))


def tiny(folder, *, texts=TEXTS, columns=COLUMNS, row=None, datasheet=True):
    """A data folder without a fault, but for what is asked for; `row` is (file, number from 0, cells)."""
    (folder / "reviews").mkdir()
    for name, said in texts.items():
        rows = [
            [text, ["negative", "positive"][k % 2], "films", "implied" if name == "implied" else KIND[k]]
            for k, text in enumerate(said)
        ]
        if row and row[0] == name:
            rows[row[1]] = row[2]
        with open(folder / "reviews" / f"{name}.csv", "w", newline="") as file:
            csv.writer(file).writerows([columns, *rows])
    if datasheet:
        tiny_sheet(folder / "README.md", texts)
    return examine(folder)


def test_sets_without_a_fault_are_counted(tmp_path):
    report = tiny(tmp_path)
    assert report.faults == ()
    assert report.counts[0].startswith("train: 4 rows; negative 2, positive 2; films 4; ironic 1,")


@pytest.mark.parametrize(
    "changes, expected",
    [
        (
            {"row": ("test", 0, ["Good film.", "neutral", "films", "plain"])},
            "test.csv row 1: expected a label",
        ),
        ({"row": ("test", 1, ["Good film.", "positive", "films", "sad"])}, "test.csv row 2: expected a kind"),
        (
            {"row": ("implied", 0, ["So so.", "positive", "films", "plain"])},
            "implied.csv row 1: expected a kind",
        ),
        ({"row": ("test", 0, ["…!", "positive", "films", "plain"])}, "test.csv row 1: no words"),
        ({"row": ("test", 0, ["Good film.", "positive", "", "plain"])}, "test.csv row 1: no domain"),
        (
            {"row": ("test", 0, ["Good film.", "positive", "films"])},
            "test.csv row 1: expected 4 cells, found 3",
        ),
        ({"columns": ["text", "label", "kind", "domain"]}, "expected the columns text, label, domain, kind"),
        ({"texts": {k: v for k, v in TEXTS.items() if k != "implied"}}, "implied.csv: not there"),
        ({"texts": TEXTS | {"spare": ["One more."]}}, "spare.csv: not a set of the datasheet"),
        (
            {
                "row": (
                    "test",
                    0,
                    ["Really, the soup was cold and the staff rude.", "negative", "films", "plain"],
                )
            },
            "train.csv row 1 and test.csv row 1 share 6 words (the soup was cold and the)",
        ),
        (
            {"row": ("train", 1, ["Loved it!", "positive", "films", "plain"])},
            "train.csv row 3 repeats train.csv row 2",
        ),
        ({"datasheet": False}, "the datasheet is not there"),
    ],
)
def test_a_planted_fault_in_the_data_is_found(tmp_path, changes, expected):
    faults = tiny(tmp_path, **changes).faults
    assert any(expected in fault for fault in faults), faults
    if "columns" not in changes and "texts" not in changes:
        assert len([fault for fault in faults if not fault.startswith(tmp_path.name)]) == (
            changes != {"datasheet": False}
        )


def test_six_shared_words_are_a_fault_only_with_training_and_eight_are_everywhere(tmp_path):
    shared = "the soup was cold and the staff rude"
    texts = TEXTS | {
        "train": ["A lamp.", "A fine lamp.", "Loved it.", "Never again."],
        "test": [f"{shared} to us", "Not what I feared.", "Lovely, a leak.", "Warm coat, poor zip."],
    }
    six = texts | {"implied": ["Well, the soup was cold and the end.", "I bought a second one."]}
    eight = texts | {"implied": [f"Well, {shared}.", "I bought a second one."]}
    (tmp_path / "six").mkdir()
    (tmp_path / "eight").mkdir()
    assert tiny(tmp_path / "six", texts=six).faults == ()
    (fault,) = tiny(tmp_path / "eight", texts=eight).faults
    assert "test.csv row 1 and implied.csv row 1 share 8 words" in fault


def test_a_datasheet_with_a_wrong_count_is_a_fault(tmp_path):
    tiny(tmp_path)
    sheet = tmp_path / "README.md"
    for wrong in (
        "| train | 5 | 2 | 2 | 1 | 1 | 1 | 1 |",
        "| train | 4 | 1 | 3 | 1 | 1 | 1 | 1 |",
        "train: 4 rows",
    ):
        sheet.write_text(re.sub(r"\| train .*", wrong, sheet.read_text()))
        (fault,) = examine(tmp_path).faults
        assert "README.md: no line gives train and its counts, 4, 2, 2, 1, 1, 1, 1" in fault
        tiny_sheet(sheet)
    assert examine(tmp_path).faults == ()


def test_thousands_may_be_set_off_by_a_comma(tmp_path):
    rows = [Row("train", k, "x", "positive", "films", "plain") for k in range(1, 1483)]
    (tmp_path / "README.md").write_text("- `train.csv`: 1,482 rows, positive 1,482, plain 1482\n")
    assert datasheet(tmp_path / "README.md", rows) == []


def test_the_command_ends_with_1_when_something_is_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "root", lambda: tmp_path)
    (tmp_path / "data").mkdir()
    tiny(tmp_path / "data")
    assert command.main(["data"]) == 0
    (tmp_path / "data" / "reviews" / "test.csv").unlink()
    assert command.main(["data"]) == 1
    assert "test.csv: not there" in capsys.readouterr().out
