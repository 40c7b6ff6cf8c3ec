"""Code that makes its own locks, threads and clocks runs under the scheduler, and does there what
it does anywhere."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import foreign_clockwork
import library_programs
import pytest
from library_programs import PROGRAMS

from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.concurrency.explore import Counterexample, Scenario, Script, exhaustive
from cidx_ref.testing.concurrency.instrument import Uncontrolled, instrument
from cidx_ref.testing.concurrency.library import locks, pools
from cidx_ref.testing.concurrency.scheduler import Scheduler, ThreadPool

#: What it holds is another thing within the block than outside.
subject: Any = foreign_clockwork

#: Schedules of each program that are tried.
SCHEDULES = 60


def scenario(program: Callable[[], Any], expected: Any) -> type[Scenario]:
    class Program(Scenario):
        def __init__(self, runtime: Scheduler) -> None:
            super().__init__(runtime)
            self.instrumented = instrument(runtime, library_programs)
            self.instrumented.__enter__()
            self.outcome: Any = "none"

        def actors(self) -> dict[str, Callable[[], object]]:
            return {"main thread": self._run}

        def _run(self) -> None:
            self.outcome = getattr(library_programs, program.__name__)()

        def check(self) -> None:
            assert self.outcome == expected

        def close(self) -> None:
            self.instrumented.__exit__(None, None, None)

    return Program


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_a_program_does_under_the_scheduler_what_it_does_with_the_real_library(
    program: Callable[[], Any],
) -> None:
    exhaustive(scenario(program, program()), preemptions=1, max_schedules=SCHEDULES)


# What is found, and where.


@pytest.fixture
def runtime() -> Iterator[Scheduler]:
    with ThreadPool() as pool:
        yield Scheduler(Script({}), pool)


def test_every_way_to_a_lock_or_a_clock_is_found(runtime: Scheduler) -> None:
    with instrument(runtime, "foreign_clockwork"):
        for made in (
            *(subject.LOCK, subject.Cache.shared, subject.SLOTTED.lock, subject.DEFAULT.lock),
            *(subject.Cache().lock, subject.Slotted().lock, subject.Record().lock),
        ):
            assert isinstance(made, locks.Lock), made
        assert subject.READY._lock is subject.LOCK
        assert isinstance(subject.LOCKS["a"], locks.RLock)
        assert subject.LOCKS["many"][0]._value == 3
        assert isinstance(subject.POOL, pools.ThreadPoolExecutor)
        assert (subject.JOBS.maxsize, subject.JOBS.get(), subject.FLAG.is_set()) == (2, 7, True)
        assert subject.Jobs().get() == 1
        wall, tick = runtime.now().timestamp(), runtime.time_s
        assert subject.Cache().now() == (wall, tick, tick)
        assert subject.DEFAULT.now() == (wall, tick, tick)
        assert subject.Record().made == tick


def test_everything_is_as_it_was_afterwards(runtime: Scheduler) -> None:
    def state() -> dict[str, Any]:
        return {
            **{f"module {name}": value for name, value in vars(subject).items()},
            **{f"class {name}": value for name, value in vars(subject.Cache).items()},
            "bases": (subject.Worker.__bases__, subject.Jobs.__bases__),
            "defaults": subject.Cache.__init__.__defaults__,
            "keywords": dict(subject.Cache.now.__kwdefaults__),
            "instance": dict(vars(subject.DEFAULT)),
            "slot": subject.SLOTTED.lock,
            "closure": [cell.cell_contents for cell in subject.add.__closure__],
            "factories": [c.cell_contents for c in subject.Record.__init__.__closure__ or ()],
            "containers": (dict(subject.LOCKS), list(subject.LOCKS["many"]), list(subject.seen)),
            "import": builtins.__import__,
        }

    before = state()
    with instrument(runtime, subject):
        assert state() != before
        runtime.run({"one": subject.add})
        subject.Cache.more = 1
        subject.DEFAULT.more = 2
        subject.seen.append("new")
        subject.new = 3
        assert (subject.count, subject.seen) == (1, [0, "new"])
    assert state() == before
    assert subject.JOBS.qsize() == 1


def test_what_the_block_raises_changes_nothing_of_that(runtime: Scheduler) -> None:
    with pytest.raises(ZeroDivisionError), instrument(runtime, subject):
        raise ZeroDivisionError
    assert isinstance(subject.LOCK, type(real_lock()))
    with instrument(runtime, subject):  # again
        pass


def real_lock() -> object:
    return vars(subject)["threading"].Lock()


def test_threads_timers_and_pauses_take_virtual_time(runtime: Scheduler) -> None:
    seen: list[float] = []
    with instrument(runtime, subject):
        workers = [subject.Worker(), subject.Worker()]

        def actor() -> None:
            for worker in workers:
                worker.start()
            subject.later(2.5, lambda: seen.append(runtime.time_s))
            for worker in workers:
                worker.join()
            seen.append(runtime.time_s)

        runtime.run({"one": actor})
        assert seen == [1002.5, 1005.0]
        assert subject.seen == [0, 1]


def test_dates_are_the_runtimes_and_of_the_librarys_class(runtime: Scheduler) -> None:
    with instrument(runtime, subject):
        runtime.advance(1.5)
        wall = runtime.now()
        now, again, day, utc, today = subject.dates()
        assert now == again == today == wall
        assert day == wall.date()
        assert abs(utc - wall) <= timedelta(hours=14)
        assert type(now) is type(subject.BIRTH)
        assert subject.is_date(now)
        assert subject.is_date(subject.BIRTH)
        assert not subject.is_date(3)
        assert subject.datetime(2020, 1, 2) < subject.BIRTH
        assert subject.datetime.fromisoformat("2020-01-02T03:04:05") == subject.BIRTH


def test_a_clock_that_stands_still_is_enough_for_the_time_alone() -> None:
    runtime = FakeRuntime()
    with instrument(runtime, subject):
        runtime.advance(5)
        assert subject.Cache().now()[1:] == (1005.0, 1005.0)
        subject.nap(2)
        assert runtime.monotonic() == 1007.0
        assert isinstance(subject.LOCK, type(real_lock()))


def test_a_run_may_start_threads_in_the_background_and_is_not_kept_by_them(
    runtime: Scheduler,
) -> None:
    with instrument(runtime, subject):

        def forever() -> None:
            while True:
                subject.nap(1)

        def actor() -> None:
            subject.t.Thread(target=forever, daemon=True).start()
            subject.POOL.submit(subject.add)
            subject.nap(0.5)

        runtime.run({"one": actor})
        assert subject.count == 1, "what was submitted is done, though nobody waits for it"


def test_a_thread_that_fails_ends_alone_and_is_reported(runtime: Scheduler) -> None:
    seen: list[str] = []

    def fail() -> None:
        raise ZeroDivisionError("in a thread")

    def actor() -> None:
        thread = subject.t.Thread(target=fail)
        thread.start()
        thread.join()
        seen.append("goes on")

    with instrument(runtime, subject), pytest.raises(ZeroDivisionError, match="in a thread"):
        runtime.run({"one": actor})
    assert seen == ["goes on"]


def test_a_hook_for_failing_threads_is_told_instead(runtime: Scheduler) -> None:
    seen: list[Any] = []

    def fail() -> None:
        raise ZeroDivisionError("in a thread")

    with instrument(runtime, subject):
        subject.t.excepthook = lambda told: seen.append((told.exc_type, told.thread.name))
        runtime.run({"one": lambda: subject.t.Thread(target=fail, name="it").start()})
        with pytest.raises(AttributeError):
            subject.t.Lock = None
    assert seen == [(ZeroDivisionError, "it")]


# What cannot be held still.


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import multiprocessing", r"mine\.multiprocessing: multiprocessing runs code in other"),
        ("import subprocess as s", r"mine\.s: subprocess waits for another process, .*: give"),
        ("from subprocess import run", r"mine\.run: subprocess"),
        ("import socket", r"mine\.socket: socket waits in the kernel.*allow='socket'"),
        ("import select", "mine.select: select waits"),
        ("import asyncio", "mine.asyncio: asyncio runs tasks .*AsyncScenario"),
        ("import signal", "mine.signal: signal comes between"),
        ("import _thread", "mine._thread: _thread makes locks"),
        ("from concurrent.futures import ProcessPoolExecutor", "ProcessPoolExecutor: concurrent"),
        ("import threading\nLOCK = threading.Lock()\nLOCK.acquire()", "mine.LOCK: .* it is held"),
        ("import threading\nL = (threading.Lock(),)", "mine.L: a lock .* out of reach: keep it"),
        ("import threading\nT = threading.Thread()", "mine.T: a Thread .* made before"),
        (
            "import foreign_clockwork as other\nCACHE = other.DEFAULT",
            r"mine\.CACHE: a lock .* out of reach: instrument foreign_clockwork, too",
        ),
        (
            "import threading\nclass E(threading.Event): pass\nEVENT = E()",
            "mine.EVENT: a E that was made before, and it is of a class of its own",
        ),
    ],
)
def test_what_cannot_be_controlled_is_named_at_once_with_the_remedy(
    text: str, words: str, runtime: Scheduler
) -> None:
    mine = module("mine", text)
    with pytest.raises(Uncontrolled, match=words) as refused, instrument(runtime, mine):
        pass
    assert len(str(refused.value).splitlines()) == 1
    assert builtins.__import__ is real_import


real_import = builtins.__import__


def module(name: str, text: str) -> ModuleType:
    made = ModuleType(name)
    exec(text, made.__dict__)
    return made


def test_all_of_it_is_named_and_what_is_harmless_may_be_allowed(runtime: Scheduler) -> None:
    mine = module("mine", "import socket, signal\nimport threading\nL = {threading.Lock()}")
    with pytest.raises(Uncontrolled) as refused, instrument(runtime, mine):
        pass
    assert len(str(refused.value).splitlines()) == 3
    with instrument(runtime, mine, allow=("socket", "mine.signal", "mine.L")):
        assert mine.socket is __import__("socket")


def test_names_that_do_nothing_are_no_reason_to_refuse(runtime: Scheduler) -> None:
    mine = module(
        "mine",
        "from signal import SIGTERM\nfrom socket import AF_UNIX, timeout\nimport logging, os\n"
        "from subprocess import TimeoutExpired\nLOG = logging.getLogger('x')",
    )
    with instrument(runtime, mine):
        pass


def test_an_import_within_a_function_is_refused_when_it_is_reached(runtime: Scheduler) -> None:
    mine = module("mine", "def f():\n    import socket\n    return socket")
    with instrument(runtime, mine), pytest.raises(Uncontrolled, match="mine: import socket"):
        mine.f()
    with instrument(runtime, mine, allow=["socket"]):
        assert mine.f() is __import__("socket")


def test_only_one_runtime_is_in_force(runtime: Scheduler) -> None:
    with instrument(runtime, subject), pytest.raises(RuntimeError, match="one at a time"):
        instrument(FakeRuntime(), subject).__enter__()


def test_what_was_made_within_the_block_ends_with_it(runtime: Scheduler) -> None:
    with instrument(runtime, subject):
        make = subject.Lock
    with pytest.raises(RuntimeError, match="outside `instrument`"):
        make()


# And it finds races.


class Once(Scenario):
    """Two threads of a module that looks before it acts."""

    text = """
import threading
lock = threading.Lock()
value = None
loads = 0
def get():
    global value, loads
    with lock:
        missing = value is None
    if missing:
        loads += 1
        value = loads
    return value
"""
    mine = module("mine", text)

    def __init__(self, runtime: Scheduler) -> None:
        super().__init__(runtime)
        self.instrumented = instrument(runtime, self.mine)
        self.instrumented.__enter__()

    def actors(self) -> dict[str, Callable[[], object]]:
        return {"one": self.mine.get, "other": self.mine.get}

    def check(self) -> None:
        assert self.mine.loads == 1, f"loads: {self.mine.loads}"

    def close(self) -> None:
        self.instrumented.__exit__(None, None, None)


def test_a_race_in_code_with_locks_of_its_own_is_found_and_named_by_its_lock() -> None:
    with pytest.raises(Counterexample, match="loads: 2") as found:
        exhaustive(Once)
    assert "released Lock lock" in found.value.table
    assert found.value.tried < 50


def test_a_lock_on_a_file_is_waited_for_or_not_as_the_code_asks(
    runtime: Scheduler, tmp_path: Path
) -> None:
    mine = module("mine", "import fcntl")
    seen: list[str] = []
    with (
        (tmp_path / "file").open("w") as first,
        (tmp_path / "file").open("w") as second,
        instrument(runtime, mine),
    ):
        flock, exclusive = mine.fcntl.flock, mine.fcntl.LOCK_EX

        def holder() -> None:
            flock(first, exclusive)
            runtime.sleep(5)
            seen.append("unlocks")
            flock(first, mine.fcntl.LOCK_UN)

        def other() -> None:
            runtime.sleep(1)
            with pytest.raises(BlockingIOError):
                flock(second.fileno(), exclusive | mine.fcntl.LOCK_NB)
            flock(second, exclusive)
            seen.append("locks")

        runtime.run({"holder": holder, "other": other})
        assert seen == ["unlocks", "locks"]
        with pytest.raises(Uncontrolled, match="lockf: such a lock is the process's"):
            mine.fcntl.lockf(first, exclusive)
