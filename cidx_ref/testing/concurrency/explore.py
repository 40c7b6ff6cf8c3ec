"""Explorers: which schedules of a scenario to try, and what to say of one that breaks it.

A `Scenario` is a handful of threads that meet over something shared, and what must hold whatever
their order.  Three explorers look for a schedule that breaks it:

- `exhaustive`: every schedule of at most so many preemptions, those with the fewest first.  Most
  races need no more than two (Musuvathi and Qadeer, PLDI 2007);
- `random_walk`: seeded, for what is too large for that;
- `guided`: Hypothesis draws the schedules, and shrinks the one that it finds.

Each ends with an `Exploration`, or with a `Counterexample`: the shortest schedule it could find,
as a table, and one line that brings it about again; or, where the threads never met a switch point,
with `NothingExplored`, for then one schedule was tried, however many there are.  From the shell:

    python -m cidx_ref.testing.concurrency.explore visits:Visits
    python -m cidx_ref.testing.concurrency.explore visits:Visits "12:1 30:1"
"""

from __future__ import annotations

import argparse
import importlib
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from cidx_ref.testing.concurrency.scheduler import Blocked, Scheduler, Step, Strategy, ThreadPool
from cidx_ref.testing.concurrency.telling import described, parsed, replay_line, table
from cidx_ref.testing.door import enter

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = [
    "Counterexample",
    "Exploration",
    "NotDeterministic",
    "NothingExplored",
    "Scenario",
    "Schedule",
    "Script",
    "exhaustive",
    "guided",
    "random_walk",
    "replay",
    "schedules",
]

#: The decisions that are not 0, by number: `{12: 1}` goes another way at the thirteenth (counted
#: from 0) and the first way everywhere else.
Schedule = Mapping[int, int]


#: So many runs are spent on making a counterexample shorter.
_SHRINKS = 400


class Scenario:
    """Some threads that meet.  Made anew for every schedule.

    A subclass sets things up in its `__init__`, which must call this one.  What it makes of the
    runtime it is given (locks, clocks, threads, steps) is under the explorer's orders; anything
    else must not block.  Nothing in it may depend on chance, on real time or on hash order.
    """

    #: The promises that a counterexample breaks.
    promises: ClassVar[frozenset[str]] = frozenset()
    #: A run with more switch points than this is taken for a livelock.
    max_steps: ClassVar[int] = 5_000
    #: It has too many schedules to try all of two preemptions; it is walked at random as well.
    is_large: ClassVar[bool] = False

    def __init__(self, runtime: Scheduler) -> None:
        self.runtime = runtime

    def actors(self) -> dict[str, Callable[[], object]]:
        """The threads, by name.  One that raises breaks the scenario."""
        raise NotImplementedError

    def check(self) -> None:
        """What must hold when all have ended; raises `AssertionError` if it does not."""

    def close(self) -> None:
        """Give back what `__init__` took; called whatever came of the run."""


#: A subclass of `Scenario`, or anything else that makes one.
MakeScenario = Callable[[Scheduler], Scenario]


@dataclass(frozen=True)
class Exploration:
    """A search that broke nothing."""

    schedules: int
    #: Every schedule within the bound was tried.
    complete: bool


class NothingExplored(Exception):  # noqa: N818 - nothing went wrong in the code
    """No thread of a scenario met a switch point, so no other schedule could be tried."""

    def __init__(self, scenario: MakeScenario) -> None:
        name = getattr(scenario, "__qualname__", repr(scenario))
        super().__init__(
            f"{name}: nothing was explored: no thread used a lock, a clock, a sleep or a step of"
            " the runtime, so there was no point to switch at; make them of `self.runtime`, or"
            " instrument the module that makes its own"
        )


class NotDeterministic(AssertionError):  # noqa: N818
    """The same schedule came to another end: the scenario depends on more than its schedule."""


class Counterexample(AssertionError):  # noqa: N818 - its name in the field
    """A schedule that breaks a scenario.  Its text is the table, and the line that replays it."""

    def __init__(self, scenario: MakeScenario, run: _Run, tried: int = 1) -> None:
        assert run.error is not None
        self.schedule = run.schedule
        self.error = run.error
        self.trace = run.trace
        self.switches = run.switches
        #: The steps as a table, and the line that brings them about again.
        self.table = "\n".join(table(run.trace))
        self.replay_line = replay_line(scenario, run.schedule)
        #: How many schedules were tried until this was found, and made shorter.
        self.tried = tried
        super().__init__(described(scenario, run.schedule, run.trace, run.error, run.switches))
        self.__cause__ = run.error


def exhaustive(
    scenario: MakeScenario, *, preemptions: int = 2, max_schedules: int | None = None
) -> Exploration:
    """Try every schedule with at most `preemptions`; stop, incomplete, after `max_schedules`.

    Raises `Counterexample`.
    """
    with ThreadPool() as pool:
        waiting: deque[tuple[dict[int, int], int]] = deque([({}, 0)])
        tried = points = 0
        while waiting:
            if tried == max_schedules:
                return _explored(scenario, tried, points, complete=False)
            schedule, spent = waiting.popleft()
            script = Script(schedule)
            run = _perform(scenario, script, pool)
            tried += 1
            points += len(run.trace)
            if run.error is not None:
                raise _shortest(scenario, run, pool, tried)
            # Only beyond its last deviation: so each schedule comes up once.
            begin = max(schedule, default=-1) + 1
            for number, (options, costs) in enumerate(script.decisions[begin:], begin):
                if not costs or spent < preemptions:
                    for answer in range(1, options):
                        waiting.append(({**schedule, number: answer}, spent + costs))
    return _explored(scenario, tried, points, complete=True)


def random_walk(scenario: MakeScenario, *, schedules: int = 2_000, seed: int = 0) -> Exploration:
    """Try so many schedules at random, the same ones for the same `seed`.

    Raises `Counterexample`.
    """
    points = 0
    with ThreadPool() as pool:
        for number in range(schedules):
            run = _perform(scenario, _Walk(random.Random(f"{seed}/{number}")), pool)
            points += len(run.trace)
            if run.error is not None:
                raise _shortest(scenario, run, pool, number + 1)
    return _explored(scenario, schedules, points, complete=False)


def guided(scenario: MakeScenario, *, examples: int = 500, max_switches: int = 6) -> Exploration:
    """Let Hypothesis draw `examples` schedules of at most `max_switches` answers other than 0.

    The same ones each time.  Raises `Counterexample`.
    """
    # Here: who only replays a schedule need not have Hypothesis.
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis.errors import Flaky

    tried = points = 0
    with ThreadPool() as pool:
        script = Script({})
        usual = _perform(scenario, script, pool)
        ways = max((options for options, _ in script.decisions), default=1)

        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            report_multiple_bugs=False,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(schedules(usual.decisions, max_switches, ways))
        def test(schedule: Schedule) -> None:
            nonlocal tried, points
            tried += 1
            run = _scripted(scenario, schedule, pool)
            points += len(run.trace)
            if run.error is not None:
                raise Counterexample(scenario, run, tried)

        try:
            test()
        except Flaky:
            raise AssertionError(f"{scenario!r} is not deterministic") from None
        except Counterexample as found:
            broken = found.schedule
        else:
            return _explored(scenario, tried, points, complete=False)
        # Out here, where it is no consequence of what Hypothesis raised.
        raise _shortest(scenario, _scripted(scenario, broken, pool), pool, tried)


def schedules(decisions: int, max_switches: int = 6, ways: int = 3) -> SearchStrategy[Schedule]:
    """A Hypothesis strategy for schedules of runs with about so many decisions among `ways`."""
    from hypothesis import strategies as st

    # A dictionary and not a list with an answer for each decision: what is left out is 0, "as you
    # were", so what Hypothesis removes in shrinking are switches.
    return st.dictionaries(
        # Twice as many: what is done otherwise may take longer.
        st.integers(0, 2 * decisions + 1),
        st.integers(1, ways),
        max_size=max_switches,
    )


def replay(scenario: MakeScenario, schedule: Schedule | str = "") -> None:
    """Run one schedule, as a counterexample wrote it: `"12:1 30:1"`.

    Raises `Counterexample` if it breaks the scenario.
    """
    if isinstance(schedule, str):
        schedule = parsed(schedule)
    with ThreadPool() as pool:
        run = _scripted(scenario, schedule, pool)
    if run.error is not None:
        raise Counterexample(scenario, run)
    _explored(scenario, 1, len(run.trace), complete=False)


def _explored(scenario: MakeScenario, tried: int, points: int, *, complete: bool) -> Exploration:
    if not points:
        raise NothingExplored(scenario)
    return Exploration(tried, complete)


@dataclass(frozen=True)
class _Run:
    """One schedule, and what came of it."""

    schedule: Schedule
    decisions: int
    trace: list[Step]
    error: BaseException | None

    @property
    def switches(self) -> int:
        return sum(one.thread != other.thread for one, other in pairwise(self.trace))

    def breaks_like(self, other: _Run) -> bool:
        return type(self.error) is type(other.error) and _place(self.error) == _place(other.error)

    def size(self) -> tuple[int, int, int]:
        """What shrinking makes smaller."""
        return self.switches, len(self.schedule), len(self.trace)


class Script(Strategy):
    """Follows a schedule; `decisions` notes of each how many ways there were, and if they cost."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.decisions: list[tuple[int, bool]] = []

    def pick(self, options: int, costs: bool) -> int:
        answer = self.schedule.get(len(self.decisions), 0)
        self.decisions.append((options, costs))
        return min(answer, options - 1)


class _Walk(Script):
    """Decides by chance: in some walks switches are rare, in others not."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__({})
        self._chance = chance
        self._rate = chance.choice((0.02, 0.05, 0.1, 0.3))
        self.schedule: dict[int, int] = {}

    def pick(self, options: int, costs: bool) -> int:
        if self._chance.random() < (self._rate if costs else 0.5):
            self.schedule[len(self.decisions)] = self._chance.randrange(1, options)
        return super().pick(options, costs)


def _scripted(scenario: MakeScenario, schedule: Schedule, pool: ThreadPool) -> _Run:
    return _perform(scenario, Script(schedule), pool)


def _place(error: BaseException | None) -> tuple[str, int]:
    """Where it was raised."""
    trace = error.__traceback__ if error is not None else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return (trace.tb_frame.f_code.co_filename, trace.tb_lineno) if trace is not None else ("", 0)


def _perform(scenario: MakeScenario, script: Script, pool: ThreadPool) -> _Run:
    runtime = Scheduler(script, pool, max_steps=getattr(scenario, "max_steps", 5_000))
    made: Scenario | None = None
    error: BaseException | None = None
    try:
        made = scenario(runtime)
        runtime.run(made.actors())
        made.check()
    except KeyboardInterrupt:
        raise
    except BaseException as broken:  # pytest's failures and SystemExit among them
        error = broken
    finally:
        if made is not None:
            error = _closed(made, error)
    return _Run(script.schedule, len(script.decisions), runtime.trace, error)


def _shortest(scenario: MakeScenario, found: _Run, pool: ThreadPool, tried: int) -> Counterexample:
    """The counterexample, with all left out that is not needed to break the scenario like that."""
    if isinstance(found.error, Blocked):  # and so would the next ones be
        return Counterexample(scenario, found, tried)
    best = _scripted(scenario, found.schedule, pool)
    if not best.breaks_like(found):
        again = best.error if best.error is not None else "nothing"
        odd = NotDeterministic(f"not deterministic: first {found.error!r}, and then {again!r}")
        return Counterexample(scenario, replace(found, error=odd), tried)
    candidates = _smaller(best.schedule)
    limit = tried + _SHRINKS
    while tried < limit and (schedule := next(candidates, None)) is not None:
        tried += 1
        run = _scripted(scenario, schedule, pool)
        if run.breaks_like(found) and run.size() < best.size():
            best = run
            candidates = _smaller(schedule)
    return Counterexample(scenario, best, tried)


def _smaller(schedule: Schedule) -> Iterator[Schedule]:
    """Without half of its switches, or a quarter, ..., or one; or with one to an earlier thread."""
    numbers = sorted(schedule)
    size = len(numbers)
    while size:
        size = (size + 1) // 2
        for begin in range(0, len(numbers), size):
            left_out = numbers[begin : begin + size]
            yield {n: answer for n, answer in schedule.items() if n not in left_out}
        size -= size == 1
    for number, answer in schedule.items():
        if answer > 1:
            yield {**schedule, number: answer - 1}


def _closed(made: Scenario, error: BaseException | None) -> BaseException | None:
    """`error`, or what closing the scenario raised, if that was the first."""
    try:
        made.close()
    except Exception as failure:
        return error or failure
    return error


def main(arguments: Sequence[str] | None = None) -> int:
    """Explore a scenario, or replay one schedule of it; 1 if it is broken, 2 if that could not be
    done."""
    parser = argparse.ArgumentParser("python -m cidx_ref.testing.concurrency.explore")
    parser.add_argument("scenario", help="MODULE:NAME")
    parser.add_argument("schedule", nargs="?", help="what to replay, as a failure printed it")
    parser.add_argument("--preemptions", type=int, default=2, help="explore up to this many")
    parser.add_argument("--random", type=int, metavar="N", help="walk N schedules at random")
    given = parser.parse_args(arguments)
    module, _, name = given.scenario.partition(":")
    try:
        scenario = getattr(importlib.import_module(module), name)
        schedule = parsed(given.schedule or "")
    except (ImportError, AttributeError, ValueError) as error:
        parser.error(str(error))
    try:
        if given.schedule is not None:
            replay(scenario, schedule)
            print("not broken")
        elif given.random is not None:
            print(random_walk(scenario, schedules=given.random))
        else:
            print(exhaustive(scenario, preemptions=given.preemptions))
    except Counterexample as found:
        print(found)
        return 1
    except NothingExplored as nothing:
        print(nothing, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(enter("python -m cidx_ref.testing.concurrency.explore", lambda: main))
