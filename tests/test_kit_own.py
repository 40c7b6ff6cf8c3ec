"""The kit on this package's daemon, through the same door as any other: every promise has a check,
and what only this daemon can be tried for is found where it is broken."""

from __future__ import annotations

import pytest

from cidx_ref.testing.conformance.bench import judged
from cidx_ref.testing.conformance.running import all_checks
from cidx_ref.testing.own.conformance import TARGET, mutated
from cidx_ref.testing.own.trusting import CHECKS
from cidx_ref.testing.promises.findings import Verdict
from cidx_ref.testing.promises.registry import PROMISES

pytestmark = pytest.mark.once

BY_NAME = {check.name: check for check in CHECKS}


def test_every_promise_is_tried_and_nothing_is_left_out() -> None:
    checks = all_checks(TARGET)
    about = {promise for each in checks for promise in each.promises}
    assert about >= set(PROMISES)
    assert not TARGET.not_offered
    assert [each.name for each in checks if not TARGET.offers(*each.needs)] == []


@pytest.mark.deep
@pytest.mark.parametrize("name", BY_NAME)
def test_the_daemon_is_trusted_with_what_it_should_be(name: str) -> None:
    assert {f.verdict for f in judged(BY_NAME[name], TARGET)} <= {Verdict.KEPT, Verdict.NOT_TRIED}


@pytest.mark.deep
@pytest.mark.parametrize(
    ("mutant", "name"),
    [
        ("whatever_is_there_is_used", "socket-elsewhere"),
        ("right_checksums_are_enough", "index-of-others"),
        ("what_is_made_is_for_everybody", "modes"),
        ("owners_are_not_asked", "owners"),
    ],
)
def test_what_trusts_too_much_is_found(mutant: str, name: str) -> None:
    [finding] = judged(BY_NAME[name], mutated(mutant))
    if finding.verdict == Verdict.NOT_TRIED:
        pytest.skip(finding.words)
    assert finding.verdict == Verdict.BROKEN, finding
