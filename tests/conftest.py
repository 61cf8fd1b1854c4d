"""What every test runs under: no network, one thread, and the CPU unless asked for -m gpu."""

from __future__ import annotations

import os
import signal

for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
    os.environ[variable] = "1"  # before any of the libraries is imported
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"  # also for the processes and kernels that tests start

import pytest  # noqa: E402


def pytest_configure(config):
    """One process trains on one kind of device, so GPU tests are a session of their own: pytest -m gpu."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's job in the background cannot be stopped
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item):
    """Skip a GPU test where there is none, and the long loops over every line and bit unless asked for."""
    if item.get_closest_marker("weekly") and item.config.option.markexpr != "weekly":
        pytest.skip("runs weekly: pytest -m weekly")
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device and pytest -m gpu")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Prepared tokens of the tests lie apart from the user's."""
    os.environ["FTKIT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """The same sums in the same order on every machine, and room for the worker beside (pytest -n 2)."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def fixed_seed():
    """Whatever a test draws without a generator of its own is the same in every session and every order."""
    import torch

    torch.manual_seed(20)


@pytest.fixture
def task():
    """37 sentences of 3 to 20 tokens: with 8 in a batch the last batch of an epoch is ragged."""
    from small import classification

    return classification()
