"""Giving freed memory back to the system (CACHE-7): Python and malloc keep it otherwise."""

from __future__ import annotations

import gc
from functools import cache
from typing import Any

__all__ = ["give_back"]


def give_back() -> None:
    """Collect cycles, and let glibc return its free pages; elsewhere only the former."""
    gc.collect()
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Any:
    import ctypes

    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):  # not glibc
        return None
