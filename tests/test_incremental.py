"""An index that goes on from run to run holds what one built anew holds, and costs what changed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.edits import (
    IGNORES,
    KINDS,
    PATHS,
    Become,
    CheckOut,
    Copy,
    Delete,
    Edit,
    EditUnseen,
    Ignore,
    Mode,
    Move,
    Swap,
    Touch,
    Write,
    make_history,
)
from cidx_ref.testing.own.lives import (
    Fault,
    Life,
    Run,
    no_probes,
    nothing_left_open,
    scratch,
    small_segments,
)
from cidx_ref.testing.own.turns import leave_something_dead, on_disk, overtake_a_merge

pytestmark = pytest.mark.once

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("history")
    make_history(root)
    return root


@pytest.fixture
def place() -> Iterator[Path]:
    with scratch() as directory:
        yield directory


@pytest.fixture
def life(history: Path, place: Path) -> Iterator[Life]:
    """A tree without a repository, where segments are small, and nothing is indexed yet."""
    with small_segments(), Life(place, history, has_git=False) as made:
        yield made


@pytest.mark.promise("FRESH-4")
def test_what_is_gone_is_in_no_answer_before_it_is_merged_away(life: Life) -> None:
    leave_something_dead(life)
    life.check()


@pytest.mark.promise("FRESH-4")
def test_merged_it_says_what_an_index_built_anew_says(life: Life) -> None:
    leave_something_dead(life)
    life.compact()
    assert all(part.alive is None for part in life.snapshot.chunks.parts)
    Write("a.py", 2, 3)(life.root)
    life.step(Run())


@pytest.mark.promise("FRESH-4")
def test_a_merge_that_waits_for_a_writer_merges_what_that_has_published(life: Life) -> None:
    leave_something_dead(life)
    overtake_a_merge(life)


@pytest.mark.promise("FRESH-4")
def test_a_merge_that_is_due_is_done_with_the_run_and_changes_no_answer(life: Life) -> None:
    leave_something_dead(life)
    merges = 0
    for seed in range(12):
        Write(PATHS[seed % 3], seed, 3)(life.root)
        if life.run(merge=False)["merge_due"]:
            merges += 1
            life.check()
            before = life.now()
            assert life.run()["generation"] != life.snapshot.generation, "it was merged"
            assert life.now() == before
        life.check()
    assert merges > 2


@pytest.mark.promise("FRESH-4")
@pytest.mark.parametrize("kind", ["empty", "binary"])
def test_a_project_without_any_text_has_an_index_and_gets_one_with_its_first_text(
    life: Life, kind: str
) -> None:
    for path in life.files():
        Delete(path)(life.root)
    Become("a.py", kind)(life.root)
    life.step(Run())
    Write("b.py", 1, 2)(life.root)
    life.step(Run())
    Delete("b.py")(life.root)
    life.step(Run())
    life.compact()


@pytest.mark.promise("FRESH-4", "WRITE-3")
def test_a_run_over_something_dead_may_fail_at_any_operation_and_the_next_one_heals_it(
    life: Life,
) -> None:
    leave_something_dead(life)
    for at in range(1, 120, 9):
        Write("a.py", at % 40, 1 + at % 3)(life.root)
        life.step(Run(Fault("fails" if at % 2 else "dies", at)))
        life.step(Run())


@pytest.mark.promise("FRESH-4", "WRITE-3")
def test_a_run_whose_embedder_fails_at_any_call_says_so_and_the_next_one_heals_it(
    life: Life,
) -> None:
    leave_something_dead(life)
    for at in range(1, 7):  # the chunks that are new, and some of those in each new segment
        Write("a.py", at, 2)(life.root)
        life.step(Run(Fault("embedder fails", at)))
    life.step(Run())


@pytest.mark.promise("FRESH-4", "WRITE-3")
def test_a_run_that_dies_at_any_step_leaves_no_file_open_and_the_next_one_heals_it(
    life: Life,
) -> None:
    leave_something_dead(life)
    for at in range(1, 13):
        with nothing_left_open():
            Write("a.py", at, 2)(life.root)
            life.step(Run(Fault("dies at a step", at)))
    life.step(Run())


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
@pytest.mark.parametrize("number", [10, pytest.param(500, marks=pytest.mark.deep)])
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
        scratch() as place,
        small_segments(),
        Life(place, history, has_git=has_git) as life,
    ):
        runs = [Run(), *(run for _, run in script), Run()]
        for edited, run in [([], runs[0]), *script, ([], runs[-1])]:
            for edit in edited:
                edit(life.root)
            life.step(run)
        life.compact()
    return runs


# What a run costs.


class Reading:
    """Counts the bytes that are hashed, by the inode of their file."""

    def __init__(self) -> None:
        self.hashed: Counter[int] = Counter()

    def __call__(self, file: Any, digest: str) -> Any:
        found = os.fstat(file.fileno())
        self.hashed[found.st_ino] += found.st_size
        return _digest(file, digest)


_digest = hashlib.file_digest
#: What the last scan saw: more, once files are too old to change within a tick of the clock.
SEEN = "seen.bin"
FILES = 300


@pytest.fixture
def large(history: Path, place: Path) -> Iterator[Life]:
    """A tree with some hundred files, indexed and loaded; segments are as large as they are."""
    with no_probes(), Life(place, history, has_git=False) as made:
        for number in range(FILES):
            Write(f"many/m{number:03}.py", number % 64, 1 + number // 64)(made.root)
        made.run()
        made.reload()
        made.embedder.texts.clear()
        yield made


@pytest.mark.promise("FRESH-5")
def test_a_run_for_one_file_embeds_writes_and_hashes_what_is_new(
    large: Life, figure: Callable[..., None]
) -> None:
    for seed in (1, 2):  # the second time the new segment takes in a small one
        before, old = on_disk(large.project), large.snapshot.manifest
        Write("many/m007.py", seed, 3)(large.root)
        reading = Reading()
        with patch.object(hashlib, "file_digest", reading):
            large.run(verified=large.snapshot.generation)
            large.reload()
        assert len(large.embedder.texts) == 3
        large.embedder.texts.clear()
        segments = large.snapshot.manifest["segments"]
        added = [each["chunks"] for name, each in segments.items() if name not in old["segments"]]
        assert added == [3]
        written = sum(size for inode, size in on_disk(large.project).items() if inode not in before)
        # Twice: by the writer, and by the reader, which believes nobody.
        hashed = sum(size for inode, size in reading.hashed.items() if inode in before)
        assert written < 64_000
        assert written < sum(before.values()) / 10
        assert hashed < 64_000, "of what was there, the lists of files and of what is dead"
        assert sum(reading.hashed.values()) < 3 * 64_000
    figure("FRESH-5", "written for one of 300 files", written, "bytes")
    large.check()


@pytest.mark.promise("FRESH-5")
def test_what_is_kept_is_the_same_files_on_disk_and_the_same_memory(large: Life) -> None:
    kept = {id(part.segment) for part in large.snapshot.chunks.parts}
    before = on_disk(large.project)
    Write("many/m007.py", 1, 3)(large.root)
    large.run()
    large.reload()
    after = on_disk(large.project)
    shared = sum(size for inode, size in after.items() if inode in before)
    assert shared > 0.9 * sum(before.values())
    assert kept <= {id(part.segment) for part in large.snapshot.chunks.parts}


@pytest.mark.promise("FRESH-5")
def test_a_run_that_finds_nothing_new_writes_nothing(large: Life) -> None:
    Touch("many/m007.py")(large.root)
    before = looks_of(large)
    runtime = FakeRuntime()
    report = large.run(runtime=runtime)
    assert (report["changed"], report["generation"]) == (False, large.snapshot.generation)
    assert looks_of(large) == before
    assert large.embedder.texts == []
    written = [each for each in runtime.operations if SEEN not in each]
    assert {each.partition(" ")[0] for each in written} <= {"mkdir", "rmdir"}, "of what git is told"


@pytest.mark.promise("FRESH-5")
def test_many_edits_embed_each_new_chunk_once_and_merges_embed_none(
    life: Life, figure: Callable[..., None]
) -> None:
    with no_probes():
        life.run()
        life.embedder.texts.clear()
        for number in range(40):
            Write("a.py", number, 2)(life.root)
            life.run()
    assert len(life.embedder.texts) == 80
    figure("FRESH-5", "chunks embedded for 40 edits of two chunks each", len(life.embedder.texts))
    life.check()


def looks_of(life: Life) -> dict[str, tuple[int, ...]]:
    """What would tell that a file of the index was written, by path."""
    return {
        str(path): (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        for path in life.project.index_directory.rglob("*")
        if path.name != SEEN and stat.S_ISREG((found := path.lstat()).st_mode)
    }


@pytest.mark.promise("FRESH-5")
@pytest.mark.parametrize("number", [100, pytest.param(1000, marks=pytest.mark.deep)])
def test_after_many_edits_the_index_is_at_most_half_as_large_again_as_one_built_anew(
    number: int, history: Path, place: Path, figure: Callable[..., None]
) -> None:
    random = Random(number)
    with (
        nothing_left_open(),
        small_segments(most=128, matrix=32, dead_share=5),
        Life(place, history, has_git=False) as life,
    ):
        for at in range(120):
            Write(f"many/m{at:03}.py", at % 64, 3)(life.root)
        life.run()
        most = 0.0
        for _ in range(number):
            Write(f"many/m{random.randrange(120):03}.py", random.randrange(64), 3)(life.root)
            life.run()
            most = max(most, sum(on_disk(life.project).values()))
            assert len(os.listdir(life.project.generations)) == 2, "it, and the link to it"
        life.check()
        ratio = most / sum(on_disk(life.anew).values())
    figure("FRESH-5", f"largest size in {number} edits, against one built anew", ratio)
    assert ratio <= 1.5


# Writers that are killed.


@pytest.fixture
def writer() -> Iterator[Callable[..., int]]:
    """`writer(life, at_step=3)` makes a run in a process that ends there; by which signal."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    process = subprocess.Popen(
        [sys.executable, str(TESTS / "doomed_writer.py")],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def order(life: Life, **fate: Any) -> int:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"root": str(life.root), **fate}) + "\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    with process:
        yield order
        process.communicate("", timeout=30)
    assert process.returncode == 0


@pytest.mark.promise("FRESH-4", "WRITE-3")
@pytest.mark.parametrize("number", [24, pytest.param(300, marks=pytest.mark.deep)])
def test_a_writer_killed_at_any_instant_leaves_the_old_index_or_the_new_and_the_next_goes_on(
    number: int, life: Life, writer: Callable[..., int], figure: Callable[..., None]
) -> None:
    random = Random(number)
    leave_something_dead(life)
    ended: Counter[int] = Counter()
    for _ in range(number):
        before = life.now()
        for path in random.sample(PATHS, random.randint(1, 3)):
            Write(path, random.randrange(40), random.randrange(4))(life.root)
        fate = random.choice(["at_step", "at_operation", "after_s"])
        ended[writer(life, **{fate: FATES[fate](random)})] += 1
        after = life.now()
        life.embedder.texts.clear()
        with no_probes():
            life.run()
        life.check()
        expected = life.now()
        assert after in (before, expected), "neither the old index nor the new"
        changed = {text[0] for text in set(after) ^ set(expected)}
        anew = sum(text[0] in changed for text in expected)
        assert len(life.embedder.texts) == anew, "what was there already is embedded again"
    life.compact()
    assert {signal.SIGKILL, signal.SIGALRM} < ended.keys() | {0}
    figure("WRITE-3", "incremental runs killed at any instant", number - ended[0])


FATES: dict[str, Callable[[Random], float]] = {
    "at_step": lambda random: random.randint(1, 12),
    "at_operation": lambda random: random.randint(1, 120),
    "after_s": lambda random: random.uniform(0.001, 0.1),
}
