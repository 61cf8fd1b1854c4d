"""Where a run computes: device, precision, pinned copies, sharding. The only code that knows the hardware."""

from __future__ import annotations

import contextlib
import ctypes
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
PRECISIONS = ("auto", *AUTOCAST)
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h: limits above which freed memory goes back


def device() -> str:
    """ "cuda" where there is a usable GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def processes():
    """The processes of this run as accelerate counts them: one, or those that torchrun started."""
    from accelerate import PartialState

    return PartialState(cpu=device() == "cpu")


def native_precision() -> str:
    """What the device computes natively: bf16 from compute capability 8.0, fp16 below, fp32 on a CPU.

    `torch.cuda.is_bf16_supported()` is not asked: it says yes on a T4, which emulates bf16.
    """
    if not torch.cuda.is_available():
        return "fp32"
    return "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp16"


def usable_precision(asked: str, device: str) -> str:
    """The precision to train in; raises ValueError for one that this hardware only emulates."""
    native = native_precision() if device == "cuda" else "fp32"
    if asked == "auto":
        return native
    allowed = {"fp32", "fp16", native} if device == "cuda" else {"fp32", "bf16"}
    if asked not in allowed:
        raise ValueError(
            f"expected precision {' or '.join(sorted(allowed))} or auto on {device}, got {asked!r}"
        )
    return asked


def autocast(device: str, precision: str) -> torch.autocast:
    """The context in which forward passes run."""
    dtype = AUTOCAST[precision]
    return torch.autocast(device, dtype, enabled=dtype is not None)


@contextlib.contextmanager
def seeded(numbers: tuple[int, ...], device: torch.device):
    """Random numbers drawn inside depend on `numbers` alone; the caller's generators stay as they were.

    So a resumed run needs no random state, and two runs raced in one loop do not disturb each other.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seed = hash(numbers) & 0x7FFFFFFF
        torch.default_generator.manual_seed(seed)  # torch.manual_seed walks the stack for absent GPUs
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        yield


def send(batch: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """The batch on the device; to a GPU from pinned memory, so that the copy runs beside the computation."""
    if device.type != "cuda":
        return {name: tensor.to(device) for name, tensor in batch.items()}
    return {name: tensor.pin_memory().to(device, non_blocking=True) for name, tensor in batch.items()}


def ahead(items: Iterator) -> Iterator:
    """The same items, each prepared by a thread while the caller computes on the one before it.

    An error in preparing an item is raised when that item is asked for, not one item early.
    """
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ftkit-batches")
    ready = pool.submit(next, items, None)
    while (item := ready.result()) is not None:
        ready = pool.submit(next, items, None)
        yield item


def put(model: nn.Module, device: torch.device, *, sharded: list[nn.Module] | None = None) -> None:
    """Move the model to the device; with `sharded`, its blocks, spread it over the processes (FSDP2) as well.

    Afterwards `model.named_parameters()` gives the same names, perhaps with other objects behind them.
    """
    model.to(device)
    if device.type == "cpu":
        keep_freed_memory()
    if sharded is not None:
        _shard(model, sharded, device.type)


def _shard(model: nn.Module, blocks: list[nn.Module], device: str) -> None:
    from torch import distributed
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    if not distributed.is_initialized():  # one process alone: sharded into one part
        backend = "nccl" if device == "cuda" else "gloo"
        distributed.init_process_group(backend, store=distributed.HashStore(), rank=0, world_size=1)
    mesh = init_device_mesh(device, (distributed.get_world_size(),))
    for module in (*blocks, model):
        fully_shard(module, mesh=mesh)


def whole(tensor: Tensor) -> Tensor:
    """A sharded tensor put together, the same on every process; any other tensor as it is."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def spread_like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """A whole tensor, sharded as the parameter is; as it is beside a parameter that is not sharded."""
    if not hasattr(parameter, "full_tensor"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(parameter.device), parameter.device_mesh, parameter.placements)


def agreed(name: str) -> str:
    """The main process's name, on all processes."""
    from accelerate.utils import broadcast_object_list

    names = [name]
    if torch.distributed.get_world_size() > 1:
        broadcast_object_list(names)
    return names[0]


def write_tensors(tensors: dict[str, Tensor], file: Path) -> None:
    """The tensors as a safetensors file."""
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, file)


def write_parts(tensors: dict[str, Tensor], file: Path) -> None:
    """The same of sharded tensors, called by all processes: each writes its part, torch joins them."""
    from torch import distributed
    from torch.distributed import checkpoint

    parts = file.with_suffix("")
    parts.mkdir(exist_ok=True)
    writer = checkpoint.HuggingFaceStorageWriter(str(parts), save_distributed=True, enable_consolidation=True)
    checkpoint.save({name: t.detach() for name, t in tensors.items()}, storage_writer=writer)
    distributed.barrier()
    if distributed.get_rank() == 0:
        (parts / "model-00001-of-00001.safetensors").rename(file)
        shutil.rmtree(parts)


def keep_freed_memory() -> bool:
    """Ask the C library not to give freed memory back to the system; whether it will.

    Without this every large tensor is new memory each time it is made, and the system fills it with zeros,
    page by page: on two cores about a tenth of an update of MiniLM. The process then stays at its highest
    memory. Only glibc (Linux) can be asked; elsewhere nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))


def out_of_memory(error: BaseException) -> bool:
    """Whether the memory did not suffice; a CPU's allocator tells so in a plain RuntimeError."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def sum_gradients(params: list[nn.Parameter]) -> None:
    """Add the processes' gradients up in place: one flat buffer, one exchange."""
    from accelerate.utils import reduce

    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
    used = grads[0].new_tensor([p.grad is not None for p in params])  # unused everywhere: no gradient at all
    flat = reduce(torch.cat([*(g.flatten() for g in grads), used]), "sum")
    *sums, used = flat.split([*(p.numel() for p in params), len(params)])
    for parameter, grad, n in zip(params, sums, used.tolist(), strict=True):
        parameter.grad = grad.view_as(parameter) if n else None
