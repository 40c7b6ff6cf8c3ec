"""The kit as a project that describes a daemon uses it: read by mypy, and never run.

`tox -e types` checks this file among the tests, and from another directory against the installed
kit.  A line that must be refused has a `type: ignore` with the one code that it is refused for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import assert_type

from cidx_ref.testing import (
    Attach,
    Bench,
    Cap,
    Excuse,
    Finding,
    Methods,
    Mutant,
    Spawn,
    Subjects,
    Target,
    Verdict,
    by_promise,
    check,
    check_cache,
    verify,
)


class Cache:
    """Somebody's own."""

    def get(self) -> str:
        return ""


def make_cache(load: object, ttl_s: float) -> Cache:
    return Cache()


@check("names-its-shard", "MY-1", needs={Cap.INDEX})
def names_its_shard(bench: Bench) -> None:
    with bench.daemon() as daemon, daemon.connect() as asker, bench.showing("MY-1"):
        assert asker.query("shard").hits, "nothing is found"


TARGET = Target(
    Spawn("otherd run {project}", ready=r"ready at", taken=r"there is one", taken_status=3),
    writer="otherd rebuild {project}",
    socket=".otherd/otherd.sock",
    env={"OTHERD_TTL_S": "{ttl_s}"},
    methods=Methods(query="search(query, limit)", index="rebuild()", status="stats()"),
    hits="[]",
    path="file",
    line="line",
    text="text",
    decode=json.loads,
    status={"pid": "os_pid", "loads": "disk_reads"},
    capabilities={Cap.BASE, Cap.INDEX, Cap.SHORT_TTL, Cap.KILL},
    not_offered={"SRV-5": "its manager removes the socket"},
    subjects=Subjects(cache=make_cache),
    checks=[names_its_shard],
)
ATTACHED = Target(Attach("/run/otherd.sock"), questions=[("a word", "a.py")])
Target("otherd run")  # type: ignore[arg-type]
Target(Spawn("otherd"), capabilities={"INDEX"})  # type: ignore[arg-type]
Target(Spawn("otherd"), sockets="x")  # type: ignore[call-arg]


@contextmanager
def late() -> Iterator[None]:
    yield


MUTANTS = {
    "two": Mutant("SRV-2", target=replace(TARGET, start=Spawn("otherd --no-lock {project}"))),
    "herd": Mutant("CACHE-1", replace={"cache": make_cache}),
    "late": Mutant("TTL-1", patch=late),
}


def test_promises() -> None:
    found = verify(TARGET, deep=True, only=["stop"], seed=3, excuses=[Excuse("SRV-3", "known")])
    assert_type(found, list[Finding])
    assert_type(check_cache(make_cache), list[Finding])
    for promise, findings in by_promise(found).items():
        assert_type(promise, str)
        assert_type(findings[0].verdict, Verdict)
        assert findings[0].verdict is Verdict.KEPT, findings[0].words
    verify(TARGET, only="stop", depth=1)  # type: ignore[call-arg]
