"""Mutants of a target: broken variants of one's own, which the checks must notice.

    # mutants.py  ->  cidx-verify conformance:TARGET --mutants mutants
    MUTANTS = {
        "two_daemons": Mutant("SRV-2", target=replace(TARGET, start=Spawn("otherd --no-lock ..."))),
        "herd": Mutant("CACHE-1", replace={"cache": make_a_cache_that_loads_twice}),
        "late": Mutant("TTL-1", patch=lambda: mock.patch.object(Cache, "expired", ...)),
    }

A `patch` is seen by the parts of `Subjects` and by checks that are `inside`, which run in this
process.  A mutant is killed if a check that is about its promise calls that broken, and does not so
without the mutant.  One that survives shows that a promise is checked too weakly, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType
from typing import Any

from cidx_ref.testing.conformance import running
from cidx_ref.testing.conformance.named import UnusableError, check_target
from cidx_ref.testing.conformance.target import Subjects, Target
from cidx_ref.testing.promises.findings import Finding, Verdict
from cidx_ref.testing.promises.wording import shown

__all__ = ["Mutant", "Outcome", "mutants_of", "plant"]


@dataclass(frozen=True)
class Mutant:
    """One broken variant of a target; `target`, `patch` or `replace` says how it is made."""

    #: The promise that it breaks.
    promise: str
    #: A target that starts the broken daemon.
    target: Target | None = field(default=None, kw_only=True)
    #: What plants it in this process while its block runs: for the parts of `Subjects`, and for
    #: checks that are `inside`.
    patch: Callable[[], AbstractContextManager[Any]] | None = field(default=None, kw_only=True)
    #: Makers to be put in the place of those of `Subjects`: `{"cache": make_a_broken_one}`.
    replace: Mapping[str, Callable[..., Any]] = field(default_factory=dict, kw_only=True)
    #: It takes a search in depth to see it, whether `--deep` is given or not.
    deep: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class Outcome:
    """What came of one mutant."""

    name: str
    promise: str
    killed: bool
    #: By which check, and what it said; or why it is not killed.
    words: str


def mutants_of(module: ModuleType, promises: Mapping[str, str]) -> dict[str, Mutant]:
    """The `MUTANTS` of a module.  Raises `UnusableError` for what cannot be planted."""
    found = getattr(module, "MUTANTS", None)
    if not isinstance(found, Mapping) or not found:
        raise UnusableError(f"{module.__name__}: MUTANTS is missing, or no mapping of Mutants")
    for name, mutant in found.items():
        where = f"{module.__name__}: mutant {name if isinstance(name, str) else shown(name)}"
        if wrong := next(_wrong(name, mutant, promises), ""):
            raise UnusableError(f"{where}: {wrong}")
        if mutant.target is not None:
            check_target(mutant.target, where)
    return dict(found)


def _wrong(name: object, mutant: object, promises: Mapping[str, str]) -> Iterator[str]:
    if not isinstance(mutant, Mutant):
        yield f"not a Mutant, but {type(mutant).__name__}"
        return
    yield from _misfits(name, mutant)
    if mutant.promise not in promises:
        yield f"{mutant.promise} is no promise (see --promises)"
    if sum(map(bool, (mutant.target, mutant.patch, mutant.replace))) != 1:
        yield "it has one of target, patch and replace"
    if unknown := mutant.replace.keys() - Subjects.__dataclass_fields__.keys():
        yield f"Subjects has no {min(unknown)!r}"


def _misfits(name: object, mutant: Mutant) -> Iterator[str]:
    """What is not of the kind that it must be, by its name."""
    made = mutant.replace
    kinds = {
        "its name": (name, isinstance(name, str), "must be text"),
        "promise": (mutant.promise, isinstance(mutant.promise, str), "must be text"),
        "target": (mutant.target, isinstance(mutant.target, (Target, type(None))), "not a Target"),
        "patch": (
            mutant.patch,
            mutant.patch is None or callable(mutant.patch),
            "must be a function that gives a context manager",
        ),
        "replace": (
            made,
            isinstance(made, Mapping)
            and all(isinstance(part, str) and callable(made[part]) for part in made),
            "must map names of Subjects to functions",
        ),
        "deep": (mutant.deep, isinstance(mutant.deep, bool), "must be True or False"),
    }
    for field_, (value, is_right, words) in kinds.items():
        if not is_right:
            yield f"{field_}: {shown(value)}: {words}"


def plant(
    target: Target,
    mutants: Mapping[str, Mutant],
    *,
    only: Sequence[str] = (),
    deep: bool = False,
    seed: int = 0,
    judge: running.Judge | None = None,
    at_once: int = 0,
) -> Iterator[Outcome]:
    """Plant each, and have it judged by the checks of its promise, until one calls it broken.

    With `at_once` (1) each check has a process of its own, which a mutant may crash.
    """
    sound: dict[tuple[str, str, bool], Finding | None] = {}

    def told(target: Target, check: str, promise: str, deep: bool) -> Finding | None:
        """That it is broken, or could not be tried; else nothing."""
        options: dict[str, Any] = {"deep": deep, "seed": seed, "judge": judge, "at_once": at_once}
        findings = running.verify(target, only=[check], promises=[promise], **options)
        verdicts = (Verdict.BROKEN, Verdict.NOT_TRIED)
        return next((f for verdict in verdicts for f in findings if f.verdict is verdict), None)

    names = {check.name for check in running.all_checks(target)}

    def broken_without(*what: Any) -> Finding | None:
        if what not in sound:
            # What the mutant brings says nothing of a target that has it not.
            sound[what] = told(target, *what) if what[0] in names else None
        found = sound[what]
        return found if found and found.verdict is Verdict.BROKEN else None

    for name, mutant in mutants.items():
        planted = _planted(target, mutant)
        is_deep = deep or mutant.deep
        tried = list[tuple[str, Finding | None]]()
        outcome = None
        for check in _checks(planted, mutant, only, deep=is_deep):
            seen = _patched(mutant, partial(told, planted, check, mutant.promise, is_deep))
            tried.append((check, seen))
            if seen is not None and seen.verdict is Verdict.BROKEN:
                already = broken_without(check, mutant.promise, is_deep)
                words = f"{check}: {seen.words}"
                if already is not None:
                    words = f"says nothing: without it, too, {check} says: {already.words}"
                outcome = Outcome(name, mutant.promise, already is None, words)
                break
        yield outcome or Outcome(name, mutant.promise, False, _unseen(tried))


def _patched(mutant: Mutant, judge: Callable[[], Finding | None]) -> Finding | None:
    try:
        with mutant.patch() if mutant.patch else nullcontext():
            return judge()
    except Exception as error:  # of the patch: a check raises nothing
        words = f"its patch failed: {type(error).__name__}: {error}"
        return Finding(mutant.promise, Verdict.NOT_TRIED, words)


def _unseen(tried: Sequence[tuple[str, Finding | None]]) -> str:
    if not tried:
        return "no check of its promise could be run"
    by = (f"{check} ({why.words})" if why else check for check, why in tried)
    return f"not noticed by {', '.join(by)}"


def _planted(target: Target, mutant: Mutant) -> Target:
    if mutant.target is not None:
        return mutant.target
    return replace(target, subjects=replace(target.subjects, **mutant.replace))


def _checks(target: Target, mutant: Mutant, only: Sequence[str], *, deep: bool) -> list[str]:
    """The checks of its promise; of what is planted in this process, those that run in it."""
    planned = running.plan(target, deep=deep, only=only)
    return [
        check.name
        for check in planned.checks
        if mutant.promise in check.promises
        and (mutant.target is not None or check.inside or check.name in running.SUBJECTS)
    ]
