"""Giving freed memory back to the system (CACHE-7): Python and malloc keep it otherwise."""

from __future__ import annotations

import gc
import os
from functools import cache
from typing import Any

from cidx_ref.interpreter import frugal

__all__ = ["be_frugal", "give_back"]

_M_ARENA_MAX = -8


def be_frugal() -> None:
    """Have libraries that are not loaded yet, and malloc, take little in this process, as
    `interpreter.frugal` has it for one that is started."""
    begun_so = "MALLOC_ARENA_MAX" in os.environ  # which glibc reads once
    os.environ.update(frugal(os.environ))
    heaps = None if begun_so else os.environ.get("MALLOC_ARENA_MAX")
    if heaps is not None and (mallopt := _of_libc("mallopt")) is not None:
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
