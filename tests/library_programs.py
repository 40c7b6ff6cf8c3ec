"""Small programs over the blocking parts of the standard library, whose outcome is the same in
every schedule.  They are run with the real library, and under the scheduler: see
`test_instrument`.

Times are short, because the real library takes them.
"""

# Lists of whatever was seen.
# mypy: disable-error-code="list-item, arg-type, func-returns-value, var-annotated"

from __future__ import annotations

import queue
import threading
import threading as t
import time
from collections.abc import Callable, Iterable
from concurrent.futures import (
    CancelledError,
    Future,
    ThreadPoolExecutor,
    as_completed,
    wait,
)
from concurrent.futures import TimeoutError as FuturesTimeout
from queue import Empty, Full
from threading import Barrier, BrokenBarrierError, Condition, Event, Lock, RLock
from typing import Any

SHORT_S = 0.01


def raised(call: Callable[[], object]) -> str:
    """What it raises, in words; "" if it does not."""
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def run(*targets: Callable[[], object]) -> None:
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def lock_excludes_and_may_be_released_by_another() -> Any:
    lock = Lock()
    seen = [lock.acquire(), lock.acquire(False), lock.acquire(timeout=SHORT_S), lock.locked()]
    run(lock.release)
    seen += [lock.locked(), raised(lock.release)]
    with lock as entered:
        seen.append(entered)
    return seen


def lock_refuses_arguments_that_make_no_sense() -> Any:
    lock = t.Lock()
    return (
        raised(lambda: lock.acquire(False, 1)),
        raised(lambda: lock.acquire(True, -2)),
        lock.locked(),
    )


def increments_under_a_lock_are_all_counted() -> Any:
    lock, count = t.Lock(), [0]

    def add() -> None:
        for _ in range(2):
            with lock:
                before = count[0]
                time.sleep(0)
                count[0] = before + 1

    run(add, add)
    return count


def rlock_counts_its_owner() -> Any:
    lock, seen = RLock(), []
    with lock, lock:
        run(lambda: seen.append(lock.acquire(False)))
        run(lambda: seen.append(raised(lock.release)))
    run(lambda: seen.append((lock.acquire(False), lock.release())))
    seen.append(raised(lock.release))
    return seen


def condition_wakes_as_many_as_it_is_told() -> Any:
    condition, ready, woken = Condition(), threading.Semaphore(0), []

    def wait_for_it() -> None:
        with condition:
            ready.release()
            condition.wait()
            woken.append(1)

    threads = [threading.Thread(target=wait_for_it) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in threads:
        ready.acquire()
    with condition:
        condition.notify(2)
    while len(woken) < 2:
        time.sleep(SHORT_S)
    seen = [len(woken)]
    with condition:
        condition.notify_all()
    for thread in threads:
        thread.join()
    return [*seen, len(woken)]


def condition_gives_a_recursive_lock_up_as_a_whole() -> Any:
    condition, seen = Condition(RLock()), []

    def tell() -> None:
        with condition:
            seen.append("told")
            condition.notify()

    with condition, condition:
        thread = threading.Thread(target=tell)
        thread.start()
        seen.append(condition.wait())
        run(lambda: seen.append(condition.acquire(False)))
    thread.join()
    return seen


def condition_times_out_and_refuses_who_does_not_hold_it() -> Any:
    condition = Condition(Lock())
    with condition:
        seen = [condition.wait(SHORT_S), condition.wait_for(lambda: 0, SHORT_S)]
        seen.append(condition.wait_for(lambda: "yes"))
    return [*seen, raised(condition.wait), raised(condition.notify), raised(condition.notify_all)]


def condition_takes_any_lock() -> Any:
    class Plain:
        def __init__(self) -> None:
            self.lock = Lock()
            self.acquire, self.release = self.lock.acquire, self.lock.release

        def __enter__(self) -> Any:
            return self.acquire()

        def __exit__(self, *error: object) -> None:
            self.release()

    condition: Any = Condition(Plain())
    seen = []

    def tell() -> None:
        with condition:
            condition.notify()

    with condition:
        thread = threading.Thread(target=tell)
        thread.start()
        seen.append(condition.wait())
    thread.join()
    return [*seen, raised(condition.notify)]


def event_is_seen_by_all_who_wait() -> Any:
    event, seen = Event(), []
    seen.append((event.wait(SHORT_S), event.is_set()))
    waiting = [threading.Thread(target=lambda: seen.append(event.wait())) for _ in range(2)]
    for thread in waiting:
        thread.start()
    event.set()
    for thread in waiting:
        thread.join()
    event.clear()
    return [*seen, event.is_set()]


def semaphores_count() -> Any:
    plain, bounded = threading.Semaphore(2), threading.BoundedSemaphore(1)
    seen: list[Any] = [plain.acquire(), plain.acquire(), plain.acquire(blocking=False)]
    seen.append(plain.acquire(timeout=SHORT_S))
    plain.release(2)
    with plain as entered:
        seen.append(entered)
    seen.append(raised(bounded.release))
    seen.append(raised(lambda: threading.Semaphore(-1)))
    seen.append(raised(lambda: plain.release(0)))
    seen.append(raised(lambda: plain.acquire(False, 1)))
    return seen


def barrier_lets_all_go_and_one_act() -> Any:
    acted: list[int] = []
    indexes: list[int] = []
    barrier = Barrier(3, lambda: acted.append(1))
    run(*[lambda: indexes.append(barrier.wait())] * 3)
    run(*[lambda: indexes.append(barrier.wait())] * 3)
    return sorted(indexes), acted, barrier.n_waiting, barrier.broken


def barrier_breaks_by_time_abort_and_action() -> Any:
    barrier = Barrier(2)
    seen = [raised(lambda: barrier.wait(SHORT_S)), barrier.broken, raised(barrier.wait)]
    barrier.reset()
    seen.append(barrier.broken)
    waiting = threading.Thread(target=lambda: seen.append(raised(barrier.wait)))
    waiting.start()
    while not barrier.n_waiting:
        time.sleep(SHORT_S)
    barrier.abort()
    waiting.join()
    failing = Barrier(1, lambda: 1 // 0)
    seen += [raised(failing.wait), failing.broken, issubclass(BrokenBarrierError, RuntimeError)]
    return seen


def barrier_reset_breaks_those_who_wait() -> Any:
    barrier, seen = Barrier(2), []
    waiting = threading.Thread(target=lambda: seen.append(raised(barrier.wait)))
    waiting.start()
    while not barrier.n_waiting:
        time.sleep(SHORT_S)
    barrier.reset()
    waiting.join()
    return seen, barrier.broken


def thread_is_started_once_and_joined() -> Any:
    thread = threading.Thread(target=lambda: None)
    seen = [raised(thread.join), thread.is_alive(), thread.ident]
    thread.start()
    seen += [raised(thread.start), thread.ident is not None]
    thread.join()
    seen += [thread.is_alive(), raised(threading.current_thread().join)]
    return seen


class Counting(threading.Thread):
    def __init__(self, upto: int) -> None:
        super().__init__(name="counting", daemon=True)
        self.upto = upto
        self.sum = 0

    def run(self) -> None:
        for number in range(self.upto):
            self.sum += number
        self.seen = (threading.current_thread() is self, threading.current_thread().name)


def thread_may_be_subclassed() -> Any:
    thread = Counting(5)
    thread.start()
    thread.join(1)
    child = []

    class Parent(Counting):
        def run(self) -> None:
            child.append(threading.Thread().daemon)

    parent = Parent(1)
    parent.start()
    parent.join()
    return thread.sum, thread.seen, thread.daemon, thread.name, isinstance(thread, t.Thread), child


def join_gives_up_after_its_time() -> Any:
    event = Event()
    thread = threading.Thread(target=event.wait)
    thread.start()
    thread.join(SHORT_S)
    alive = thread.is_alive()
    event.set()
    thread.join()
    return alive, thread.is_alive()


def timer_calls_unless_it_is_cancelled() -> Any:
    seen: list[str] = []
    early = threading.Timer(SHORT_S, seen.append, ["early"])
    late = threading.Timer(100, seen.append, args=["late"])
    early.start()
    late.start()
    early.join()
    late.cancel()
    late.join()
    return seen


def threads_have_identities_and_attributes_of_their_own() -> Any:
    class Mine(threading.local):
        def __init__(self, start: int) -> None:
            self.value = start

    plain, seen, idents = threading.local(), [], [threading.get_ident()]
    plain.x = "here"

    def look() -> None:
        seen.append(hasattr(plain, "x"))
        plain.x = "there"
        seen.append(plain.__dict__)
        idents.append(threading.get_ident())

    run(look)
    mine = Mine(3)
    run(lambda: seen.append((mine.value, setattr(mine, "value", 4), mine.value)))
    missing = raised(lambda: plain.y).split(":")[0]
    return seen, plain.x, mine.value, len(set(idents)), missing


def queue_keeps_order_and_bounds() -> Any:
    bounded: queue.Queue[int] = queue.Queue(1)
    seen: list[Any] = [bounded.empty(), bounded.full()]
    bounded.put(1)
    seen += [bounded.full(), bounded.qsize(), raised(lambda: bounded.put(2, timeout=SHORT_S))]
    seen += [raised(lambda: bounded.put_nowait(2)), raised(lambda: bounded.put(2, timeout=-1))]
    producer = threading.Thread(target=lambda: [bounded.put(n) for n in (2, 3)])
    producer.start()
    seen += [bounded.get() for _ in range(3)]
    producer.join()
    seen += [raised(bounded.get_nowait), raised(lambda: bounded.get(timeout=SHORT_S))]
    seen += [raised(lambda: bounded.get(timeout=-1)), issubclass(Empty, Exception), Full.__name__]
    return seen


def queue_is_joined_when_all_is_done() -> Any:
    work: queue.Queue[int | None] = queue.Queue()
    done: list[int] = []

    def worker() -> None:
        while (item := work.get()) is not None:
            done.append(item)
            work.task_done()

    thread = threading.Thread(target=worker)
    thread.start()
    for number in range(3):
        work.put(number)
    work.join()
    seen = list(done)
    work.put(None)
    thread.join()
    work.task_done()
    return seen, raised(work.task_done)


def other_queues_have_an_order_of_their_own() -> Any:
    stack: queue.LifoQueue[int] = queue.LifoQueue()
    heap: queue.PriorityQueue[int] = queue.PriorityQueue()
    simple: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (2, 3, 1):
        stack.put(number)
        heap.put(number)
        simple.put(number)
    seen = [[made.get() for _ in range(3)] for made in (stack, heap, simple)]
    return seen, raised(simple.get_nowait), raised(lambda: simple.get(timeout=SHORT_S))


def queue_may_be_cleared_under_its_mutex() -> Any:
    made: queue.Queue[int] = queue.Queue()
    made.put(1)
    with made.mutex:
        made.queue.clear()
    return made.qsize(), isinstance(made, queue.Queue)


def _fail() -> None:
    raise ValueError("as it should")


def pool_returns_results_and_errors() -> Any:
    with ThreadPoolExecutor(2) as pool:
        good, bad = pool.submit(pow, 2, 10), pool.submit(_fail)
        seen = [good.result(), raised(bad.result), repr(bad.exception())]
        seen.append(list(pool.map(lambda a, b: a * b, [1, 2, 3], [4, 5, 6])))
        called: list[Any] = []
        good.add_done_callback(lambda future: called.append(future.result()))
        seen += [called, good.done(), good.cancel(), good.running()]
    seen.append(raised(lambda: pool.submit(pow, 1, 1)))
    seen.append(raised(lambda: ThreadPoolExecutor(0)))
    return seen


def futures_time_out_and_can_be_cancelled() -> Any:
    gate = Event()
    seen: list[Any] = []
    with ThreadPoolExecutor(max_workers=1) as pool:
        first, second = pool.submit(gate.wait), pool.submit(pow, 2, 3)
        seen.append(raised(lambda: second.result(timeout=SHORT_S)).split(":")[0])
        seen += [second.cancel(), second.cancelled()]
        gate.set()
        seen += [first.result(), raised(second.result).split(":")[0]]
    return [*seen, FuturesTimeout is TimeoutError, CancelledError.__name__]


def futures_are_waited_for() -> Any:
    gate = Event()
    with ThreadPoolExecutor() as pool:
        slow, quick = pool.submit(gate.wait), pool.submit(pow, 2, 3)
        done, rest = wait([slow, quick], return_when="FIRST_COMPLETED")
        seen: list[Any] = [len(done) + len(rest), quick in done]
        seen.append(len(wait([slow], timeout=SHORT_S).not_done))
        gate.set()
        seen.append(sorted(str(future.result()) for future in as_completed([slow, quick])))
        seen.append(len(wait([slow, quick]).done))
    return seen


def future_may_be_made_by_hand() -> Any:
    future: Future[int] = Future()
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(future.result()))
    thread.start()
    future.set_result(3)
    thread.join()
    return seen, raised(lambda: future.set_result(4)).split(":")[0]


def pool_tells_of_a_setup_that_fails() -> Any:
    pool = ThreadPoolExecutor(1, initializer=_fail)
    future = pool.submit(pow, 2, 3)
    seen = [raised(future.result).split(":")[0]]
    pool.shutdown()
    return seen


def pool_can_drop_what_it_has_not_begun() -> Any:
    gate = Event()
    pool = ThreadPoolExecutor(1)
    first, second = pool.submit(gate.wait), pool.submit(pow, 2, 3)
    while not first.running():
        time.sleep(SHORT_S)
    pool.shutdown(wait=False, cancel_futures=True)
    gate.set()
    return first.result(), second.cancelled()


def imports_within_functions_count_too() -> Any:
    import concurrent.futures
    import queue as q
    from threading import Lock as Mutex

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: Mutex().acquire()).result(), q.Queue().empty()


class Sums(threading.Thread):
    """A thread that ends with an error, and another one that does not care."""

    def run(self) -> None:
        raise SystemExit


def system_exit_ends_a_thread_quietly() -> Any:
    thread = Sums()
    thread.start()
    thread.join()
    return thread.is_alive()


def names(values: Iterable[Any]) -> list[str]:
    return [type(value).__name__ for value in values]


#: Each of them.
PROGRAMS: list[Callable[[], Any]] = [
    value
    for name, value in list(globals().items())
    if callable(value)
    and getattr(value, "__module__", "") == __name__
    and not isinstance(value, type)
    and not name.startswith("_")
    and name not in ("raised", "run", "names")
]
