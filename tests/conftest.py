"""What holds for every test here; the fixtures are in `cidx_ref.testing.fixtures`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cidx_ref.runtime import SYSTEM


@pytest.fixture(autouse=True)
def _no_thread_is_left_behind() -> Iterator[None]:
    # The threads themselves: the number of one that has ended is given to the next.
    before = set(SYSTEM.threads())
    yield
    for thread in SYSTEM.threads():
        if thread not in before:
            thread.join(10)
            assert not thread.is_alive(), f"left behind: thread {thread.name}"
