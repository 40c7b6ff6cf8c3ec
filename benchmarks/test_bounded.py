"""Searches for the dearest query and the dearest filter: whatever legal text, phrases and patterns
they are made of, they take no longer than a tenth of a second of processor time (RPC-4, QRY-4)."""

from __future__ import annotations

import gc
import random
import re
import statistics
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings, target
from hypothesis import strategies as st

from cidx_ref.daemon.arguments import search_options
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import BadArgumentError
from cidx_ref.index.matching import PathSet
from cidx_ref.limits import MAX_LIMIT, MAX_TEXT_CHARS
from cidx_ref.project import Project
from cidx_ref.testing.promises.gates import RecordAim
from cidx_ref.testing.promises.report import RecordTried

EXAMPLES = 400
LIMIT_MS = 100.0

_LETTERS = [
    "abcdefghijklmnopqrstuvwxyz",
    "aA",
    "éß",
    "漢字仮名",
    "_a1",
    "\u0301e",
    "\ufdfaab",
    "=>;",
    '"',
    "ab ",
]


def _word(number: int, letters: str, size: int) -> str:
    """The `number`-th word of so many letters."""
    digits = []
    for _ in range(size):
        number, digit = divmod(number, len(letters))
        digits.append(letters[digit])
    return "".join(digits)


def _distinct(letters: str, size: int, ending: str, joint: str, mark: str) -> str:
    """As many words as there is room for, all different as far as may be."""
    count = MAX_TEXT_CHARS // (size + len(ending) + len(joint) + 2 * len(mark))
    words = (f"{mark}{_word(n * 7919, letters, size)}{ending}{mark}" for n in range(count))
    return joint.join(words)[:MAX_TEXT_CHARS]


TEXTS = st.one_of(
    st.builds(
        _distinct,
        st.sampled_from(_LETTERS),
        st.integers(1, 40),
        st.sampled_from(["", "ization", "Camel", "_snake", "ABC"]),
        st.sampled_from([" ", "\n", "_", ".", "", " self "]),
        st.sampled_from(["", '"']),
    ),
    st.lists(st.sampled_from(["self", "import os", '"return self"', "xqzzy", "=>", '"', "the"]))
    .filter(bool)
    .map(lambda parts: (" ".join(parts) * MAX_TEXT_CHARS)[:MAX_TEXT_CHARS]),
    st.text(max_size=2000),
)
PIECES = ["*", "**/", "a", "?", "[a-z]", "[!a]", "/", "*a*", "_", ".py", "test", "**/*/"]
PATTERNS = st.lists(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=80).map(lambda p: "".join(p)[:256]),
    max_size=64,
)


@pytest.mark.promise("RPC-4", "QRY-4", "QRY-5")
def test_the_dearest_query(stdlib: Project, aim: RecordAim, tried: RecordTried) -> None:
    service = CIDXDaemonService(stdlib.root)
    methods = (service.exposed_query, service.exposed_query_fts, service.exposed_query_hybrid)
    service.exposed_query_hybrid(str(stdlib.root), "warm up: xqzzyq")
    took: list[tuple[float, str, Any]] = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate, Phase.target],
        suppress_health_check=list(HealthCheck),
    )
    @example(_distinct(_LETTERS[0], 3, "ization", "_", ""), 0, 10, [], [])  # one word, many parts
    @given(TEXTS, st.sampled_from(range(3)), st.sampled_from([10, MAX_LIMIT]), PATTERNS, PATTERNS)
    def search(text: str, method: int, limit: int, paths: list[str], excluded: list[str]) -> None:
        def once() -> float:
            # All of the process: a hybrid query has a thread of its own for the full text.
            started = time.process_time()
            with suppress(BadArgumentError):
                methods[method](str(stdlib.root), text, limit, paths=paths, exclude_paths=excluded)
            return (time.process_time() - started) * 1000

        ms = once()
        took.append((ms, text[:60], (method, limit, len(text), paths[:3])))
        target(ms)

    try:
        search()
    finally:
        service.exposed_clear_cache()
    tried("RPC-4", len(took), "queries")
    aim("processor time of the dearest query", max(took)[0], LIMIT_MS, "ms")


FILES = 33_000


def _tree(depth: int, folders: int, letters: int) -> list[str]:
    """Sorted paths of so many files, in folders of up to this depth, with names of such length."""
    made = random.Random(depth)
    words = [_word(number, "abnt_.", letters) for number in range(300)]
    above = ["/".join(made.choices(words, k=made.randint(1, depth))) for _ in range(folders)]
    return sorted(f"{made.choice(above)}/{made.choice(words)}{n}.x{n % 100}" for n in range(FILES))


TREES = {
    "as they are": _tree(6, 4000, 9),
    "deep": sorted(f"{'a/' * (n % 60)}b/a{n}.py" for n in range(FILES)),
    "of long names": _tree(3, 4000, 30),
}
AFFIXES = ["*.x{}", "test_{}*", "a/*/*{}.py", "**/a{}"]
ONES = ["*a*b{}*c", "*n*n*{}n*", "?{}?a*", "[!a]*{}", "*a*{}/**/x", "**/*a*/**/[ab]{}"]
MANY = st.tuples(st.sampled_from(AFFIXES), st.integers(0, 24)).map(
    lambda of: [of[0].format(number) for number in range(of[1])]
)
FEW = st.tuples(st.sampled_from(ONES), st.integers(0, 4)).map(
    lambda of: [of[0].format(number) for number in range(of[1])]
)
NAMES = st.sampled_from(
    [
        [f"name{number}.py" for number in range(400)],
        [f"a/a/n{number}/a/b.c" for number in range(400)],
        ["a/" * 2000 + "x"] * 4,
        [],
    ]
)


@pytest.mark.promise("RPC-4", "QRY-5")
@pytest.mark.parametrize("tree", TREES)
def test_the_dearest_filter(tree: str, aim: RecordAim, tried: RecordTried) -> None:
    """A new one takes a pass over all paths; one that is known, none.

    The machine takes its time off, too: the ten that took longest are asked again, and the median
    of each counts.
    """
    took: list[tuple[float, list[str]]] = []

    def cost(globs: list[str]) -> float:
        gc.freeze()  # a daemon holds no test framework that a collection would go through
        re.purge()
        started = time.thread_time()
        with suppress(BadArgumentError):
            asked = search_options("a", 10, {"exclude_paths": globs})
            list(PathSet(asked["filters"].exclude_paths).select(TREES[tree]))
        return (time.thread_time() - started) * 1000

    @settings(
        max_examples=EXAMPLES // 2,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate, Phase.target],
        suppress_health_check=list(HealthCheck),
    )
    @given(MANY, FEW, NAMES, PATTERNS)
    def search(many: list[str], few: list[str], names: list[str], others: list[str]) -> None:
        globs = [*many, *few, *names, *others]
        took.append((cost(globs), globs))
        target(took[-1][0])

    try:
        search()
        dearest = sorted(took, reverse=True)[:10]
        median = max(statistics.median(cost(globs) for _ in range(9)) for _, globs in dearest)
    finally:
        gc.unfreeze()
    tried("RPC-4", len(took), "filters")
    aim(f"a new filter over {FILES:,} paths, {tree}", median, LIMIT_MS, "ms")
