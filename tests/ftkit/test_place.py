"""What is freed is kept: an update does not pay for its memory again."""

import subprocess
import sys

import pytest

from ftkit.place import keep_freed_memory

FAULTS = """
import resource, sys, torch
from ftkit.place import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for _ in range(20):
    torch.ones(12_000_000)  # 48 MB, as the gradient of MiniLM's embeddings; the first ones settle in
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(12_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def new_pages(mode):
    """Pages of memory that the system had to find and clear for ten tensors of 48 MB."""
    answer = subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True)
    return int(answer.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be asked")
def test_a_tensor_that_was_freed_gives_its_memory_to_the_next():
    assert new_pages("keep") < 100
    assert new_pages("do not") > 1000


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
