"""The scheduler and the explorers: they find what is known to be there, and say it plainly.

What they find in this project's own code is in `test_interleavings`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from math import comb
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from cidx_ref.interpreter import python_command
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.concurrency import explore, scheduler
from cidx_ref.testing.concurrency.explore import (
    Counterexample,
    Exploration,
    Scenario,
    Script,
    exhaustive,
    guided,
    random_walk,
    replay,
)
from cidx_ref.testing.concurrency.scheduler import Deadlock, Livelock, Scheduler, ThreadPool

Explorer = Callable[..., Exploration]
EXPLORERS = pytest.mark.parametrize("explorer", [exhaustive, random_walk, guided])


class LostUpdate(Scenario):
    """Each reads under the lock, and writes under the lock, but not in one go."""

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.lock = runtime.lock("count")
        self.count = 0

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self._add, "other": self._add}

    def _add(self) -> None:
        with self.lock:
            count = self.count
        with self.lock:
            self.count = count + 1

    def check(self) -> None:
        if self.count != 2:  # not `assert`: pytest would write what it knows into the message
            raise AssertionError(f"two were added, and the count is {self.count}")


class Embrace(Scenario):
    """Two locks, taken in either order."""

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.red, self.blue = runtime.lock("red"), runtime.lock("blue")

    def actors(self) -> dict[str, Callable[[], object]]:
        return {
            "one": lambda: self._take(self.red, self.blue),
            "other": lambda: self._take(self.blue, self.red),
        }

    def _take(self, first: Any, second: Any) -> None:
        with first, second:
            pass


class LostWakeUp(Scenario):
    """Looks, and then waits, and who sets it in between notifies nobody."""

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.changed = runtime.condition("ready")
        self.ready = False

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"waiter": self._wait, "setter": self._set}

    def _wait(self) -> None:
        with self.changed:
            ready = self.ready
        if not ready:
            with self.changed:
                self.changed.wait()

    def _set(self) -> None:
        with self.changed:
            self.ready = True
            self.changed.notify_all()


class Sound(Scenario):
    """All there is in a runtime, used as it should be."""

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.changed = runtime.condition("queue")
        self.done = runtime.event("done")
        self.queue: list[int] = []
        self.taken: list[int] = []
        self.began = runtime.monotonic()

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"maker": self._make, "taker": self._take}

    def _make(self) -> None:
        helper = self.runtime.thread(lambda: self._put(1), "helper")
        self._put(2)
        helper.join()
        assert not helper.is_alive()
        self.runtime.sleep(5.0)
        self.done.set()

    def _put(self, item: int) -> None:
        with self.changed:
            self.queue.append(item)
            self.changed.notify_all()

    def _take(self) -> None:
        while len(self.taken) < 2:
            with self.changed:
                assert self.changed.wait_for(lambda: bool(self.queue), 60.0)
                self.taken.append(self.queue.pop())
        assert not self.done.wait(1.0)
        assert self.done.wait(60.0)

    def check(self) -> None:
        assert sorted(self.taken) == [1, 2]
        assert self.runtime.monotonic() - self.began == 5.0


def found(
    explorer: Callable[..., object], scenario: type[Scenario], **options: Any
) -> Counterexample:
    with pytest.raises(Counterexample) as caught:
        explorer(scenario, **options)
    return caught.value


@EXPLORERS
@pytest.mark.parametrize(
    ("scenario", "error", "switches"),
    [(LostUpdate, AssertionError, 2), (Embrace, Deadlock, 1), (LostWakeUp, Deadlock, 2)],
    ids=["lost update", "deadlock", "lost wake-up"],
)
def test_each_explorer_finds_a_race_and_makes_it_as_short_as_it_can_be(
    explorer: Explorer, scenario: type[Scenario], error: type[Exception], switches: int
) -> None:
    counterexample = found(explorer, scenario)
    assert type(counterexample.error) is error
    assert counterexample.switches == switches
    assert counterexample.__cause__ is counterexample.error


@EXPLORERS
def test_sound_code_survives(explorer: Explorer) -> None:
    assert explorer(Sound).schedules > 30


def test_no_preemption_is_no_race() -> None:
    assert exhaustive(LostUpdate, preemptions=0).complete
    with pytest.raises(Counterexample):
        exhaustive(LostUpdate, preemptions=1)


class Steps(Scenario):
    """Threads that pass so many steps each, and notice the order."""

    COUNTS = (3, 4)

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.order: list[int] = []
        seen.append(self.order)

    def actors(self) -> dict[str, Callable[[], object]]:
        return {f"thread {n}": self._actor(n, count) for n, count in enumerate(self.COUNTS)}

    def _actor(self, number: int, count: int) -> Callable[[], None]:
        def act() -> None:
            for _ in range(count):
                self.order.append(number)
                self.runtime.step("counted")

        return act


seen: list[list[int]] = []


def test_the_exhaustive_search_tries_every_order_once() -> None:
    seen.clear()
    tried = exhaustive(Steps, preemptions=99)
    assert tried.complete
    orders = {tuple(order) for order in seen}
    assert len(orders) == comb(7, 3), "every way to merge three steps and four"
    # A point after the last step of a thread: one more place to switch, which shows in no order.
    assert tried.schedules == len(seen) == comb(9, 4)


def test_a_bounded_search_says_that_it_is_not_complete() -> None:
    assert exhaustive(Steps, preemptions=99, max_schedules=10) == Exploration(10, complete=False)


def test_the_same_seed_walks_the_same_way_and_another_another() -> None:
    def walk(seed: int) -> list[list[int]]:
        seen.clear()
        random_walk(Steps, schedules=50, seed=seed)
        return list(seen)

    assert walk(1) == walk(1)
    assert walk(1) != walk(2)


# Time.


class Sleepers(Scenario):
    """They sleep for different times, and wake in that order."""

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.woken: list[tuple[str, float]] = []

    def actors(self) -> dict[str, Callable[[], object]]:
        return {f"{n} s": self._sleeper(n) for n in (30, 10, 20)}

    def _sleeper(self, seconds: int) -> Callable[[], None]:
        def sleep() -> None:
            self.runtime.sleep(seconds)
            self.woken.append((f"{seconds} s", self.runtime.monotonic() - 1000.0))

        return sleep

    def check(self) -> None:
        assert self.woken == [("10 s", 10.0), ("20 s", 20.0), ("30 s", 30.0)]


def test_time_jumps_to_the_next_deadline_and_no_further() -> None:
    assert exhaustive(Sleepers).complete


class Waits(Scenario):
    """Every wait that nobody ends comes to its own end."""

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self._wait}

    def _wait(self) -> None:
        condition = self.runtime.condition("never")
        with condition:
            assert condition.wait(3.0) is False
            assert condition.wait_for(lambda: False, 4.0) is False
        assert self.runtime.event("never").wait(5.0) is False
        lock = self.runtime.lock("taken")
        assert lock.acquire()
        assert lock.acquire(blocking=False) is False
        assert lock.acquire(timeout=6.0) is False
        lock.release()
        assert self.runtime.monotonic() == 1018.0


def test_a_wait_that_nobody_ends_ends_at_its_deadline() -> None:
    exhaustive(Waits)


class TimedOutWithoutTheLock(Scenario):
    """A wait is over, but the lock is taken: the waiter waits for the lock, and time goes on."""

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.changed = runtime.condition("shared")
        self.returned_at = 0.0

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"waiter": self._wait, "holder": self._hold}

    def _wait(self) -> None:
        with self.changed:
            self.changed.wait(1.0)
            self.returned_at = self.runtime.monotonic()

    def _hold(self) -> None:
        with self.changed:
            self.runtime.sleep(5.0)

    def check(self) -> None:
        assert self.returned_at >= 1001.0


def test_a_wait_that_timed_out_still_needs_its_lock() -> None:
    assert exhaustive(TimedOutWithoutTheLock).complete


# Failures.


def test_a_deadlock_says_who_waits_for_what() -> None:
    said = str(found(exhaustive, Embrace))
    assert "one waits for lock blue (held by other)" in said
    assert "other waits for lock red (held by one)" in said


class Forgotten(Scenario):
    """One waits for what nobody will do."""

    @staticmethod
    def WAITS(runtime: Scheduler) -> object:
        raise NotImplementedError

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": lambda: type(self).WAITS(self.runtime), "other": lambda: None}


def _wait_for_condition(runtime: Scheduler) -> None:
    condition = runtime.condition("news")
    with condition:
        condition.wait()


def _lock_twice(runtime: Scheduler) -> None:
    lock = runtime.lock("mutex")
    with lock, lock:
        pass


def _join_one_that_waits(runtime: Scheduler) -> None:
    runtime.thread(lambda: runtime.event("never").wait(), "helper").join()


@pytest.mark.parametrize(
    ("waits", "said"),
    [
        (_wait_for_condition, "one waits for condition news"),
        (_lock_twice, "one waits for lock mutex (held by one)"),
        (_join_one_that_waits, "one waits for helper to end; helper waits for event never"),
    ],
)
def test_whatever_is_waited_for_is_named(waits: Callable[[Scheduler], object], said: str) -> None:
    class Waiting(Forgotten):
        @staticmethod
        def WAITS(runtime: Scheduler) -> object:
            return waits(runtime)

    assert said in str(found(exhaustive, Waiting))


class Spinning(Scenario):
    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self._spin}

    def _spin(self) -> None:
        while True:
            self.runtime.step("is it there?")


def test_a_livelock_is_cut_off_and_its_end_is_shown() -> None:
    counterexample = found(exhaustive, Spinning)
    assert type(counterexample.error) is Livelock
    assert str(counterexample).count("is it there?") < 200


def test_a_thread_that_fails_ends_the_others_wherever_they_are() -> None:
    left: list[str] = []

    class Failing(Scenario):
        def actors(self) -> dict[str, Callable[[], object]]:
            lock = self.runtime.lock("lock")

            def hold() -> None:
                try:
                    with lock:
                        self.runtime.sleep(60.0)
                finally:
                    left.append("holder")

            def wait() -> None:
                self.runtime.sleep(1.0)
                try:
                    with lock:
                        pass
                finally:
                    left.append("waiter")

            def fail() -> None:
                self.runtime.sleep(30.0)
                raise ZeroDivisionError

            return {"holder": hold, "waiter": wait, "failing": fail}

    counterexample = found(exhaustive, Failing)
    assert isinstance(counterexample.error, ZeroDivisionError)
    assert sorted(left[:2]) == ["holder", "waiter"]


def test_no_thread_is_left_by_any_search() -> None:
    before = set(SYSTEM.threads())
    for scenario in (LostUpdate, Embrace, Spinning):
        for explorer in (exhaustive, random_walk):
            found(explorer, scenario)
    assert set(SYSTEM.threads()) == before


def test_a_mistake_in_using_a_lock_is_one_here_too() -> None:
    class Releases(Forgotten):
        @staticmethod
        def WAITS(runtime: Scheduler) -> None:
            runtime.lock("free").release()

    class Notifies(Forgotten):
        @staticmethod
        def WAITS(runtime: Scheduler) -> None:
            runtime.condition("free").notify_all()

    for scenario in (Releases, Notifies):
        counterexample = found(exhaustive, scenario)
        assert isinstance(counterexample.error, RuntimeError)
        assert "free, which this thread does not hold" in str(counterexample)


def test_a_wait_whose_time_is_up_is_told_nothing_though_it_has_not_got_the_lock_yet() -> None:
    """As in `threading`, where who gives up after a timeout may miss what came just then."""

    class GivesUp(Scenario):
        def __init__(self, runtime: Scheduler) -> None:
            super().__init__(runtime)
            self.changed = runtime.condition("item")
            self.told = True

        def actors(self) -> dict[str, Callable[[], object]]:
            return {"waiter": self._wait, "maker": self._make}

        def _wait(self) -> None:
            with self.changed:
                self.told = self.changed.wait(1.0)

        def _make(self) -> None:
            with self.changed:
                self.runtime.advance(5.0)
                self.changed.notify_all()

        def check(self) -> None:
            assert self.told, "delivered to nobody"

    assert "delivered to nobody" in str(found(exhaustive, GivesUp))


def test_a_thread_started_while_setting_up_runs_with_the_others() -> None:
    class StartsEarly(Scenario):
        def __init__(self, runtime: Scheduler) -> None:
            super().__init__(runtime)
            self.ran: list[str] = []
            self.early = runtime.thread(lambda: self.ran.append(runtime.current_thread), "early")
            assert self.ran == []

        def actors(self) -> dict[str, Callable[[], object]]:
            return {"late": self.early.join}

        def check(self) -> None:
            assert self.ran == ["early"]
            assert not self.early.is_alive()
            with self.runtime.lock("after it"):
                pass

    assert exhaustive(StartsEarly).complete


@pytest.mark.parametrize("where", ["__init__", "check"])
def test_who_waits_for_a_thread_outside_of_the_run_waits_in_vain_and_is_told(where: str) -> None:
    class Waits(Scenario):
        def __init__(self, runtime: Scheduler) -> None:
            super().__init__(runtime)
            if where == "__init__":
                self._start_and_join()

        def actors(self) -> dict[str, Callable[[], object]]:
            return {"one": lambda: None}

        def check(self) -> None:
            if where == "check":
                self._start_and_join()

        def _start_and_join(self) -> None:
            self.runtime.thread(lambda: None, "helper").join()

    assert "main waits for helper to end" in str(found(exhaustive, Waits))


def test_a_thread_that_blocks_outside_the_runtime_is_reported_with_where_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduler, "_PATIENCE_S", 0.2)
    real = SYSTEM.lock("not the scheduler's")
    real.acquire()

    class Blocks(Scenario):
        def actors(self) -> dict[str, Callable[[], object]]:
            return {"one": self._block}

        def _block(self) -> None:
            with real:
                pass

    said = str(found(exhaustive, Blocks))
    real.release()
    assert "Blocked: one is blocked, or busy, outside the runtime" in said
    assert "with real:" in said


def test_who_sleeps_or_yields_lets_the_others_go_first() -> None:
    class Spins(Scenario):
        def __init__(self, runtime: Scheduler) -> None:
            super().__init__(runtime)
            self.done = False

        def actors(self) -> dict[str, Callable[[], object]]:
            return {"spinner": self._spin, "other": self._finish}

        def _spin(self) -> None:
            while not self.done:
                self.runtime.sleep(0)

        def _finish(self) -> None:
            self.done = True

    assert exhaustive(Spins, max_schedules=100).schedules == 100


def test_a_longer_run_can_be_allowed() -> None:
    class Long(Scenario):
        def actors(self) -> dict[str, Callable[[], object]]:
            return {"one": self._step}

        def _step(self) -> None:
            for _ in range(6000):
                self.runtime.step("on")

    class Allowed(Long):
        max_steps = 10_000

    assert isinstance(found(exhaustive, Long).error, Livelock)
    assert exhaustive(Allowed).complete


@EXPLORERS
def test_a_scenario_that_depends_on_chance_is_called_that(explorer: Explorer) -> None:
    runs: list[object] = []

    class Chance(Scenario):
        def __init__(self, runtime: Scheduler) -> None:
            super().__init__(runtime)
            runs.append(self)

        def actors(self) -> dict[str, Callable[[], object]]:
            return {name: lambda: self.runtime.step("step") for name in ("one", "other", "third")}

        def check(self) -> None:
            assert len(runs) != 5, "the fifth run"

    with pytest.raises(AssertionError, match="not deterministic"):
        explorer(Chance)


@pytest.mark.parametrize("raised", [SystemExit(3), pytest.fail.Exception("failed")])
def test_whatever_an_actor_raises_comes_with_its_schedule(raised: BaseException) -> None:
    class Raises(Scenario):
        def actors(self) -> dict[str, Callable[[], object]]:
            return {"one": self._raise}

        def _raise(self) -> None:
            raise raised

    assert found(exhaustive, Raises).error is raised


def test_what_is_wrong_with_closing_hides_nothing() -> None:
    class ClosesBadly(LostUpdate):
        def close(self) -> None:
            if self.count:
                raise OSError("cannot close")

    counterexample = found(exhaustive, ClosesBadly)
    assert "cannot close" in str(counterexample)

    class ClosesWorse(LostUpdate):
        def close(self) -> None:
            if self.count == 1:
                raise OSError("cannot close")

    assert "the count is 1" in str(found(exhaustive, ClosesWorse))


def test_shrinking_does_not_slip_from_one_mistake_to_another() -> None:
    class Two(LostUpdate):
        """A lost update with a fault is one thing, a lost update without is another."""

        def __init__(self, runtime: Scheduler) -> None:
            super().__init__(runtime)
            self.fault = False

        def _add(self) -> None:
            self.fault |= self.runtime.branch("a fault")
            super()._add()

        def check(self) -> None:
            if self.count != 2 and self.fault:
                raise AssertionError("with the fault")
            if self.count != 2:
                raise AssertionError("without")

    walked = [found(random_walk, Two, seed=seed) for seed in range(12)]
    with_fault = [one for one in walked if "with the fault" in str(one.error)]
    assert with_fault
    assert all(any(s.action == "a fault" for s in one.trace) for one in with_fault)


def test_what_is_guided_reaches_every_thread() -> None:
    class SixthFirst(Scenario):
        def __init__(self, runtime: Scheduler) -> None:
            super().__init__(runtime)
            self.first = ""

        def actors(self) -> dict[str, Callable[[], object]]:
            return {f"number {n}": self._come for n in range(6)}

        def _come(self) -> None:
            self.runtime.step("comes")
            self.first = self.first or self.runtime.current_thread

        def check(self) -> None:
            assert self.first != "number 5", "the sixth came first"

    assert "the sixth came first" in str(found(guided, SixthFirst))


def test_an_interrupted_search_ends_and_leaves_no_thread() -> None:
    """However often: the signal may come before the last thread ends, or just after it."""
    before = set(SYSTEM.threads())

    class Slow(Sound):
        def __init__(self, runtime: Scheduler) -> None:
            super().__init__(runtime)
            signal.setitimer(signal.ITIMER_REAL, 0.0003)

    def interrupt(number: int, frame: FrameType | None) -> None:
        # Where the search waits.  Where it starts a thread, that thread may be lost, and no more.
        if frame is not None and frame.f_code.co_name in ("_wait_for_the_end", "_is_under_way"):
            raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(50):
            with pytest.raises(KeyboardInterrupt):
                random_walk(Slow)
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert set(SYSTEM.threads()) == before


def test_a_scheduler_whose_run_failed_says_so() -> None:
    with ThreadPool() as pool:
        runtime = Scheduler(Script({}), pool)

        def fail() -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            runtime.run({"one": fail})
        with pytest.raises(RuntimeError, match="make a new scheduler"):
            runtime.run({"one": fail})


def test_a_run_of_nobody_is_refused() -> None:
    class Nobody(Scenario):
        def actors(self) -> dict[str, Callable[[], object]]:
            return {}

    assert "nobody to run" in str(found(exhaustive, Nobody))


@pytest.mark.parametrize(
    "arguments",
    [("nowhere:X",), ("cidx_ref.testing.own.scenarios:Nope",), (f"{__name__}:LostUpdate", "abc")],
)
def test_what_cannot_be_explored_is_one_line(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        explore.main(arguments)
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_scenarios_are_closed_whatever_came_of_them() -> None:
    closed: list[str] = []

    class Closed(LostUpdate):
        def close(self) -> None:
            closed.append("closed")

    counterexample = found(exhaustive, Closed)
    assert len(closed) >= counterexample.tried


# Faults.


class Unlucky(Scenario):
    """Breaks if two things go wrong, in that order, and nothing else."""

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.went_wrong: list[str] = []

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self._try}

    def _try(self) -> None:
        for what in ("the disk is full", "the power fails", "the cat is hungry"):
            if self.runtime.branch(what):
                self.went_wrong.append(what)
        assert self.went_wrong != ["the disk is full", "the cat is hungry"]


@EXPLORERS
def test_faults_are_explored_as_switches_are(explorer: Explorer) -> None:
    counterexample = found(explorer, Unlucky)
    assert [step.action for step in counterexample.trace] == [
        "the disk is full",
        "the cat is hungry",
    ]


def test_a_fault_costs_as_much_as_a_preemption() -> None:
    assert exhaustive(Unlucky, preemptions=1) == Exploration(4, complete=True)


# What is printed, and seeing it again.


TABLE = """\
LostUpdate: AssertionError: two were added, and the count is 1
  step  thread  does            holds
     1  one     acquire count
     2          released count
     3  other   acquire count
     4          released count
     5          acquire count
     6          released count
     7  one     acquire count
     8          released count
context switches: 2; to see it again:
    python -m cidx_ref.testing.concurrency.explore test_explore:LostUpdate "2:1"
"""


def test_a_failure_is_a_short_table_and_a_line_that_replays_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(LostUpdate, "__module__", "test_explore")
    assert f"{found(exhaustive, LostUpdate)}\n" == TABLE


@EXPLORERS
def test_what_was_found_can_be_replayed(explorer: Explorer) -> None:
    counterexample = found(explorer, LostUpdate)
    line = str(counterexample).splitlines()[-1].split('"')[1]
    again = found(replay, LostUpdate, schedule=line)
    assert again.trace == counterexample.trace
    replay(LostUpdate, "")


@pytest.mark.parametrize("line", ["1", "a:b", "1:2:3"])
def test_a_line_that_is_no_schedule_is_refused_by_name(line: str) -> None:
    with pytest.raises(ValueError, match="a schedule is like '12:1 30:1', not"):
        replay(LostUpdate, line)


@pytest.mark.parametrize(
    ("arguments", "said", "status"),
    [
        ((), "context switches: 2; to see it again:", 1),
        (("2:1",), "two were added, and the count is 1", 1),
        (("",), "not broken", 0),
        (("--preemptions", "0"), "Exploration(schedules=2, complete=True)", 0),
        (("--random", "50"), "two were added, and the count is 1", 1),
    ],
)
def test_from_the_shell(
    arguments: tuple[str, ...], said: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{__name__}:LostUpdate"
    assert explore.main([name, *arguments]) == status
    assert said in capsys.readouterr().out


def test_as_a_program() -> None:
    command, environment = python_command("cidx_ref.testing.concurrency.explore")
    name = "cidx_ref.testing.own.scenarios:QueryAndClear"
    done = subprocess.run(
        [*command, name], env=environment, cwd="/", capture_output=True, text=True, check=True
    )
    assert "complete=True" in done.stdout
    assert done.stderr == ""
    assert sys.executable in command[0]


def test_what_a_program_found_is_seen_again_by_the_name_of_its_file(tmp_path: Path) -> None:
    program = """
from cidx_ref.testing import Scenario, exhaustive

class Fails(Scenario):
    def actors(self):
        return {"one": lambda: None}
    def check(self):
        raise AssertionError("as it should")

exhaustive(Fails)
"""
    (tmp_path / "mine.py").write_text(program)
    done = subprocess.run(
        [sys.executable, tmp_path / "mine.py"], capture_output=True, text=True, check=False
    )
    assert "explore mine:Fails" in done.stderr


# Nothing to explore.


class Aloof(Scenario):
    """Two threads that meet over nothing of the runtime."""

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.count = 0

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self._count, "other": self._count}

    def _count(self) -> None:
        self.count += 1


@pytest.mark.parametrize("explorer", [exhaustive, random_walk, guided, explore.replay])
def test_an_exploration_without_a_switch_point_is_refused(
    explorer: Callable[[type[Scenario]], object],
) -> None:
    with pytest.raises(explore.NothingExplored, match="Aloof: nothing was explored"):
        explorer(Aloof)


@pytest.mark.parametrize("arguments", [(), ("--random", "5"), ("1:1",)])
def test_from_the_shell_that_is_one_line_and_status_2(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert explore.main([f"{__name__}:Aloof", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1


def test_one_point_is_enough_even_if_only_some_schedules_come_to_it() -> None:
    class Late(Aloof):
        def _count(self) -> None:
            super()._count()
            if self.runtime.current_thread == "one" and self.count == 2:
                self.runtime.step("late")

    assert exhaustive(Late).schedules > 1


def test_what_breaks_without_a_switch_point_is_broken_all_the_same() -> None:
    class Breaks(Aloof):
        def check(self) -> None:
            raise AssertionError("as it should")

    with pytest.raises(Counterexample, match="as it should"):
        exhaustive(Breaks)


# Threads that nobody waits for.


class Background(Scenario):
    """A thread that never ends beside one that does."""

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.rounds = 0
        self.unwound = 0
        runtime.spawn(self._forever, "background", lambda: True)

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": lambda: self.runtime.sleep(10.5)}

    def _forever(self) -> None:
        try:
            while True:
                self.runtime.sleep(1.0)
                self.rounds += 1
        finally:
            self.unwound += 1

    def check(self) -> None:
        assert self.rounds == 10
        assert self.unwound == 1
        self.runtime.lock("usable").acquire()


def test_a_run_ends_without_its_daemons_and_unwinds_them() -> None:
    assert exhaustive(Background).complete


def test_a_thread_may_become_one_that_nobody_waits_for() -> None:
    class Retires(Background):
        def __init__(self, runtime: Scheduler) -> None:
            Scenario.__init__(self, runtime)
            self.rounds = 0
            self.unwound = 0
            runtime.spawn(self._forever, "background", lambda: self.rounds >= 10)

        def actors(self) -> dict[str, Callable[[], object]]:
            return {"one": lambda: None}

    assert exhaustive(Retires).complete


def test_daemons_do_not_hide_a_deadlock() -> None:
    class Stuck(Background):
        def actors(self) -> dict[str, Callable[[], object]]:
            return {"one": lambda: self.runtime.event("never").wait()}

        def _forever(self) -> None:
            self.runtime.event("never either").wait()

    with pytest.raises(Counterexample, match="one waits for event never"):
        exhaustive(Stuck)
