"""The command line, run in this process where that is enough and as a user's process where it is not."""

import argparse
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small import save_tokenizer
from transformers import BertConfig, BertModel

import ftkit
from ftkit.cli import card, main, settings
from ftkit.strategies import STRATEGIES, USUAL_LR

GOOD, BAD = (
    ["good", "kind", "warm", "fine", "bright", "calm"],
    ["bad", "cold", "rude", "slow", "dark", "loud"],
)
NEUTRAL = ["the", "a", "soup", "room", "film", "book", "was", "very", "with", "of", "and"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder with a random two-block BERT and a tokenizer that knows some thirty words."""
    folder = tmp_path_factory.mktemp("model")
    vocabulary = save_tokenizer(folder, [*GOOD, *BAD, *NEUTRAL])
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    BertModel(BertConfig(vocab_size=vocabulary, max_position_embeddings=64, **size)).save_pretrained(folder)
    return folder


def rows(count=96):
    found = []
    for i in range(count):
        words = (GOOD, BAD)[i % 2]
        neutral = " ".join(NEUTRAL[(i + k) % len(NEUTRAL)] for k in range(2 + i % 5))
        found.append((f"{neutral} {words[i % 6]} {words[(i // 2) % 6]}", ("positive", "negative")[i % 2]))
    return found


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "reviews.csv", ["text,label", *(f"{t},{label}" for t, label in rows())])


def finetune(data, tiny, out, *more):
    columns = [
        "--text",
        "text",
        "--label",
        "label",
        "--model",
        str(tiny),
        "--batch-size",
        "16",
        "--lr",
        "0.01",
    ]
    return ["finetune", "--data", str(data), *columns, "--out", str(out), *more]


def command(arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "ftkit", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )


def results(out):
    return json.loads((out / "results.json").read_text())


def test_finetune_then_predict_on_sentences_and_on_a_file(data, tiny, tmp_path, capsys):
    assert main(finetune(data, tiny, tmp_path / "a", "--epochs", "12", "--strategy", "full")) == 0
    said = capsys.readouterr().out
    assert "test accuracy" in said and "95% interval" in said and "commonest label" in said
    assert results(tmp_path / "a")["test"]["accuracy"] >= 0.8
    assert (tmp_path / "a" / "loss.png").read_bytes().startswith(b"\x89PNG")
    card = (tmp_path / "a" / "model-card.md").read_text()
    assert "Limits" in card and str(tmp_path) not in card

    assert main(["predict", str(tmp_path / "a"), "the soup was good warm", "the room was cold rude"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["positive", "negative"]
    assert all(0.5 <= float(line.split("\t")[1]) <= 1 for line in lines)

    assert main(["predict", str(tmp_path / "a"), str(data)]) == 0
    lines = capsys.readouterr().out.splitlines()
    right = sum(line.split("\t")[0] == label for line, (_, label) in zip(lines, rows(), strict=True))
    assert len(lines) == 96 and right >= 90


def test_a_predicted_probability_is_that_of_the_best_evaluation(data, tiny, tmp_path, capsys):
    assert main(finetune(data, tiny, tmp_path / "a", "--epochs", "2")) == 0
    first = results(tmp_path / "a")
    capsys.readouterr()
    main(["predict", str(tmp_path / "a"), str(data)])
    once = capsys.readouterr().out
    main(["predict", str(tmp_path / "a"), str(data)])
    assert capsys.readouterr().out == once
    assert first["validation"]["loss"] > 0


def test_a_model_named_by_a_relative_path_is_found_from_any_folder(data, tiny, tmp_path, monkeypatch, capsys):
    (tmp_path / "mine").symlink_to(tiny)
    monkeypatch.chdir(tmp_path)
    assert main(finetune(data, "mine", "runs/a", "--epochs", "1")) == 0
    assert settings.load(Path("runs/a")).model == str(tiny)
    assert f"| base model | {tiny.name} |" in Path("runs/a/model-card.md").read_text()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["finetune", "--out", "../runs/a", "--model", "../mine", "--resume"]) == 0
    capsys.readouterr()
    assert main(["predict", "../runs/a", "the soup was good"]) == 0
    assert capsys.readouterr().out.count("\n") == 1


def test_a_models_name_that_is_no_folders_is_kept_as_it_is(tmp_path, monkeypatch):
    for name in ("encoder", "tiny-bert"):  # a folder of that name is not what models.folder takes
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("encoder", "tiny-bert", "owner/model"):
        assert settings.asked(argparse.Namespace(model=name)) == {"model": name}


def mean_loss(printed: str, labels: list[str]) -> float:
    """The loss that predict's lines have, by the labels that there are: in nats."""
    lines = [line.split("\t") for line in printed.splitlines()]
    right = [
        float(p) if answer == label else 1 - float(p)
        for (answer, p), label in zip(lines, labels, strict=True)
    ]
    return -sum(map(math.log, right)) / len(right)


def test_predict_computes_in_the_precision_of_the_run(data, tiny, tmp_path, capsys):
    out, test = tmp_path / "a", tmp_path / "test.csv"
    write(test, ["text,label", *(f"{text},{label}" for text, label in rows(40))])
    more = ["--strategy", "full", "--epochs", "2", "--precision", "bf16", "--test", str(test)]
    assert main(finetune(data, tiny, out, *more)) == 0
    record, measured = json.loads((out / "run.json").read_text()), {}
    for precision in ("bf16", "fp32", "auto", "fp16"):
        train = record["train"] | {"precision": precision}
        (out / "run.json").write_text(json.dumps(record | {"train": train}))
        capsys.readouterr()
        assert main(["predict", str(out), str(test)]) == 0
        printed = capsys.readouterr()
        measured[precision] = mean_loss(printed.out, [label for _, label in rows(40)])
        assert ("does not compute in fp16" in printed.err) == (precision == "fp16")
    evaluated = results(out)["test"]["loss"]
    rounded = 4e-5  # to the four decimals that are printed
    assert abs(measured["bf16"] - evaluated) < rounded < abs(measured["fp32"] - evaluated), measured
    assert measured["auto"] == measured["fp16"] == measured["fp32"]


def test_an_existing_output_folder_is_refused_and_left_as_it_is(data, tiny, tmp_path, capsys):
    out = tmp_path / "a"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    assert main(finetune(data, tiny, out)) == 2
    assert one_line(capsys).endswith("go on with --resume, or choose another --out")
    assert [p.name for p in out.iterdir()] == ["thesis.txt"]


def test_resume_with_another_setting_or_other_data_is_refused(data, tiny, tmp_path, capsys):
    assert main(finetune(data, tiny, tmp_path / "a", "--epochs", "1")) == 0
    capsys.readouterr()
    assert main(finetune(data, tiny, tmp_path / "a", "--epochs", "5", "--rank", "2", "--resume")) == 2
    said = one_line(capsys)
    assert "epochs 1, not 5" in said and "rank 8, not 2" in said
    with open(data, "a", encoding="utf-8") as file:
        file.write("one more good row,positive\n")
    assert main(["finetune", "--resume", "--out", str(tmp_path / "a")]) == 2
    assert "not the data that the run" in one_line(capsys)


def test_a_killed_run_resumes_to_the_result_of_an_uninterrupted_one(data, tiny, tmp_path):
    whole = command(finetune(data, tiny, tmp_path / "whole", "--epochs", "6"))
    assert whole.wait(120) == 0
    killed = command(finetune(data, tiny, tmp_path / "a", "--epochs", "6"))
    checkpoints = tmp_path / "a" / "checkpoints"
    until(lambda: list(checkpoints.glob("step-*")))
    killed.kill()
    killed.wait(30)
    for folder in checkpoints.glob(
        "step-*"
    ):  # as if killed after the first epoch, whatever the machine's speed
        if folder.name > "step-000010":
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
    for name in ("results.json", "loss.png", "model-card.md"):
        (tmp_path / "a" / name).unlink(missing_ok=True)
    assert command(["finetune", "--resume", "--out", str(tmp_path / "a")]).wait(120) == 0
    same(results(tmp_path / "a"), results(tmp_path / "whole"))


def test_ctrl_c_keeps_a_checkpoint_and_says_how_to_go_on(data, tiny, tmp_path):
    running = command(finetune(data, tiny, tmp_path / "a", "--epochs", "400"))
    until(lambda: list((tmp_path / "a" / "checkpoints").glob("step-*")))
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert f"ftkit finetune --out {tmp_path / 'a'} --resume" in out
    assert "Traceback" not in err
    assert not list((tmp_path / "a" / "checkpoints").glob(".writing-*"))


def test_two_processes_under_torchrun_give_the_result_of_one(data, tiny, tmp_path):
    more = ["--epochs", "2", "--strategy", "full", "--batch-size", "11"]
    assert command(finetune(data, tiny, tmp_path / "one", *more)).wait(120) == 0
    both = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port(),
         "-m", "ftkit", *finetune(data, tiny, tmp_path / "two", *more)],
        capture_output=True, text=True, timeout=180, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert both.returncode == 0, both.stderr
    assert both.stdout.count("test accuracy") == 1
    same(results(tmp_path / "two"), results(tmp_path / "one"))


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def same(a: dict, b: dict) -> None:
    for part in ("test", "validation"):
        assert a[part] == pytest.approx(b[part], abs=1e-5)
    assert (a["confusion"], a["updates"]) == (b["confusion"], b["updates"])


def until(happened, seconds=60):
    for _ in range(seconds * 20):
        if happened():
            return
        time.sleep(0.05)
    raise AssertionError(f"did not happen within {seconds} s")


def one_line(capsys) -> str:
    """The error, which is one line without a traceback."""
    said = capsys.readouterr().err.strip()
    assert said.startswith("ftkit: error: ") and "\n" not in said, said
    return said


BAD_FILES = {
    "an empty text": (["text,label", "good,positive", '"  ",negative'], ["row 2", "empty"]),
    "a missing column": (["review,label", "good,positive"], ["'text'", "'review', 'label'"]),
    "a missing label": (["text,label", "good,positive", "bad,"], ["row 2", "label", "missing"]),
    "one class only": (["text,label", *["good,positive"] * 9], ["two different labels", "'positive'"]),
    "too few rows of a label": (
        ["text,label", *["good,positive"] * 9, "bad,negative"],
        ["'negative'", "row"],
    ),
    "a huge row": (["text,label", "good,positive", "x" * 100_000 + ",negative"], ["row 2", "100,000"]),
    "a header only": (["text,label"], ["rows below the header"]),
    "a ragged row": (["text,label", "good,positive", "a,b,c,d"], ["row 2", "4"]),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_one_line_that_names_it_and_nothing_is_written(name, tiny, tmp_path, capsys):
    lines, words = BAD_FILES[name]
    file = write(tmp_path / "mine.csv", lines)
    before = file.read_bytes()
    assert main(finetune(file, tiny, tmp_path / "out")) == 2
    said = one_line(capsys)
    assert "mine.csv" in said
    assert [w for w in words if w not in said] == []
    assert not (tmp_path / "out").exists() and file.read_bytes() == before


def test_what_is_no_text_file_is_told_apart(tiny, tmp_path, capsys):
    (tmp_path / "latin.csv").write_bytes("text,label\ncafé,positive\n".encode("latin-1"))
    (tmp_path / "empty.csv").touch()
    (tmp_path / "folder.csv").mkdir()
    write(tmp_path / "book.docx", ["x"])
    expected = {
        "latin.csv": "line 2",
        "empty.csv": "empty",
        "folder.csv": "folder",
        "no.csv": "no such file",
        "book.docx": ".csv, .tsv",
    }
    for name, word in expected.items():
        assert main(finetune(tmp_path / name, tiny, tmp_path / "out")) == 2
        said = one_line(capsys)
        assert name in said and word in said
    assert not (tmp_path / "out").exists()


def test_a_label_seen_only_in_the_test_split_is_named(data, tiny, tmp_path, capsys):
    test = write(tmp_path / "test.csv", ["text,label", "good,positive", "odd,neutral"])
    assert main(finetune(data, tiny, tmp_path / "out", "--test", str(test))) == 2
    said = one_line(capsys)
    assert "test.csv" in said and "'neutral'" in said and "row 2" in said


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--strategy", "magic"], ["lora, ", "'magic'"]),
        (["--strategy", "full", "--rank", "4"], ["--rank is for lora, qlora, not for full"]),
        (["--rank", "0"], ["rank from 1 to"]),
        (["--rank", "4000"], ["rank from 1 to", "4000"]),
        (["--epochs", "0", "--batch-size", "-1"], ["epochs must be", "batch_size must be"]),
        (["--model", "nowhere/nothing"], ["nowhere/nothing", "nowhere"]),
    ],
)
def test_a_bad_option_is_one_line_and_nothing_is_written(more, words, data, tiny, tmp_path, capsys):
    assert main(finetune(data, tiny, tmp_path / "out", *more)) == 2
    said = one_line(capsys)
    assert [w for w in words if w not in said] == []
    assert not (tmp_path / "out").exists()


def test_missing_options_are_named_together(tmp_path, capsys):
    assert main(["finetune", "--out", str(tmp_path / "out")]) == 2
    assert "--data, --text, --label" in one_line(capsys)


def test_predict_refuses_what_is_no_run_folder_and_an_empty_text(data, tiny, tmp_path, capsys):
    assert main(["predict", str(tmp_path / "none"), "a text"]) == 2
    assert "expected a run folder" in one_line(capsys)
    assert main(["predict", str(tmp_path), "a text"]) == 2
    assert "run.json" in one_line(capsys)
    assert main(finetune(data, tiny, tmp_path / "a", "--epochs", "1")) == 0
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "a"), "  "]) == 2
    assert "empty" in one_line(capsys)


def test_a_damaged_checkpoint_is_told_by_predict(data, tiny, tmp_path, capsys):
    assert main(finetune(data, tiny, tmp_path / "a", "--epochs", "1")) == 0
    for file in (tmp_path / "a").rglob("parameters.safetensors"):
        file.write_bytes(file.read_bytes()[:-9])
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "a"), "a text"]) == 2
    warning, error = capsys.readouterr().err.strip().splitlines()
    assert warning.startswith("ftkit: warning: checkpoint ") and "damaged" in warning
    assert error.startswith("ftkit: error: ") and "expected a whole checkpoint, got none" in error


def test_a_loss_that_is_no_number_stops_with_the_update_named(data, tiny, tmp_path, capsys):
    assert main(finetune(data, tiny, tmp_path / "a", "--strategy", "full", "--lr", "1e38")) == 2
    said = capsys.readouterr().err.splitlines()[-1]  # the lines above are the progress bar's
    assert said.startswith("ftkit: error: update ") and "smaller lr" in said
    assert not (tmp_path / "a" / "results.json").exists()


def test_doctor_reports_and_says_what_is_missing(monkeypatch, tmp_path, capsys):
    main(["doctor", "--offline"])
    said = capsys.readouterr().out
    for part in ("hardware", "trains in fp32", "what fits", "versions", "torch 2", "not tried", "✓ data"):
        assert part in said
    monkeypatch.setenv("FTKIT_DATA", str(tmp_path / "nowhere"))
    assert main(["doctor", "--offline"]) == 2
    assert "✗ data" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "unbuffered"), [(["--help"], ""), (["doctor", "--offline"], "1")])
def test_output_that_nobody_reads_any_more_ends_a_command_quietly(arguments, unbuffered):
    reading, writing = os.pipe()
    os.close(reading)  # as `| head -1` does after the first line
    ended = subprocess.run(
        [sys.executable, "-m", "ftkit", *arguments],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_output_that_finds_no_room_is_one_line():
    with open("/dev/full", "w") as full:
        ended = subprocess.run([sys.executable, "-m", "ftkit", "--help"], stdout=full, stderr=subprocess.PIPE)
    assert ended.returncode == 2
    assert ended.stderr.decode().startswith("ftkit: error: ") and ended.stderr.count(b"\n") == 1


def test_lab_needs_a_clone(monkeypatch, tmp_path, capsys):
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("FTKIT_DATA", str(tmp_path / "data"))
    assert main(["lab", "--no-browser"]) == 2
    assert "clone" in one_line(capsys)


def compare(data, tiny, out, *more):
    columns = ["--text", "text", "--label", "label", "--epochs", "1", "--model", str(tiny)]
    return main(["compare", "--data", str(data), *columns, "--out", str(out), *more])


def test_compare_measures_strategies_and_goes_on_with_more_of_them(data, tiny, tmp_path, capsys):
    out = tmp_path / "compared"
    assert compare(data, tiny, out, "--strategies", "lora,head_only", "--seeds", "2") == 0
    said = capsys.readouterr().out
    assert "lora" in said and "95%" in said and "commonest label: 0.5" in said
    kept = (out / "rows.jsonl").read_text()
    assert [json.loads(line)["strategy"] for line in kept.splitlines()] == ["lora", "head_only"] * 2
    assert (out / "comparison.png").stat().st_size > 1000
    assert "| lora |" in (out / "comparison.md").read_text()
    assert compare(data, tiny, out, "--strategies", "ia3,lora,head_only", "--seeds", "2") == 0
    assert (out / "rows.jsonl").read_text().startswith(kept)
    assert len((out / "rows.jsonl").read_text().splitlines()) == 6
    assert "| ia3 |" in (out / "comparison.md").read_text()
    before = (out / "rows.jsonl").read_text()
    assert compare(data, tiny, out, "--strategies", "lora,head_only", "--batch-size", "8") == 2
    assert "begun with other batch_size" in capsys.readouterr().err
    data.write_text(data.read_text() + "the film was good,positive\n")
    assert compare(data, tiny, out, "--strategies", "lora,head_only", "--seeds", "2") == 2
    assert "begun with other data" in capsys.readouterr().err
    assert (out / "rows.jsonl").read_text() == before


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--strategies", "lora"], "two --strategies or more"),
        (["--strategies", "lora,loar"], "expected a strategy out of full, head_only"),
        (["--strategies", "lora,full", "--seeds", "0"], "1 or more --seeds"),
    ],
)
def test_a_comparison_that_cannot_be_is_one_line_and_nothing_is_written(
    more, words, data, tiny, tmp_path, capsys
):
    assert compare(data, tiny, tmp_path / "c", *more) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
    assert not (tmp_path / "c").exists()


def test_a_folder_with_something_else_is_left_alone_by_compare(data, tiny, tmp_path, capsys):
    assert compare(data, tiny, tmp_path, "--strategies", "lora,full") == 2
    assert "holds something else" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["reviews.csv"]


def test_every_strategy_takes_its_own_options_and_no_others():
    given = {
        "rank": 2,
        "length": 3,
        "size": 5,
        "decay": 0.5,
        "gradual_epochs": 2,
        "prompt_tuning_start": "random",
        "gated_start": 0.25,
        "cache": True,
    }
    options = settings.strategy_options()
    for name in STRATEGIES:
        own = {option: value for option, value in given.items() if name in options[option]}
        recipe = settings.settings(own | {"strategy": name}).recipe()
        for option, value in own.items():
            assert getattr(recipe, options[option][name][1].name) == value
        for option in set(given) - set(own):
            with pytest.raises(ValueError, match=f"--{option.replace('_', '-')} is for .*, not for {name}"):
                settings.settings({option: given[option], "strategy": name})


def test_nothing_is_another_thing_than_0():
    assert settings.settings({"lr": 0.0}).train.lr == 0.0
    assert settings.settings({}).train.lr == USUAL_LR["lora"]
    assert settings.settings({"rank": 3, "strategy": "qlora"}).recipe().rank == 3


def test_a_run_folder_that_is_older_than_a_setting_has_the_settings_default(tmp_path):
    settings.store(settings.settings({"data": "a.csv"}), tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    saved = json.loads(file.read_text())
    del saved["max_tokens"], saved["train"]["schedule"]
    file.write_text(json.dumps(saved))
    assert settings.load(tmp_path / "run") == settings.settings({"data": "a.csv"})
    file.write_text(json.dumps(saved | {"colour": "red"}))
    with pytest.raises(ValueError, match="unknown setting colour"):
        settings.load(tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train": {"epochs": "3"}}, "epochs cannot be '3'"),
        ({"options": {"colour": 1}}, "unknown setting colour"),
        ({"train": 3}, "train cannot be 3"),
        ({"lr": 0.001, "rank": 8}, "unknown setting lr; unknown setting rank"),  # as run.json was once
    ],
)
def test_a_run_json_that_is_no_settings_record_is_one_line(change, words, tmp_path, capsys):
    settings.store(settings.settings({}), tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert main(["predict", str(tmp_path / "run"), "a text"]) == 2
    assert words in one_line(capsys)


def test_a_run_folder_without_the_nested_records_has_their_defaults(tmp_path):
    settings.store(settings.settings({}), tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text("{}")
    assert settings.load(tmp_path / "run") == settings.Settings()


@pytest.mark.parametrize(
    ("begun", "again", "expected"),
    [
        ({"strategy": "gradual", "gradual_epochs": 2, "epochs": 3}, {"epochs": 3, "gradual_epochs": 2}, []),
        ({"strategy": "gradual", "epochs": 3}, {"gradual_epochs": 3}, ["gradual_epochs 1, not 3"]),
        ({}, {"rank": 8}, []),
        ({}, {"rank": 2}, ["rank 8, not 2"]),
        ({}, {"length": 4}, ["lora, which has no length"]),
    ],
)
def test_a_resumed_run_is_compared_option_by_option(begun, again, expected):
    assert list(settings.differences(settings.settings(begun), again)) == expected


def test_every_option_is_read_from_the_command_line_with_its_own_type():
    parser = argparse.ArgumentParser()
    settings.add_options(parser)
    words = {"--clip": ("none", None), "--lr": ("0", 0.0), "--patience": ("none", None), "--rank": ("2", 2)}
    words |= {"--prompt-tuning-start": ("random", "random"), "--gated-start": ("0.25", 0.25)}
    words |= {"--targets": ("query,value", ("query", "value")), "--validation": ("none", "none")}
    for option, (text, value) in words.items():
        read = vars(parser.parse_args([option, text]))
        assert read == {option.removeprefix("--").replace("-", "_"): value}
    assert vars(parser.parse_args([])) == {}


def test_a_label_is_only_text_in_the_model_card():
    assert card._escaped("a|b <b>x\x1b[31m") == "a&#124;b &lt;b&gt;x\\x1b[31m"


def test_the_bare_command_shows_help_and_its_version_is_the_packages(capsys):
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert all(verb in printed for verb in ("finetune", "predict", "compare", "lab"))
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"ftkit {ftkit.__version__}\n"
