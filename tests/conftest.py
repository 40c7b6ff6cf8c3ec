"""What holds for every test here; the fixtures are in `cidx_ref.testing.own.fixtures`."""

from __future__ import annotations

import fcntl
import gc
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from segments import in_segments

from cidx_ref.keys import account_key
from cidx_ref.places import INDEX_DIRECTORY, STATE_DIRECTORY
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.own.fixtures import SAMPLE, index_the_library, write

TESTS = Path(__file__).parent


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    # A module of which nothing is to run is not imported: half of what each worker imports.
    if collection_path.parent != TESTS or not collection_path.name.startswith("test_"):
        return None
    asked = set(str(config.option.markexpr).split(" and "))
    text = collection_path.read_text("utf-8")
    if "not once" in asked:
        return "\npytestmark = pytest.mark.once\n" in text or None
    return ("once" in asked and "mark.once" not in text) or None


def pytest_collection_finish() -> None:
    # A daemon that clears its cache collects cycles, and hundreds of tests have one in here.  To go
    # through thousands of tests and their modules takes a tenth of a second each time.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def common(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of all workers of this run."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if hasattr(request.config, "workerinput") else own


@pytest.fixture(scope="session", autouse=True)
def _a_state_of_its_own(common: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    # Each worker's: nothing is written into the home of the user who runs the tests.  The key in
    # it is that of all workers, so that what one has indexed is an index for the others, too.
    own = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(STATE_DIRECTORY, str(common / "key"))
        account_key()
        shutil.copy2(common / "key" / "key", own)
        patched.setenv(STATE_DIRECTORY, str(own))
        patched.setenv(INDEX_DIRECTORY, "")  # whatever that user's own configuration says
        yield


@pytest.fixture(scope="session")
def stdlib(common: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The fixture of that name, for workers: one of them indexes, and each has a copy."""
    made = common / "library"
    with (common / "library.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
        if not made.exists():
            index_the_library(made.with_name("library.new"))
            made.with_name("library.new").rename(made)
    own = tmp_path_factory.mktemp("stdlib") / "Lib"
    return Project.at(Path(shutil.copytree(made, own, symlinks=True)))


@pytest.fixture(scope="session", autouse=True)
def _vectors_are_waited_for() -> Iterator[None]:
    # On a busy machine, an embedder that a test holds must not cost a hybrid query its half.
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("cidx_ref.index.engines.BESIDE_S", 60.0)
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
