"""Latency gates for any target, with limits of its project's own.

    for finding in check_latency(TARGET, {"query_fts": 20.0}):
        print(finding.words)

Without pytest.  With the fixture `gate` the same is

    with Bench(TARGET) as bench, bench.daemon() as daemon, daemon.connect() as asker:
        gate("PERF-2", "full text", lambda: query_times(asker, bench.questions, "query_fts"), 20.0)

A quick answer that is wrong is no quick answer: each question's file must be among the hits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cidx_ref.testing.conformance.asking import Asker, Gone, Refused, Unreadable
from cidx_ref.testing.conformance.bench import Bench
from cidx_ref.testing.conformance.subject import NotStarted, WriterFailed
from cidx_ref.testing.conformance.target import Cap, Target
from cidx_ref.testing.ground import SYSTEM
from cidx_ref.testing.promises.findings import Finding, Verdict
from cidx_ref.testing.promises.latency import check_gate

__all__ = ["LIMITS_MS", "WrongAnswerError", "check_latency", "query_times"]

#: The story's: p95 of warm queries.
LIMITS_MS = {"query": 100.0, "query_fts": 20.0, "query_hybrid": 100.0}
_PROMISES = {"query": "PERF-1", "query_fts": "PERF-2", "query_hybrid": "PERF-1"}
_NEEDS = {"query": Cap.BASE, "query_fts": Cap.FTS, "query_hybrid": Cap.HYBRID}
_WARM_UP = 40


class WrongAnswerError(AssertionError):
    """An answer does not have the file that it must have."""


def query_times(
    asker: Asker, questions: Sequence[tuple[str, str]], mode: str = "query", calls: int = 200
) -> list[float]:
    """Milliseconds of each call, as a client sees them.

    Raises `WrongAnswerError`, and what asking raises.
    """
    if not questions:
        raise ValueError("there is nothing to be asked: give Target.questions")
    is_judged = bool(asker.target.hits and asker.target.path)
    times = []
    for number in range(calls):
        query, path = questions[number % len(questions)]
        began = SYSTEM.monotonic()
        answer = asker.query(query, mode)
        times.append((SYSTEM.monotonic() - began) * 1000)
        if is_judged and path not in answer.paths:
            raise WrongAnswerError(f"{mode}: {query!r} did not find {path}: {answer}")
    return times


def check_latency(
    target: Target, limits_ms: Mapping[str, float] = LIMITS_MS, *, calls: int = 200
) -> list[Finding]:
    """Whether warm queries are as quick as `limits_ms` says, by mode.  Nothing is raised that the
    target does."""
    found = []
    try:
        with Bench(target) as bench, bench.daemon() as daemon, daemon.connect(30.0) as asker:
            for mode, limit_ms in limits_ms.items():
                found.append(_judged(bench, asker, mode, limit_ms, calls))
    except (Gone, NotStarted, OSError, Refused, Unreadable, WriterFailed) as error:
        told = {finding.check for finding in found}
        found += [
            Finding(_PROMISES[mode], Verdict.NOT_TRIED, f"{mode}: {error}", mode)
            for mode in limits_ms
            if mode not in told
        ]
    return found


def _judged(bench: Bench, asker: Asker, mode: str, limit_ms: float, calls: int) -> Finding:
    promise, questions = _PROMISES[mode], bench.questions
    if not bench.target.offers(_NEEDS[mode]):
        words = f"needs {_NEEDS[mode].value} (Cap.{_NEEDS[mode].name})"
        return Finding(promise, Verdict.NOT_OFFERED, words, mode)
    if not questions:
        words = "needs questions with files that must be found (Target.questions)"
        return Finding(promise, Verdict.NOT_OFFERED, words, mode)
    try:
        query_times(asker, questions, mode, _WARM_UP)
        return check_gate(
            promise, mode, lambda: query_times(asker, questions, mode, calls), limit_ms
        )
    except (WrongAnswerError, Refused, Unreadable) as error:
        return Finding(promise, Verdict.BROKEN, str(error), mode)
