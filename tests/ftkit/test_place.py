"""What the hardware is asked and told: precision, memory that is kept, batches that are prepared ahead."""

import subprocess
import sys
import time

import pytest
import torch

from ftkit import place
from ftkit.place import ahead, keep_freed_memory, seeded

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


@pytest.mark.parametrize(
    ("capability", "native"), [((7, 5), "fp16"), ((8, 0), "bf16"), ((8, 9), "bf16"), ((9, 0), "bf16")]
)
def test_a_gpu_trains_in_what_it_computes_natively(capability, native, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert place.native_precision() == place.usable_precision("auto", "cuda") == native
    assert [place.usable_precision(asked, "cuda") for asked in ("fp32", "fp16")] == ["fp32", "fp16"]
    if native == "fp16":
        with pytest.raises(ValueError, match=r"expected precision fp16 or fp32 or auto on cuda, got 'bf16'"):
            place.usable_precision("bf16", "cuda")


def test_random_numbers_inside_depend_on_the_numbers_alone_and_leave_the_callers_generator():
    def drawn(*numbers):
        with seeded(numbers, torch.device("cpu")):
            return torch.rand(3).tolist()

    before = torch.get_rng_state()
    first = drawn(1, 2, 3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert drawn(1, 2, 3) == first
    assert first not in (drawn(0, 2, 3), drawn(1, 0, 3), drawn(1, 2, 0))


def test_one_item_is_prepared_ahead_and_no_more():
    made = []

    def items():
        for number in range(5):
            made.append(number)
            yield number

    prepared = ahead(items())
    for number in range(4):
        assert next(prepared) == number
        until = time.monotonic() + 10
        while len(made) < number + 2 and time.monotonic() < until:
            time.sleep(0.001)
        assert made == list(range(number + 2))
    assert list(prepared) == [4]


def test_an_error_in_preparing_an_item_waits_until_that_item_is_asked_for():
    def items():
        yield from (1, 2)
        raise ValueError("the third")

    prepared = ahead(items())
    assert [next(prepared), next(prepared)] == [1, 2]
    with pytest.raises(ValueError, match="the third"):
        next(prepared)


def test_memory_that_does_not_suffice_is_told_from_other_errors():
    cpu = RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: …")
    assert all(map(place.out_of_memory, (cpu, MemoryError(), torch.OutOfMemoryError("CUDA out of memory"))))
    assert not place.out_of_memory(RuntimeError("The size of tensor a (3) must match"))
