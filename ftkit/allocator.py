"""keep_freed_memory(): on a CPU, what one update freed serves the next."""

from __future__ import annotations

import ctypes

# From glibc's malloc.h: the two limits above which freed memory goes back to the system
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Ask the C library not to give freed memory back to the system; whether it will.

    Without this every large tensor is new memory each time it is made, and the system fills it with zeros,
    page by page: on two cores about a tenth of an update of MiniLM. The process then stays at its highest
    memory. Only glibc (Linux) can be asked; elsewhere nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if _linux() else None
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))


def _linux() -> bool:
    import sys

    return sys.platform == "linux"
