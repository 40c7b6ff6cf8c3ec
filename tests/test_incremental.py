"""An index that goes on from run to run holds what one built anew holds, and costs what changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from edits import (
    IGNORES,
    KINDS,
    PATHS,
    Become,
    CheckOut,
    Copy,
    Delete,
    Edit,
    EditUnseen,
    Fault,
    Ignore,
    Life,
    Mode,
    Move,
    Run,
    Swap,
    Touch,
    Write,
    make_history,
    nothing_left_open,
    small_segments,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cidx_ref.testing.own.scenarios.common import SCRATCH

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("history")
    make_history(root)
    return root


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of the test's own, where syncing costs nothing."""
    with TemporaryDirectory(dir=SCRATCH) as directory:
        yield Path(directory)


# Any edits, in any order.

paths = st.sampled_from(PATHS)
seeds = st.integers(0, 39)
faults = st.builds(
    Fault,
    st.sampled_from(["fails", "dies", "dies at a step", "embedder fails"]),
    # Of steps and embeddings a run has few, and of operations some dozens.
    st.one_of(st.integers(1, 12), st.integers(1, 150)),
)
edits: st.SearchStrategy[Edit] = st.one_of(
    st.builds(Write, paths, seeds, st.integers(0, 7)),
    st.builds(Write, paths, seeds, st.integers(0, 7)),
    st.builds(Delete, paths),
    st.builds(Move, paths, paths),
    st.builds(Copy, paths, paths),
    st.builds(Swap, paths, paths),
    st.builds(Touch, paths),
    st.builds(EditUnseen, paths, seeds),
    st.builds(Mode, paths, st.sampled_from([0o644, 0o755, 0o000])),
    st.builds(Become, paths, st.sampled_from(KINDS)),
    st.builds(Ignore, st.sampled_from([".gitignore", ".cidxignore"]), st.sampled_from(IGNORES)),
    st.builds(CheckOut, st.integers(0, 2)),
)
runs = st.one_of(st.just(Run()), st.just(Run()), st.builds(Run, faults))
Script = list[tuple[list[Edit], Run]]
scripts: st.SearchStrategy[Script] = st.lists(
    st.tuples(st.lists(edits, min_size=1, max_size=4), runs), min_size=1, max_size=10
)


@pytest.mark.promise("FRESH-4")
@pytest.mark.parametrize("number", [24, pytest.param(500, marks=pytest.mark.deep)])
def test_after_any_edits_and_runs_the_index_is_what_one_built_anew_is(
    number: int, history: Path, figure: Callable[..., None]
) -> None:
    tried = {"runs": 0, "faults": 0}

    @settings(
        derandomize=True,
        database=None,
        max_examples=number,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(has_git=st.booleans(), script=scripts)
    def search(has_git: bool, script: Script) -> None:
        runs = lived(history, has_git, script)
        tried["runs"] += len(runs)
        tried["faults"] += sum(run.fault is not None for run in runs)

    search()
    for name, count in tried.items():
        figure("FRESH-4", f"index runs in random scripts{' that fail' * (name == 'faults')}", count)


def lived(history: Path, has_git: bool, script: Script) -> list[Run]:
    """Do all that, and look at the index after each run; which runs there were."""
    with (
        nothing_left_open(),
        TemporaryDirectory(dir=SCRATCH) as place,
        small_segments(),
        Life(Path(place), history, has_git=has_git) as life,
    ):
        runs = [Run(), *(run for _, run in script), Run()]
        for edited, run in [([], runs[0]), *script, ([], runs[-1])]:
            for edit in edited:
                edit(life.root)
            life.step(run)
        life.compact()
    return runs
