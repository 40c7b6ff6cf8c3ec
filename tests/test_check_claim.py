"""`check_claim` finds what is wrong with a claim, by threads or by processes, and nothing else."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from typing import Any

import pytest
import small_claims

from cidx_ref.testing.conformance.parts.claim import check_claim
from cidx_ref.testing.promises.findings import Finding, Verdict

# What a claim leaves open that is broken, or is not let go on, is its own affair.
pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """So that it is not laid to another test either."""
    yield
    gc.collect()


def broken(findings: list[Finding]) -> dict[str, str]:
    return {f.promise: f.words for f in findings if f.verdict is Verdict.BROKEN}


@pytest.mark.parametrize(
    ("name", "promise", "words"),
    [
        pytest.param(
            *("pid_file", "SRV-2", "on a free path, .* two had the place at once"),
            marks=pytest.mark.deep,
        ),
        pytest.param(
            *("pid_file_explored", "SRV-2", "have the place together"), marks=pytest.mark.deep
        ),
        ("left_behind", "SRV-3", "on a stale path, .* nobody had the place"),
        pytest.param(
            *("deaf", "SRV-2", "a client did not get through to the owner"), marks=pytest.mark.deep
        ),
        pytest.param(
            *("probes", "SRV-2", "have the place together|leads to nobody"),
            marks=pytest.mark.deep,
        ),
    ],
)
def test_a_defect_is_found_by_its_promise_alone(name: str, promise: str, words: str) -> None:
    found = broken(check_claim(getattr(small_claims, name)))
    assert found.keys() == {promise}
    assert re.search(words, found[promise])


@pytest.mark.parametrize("name", ["ours", pytest.param("record_explored", marks=pytest.mark.deep)])
def test_a_right_claim_of_any_style_is_not_blamed(name: str) -> None:
    found = check_claim(getattr(small_claims, name))
    assert {f.promise: f.verdict for f in found} == dict.fromkeys(("SRV-2", "SRV-3"), Verdict.KEPT)
    assert ("schedules" in found[0].tried) == (name != "record_explored")
    assert found[0].tried["rounds"] > 0


def test_what_cannot_be_raced_says_why() -> None:
    def make(place: Any) -> small_claims.Flag:
        return small_claims.Flag(place)

    found = check_claim(make)
    assert {f.verdict for f in found} == {Verdict.NOT_TRIED}
    assert "cannot be imported by the processes that race" in found[0].words
