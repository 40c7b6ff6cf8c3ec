"""What a check is, and how checks become findings.

A check is a function that is given a `Bench`: it starts daemons there, asks them, and says what it
shows while it does so.

    @check("second-start", "SRV-2", needs={Cap.TAKEN})
    def a_second_start_finds_the_first(bench: Bench) -> None:
        with bench.daemon() as first, bench.showing("SRV-2"):
            assert bench.start_again(first) == 0, "..."

Whatever is raised within `showing` is a finding against that promise, and ends the check; a block
that comes to its end is one for it.  What is raised elsewhere is no finding: the check could not be
run, its promises are "not tried", and the words say why.  Checks know promises and nothing else:
what a target prints, stores and configures is described by the target.

A check of one's own may be `inside`: it needs no daemon, for it runs the project's code itself, in
this process, mostly by an explorer (`concurrency.explore`).  There a mutant can be planted by a
patch.  Within `showing` whatever that code raises is a finding; an explorer's has its steps.

    @check("visits", "SHOP-1", inside=True)
    def visits(bench: Bench) -> None:
        with bench.showing("SHOP-1"):
            bench.tried("SHOP-1", exhaustive(TwoVisitors).schedules, "schedules")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from cidx_ref.testing.conformance.target import Cap

__all__ = ["LIMIT_S", "Check", "check"]

#: What a check may take, unless it says otherwise; and how often that in depth.
LIMIT_S, _DEEP_TIMES = 300.0, 10


@dataclass(frozen=True)
class Check:
    """One way to see whether promises are kept by a daemon."""

    name: str
    promises: tuple[str, ...]
    #: What the target must offer, or the promises are "not offered" as far as this check goes.
    needs: frozenset[Cap]
    run: Callable[..., None]
    #: Only with `--deep`.
    deep: bool = False
    #: It ends, kills or starts daemons: not with `Attach`.
    spawns: bool = True
    #: It runs the project's code in this process, and needs no daemon.
    inside: bool = False
    #: It measures time or memory, so no other check runs beside it.
    alone: bool = False
    #: What it may take, in seconds: it is ended then, and is not tried.
    limit_s: float = LIMIT_S

    def in_depth(self) -> Check:
        """The same with the time that it may take with `--deep`."""
        return replace(self, limit_s=self.limit_s * _DEEP_TIMES)


def check(
    name: str,
    *promises: str,
    needs: Iterable[Cap] = (Cap.BASE,),
    deep: bool = False,
    spawns: bool = True,
    inside: bool = False,
    alone: bool = False,
    limit_s: float = LIMIT_S,
) -> Callable[[Callable[..., None]], Check]:
    """Make a check of a function; the name is what `verify --only` takes.

    `limit_s` is what it may take, in seconds, and ten times that with `--deep`; it is ended then.
    """
    wanted, spawns = frozenset({Cap.BASE, *needs}), spawns and not inside
    return lambda run: Check(name, promises, wanted, run, deep, spawns, inside, alone, limit_s)
