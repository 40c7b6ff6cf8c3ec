"""Lives drawn by chance: step after step, until one shows a broken promise; and that made short.

    for finding in check_lifecycle(target, steps=500, seed=1): ...

The steps are the same for the same `seed`.  A step that leads to a broken promise is not taken
again, so that others are looked for, too.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from cidx_ref.testing.conformance import editions, starting
from cidx_ref.testing.conformance.asking import Refused, Unreadable
from cidx_ref.testing.conformance.bench import Bench
from cidx_ref.testing.conformance.checks import Check, check
from cidx_ref.testing.conformance.editions import BY_PATH, BY_TEXT, Reading, find_edition
from cidx_ref.testing.conformance.life_model import Violation
from cidx_ref.testing.conformance.lifecycle import RULES, Lifecycle, Rule
from cidx_ref.testing.conformance.target import Cap, Target
from cidx_ref.testing.ground import SYSTEM, Scratch
from cidx_ref.testing.promises.findings import Finding, Verdict

__all__ = ["CHECKS", "Lived", "Step", "check_lifecycle", "live", "replayed"]

_STEPS_OF_A_LIFE = 10


@dataclass(frozen=True)
class Step:
    """A step, with its arguments."""

    name: str
    arguments: tuple[tuple[str, object], ...] = ()

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={value!r}' for key, value in self.arguments)})"


@dataclass
class Broken:
    """What was found, and the steps to it."""

    violation: Violation
    steps: list[Step]

    @property
    def trace(self) -> str:
        return "\n".join(f"{number}. {step}" for number, step in enumerate(self.steps, 1))


@dataclass
class Lived:
    """What came of some lives."""

    tally: Counter[str]
    broken: list[Broken] = field(default_factory=list)
    #: A life that could not be lived to its end, and is no fault of a promise.
    why: str = ""


def live(
    target: Target,
    home: Path,
    *,
    steps: int,
    seed: int = 0,
    seconds: float = inf,
    shrink_s: float = 20.0,
    reading: Reading | None = None,
) -> Lived:
    """Have it live through at least so many steps, or for so long; with each kind among them, if
    there is the time.  Projects are made in `home`."""
    rules = [rule for rule in RULES.values() if rule.is_for(target)]
    lived = Lived(Counter({rule.name: 0 for rule in rules}))
    deck = _Deck(rules, target, random.Random(seed))
    until = SYSTEM.monotonic() + seconds
    while deck.is_filled and not lived.why and SYSTEM.monotonic() < until:
        missing = [name for name in deck.names if not lived.tally[name]]
        if lived.tally.total() >= steps and not missing:
            break
        drawn = [deck.draw() for _ in range(_STEPS_OF_A_LIFE)]
        try:
            known = frozenset(one.violation.promise for one in lived.broken)
            found = replayed(target, home, drawn, lived.tally, reading, known)
        except Exception as error:
            if error.__class__.__name__ in ("KeyboardInterrupt", "SystemExit"):
                raise
            lived.why = f"{type(error).__name__}: {error}"
            break
        if found is not None:
            last = found.steps[-1].name
            if found.violation.promise not in {one.violation.promise for one in lived.broken}:
                lived.broken.append(_shortened(target, home, found, reading, shrink_s))
            deck.remove(last)
    return lived


class _Deck:
    """Steps, dealt like cards: each kind comes once before one comes again."""

    def __init__(self, rules: Sequence[Rule], target: Target, chance: random.Random) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._target, self._random = target, chance
        self._cards: list[str] = []

    @property
    def is_filled(self) -> bool:
        return bool(self._rules)

    @property
    def names(self) -> list[str]:
        return list(self._rules)

    def draw(self) -> Step:
        if not self._cards:
            self._cards = self._random.sample(self.names, len(self.names))
        rule = self._rules[self._cards.pop()]
        choices = rule.choices(self._target)
        return Step(rule.name, tuple((key, self._random.choice(of)) for key, of in choices.items()))

    def remove(self, name: str) -> None:
        self._rules.pop(name, None)
        self._cards = [card for card in self._cards if card != name]


def replayed(
    target: Target,
    home: Path,
    steps: Sequence[Step],
    tally: Counter[str] | None = None,
    reading: Reading | None = None,
    known: frozenset[str] = frozenset(),
) -> Broken | None:
    """One life of these steps; what they show broken."""
    taken: list[Step] = []
    life = Lifecycle(target, home, tally, reading, known)
    try:
        try:
            for step in steps:
                taken.append(step)
                getattr(life, step.name)(**dict(step.arguments))
        finally:
            life.teardown()
    except Violation as violation:
        return Broken(violation, taken)
    return None


def _shortened(
    target: Target, home: Path, found: Broken, reading: Reading | None, seconds: float
) -> Broken:
    """The same promise broken in fewer steps: without each that is not needed, as far as there is
    time to try."""
    until = SYSTEM.monotonic() + seconds
    number = len(found.steps) - 2
    while number >= 0:
        if SYSTEM.monotonic() > until:
            break
        without = found.steps[:number] + found.steps[number + 1 :]
        try:
            again = replayed(target, home, without, reading=reading)
        except Exception:
            again = None
        if again is not None and again.violation.promise == found.violation.promise:
            found = again
            number = min(number, len(found.steps) - 1)
        number -= 1
    return found


# How much a target's answers tell.


def find_reading(target: Target, home: Path) -> Reading:
    """Try it: whether editions can be told apart by its answers, and outlive a daemon."""
    by_declaration = editions.by_what(target)
    if target.beyond.exact:
        return by_declaration
    # What is broken is found when it is looked for, and not here.
    life = Lifecycle(target, home, reading=Reading(), known=frozenset({"SRV-4"}))
    reading = Reading()
    with suppress(Violation):
        try:
            life.serve()
            _have_indexed(life)
            reading.by = _by(life, by_declaration.by)
            if reading.is_known and not _outlives(life, reading):
                reading.by = ""
        finally:
            life.teardown()
    return reading


def _outlives(life: Lifecycle, reading: Reading) -> bool:
    """Whether the index is there after a restart; it need not be, if it is nowhere on disk."""
    if life.target.offers(Cap.STOP):
        life.terminate()
    elif life.target.offers(Cap.KILL):
        life.kill()
    else:
        return True
    life.serve()
    return _is_found(life, reading)


def _have_indexed(life: Lifecycle) -> None:
    if life.target.offers(Cap.INDEX):
        life.index(edit=False)
    elif life.target.offers(Cap.WRITER):
        life.index_elsewhere(edit=False)


def _by(life: Lifecycle, declared: str) -> str:
    for by in (BY_TEXT, BY_PATH):
        if by == BY_TEXT and declared != BY_TEXT:
            continue
        if by == BY_PATH and not life.target.offers(Cap.FTS):
            continue
        if _is_found(life, Reading(by)):
            return by
    return ""


def _is_found(life: Lifecycle, reading: Reading) -> bool:
    """Whether the edition that is indexed is found, and one that is not is not."""
    mode = "query_fts" if life.target.offers(Cap.FTS) else "query"
    with life.asker() as asker:
        try:
            there = find_edition(asker, reading, [life.model.edition], mode)
            other = find_edition(asker, reading, [life.model.edition + 1], mode)
        except (Refused, Unreadable):
            return False
    return there.oldest == life.model.edition and not other.newest


# As a check.


def _about() -> tuple[str, ...]:
    return tuple(dict.fromkeys(p for rule in RULES.values() for p in rule.promises))


#: What a target has to offer for a promise to be made at all.  Some steps about it need less.
_LEAST = {
    "SRV-2": Cap.TAKEN,
    "SRV-3": Cap.KILL,
    "SRV-4": Cap.STOP,
    "TTL-5": Cap.IDLE,
    "CACHE-5": Cap.INDEX,
    "CACHE-8": Cap.WRITER,
    "FRESH-1": Cap.WATCH,
    "FRESH-2": Cap.FRESH,
    "WRITE-3": Cap.KILL,
}


def _missing(target: Target, promise: str) -> str:
    """What the target would have to offer for a step about that promise; empty if it has it."""
    if promise in _LEAST and not target.offers(_LEAST[promise]):
        return f"needs {_LEAST[promise].value}"
    rules = [rule for rule in RULES.values() if promise in rule.promises]
    if any(rule.is_for(target) for rule in rules):
        return ""
    needs = min((rule.needs - set(target.capabilities) for rule in rules), key=len)
    return "needs " + ", and ".join(sorted(need.value for need in needs))


@check("lifecycle", *_about())
def lifecycle(bench: Bench) -> None:
    """A daemon's life in any order."""
    offered = _note_missing(bench, _about())
    if not offered:
        return
    absent = set(_about()) - set(offered)
    reading = find_reading(bench.target, bench.directory)
    lived = live(
        bench.target,
        bench.directory,
        steps=2000 if bench.deep else 40,
        seed=bench.seed,
        seconds=bench.seconds(10.0, 600.0),
        shrink_s=bench.seconds(10.0, 60.0),
        reading=reading,
    )
    for one in lived.broken:
        if one.violation.promise not in absent:
            bench.note(one.violation.promise, Verdict.BROKEN, str(one.violation), one.trace)
    for promise in offered:
        steps = sum(lived.tally[n] for n, rule in RULES.items() if promise in rule.promises)
        if steps and not lived.why:
            bench.note(promise, Verdict.KEPT)
            bench.tried(promise, steps, "steps of a daemon's life")
    if lived.why:
        raise RuntimeError(lived.why)


def _note_missing(bench: Bench, promises: Sequence[str]) -> list[str]:
    """What a target cannot be asked for is noted so; returns the others."""
    left = []
    for promise in promises:
        if missing := _missing(bench.target, promise):
            bench.note(promise, Verdict.NOT_OFFERED, missing)
        else:
            left.append(promise)
    return left


CHECKS: tuple[Check, ...] = (*starting.CHECKS, lifecycle)


def check_lifecycle(
    target: Target,
    *,
    steps: int = 60,
    seed: int = 0,
    seconds: float = inf,
    shrink_s: float = 20.0,
    home: Path | None = None,
    tally: Counter[str] | None = None,
) -> list[Finding]:
    """Have `target` live through so many steps, each kind among them: what was found of each
    promise that the steps are about.  `tally` is told how often each step was taken."""
    with Scratch("k", home) as directory:
        reading = find_reading(target, directory)
        began = SYSTEM.monotonic()
        lived = live(
            target,
            directory,
            steps=steps,
            seed=seed,
            seconds=seconds,
            shrink_s=shrink_s,
            reading=reading,
        )
    if tally is not None:
        tally.update(lived.tally)
    replay = f"check_lifecycle(target, steps={steps}, seed={seed})"
    broken = {one.violation.promise: one for one in lived.broken}
    took = SYSTEM.monotonic() - began

    def finding(promise: str) -> Finding:
        done = sum(lived.tally[n] for n, rule in RULES.items() if promise in rule.promises)
        given: dict[str, Any] = {"check": "lifecycle", "seconds": took, "tried": {"steps": done}}
        if one := broken.get(promise):
            words, trace = str(one.violation), one.trace
            return Finding(promise, Verdict.BROKEN, words, trace=trace, replay=replay, **given)
        if missing := (promise in _about() and _missing(target, promise)):
            return Finding(promise, Verdict.NOT_OFFERED, missing, **given)
        verdict = Verdict.NOT_TRIED if lived.why or not done else Verdict.KEPT
        return Finding(promise, verdict, lived.why, replay=replay, **given)

    return [finding(promise) for promise in dict.fromkeys((*broken, *_about()))]
