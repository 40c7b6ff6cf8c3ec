"""Exact lines: what the modes `literal` and `regex` take in a large repository, and their aim."""

from __future__ import annotations

from time import perf_counter

import pytest
from repositories import Repository

from cidx_ref.client import DaemonClient
from cidx_ref.testing.figures import percentile
from cidx_ref.testing.own.fixtures import end_daemon
from cidx_ref.testing.promises.gates import RecordAim

LIMIT_MS = 200.0
ROUNDS = 20
TEXTS = {
    "literal": ["wobble_frobnicate", "HTTPServer", "self.assertRaises(", "import", "e"],
    "regex": [r"^def \w+\(", r"^class \w*Server\b", r"\d{3}-\d{4}", r"\bzz\w+q\b", r"[A-Z]{5,}\d"],
}


@pytest.mark.parametrize("mode", TEXTS)
def test_exact_lines_at_150_000_chunks(large: Repository, aim: RecordAim, mode: str) -> None:
    took = []
    try:
        with DaemonClient(large.project) as client:
            client.query("warm up", mode=mode)
            for text in TEXTS[mode] * ROUNDS:
                began = perf_counter()
                assert client.query(text, mode=mode).total_matches is not None
                took.append((perf_counter() - began) * 1000)
    finally:
        end_daemon(large.project)
    aim(f"{mode}, 150,000 chunks: p95, ms", percentile(took, 95), LIMIT_MS)
