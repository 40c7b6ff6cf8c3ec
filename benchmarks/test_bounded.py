"""A search for the dearest query: whatever legal text, phrases and patterns it is made of, it takes
no longer than a tenth of a second of processor time on the standard library (RPC-4, QRY-4)."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings, target
from hypothesis import strategies as st

from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import BadArgumentError
from cidx_ref.limits import MAX_TEXT_CHARS
from cidx_ref.project import Project
from cidx_ref.testing.gates import RecordAim
from cidx_ref.testing.report import RecordTried

EXAMPLES = 400
LIMIT_MS = 100.0

_LETTERS = [
    "abcdefghijklmnopqrstuvwxyz",
    "aA",
    "éß",
    "漢字仮名",
    "_a1",
    "\u0301e",
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
    @given(TEXTS, st.sampled_from(range(3)), PATTERNS, PATTERNS)
    def search(text: str, method: int, paths: list[str], excluded: list[str]) -> None:
        # All of the process: a hybrid query has a thread of its own for the full text.
        started = time.process_time()
        with suppress(BadArgumentError):
            methods[method](str(stdlib.root), text, 10, paths=paths, exclude_paths=excluded)
        ms = (time.process_time() - started) * 1000
        took.append((ms, text[:60], (method, len(text), paths[:3])))
        target(ms)

    try:
        search()
    finally:
        service.exposed_clear_cache()
    tried("RPC-4", len(took), "queries")
    aim("processor time of the dearest query", max(took)[0], LIMIT_MS, "ms")
