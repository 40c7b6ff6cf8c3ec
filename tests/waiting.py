"""A runtime in which something happens while somebody waits."""

from __future__ import annotations

from collections.abc import Callable

from cidx_ref.testing.clock import FakeRuntime

__all__ = ["Waiting"]


class Waiting(FakeRuntime):
    """Does something the first time that somebody waits."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__()
        self._meanwhile: Callable[[], object] | None = meanwhile

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile()
