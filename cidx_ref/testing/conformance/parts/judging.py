"""From a search to a finding: what the checks of parts have in common.

A check of a part has *trials*: scenarios, whose schedules are explored, and others that do things
one by one.  Each is about some promises, and either raises `Broken` or comes to its end.  One
promise that is broken hides no other: a trial is about few, and each is run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from cidx_ref.testing.concurrency.explore import (
    Counterexample,
    NotDeterministic,
    NothingExplored,
    Scenario,
    Script,
    exhaustive,
    random_walk,
    replay,
)
from cidx_ref.testing.concurrency.instrument import Uncontrolled, modules_of
from cidx_ref.testing.concurrency.library.found import real_ones
from cidx_ref.testing.concurrency.scheduler import (
    Blocked,
    Deadlock,
    Livelock,
    Scheduler,
    ThreadPool,
)
from cidx_ref.testing.concurrency.telling import module_of
from cidx_ref.testing.ground import SYSTEM
from cidx_ref.testing.promises.findings import Finding, Verdict

__all__ = [
    "Bound",
    "Broken",
    "PartScenario",
    "Tally",
    "Trial",
    "Unusable",
    "alone",
    "explored",
    "in_words",
    "is_judged",
    "not_offered",
    "reason",
    "refuse_real_locks",
    "replay_line",
    "run_trials",
]

#: Schedules that are tried of a scenario: systematically, and then at random; with `deep`.
SCHEDULES, WALKS = 400, 100
DEEP_SCHEDULES, DEEP_WALKS = 8_000, 2_000


class Broken(AssertionError):  # noqa: N818 - as the verdict is called
    """A promise, and what was seen, in a sentence."""

    def __init__(self, promise: str, words: str) -> None:
        super().__init__(words)
        self.promise = promise
        self.words = words


class Unusable(Exception):  # noqa: N818 - of the adapter, and no fault of the part
    """What was made cannot be judged; says what is missing."""


class PartScenario(Scenario):
    """Some threads that meet over a part which `make` makes; see `Scenario`."""

    #: The promise that is broken where nobody can go on, or anything is raised that no one expects.
    blames: ClassVar[str] = ""
    #: What the part has to have.
    needs: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, runtime: Scheduler, make: Callable[..., Any]) -> None:
        super().__init__(runtime)
        self.make = make
        #: Of these it is known that they are broken.
        self.muted: frozenset[str] = frozenset()
        self._instrumented = ExitStack()
        self._instrumented.enter_context(modules_of(make, runtime))
        try:
            self.set_up()
        except BaseException:
            self._instrumented.close()
            raise

    def set_up(self) -> None:
        """Make the part, and what is there before the threads come."""

    def threads(self) -> dict[str, Callable[[], object]]:
        """The threads, by name."""
        raise NotImplementedError

    def verify(self) -> None:
        """What must hold when all have ended; raises `Broken`."""

    def actors(self) -> dict[str, Callable[[], object]]:
        return {name: self._muting(thread) for name, thread in self.threads().items()}

    def check(self) -> None:
        self._muting(self.verify)()

    def _muting(self, call: Callable[[], object]) -> Callable[[], object]:
        def muting() -> None:
            try:
                call()
            except Broken as broken:
                if broken.promise not in self.muted:
                    raise

        return muting

    def close(self) -> None:
        self._instrumented.close()


class Bound:
    """A scenario, and what it is run over: for explorers, which make one for each schedule."""

    def __init__(self, scenario: type[PartScenario], make: Callable[..., Any], kind: str) -> None:
        self.scenario = scenario
        self.make = make
        self.kind = kind
        self.muted: frozenset[str] = frozenset()
        self.max_steps = scenario.max_steps
        self.__qualname__ = scenario.__name__
        self.__module__ = scenario.__module__

    def __call__(self, runtime: Scheduler) -> Scenario:
        made = self.scenario(runtime, self.make)
        made.muted = self.muted
        return made

    def replay_line(self, schedule: str) -> str:
        return replay_line(self.kind, self.make, self.scenario.__name__, schedule)


def replay_line(kind: str, make: Callable[..., Any], trial: str, what: str) -> str:
    """One command line that shows a finding again; where `make` has no name, one of Python."""
    name = getattr(make, "__qualname__", "")
    if not name.isidentifier():
        return f'parts.replaying.replay("{kind}", {name or make}, "{trial}", "{what}")'
    command = f"python -m {__package__} {kind} {module_of(make)}:{name}"
    return f'{command} {trial} "{what}"'


@dataclass
class Tally:
    """What was tried of each promise, what broke it, and why it could not be tried."""

    check: str
    #: Promises that nobody asks about here.
    ignored: frozenset[str] = frozenset()
    findings: list[Finding] = field(default_factory=list)
    #: A thread has waited where no scheduler can help: nothing more can be judged.
    is_blocked: bool = False
    #: Threads have waited for each other for ever.  Where they do so again, it says nothing more.
    is_stuck: bool = False
    tried: dict[str, dict[str, int]] = field(default_factory=dict)
    untried: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def count(self, promises: Iterable[str], number: int, unit: str) -> None:
        for promise in promises:
            units = self.tried.setdefault(promise, {})
            units[unit] = units.get(unit, 0) + number

    def broken(
        self, promise: str, words: str, trace: str, replayed: str, unit: str, n: int
    ) -> None:
        # One is enough, the first: what else it breaks is mostly the same again.
        if promise in self.ignored or any(found.promise == promise for found in self.findings):
            return
        self.findings.append(
            Finding(
                promise,
                Verdict.BROKEN,
                words,
                self.check,
                trace=trace,
                replay=replayed,
                tried={unit: n},
            )
        )

    def results(self, promises: Iterable[str], missing: Mapping[str, str]) -> list[Finding]:
        """The findings, those of kept promises and of what is not offered, too."""
        found = list(self.findings)
        broken = {finding.promise for finding in found}
        for promise in promises:
            seconds = round(self.seconds.get(promise, 0.0), 3)
            if promise in broken:
                continue
            if promise in missing:
                found.append(Finding(promise, Verdict.NOT_OFFERED, missing[promise], self.check))
            elif promise in self.untried or promise not in self.tried:
                words = self.untried.get(promise, "no trial is about it")
                found.append(Finding(promise, Verdict.NOT_TRIED, words, self.check))
            else:
                tried = self.tried[promise]
                words = "nothing that was tried broke it"
                found.append(
                    Finding(promise, Verdict.KEPT, words, self.check, tried=tried, seconds=seconds)
                )
        order = list(promises)
        return sorted(found, key=lambda finding: order.index(finding.promise))


#: One trial: what it is called, what it is about, and how it is run.
@dataclass(frozen=True)
class Trial:
    name: str
    promises: frozenset[str]
    run: Callable[[Tally], None]


def run_trials(tally: Tally, trials: Sequence[Trial]) -> None:
    """Run those that are about a wanted promise, of which it is not known yet that it is broken."""
    for trial in trials:
        about = trial.promises - tally.ignored
        if tally.is_blocked:
            why = next(iter(tally.untried.values()))
            tally.untried.update(dict.fromkeys(about, why))
            continue
        if about <= {finding.promise for finding in tally.findings}:
            continue
        began = SYSTEM.monotonic()
        trial.run(tally)
        took = SYSTEM.monotonic() - began
        for promise in about:
            tally.seconds[promise] = tally.seconds.get(promise, 0.0) + took


def explored(
    scenario: type[PartScenario],
    make: Callable[..., Any],
    kind: str,
    *,
    deep: bool = False,
    seed: int = 0,
) -> Trial:
    """The trial of a scenario: its schedules, systematically and at random."""
    bound = Bound(scenario, make, kind)
    schedules, walks = (DEEP_SCHEDULES, DEEP_WALKS) if deep else (SCHEDULES, WALKS)

    def search() -> int:
        found = exhaustive(bound, max_schedules=schedules)
        if found.complete:
            return found.schedules
        return found.schedules + random_walk(bound, schedules=walks, seed=seed).schedules

    def run(tally: Tally) -> None:
        # What is broken already hides nothing of what else there is.
        settled = {finding.promise for finding in tally.findings} | tally.ignored
        known = settled & scenario.promises
        while left := scenario.promises - known:
            bound.muted = frozenset(known)
            try:
                tally.count(left, search(), "schedules")
                return
            except Counterexample as broken:
                told = _tell(tally, scenario, broken)
            except NothingExplored as nothing:
                told = None
                tally.untried.update(dict.fromkeys(left, str(nothing)))
            if told is None or told in known:
                return
            known.add(told)

    return Trial(scenario.__name__, scenario.promises, run)


def _tell(tally: Tally, scenario: type[PartScenario], broken: Counterexample) -> str | None:
    """The promise that was broken, and can be looked away from."""
    error = broken.error
    if not is_judged(error):
        tally.untried.update(dict.fromkeys(scenario.promises, reason(error)))
        tally.is_blocked |= isinstance(error, Blocked)
        return None
    promise = error.promise if isinstance(error, Broken) else scenario.blames
    words = in_words(error)
    is_stuck = isinstance(error, (Deadlock, Livelock))
    if not (is_stuck and tally.is_stuck):
        tally.broken(promise, words, broken.table, broken.replay_line, "schedules", broken.tried)
    tally.is_stuck |= is_stuck
    if isinstance(error, Broken):
        return promise
    # Every further search would end there; the others were tried as far as that.
    tally.count(scenario.promises, broken.tried, "schedules")
    return None


@contextmanager
def alone(max_steps: int = 5_000) -> Iterator[Scheduler]:
    """A scheduler that switches only where it must: for one thread, and what it starts."""
    with ThreadPool() as pool:
        yield Scheduler(Script({}), pool, max_steps=max_steps)


def is_judged(error: BaseException) -> bool:
    """Whether it says something of what was explored, and not of how."""
    return not isinstance(error, (Blocked, NotDeterministic, Unusable, Uncontrolled))


def reason(error: BaseException) -> str:
    """Why a trial could not be made, in one sentence."""
    if isinstance(error, Blocked):
        first = str(error).splitlines()[0].rstrip(":")
        return f"{first}: give it the runtime's locks, or `instrumented(make, 'its.module')`"
    kind = "" if isinstance(error, Exception) else f"{type(error).__name__}: "
    return f"could not be judged: {kind}{'; '.join(str(error).splitlines())}"


def refuse_real_locks(part: object) -> None:
    """Raises `Unusable` if `part` has locks that no scheduler controls."""
    found = real_ones(part)
    if not found:
        return
    path, holder = next(iter(found.items()))
    others = f", and {len(found) - 1} more" if len(found) > 1 else ""
    raise Unusable(
        f"{path}{others}: of the real library, where no scheduler can help: make it of the runtime,"
        f" or give instrumented(make, {holder!r})"
    )


def in_words(error: BaseException) -> str:
    """What was seen, in one sentence."""
    if isinstance(error, Broken):
        return error.words
    if isinstance(error, (Deadlock, Livelock)):
        return str(error)
    lines = str(error).splitlines() or [""]
    if isinstance(error, AssertionError):
        return lines[0]
    return f"raised {type(error).__name__}: {lines[0]}".rstrip(": ")


def not_offered(part: Any, declared: Mapping[str, str]) -> dict[str, str]:
    """What a part, or its user, says that it does not promise."""
    said = getattr(part, "not_offered", {})
    return {**(said if isinstance(said, Mapping) else {}), **declared}


def replay_scenario(
    scenario: type[PartScenario], make: Callable[..., Any], kind: str, schedule: str
) -> None:
    """Raises `Counterexample` if it still breaks."""
    replay(Bound(scenario, make, kind), schedule)
