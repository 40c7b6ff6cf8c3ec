"""What holds for every test here; the fixtures are in `cidx_ref.testing.own.fixtures`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cidx_ref.places import INDEX_DIRECTORY, STATE_DIRECTORY
from cidx_ref.runtime import SYSTEM


@pytest.fixture(scope="session", autouse=True)
def _a_key_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    # Each worker's: nothing is written into the home of the user who runs the tests.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_DIRECTORY, str(tmp_path_factory.mktemp("state")))
        patch.setenv(INDEX_DIRECTORY, "")  # whatever that user's own configuration says
        yield


@pytest.fixture(autouse=True)
def _no_thread_is_left_behind() -> Iterator[None]:
    # The threads themselves: the number of one that has ended is given to the next.
    before = set(SYSTEM.threads())
    yield
    for thread in SYSTEM.threads():
        if thread not in before:
            thread.join(10)
            assert not thread.is_alive(), f"left behind: thread {thread.name}"
