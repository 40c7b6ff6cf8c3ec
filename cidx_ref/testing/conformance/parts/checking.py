"""TTL-4: a cache whose own thread makes the check, again and again."""

from __future__ import annotations

from contextlib import suppress

from cidx_ref.testing.concurrency.instrument import modules_of
from cidx_ref.testing.concurrency.scheduler import Scheduler
from cidx_ref.testing.conformance.parts.asking import TTL_S, Asked, MakeCache
from cidx_ref.testing.conformance.parts.judging import (
    Broken,
    Tally,
    Trial,
    alone,
    in_words,
    replay_line,
)

__all__ = ["checking_trial"]

_PROMISE = "TTL-4"
NAME = "checks"
#: Virtual seconds in which a thread that was told to stop must have.
_AT_ONCE_S = 0.5
#: Seconds beyond an interval: the thread sleeps a little longer, perhaps.
_GRACE_S = 1.0


def checking_trial(make_cache: MakeCache) -> Trial:
    def run(tally: Tally) -> None:
        for number, part in enumerate((_checks, _survives, _stops)):
            try:
                _alone(make_cache, part)
            except Exception as error:
                line = replay_line("cache", make_cache, NAME, str(number))
                tally.broken(_PROMISE, in_words(error), "", line, "rounds", number + 1)
                return
        tally.count({_PROMISE}, 3, "rounds")

    return Trial(NAME, frozenset({_PROMISE}), run)


def _alone(make_cache: MakeCache, part: object) -> None:
    assert callable(part)
    with alone(max_steps=200_000) as runtime, modules_of(make_cache, runtime):
        asked = Asked(make_cache, runtime)
        runtime.run({"client": lambda: part(asked, runtime)})


def _wait_for_a_check(asked: Asked, runtime: Scheduler) -> None:
    runtime.sleep(TTL_S + float(asked.cache.check_every_s) + _GRACE_S)


def _checks(asked: Asked, runtime: Scheduler) -> None:
    asked.cache.start()
    for _ in range(2):
        load = asked.query()
        _wait_for_a_check(asked, runtime)
        if not load.is_gone():
            every = f"{asked.cache.check_every_s:g} s"
            raise Broken(_PROMISE, f"{load} outlives the TTL by more than {every}")
    asked.cache.stop()


def _survives(asked: Asked, runtime: Scheduler) -> None:
    """The first value raises when it is closed, as an index on a full disk might."""
    make = asked.source.make

    def failing(load: object) -> object:
        value = make(load)  # type: ignore[arg-type]
        if value.number == 1:
            value.failure = OSError("cannot be closed")
        return value

    asked.source.make = failing  # type: ignore[assignment, method-assign]
    asked.query()
    asked.cache.start()
    _wait_for_a_check(asked, runtime)
    load = asked.query()
    _wait_for_a_check(asked, runtime)
    if not load.is_gone():
        raise Broken(_PROMISE, "no check after one in which closing a value has failed")
    asked.cache.stop()


def _stops(asked: Asked, runtime: Scheduler) -> None:
    asked.cache.start()
    runtime.sleep(_AT_ONCE_S)
    began = runtime.time_s
    asked.cache.stop()
    threads = [thread for thread in runtime.threads() if thread is not runtime.current]
    for thread in threads:
        with suppress(RuntimeError):
            thread.join(_AT_ONCE_S)
    if runtime.time_s - began >= _AT_ONCE_S or any(not thread.is_done for thread in threads):
        raise Broken(_PROMISE, "told to stop, the thread that checks sleeps on")
