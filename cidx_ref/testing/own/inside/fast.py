"""What a query and a publish cost, by what they do and not by how long a large index takes
(PERF-1 to PERF-4, PERF-6); and that arguments are looked at before anything else (QRY-5)."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cidx_ref.errors import BadArgumentError, CidxError
from cidx_ref.index import plan, snapshot
from cidx_ref.index.port import Search
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.conformance.checks import Check
from cidx_ref.testing.own.edits import Write
from cidx_ref.testing.own.fake_index import FakeSnapshot
from cidx_ref.testing.own.fixtures import SAMPLE
from cidx_ref.testing.own.inside.asked import loaded
from cidx_ref.testing.own.inside.examples import examples
from cidx_ref.testing.own.inside.indexed import life_of
from cidx_ref.testing.own.told import Desk

__all__ = ["CHECKS"]

_MEET_S = 2.0
#: A search of some files takes a tenth of this, once in many times on any machine.
_MOST_S = 0.008


def _one_load(root: Path) -> None:
    """Warm queries load nothing."""
    desk = Desk(Project.at(root))
    for _ in range(3):
        desk.ask()
    loads = len(desk.index.begun)
    assert loads == 1, f"three queries made {loads} loads"


def _quick_full_text(root: Path) -> None:
    """A full-text search of a few files takes some milliseconds at most."""
    with loaded(root, SAMPLE) as index:
        took = []
        for _ in range(40):
            began_s = SYSTEM.monotonic()
            index.answer(Search("retry", "fts"))
            took.append(SYSTEM.monotonic() - began_s)
            if took[-1] < _MOST_S:
                return
    raise AssertionError(f"a full-text search of four files takes {min(took) * 1e3:.1f} ms or more")


def _at_once(root: Path) -> None:
    """Two queries search at the same time."""
    desk = Desk(Project.at(root))
    desk.ask()
    inside, met = [SYSTEM.event("one"), SYSTEM.event("other")], []
    answer = FakeSnapshot.answer

    def meet(self: FakeSnapshot, search: Search) -> dict[str, Any]:
        mine = inside.pop()
        mine.set()
        met.append(all(each.wait(_MEET_S) for each in both))
        return answer(self, search)

    both = list(inside)
    with patch.object(FakeSnapshot, "answer", meet):
        threads = [SYSTEM.thread(desk.ask, "asks") for _ in both]
        for thread in threads:
            thread.join()
    assert met == [True, True], "while one query searches, another one waits"


def _nothing_is_kept(root: Path) -> None:
    """Queries leave no object behind."""
    with loaded(root, SAMPLE) as index:

        def left(times: int) -> int:
            for number in range(times):
                index.answer(Search("retry", ("fts", "semantic", "hybrid")[number % 3]))
            gc.collect()
            return len(gc.get_objects())

        left(30)
        before = left(3)
        more = left(150) - before
    assert more < 100, f"150 queries leave {more} objects behind"


def _what_a_publish_loads(root: Path) -> None:
    """A publish loads nothing that is in memory, and nothing that is large."""
    read: list[tuple[str, int]] = []
    load = snapshot.load_segment

    def noted(files: Any, manifest: Any, name: str, dim: int | None) -> Any:
        segment = load(files, manifest, name, dim)
        read.append((name, len(segment.store)))
        return segment

    with life_of(root) as life, patch.object(snapshot, "load_segment", noted):
        life.run()
        life.reload()
        large = [chunks for _, chunks in read if chunks > plan.MAX_CHUNKS]
        assert not large, f"a segment of {large[0]} chunks, where {plan.MAX_CHUNKS} are the most"
        for seed in (1, 2, 3):
            before = set(life.snapshot.manifest["segments"])
            read.clear()
            Write("a.py", seed, 2)(life.root)
            life.run()
            life.reload()
            again = before & {name for name, _ in read}
            assert not again, "a publish loads what is in memory"


def _arguments_first(root: Path) -> None:
    """A bad argument is refused by name, also where nobody is let in any more."""
    desk = Desk(Project.at(root))
    desk.service.gate.close()
    try:
        desk.ask(limit=-1)
    except BadArgumentError:
        return
    except CidxError as error:
        raise AssertionError(f"before its arguments are looked at, a call waits: {error}") from None
    raise AssertionError("a limit below nought is taken")


CHECKS: tuple[Check, ...] = (
    examples("own-one-load", "PERF-1", _one_load),
    examples("own-quick-full-text", "PERF-2", _quick_full_text),
    examples("own-searches-at-once", "PERF-3", _at_once),
    examples("own-nothing-kept", "PERF-4", _nothing_is_kept),
    examples("own-publish-loads", "PERF-6", _what_a_publish_loads),
    examples("own-arguments-first", "QRY-5", _arguments_first),
)
