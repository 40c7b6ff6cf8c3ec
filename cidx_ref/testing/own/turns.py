"""What may happen to an index that goes on from run to run, for checks and tests of that alike."""

from __future__ import annotations

import stat

from cidx_ref.project import Project
from cidx_ref.steps import Step
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.edits import Delete, Write
from cidx_ref.testing.own.lives import Life

__all__ = ["leave_something_dead", "on_disk", "overtake_a_merge"]


def leave_something_dead(life: Life) -> None:
    """Have a segment of which a part is dead, and a full text that counts it."""
    life.run()
    for edit in (Write("a.py", 1, 1), Delete("sub/c.py")):
        edit(life.root)
    life.run()
    life.reload()
    assert life.snapshot.manifest["dead_documents"]
    assert any(part.alive is not None for part in life.snapshot.chunks.parts)


def overtake_a_merge(life: Life) -> None:
    """Have a merge wait for a writer, which publishes meanwhile; and look at what it makes."""
    runtime, runs = FakeRuntime(), list[str]()

    def be_first() -> None:
        if not runs:
            Write("a.py", 3, 2)(life.root)
            runs.append(life.run(merge=False)["generation"])

    # The merge has been begun, and does not have the writers' lock yet.
    runtime.at(Step.DIRECTORY_OPENED, be_first)
    life.compact(runtime=runtime)
    assert len(runs) == 1


def on_disk(project: Project) -> dict[int, int]:
    """The size of each file of its index, by inode: one that has two names counts once."""
    found = [path.lstat() for path in project.index_directory.rglob("*")]
    return {each.st_ino: each.st_size for each in found if stat.S_ISREG(each.st_mode)}
