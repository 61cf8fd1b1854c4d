"""setup(): which scale, which line, which seeds."""

import os
import random
import types

import numpy
import pytest
import torch
from course.setup import setup

from ftkit.place import device, native_precision
from ftkit.scales import SCALES, data_folder, scale_name


@pytest.fixture(autouse=True)
def scale_is_unset(monkeypatch):
    monkeypatch.setenv("FTKIT_SCALE", "")  # remembered by monkeypatch, so that what setup() sets is undone
    del os.environ["FTKIT_SCALE"]


def pretend_gpu(monkeypatch, *, gigabytes=16, capability=(7, 5)):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *device: capability)
    memory = types.SimpleNamespace(total_memory=gigabytes * 10**9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: memory)


def test_the_scale_is_laptop_unless_something_says_otherwise():
    assert setup().scale == "laptop"


def test_the_environment_chooses_the_scale(monkeypatch):
    monkeypatch.setenv("FTKIT_SCALE", "colab")
    assert setup().scale == "colab"


def test_the_argument_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("FTKIT_SCALE", "colab")
    assert setup(scale="server").scale == "server"


def test_what_setup_chose_holds_for_what_asks_later():
    setup(scale="colab")
    assert scale_name() == "colab"
    assert os.environ["FTKIT_SCALE"] == "colab"  # so that started processes find it too


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_an_unknown_scale_is_refused_with_the_choices(by, monkeypatch):
    if by == "environment":
        monkeypatch.setenv("FTKIT_SCALE", "lapptop")
    with pytest.raises(ValueError) as refusal:
        setup(scale="lapptop" if by == "argument" else None)
    message = str(refusal.value)
    assert "\n" not in message
    for word in (*SCALES, "auto", "'lapptop'", "FTKIT_SCALE"):
        assert word in message


def test_a_refused_scale_is_not_kept(monkeypatch):
    with pytest.raises(ValueError, match="lapptop"):
        setup(scale="lapptop")
    assert scale_name() == "laptop"


def test_auto_is_laptop_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert setup(scale="auto").scale == "laptop"


@pytest.mark.parametrize(("gigabytes", "expected"), [(15.8, "colab"), (24, "colab"), (42.4, "server")])
def test_auto_takes_what_the_gpu_carries(gigabytes, expected, monkeypatch):
    pretend_gpu(monkeypatch, gigabytes=gigabytes)
    assert scale_name("auto") == expected


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_precision_is_what_the_gpu_computes_natively(capability, expected, monkeypatch):
    pretend_gpu(monkeypatch, capability=capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *a, **k: True)  # what a T4 answers
    assert native_precision() == expected


def test_precision_is_fp32_on_a_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert native_precision() == "fp32"


def test_setup_prints_exactly_one_line_that_says_what_it_chose(capsys):
    lab = setup(scale="laptop", seed=7)
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.endswith("\n")
    (line,) = printed.out.splitlines()
    for word in (lab.scale, lab.device, lab.precision, "7"):
        assert word in line


def draw():
    return random.random(), float(numpy.random.random()), float(torch.rand(()))


def test_setup_seeds_every_generator():
    draws = []
    for seed in (3, 3, 4):
        draw()  # wherever the generators stand
        setup(seed=seed)
        draws.append(draw())
    first, again, other = draws
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_the_data_folder_is_the_repositorys():
    assert (data_folder() / "reviews" / "train.csv").is_file()


def test_the_environment_names_another_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FTKIT_DATA", str(tmp_path))
    assert data_folder() == tmp_path


def test_a_missing_data_folder_is_one_line_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("FTKIT_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError) as refusal:
        data_folder()
    message = str(refusal.value)
    assert "\n" not in message
    assert str(tmp_path / "nowhere") in message
    assert "FTKIT_DATA" in message


def test_every_scale_says_what_it_runs_and_what_for():
    assert list(SCALES) == ["laptop", "colab", "server"]
    for scale in SCALES.values():
        assert scale.encoder and scale.decoder and scale.meant_for
    assert [s.max_tokens for s in SCALES.values()] == sorted(s.max_tokens for s in SCALES.values())


def test_the_device_is_a_gpu_exactly_where_there_is_one(monkeypatch):
    for usable, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda usable=usable: usable)
        assert device() == expected
