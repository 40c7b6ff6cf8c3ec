"""What holds for every test here; the fixtures are in `cidx_ref.testing.own.fixtures`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from segments import in_segments

from cidx_ref.places import INDEX_DIRECTORY, STATE_DIRECTORY
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.own.fixtures import SAMPLE, write


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


@pytest.fixture(scope="session")
def _in_segments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("segmented") / "project"
    for path, content in SAMPLE.items():
        write(root, path, content)
    in_segments(Project.at(root))
    return root


@pytest.fixture
def segmented(_in_segments: Path, tmp_path: Path) -> Project:
    """The sample project and some more, indexed in two segments of each kind; see `segments`."""
    return Project(Path(shutil.copytree(_in_segments, tmp_path / "segmented", symlinks=True)))
