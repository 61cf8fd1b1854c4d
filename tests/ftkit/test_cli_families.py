"""Every family of models under every strategy from the command line, from argv to files."""

import os
import subprocess
import sys

import pytest
import torch
import transformers
from architectures import PAD, SHAPES, WORDS
from matplotlib.figure import Figure
from small import save_tokenizer
from test_families import ARCHITECTURES, REFUSED

from ftkit.cli import main
from ftkit.strategies import STRATEGIES

LABELS = {"good": "positive", "bad": "negative"}
NEUTRAL = ["the", "soup", "room", "film", "was", "very"]
SENTENCES = ["the soup was very good", "the room was bad"]
FEW = [
    (name, strategy) for name in ("distilbert", "llama", "t5") for strategy in ("gradual", "lora", "bitfit")
]
CASES = [
    pytest.param(name, strategy, marks=() if (name, strategy) in FEW else pytest.mark.weekly)
    for name in ARCHITECTURES
    for strategy in STRATEGIES
]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """Gives the folder of a tiny random model with a tokenizer, as it would come from the hub."""
    made = {}

    def save(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            save_tokenizer(made[name], [*LABELS, *NEUTRAL])
            sizes = SHAPES.get(name, {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48})
            torch.manual_seed(0)
            config = transformers.AutoConfig.for_model(name, vocab_size=WORDS, pad_token_id=PAD, **sizes)
            transformers.AutoModel.from_config(config).save_pretrained(made[name])
        return made[name]

    return save


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """40 sentences with a label."""
    file = tmp_path_factory.mktemp("data") / "reviews.csv"
    words = [list(LABELS)[i % 2] for i in range(40)]
    rows = [f"the {NEUTRAL[1 + i % 3]} was {word},{LABELS[word]}" for i, word in enumerate(words)]
    file.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    return file


@pytest.fixture(autouse=True)
def quick_plot(monkeypatch):
    """A loss curve is the same drawing for every family, and takes longer than its training here."""
    monkeypatch.setattr("ftkit.plots.curves", lambda runs: Figure(figsize=(1, 1)))


def finetune(model, strategy, data, out) -> list[str]:
    options = {"--data": data, "--text": "text", "--label": "label", "--model": model, "--out": out}
    options |= {"--strategy": strategy, "--epochs": 1, "--batch-size": 16}
    if "lora" in strategy:
        options["--rank"] = 2  # a layer of the small Mamba has two inputs
    return ["finetune", *(str(part) for pair in options.items() for part in pair)]


def checked(name, strategy, *, code, errors, out):
    """Assert that it trained, or that one sentence refused it and nothing was written."""
    assert "Traceback" not in errors
    if (name, strategy) in REFUSED:
        assert (code, errors.count("\n"), out.exists()) == (2, 1, False), errors
        assert errors.startswith("ftkit: error: ") and "use " in errors
    else:
        assert code == 0 and "ftkit: error" not in errors, errors
        assert {"run.json", "results.json", "model-card.md", "loss.png"} <= {f.name for f in out.iterdir()}


def answered(out, capfd):
    """Assert that predict gives one label and its probability per sentence, the same for the same text."""
    assert main(["predict", str(out), *SENTENCES, SENTENCES[0]]) == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    lines = [line.split("\t") for line in printed.out.splitlines()]
    assert len(lines) == 3
    assert float(lines[0][1]) == pytest.approx(float(lines[2][1]), abs=2e-4)  # another row of the batch
    assert all(label in LABELS.values() and 0.5 <= float(p) <= 1 for label, p in lines)


@pytest.mark.parametrize(("name", "strategy"), CASES)
def test_a_family_trains_and_answers_from_the_command_line_or_one_sentence_says_why_not(
    name, strategy, folder_of, data, tmp_path, capfd
):
    model, out = folder_of(name), tmp_path / "run"
    capfd.readouterr()  # saving a model draws a bar
    code = main(finetune(model, strategy, data, out))
    checked(name, strategy, code=code, errors=capfd.readouterr().err, out=out)
    if (name, strategy) not in REFUSED:
        answered(out, capfd)


@pytest.mark.weekly
@pytest.mark.parametrize(("name", "strategy"), [("gpt2", "gradual"), ("t5", "bitfit"), ("fnet", "full")])
def test_a_process_of_its_own_gives_the_same(name, strategy, folder_of, data, tmp_path):
    command = [sys.executable, "-m", "ftkit", *finetune(folder_of(name), strategy, data, tmp_path / "run")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ)
    checked(name, strategy, code=ended.returncode, errors=ended.stderr, out=tmp_path / "run")
