"""Whether the kit finds in foreign daemons, caches, locks and claims what analysis found in them.

The lists (`foreign/*/expected.toml`) were made from the code and the wording of the promises,
before the kit judged any of them.  A difference is a miss or a false alarm of the kit, or a mistake
of the list: then the list says why it was changed.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from depth import by_default

from cidx_ref.testing import PROMISES, Target, check_cache, check_claim, check_lock
from cidx_ref.testing.conformance.named import module_named, target_named
from cidx_ref.testing.conformance.running import verify
from cidx_ref.testing.promises.findings import Finding, Verdict, by_promise

pytestmark = pytest.mark.once

FOREIGN = Path(__file__).with_name("foreign")
EXAMPLES = Path(__file__).parents[1] / "docs/examples"
DAEMONS = ("sample", "otter", "right")
_HEADINGS = {"broken": "broken", "kept": "kept", "not_offered": "not offered"}


def expected(name: str) -> dict[str, str]:
    """By promise, the verdict that analysis came to."""
    lists = tomllib.loads((FOREIGN / name / "expected.toml").read_text())
    return {
        promise: verdict
        for heading, verdict in _HEADINGS.items()
        for promise in lists.get(heading, {})
    }


def target(name: str) -> Target:
    return target_named(f"{FOREIGN / name / 'conformance.py'}:TARGET")


def differences(findings: Iterable[Finding], listed: dict[str, str]) -> list[str]:
    """What the kit says otherwise, each with its words.  Nothing said is "not offered"."""
    deciding = {promise: found[0] for promise, found in by_promise(findings).items()}
    told = []
    for promise, verdict in listed.items():
        finding = deciding.get(
            promise, Finding(promise, Verdict.NOT_OFFERED, "no check is about it")
        )
        if finding.verdict != verdict:
            told.append(
                f"{promise}: listed as {verdict}, found {finding.verdict} by {finding.check}: "
                f"{finding.words}"
            )
    return told


@pytest.mark.parametrize("name", DAEMONS)
def test_a_list_names_every_promise_once(name: str) -> None:
    lists = tomllib.loads((FOREIGN / name / "expected.toml").read_text())
    named = [promise for heading in _HEADINGS for promise in lists[heading]]
    assert sorted(named) == sorted(PROMISES)


#: Checks of a few seconds that meet one defect each, and some that must meet none.
QUICK = {
    "sample": "bad-arguments errors reach load-again start-races start-after-kill other-writer",
    "otter": "bad-arguments errors stop reach one-load load-again start-after-kill",
    "right": "many-clients bad-arguments errors by-value reach stop one-load bad-configuration",
}


@pytest.mark.once
@pytest.mark.parametrize(
    "name",
    [
        "sample",
        *(pytest.param(each, marks=pytest.mark.deep) for each in DAEMONS if each != "sample"),
    ],
)
def test_quick_checks_find_what_analysis_found(name: str) -> None:
    found = verify(target(name), name=f"{name}:TARGET", only=QUICK[name].split())
    about = {finding.promise for finding in found}
    listed = {promise: verdict for promise, verdict in expected(name).items() if promise in about}
    assert len(listed) >= 6
    assert not differences(found, listed)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("name", DAEMONS)
def test_the_kit_finds_what_analysis_found_in_each_of_five_runs(name: str, seed: int) -> None:
    found = verify(target(name), name=f"{name}:TARGET", seed=seed)
    assert not differences(found, expected(name))


#: How each kind is judged, and what is judged of each that is offered.
_CHECKS: dict[str, tuple[Any, set[str]]] = {
    "cache": (check_cache, {"CACHE-1", "CACHE-2", "CACHE-3", "TTL-1", "TTL-2", "TTL-3"}),
    "lock": (check_lock, {"WRITE-1"}),
    "lock with readers": (check_lock, {"WRITE-1", "WRITE-2"}),
    "claim": (check_claim, {"SRV-2"}),
}
LARDER: dict[str, Any] = tomllib.loads((FOREIGN / "kept/expected.toml").read_text())


def judged_by_the_kit(name: str, monkeypatch: pytest.MonkeyPatch, seed: int) -> list[str]:
    """What the kit says of a cache, a lock or a claim, other than the list."""
    directory = str(FOREIGN / "kept")
    monkeypatch.syspath_prepend(directory)
    monkeypatch.setenv("PYTHONPATH", directory, prepend=os.pathsep)
    maker = module_named("makers").MAKERS[name]
    listed = LARDER[name]
    check, about = _CHECKS[listed["kind"]]
    found = check(maker, seed=seed)
    told = differences(found, {p: "broken" if p in listed["broken"] else "kept" for p in about})
    others = [
        f for f in found if f.promise not in about and f.verdict not in ("kept", "not offered")
    ]
    return [*told, *(f"{f.promise}: not listed, and {f.verdict}: {f.words}" for f in others)]


#: Those of the other caches are found in depth, each five times and more.
_QUICK = ("Cellar", "Double", "Token", "Clumsy", "Drowsy", "Library", "Crowded", "Flag", "PidFile")


@pytest.mark.once
@pytest.mark.parametrize("name", by_default(LARDER, *_QUICK))
def test_the_kit_finds_the_defect_of_each_cache_lock_and_claim(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not judged_by_the_kit(name, monkeypatch, 0)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("name", LARDER)
def test_it_finds_the_same_defect_in_each_of_five_runs(
    name: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not judged_by_the_kit(name, monkeypatch, seed)


@pytest.mark.once
@pytest.mark.skipif(not shutil.which("watchman"), reason="needs watchman")
def test_a_daemon_that_nobody_here_wrote_is_judged_through_an_adapter() -> None:
    watchman = target_named(f"{EXAMPLES / 'watchman/conformance.py'}:TARGET")
    checks = ["many-clients", "start-after-kill", "stop", "fresh-is-fresh", "saved-is-found"]
    found = verify(watchman, name="watchman", only=checks)
    listed = dict.fromkeys(("SRV-1", "SRV-3", "FRESH-1", "FRESH-2"), "kept")
    # It leaves its socket behind.
    assert not differences(found, {**listed, "SRV-4": "broken"})
