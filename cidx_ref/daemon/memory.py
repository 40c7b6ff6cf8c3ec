"""Giving freed memory back to the system (CACHE-7): Python and malloc keep it otherwise."""

from __future__ import annotations

import gc
import os
from functools import cache
from typing import Any

from cidx_ref.interpreter import frugal

__all__ = ["be_frugal", "give_back"]

#: Of glibc's `mallopt`.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
#: What is larger is given back when it is freed, and so is what is free at the end of a heap.
#: glibc raises both by itself, with the first large message, up to 32 and 64 MB.
_KEPT_BYTES = 1 << 20


def be_frugal() -> None:
    """Have malloc keep little of what is freed, and libraries that are not loaded yet take little
    in this process, as `interpreter.frugal` has it for one that is started."""
    begun_so = "MALLOC_ARENA_MAX" in os.environ  # which glibc reads once
    os.environ.update(frugal(os.environ))
    mallopt = _of_libc("mallopt")
    if mallopt is None:
        return
    mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    if not begun_so and (heaps := os.environ.get("MALLOC_ARENA_MAX")):
        mallopt(_M_ARENA_MAX, int(heaps))


def give_back() -> None:
    """Collect cycles, and let glibc return its free pages; elsewhere only the former."""
    gc.collect()
    trim = _of_libc("malloc_trim")
    if trim is not None:
        trim(0)


@cache
def _of_libc(name: str) -> Any:
    import ctypes

    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):  # not glibc
        return None
