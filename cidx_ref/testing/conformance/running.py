"""How checks are run, so that none of them hides what another one finds.

Here belong which checks there are, which of them a target can be asked for, and what becomes of a
check that fails by itself.  What a check is, is in `checks`; how several are run at once, in
`at_once`; who prints is elsewhere (`verify`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib import import_module
from itertools import chain, count
from pathlib import Path
from traceback import extract_tb
from typing import Any, Protocol

from cidx_ref.testing.conformance.at_once import run_at_once
from cidx_ref.testing.conformance.checks import Check
from cidx_ref.testing.conformance.overdue import Overdue, within
from cidx_ref.testing.conformance.target import Attach, Cap, Target
from cidx_ref.testing.ground import SYSTEM
from cidx_ref.testing.promises.excuses import Excuse, excused
from cidx_ref.testing.promises.findings import Finding, Verdict

__all__ = ["Listener", "Plan", "UnknownNameError", "all_checks", "needs", "plan", "verify"]

#: The modules here whose `CHECKS` are checks of the kit.
CHECK_MODULES: tuple[str, ...] = ("daemons", "indexes", "lives")

#: The parts of a daemon that are judged in this process, by their name in `Subjects`: the module
#: here that does it, its function, and its list of the promises that this is about.
SUBJECTS: Mapping[str, tuple[str, str, str]] = {
    "cache": ("parts.cache", "check_cache", "CACHE_PROMISES"),
    "claim": ("parts.claim", "check_claim", "CLAIM_PROMISES"),
    "lock": ("parts.lock", "check_lock", "LOCK_PROMISES"),
}


class UnknownNameError(ValueError):
    """A check or a promise is asked for that is not there."""


class Listener(Protocol):
    """Who is told how the run goes on."""

    def started(self, check: str, number: int, count: int) -> None: ...
    def finished(self, check: str, findings: Sequence[Finding]) -> None: ...


#: Runs one check, `bench.judged(check, target, deep=..., seed=...)`, and says what it found.
Judge = Callable[..., list[Finding]]


@dataclass(frozen=True)
class _Part(Check):
    """The check of a part of the daemon in this process, which needs no bench."""

    make: Callable[..., Any] | None = None


@dataclass(frozen=True)
class Plan:
    """What is to be run, and what is settled without it."""

    checks: tuple[Check, ...]
    #: Of what the target does not offer: what is missing.
    settled: tuple[Finding, ...]
    #: Promises that only checks in depth are about, which are left out.
    only_deep: tuple[str, ...]


def verify(
    target: Target,
    *,
    deep: bool = False,
    only: Iterable[str] = (),
    promises: Iterable[str] = (),
    seed: int = 0,
    listener: Listener | None = None,
    excuses: Iterable[Excuse] = (),
    name: str = "",
    judge: Judge | None = None,
    at_once: int = 0,
) -> list[Finding]:
    """Judge `target`: what each check found of each promise, what is excused as such.

    `only` names checks, and `promises` ids; without them everything is tried.  `name` is how the
    target is called on a command line, for what replays; `judge` runs a check in another way than
    at a bench.  With `at_once` each check has a process of its own (a fork), and so many run at a
    time, but for those that measure (of a daemon that was there already, one); without, all run in
    this one.  Nothing that a target or a
    check does is raised.  Raises `UnknownNameError`, before anything is run.
    """
    wanted, excuses = frozenset(promises), list(excuses)
    planned = plan(target, deep=deep, only=only, promises=wanted)
    runs = judge or import_module(f"{__package__}.bench").judged
    if isinstance(target.start, Attach):
        at_once = min(at_once, 1)  # they would count each other's calls
    numbers = count(1)

    def begun(check: Check) -> None:
        if listener:
            listener.started(check.name, next(numbers), len(planned.checks))

    def run(check: Check) -> list[Finding]:
        return _run(check, target, runs, deep=deep, seed=seed)

    def told(check: Check, findings: Iterable[Finding]) -> list[Finding]:
        """What is wanted of them; of a check that has ended its process, too."""
        options = f"--only {check.name} --seed {seed}{' --deep' * deep}"
        replay = f"cidx-verify {name or 'MODULE:TARGET'} {options}"
        return [
            _completed(finding, check, replay)
            for finding in findings
            if finding.promise not in target.not_offered
            and (not wanted or finding.promise in wanted)
        ]

    found: dict[Check, list[Finding]] = {}
    for check, findings in _each(planned.checks, run, at_once, begun):
        found[check] = excused(told(check, findings), excuses)
        if listener:
            listener.finished(check.name, found[check])
    return [*planned.settled, *chain.from_iterable(found[c] for c in planned.checks)]


def _each(
    checks: Sequence[Check],
    run: Callable[[Check], list[Finding]],
    at_once: int,
    begun: Callable[[Check], object],
) -> Iterator[tuple[Check, list[Finding]]]:
    """Each check with what it found, in the order in which they end."""
    if at_once:
        yield from run_at_once(checks, run, at_once, begun)
        return
    for check in checks:
        begun(check)
        yield check, run(check)


def all_checks(target: Target | None = None) -> list[Check]:
    """The checks of the kit, and those that `target` brings."""
    modules = [import_module(f"{__package__}.{module}") for module in CHECK_MODULES]
    ours: list[Check] = [check for module in modules for check in module.CHECKS]
    inside = [
        _of_subject(name, getattr(target.subjects, name) if target else None) for name in SUBJECTS
    ]
    return [*ours, *inside, *(target.checks if target else ())]


def plan(
    target: Target, *, deep: bool = False, only: Iterable[str] = (), promises: Iterable[str] = ()
) -> Plan:
    """What a run would do.  Raises `UnknownNameError`."""
    only, promises = set(only), set(promises)
    checks = all_checks(target)
    _refuse_unknown("there is no check", only, {check.name for check in checks})
    about = {promise for check in checks for promise in check.promises}
    _refuse_unknown("no check is about", promises, about)
    run: list[Check] = []
    settled: list[Finding] = []
    for check in checks:
        if only and check.name not in only:
            continue
        missing = _missing(target, check)
        for promise in check.promises:
            reason = target.not_offered.get(promise) or missing
            if reason and (not promises or promise in promises):
                settled.append(Finding(promise, Verdict.NOT_OFFERED, reason, check.name))
        wanted = set(check.promises) - target.not_offered.keys()
        if not missing and (wanted & promises if promises else wanted):
            run.append(check)
    shallow = [check for check in run if deep or not check.deep or check.name in only]
    tried = {promise for check in shallow for promise in check.promises}
    left = dict.fromkeys(p for check in run for p in check.promises if p not in tried)
    return Plan(
        tuple(check.in_depth() for check in shallow) if deep else tuple(shallow),
        tuple(settled),
        tuple(p for p in left if p not in target.not_offered and (not promises or p in promises)),
    )


def _refuse_unknown(what: str, asked: set[str], known: set[str]) -> None:
    for name in sorted(asked - known):
        near = get_close_matches(name, sorted(known), n=1)
        raise UnknownNameError(f"{what} {name!r}" + (f" (is it {near[0]!r}?)" if near else ""))


def _missing(target: Target, check: Check) -> str:
    """What the target would have to offer for this check; empty if it is all there."""
    if check.spawns and isinstance(target.start, Attach):
        return "needs a daemon that the kit starts, and may end (`Spawn`)"
    if isinstance(check, _Part) and check.make is not None:
        return ""
    return needs(check, offered=target.capabilities)


def needs(check: Check, offered: Iterable[Cap] = ()) -> str:
    """What a check needs that is not offered, in words; empty if that is nothing."""
    if isinstance(check, _Part):
        return f"needs a function that makes one in this process (`Subjects.{check.name}`)"
    lacking = sorted(need.value for need in check.needs - set(offered))
    return f"needs {', and '.join(lacking)}" if lacking else ""


def _of_subject(name: str, make: Callable[..., Any] | None) -> Check:
    module, _, listed = SUBJECTS[name]
    promises = getattr(import_module(f"{__package__}.{module}"), listed)
    return _Part(name, promises, frozenset(), _nothing, spawns=False, make=make)


def _nothing(bench: object) -> None:
    """What a part of a daemon does at a bench."""


def _judge_part(check: _Part, **given: Any) -> list[Finding]:
    """What the function found that judges such parts; of `given` it is told what it takes."""
    module, function, _ = SUBJECTS[check.name]
    judge: Judge = getattr(import_module(f"{__package__}.{module}"), function)
    takes = inspect.signature(judge).parameters
    return judge(check.make, **{key: given[key] for key in given.keys() & takes.keys()})


def _run(check: Check, target: Target, judge: Judge, *, deep: bool, seed: int) -> list[Finding]:
    """What one check found; of what it did not come to, why."""
    began = SYSTEM.monotonic()
    found, why, unfinished = [], "the check ended without a verdict", False
    try:
        with within(check.limit_s):
            if isinstance(check, _Part):
                found = _judge_part(check, deep=deep, seed=seed, not_offered=target.not_offered)
            else:
                found = judge(check, target, deep=deep, seed=seed)
    except Overdue as error:
        why, unfinished = f"the check was ended: {error}", True
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # `pytest.fail` and `sys.exit` too, which a project's code may use
        why, unfinished = _words(error), True
    settled = {finding.promise for finding in found}
    untried = [promise for promise in check.promises if promise not in settled]
    seconds = SYSTEM.monotonic() - began
    found += [Finding(p, Verdict.NOT_TRIED, why, unfinished=unfinished) for p in untried]
    return [replace(finding, seconds=finding.seconds or seconds) for finding in found]


def _completed(finding: Finding, check: Check, replay: str) -> Finding:
    return replace(finding, check=finding.check or check.name, replay=finding.replay or replay)


def _words(error: BaseException) -> str:
    """What ended a check, on one line, and where."""
    said = " ".join(str(error).split()) or "no message"
    frames = extract_tb(error.__traceback__)
    at = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"the check itself failed: {type(error).__name__}: {said}{at}"
