"""What may happen to a daemon from outside, in any order: the steps, each by what a target offers.

`life` has what they are made of, and what is looked at after each of them.  `lives` draws the
steps, and makes a sequence short that shows a broken promise.
"""

from __future__ import annotations

import functools
import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from cidx_ref.testing.conformance import life, starts
from cidx_ref.testing.conformance.asking import Gone, Refused
from cidx_ref.testing.conformance.life import CONFIGURATIONS, Life
from cidx_ref.testing.conformance.life_model import Violation
from cidx_ref.testing.conformance.processes import end_of, is_running
from cidx_ref.testing.conformance.starts import SERVING, TAKEN, looks, told
from cidx_ref.testing.conformance.target import Cap, Faults, Target
from cidx_ref.testing.ground import SYSTEM

__all__ = ["RULES", "Lifecycle", "Rule"]

#: How long it is waited for that what was saved is found; on a machine that is busy, too.
VISIBLE_S = 30.0
_MAX_CONNECTIONS = 3

F = TypeVar("F", bound=Callable[..., None])


@dataclass(frozen=True)
class Rule:
    """One kind of step."""

    name: str
    promises: tuple[str, ...]
    needs: frozenset[Cap]
    #: Of the target's faults, the points that its argument `point` is one of.
    points: tuple[str, ...]
    #: Of its other arguments, by name, what each may be.
    arguments: dict[str, Sequence[object]]
    has: Callable[[Target], bool]

    def is_for(self, target: Target) -> bool:
        return (
            target.offers(*self.needs)
            and self.has(target)
            and (not self.points or bool(self.pointstold(target)))
        )

    def pointstold(self, target: Target) -> list[str]:
        faults = target.faults or Faults()
        return [point for name in self.points for point in getattr(faults, name)]

    def choices(self, target: Target) -> dict[str, Sequence[object]]:
        """Of each of its arguments, what it may be for that target."""
        points = {"point": self.pointstold(target)} if self.points else {}
        names = [n for n, (_, needs) in CONFIGURATIONS.items() if target.offers(*needs)]
        given = {k: names if k == "name" else v for k, v in self.arguments.items()}
        return {**points, **given}


#: All of them, by name.
RULES: dict[str, Rule] = {}


def _step(
    *promises: str,
    needs: Sequence[Cap] = (),
    points: Sequence[str] = (),
    has: Callable[[Target], object] = lambda target: True,
    **arguments: Sequence[object],
) -> Callable[[F], F]:
    """Make a method a step: it is counted and noted, and all is looked at after it."""

    def make(method: F) -> F:
        name = method.__name__
        RULES[name] = Rule(
            name, promises, frozenset(needs), tuple(points), arguments, lambda t: bool(has(t))
        )

        @functools.wraps(method)
        def step(self: Lifecycle, **given: object) -> None:
            self.tally[name] += 1
            said = ", ".join(f"{key}={value!r}" for key, value in given.items())
            self.steps.append(f"{name}({said})")
            method(self, **given)
            self.check()

        return step  # type: ignore[return-value]

    return make


def _offers_writing(target: Target) -> bool:
    return target.offers(Cap.INDEX) or target.offers(Cap.WRITER) or target.offers(Cap.WATCH)


class Lifecycle(Life):
    """One life.  Steps may be taken in any order; `teardown` ends it."""

    # Starting.

    @_step("SRV-2", "SRV-3", has=lambda target: target.launcher)
    def start(self) -> None:
        """In the background."""
        starter = self._launch(self.target.launcher)
        status = life.status_of(starter)
        if status != 0:
            raise Violation(self._about_start(), f"{told(starter)} ends with status {status}")
        if self.model.owner and not self._owner_is_running():
            self._owner_has_left()
        if not self.model.owner:
            owner = starts.answering(self.project)
            if not owner and not self.model.idles:
                raise Violation(
                    self._about_start(),
                    f"a start ends with status 0 and says {starter.tail()!r}; nobody is reached",
                )
            self._starts(None, owner)

    @_step("SRV-2", "SRV-3")
    def serve(self) -> None:
        if self.model.owner and not self.target.offers(Cap.TAKEN):
            return
        self._serve()

    @_step("SRV-2", needs=[Cap.TAKEN], starters=[2, 3])
    def start_several_at_once(self, starters: int) -> None:
        was_there, idled = self.model.owner, self.model.idles
        started = [self._launch() for _ in range(starters)]
        said = {each: self._became(each) for each in started}
        states = Counter(said.values())
        if not idled:  # else each may have left before the next one came
            wanted = 0 if was_there else 1
            if states[SERVING] != wanted or states[TAKEN] != starters - wanted:
                raise Violation(
                    "SRV-2",
                    f"of {starters} starters at once {dict(states)!r}, "
                    f"where {wanted} should serve ({'; '.join(map(told, started))})",
                )
        self._settle(started)
        for each in started:
            if said[each] == TAKEN:
                self._ends_as_taken(each)

    @_step(
        *("SRV-2", "SRV-3"),
        needs=[Cap.KILL],
        points=["start", "sweep"],
        has=lambda target: target.faults and target.faults.crash,
        rival=[False, True],
    )
    def kill_during_start(self, point: str, rival: bool) -> None:
        self._make_room()
        crashing = self._launch(self._faults.crash, point)
        rival = rival and self.target.offers(Cap.TAKEN)
        other = self._launch() if rival else None
        state = self._became(crashing)
        if state == SERVING:  # there was nothing to sweep
            if point not in self._faults.sweep:
                raise RuntimeError(f"a fault of the target's: it passed {point!r}, and lives")
            crashing.send(signal.SIGKILL)
        if state != TAKEN:
            status = life.status_of(crashing)
            if status != -signal.SIGKILL:
                raise RuntimeError(
                    f"a fault of the target's: {point!r}: {told(crashing)}: {status}"
                )
            self.model.ended(killed=True, indexes=False)
        if other is not None:
            # It may have been told that there is one by the one that was killed then.
            self._became(other)
            self._settle([other])
        if state == TAKEN:
            self._ends_as_taken(crashing)

    @_step(
        "SRV-4",
        needs=[Cap.STOP],
        points=["start"],
        has=lambda target: target.faults and target.faults.terminate,
    )
    def terminate_during_start(self, point: str) -> None:
        self._make_room()
        process = self._launch(self._faults.terminate, point)
        state = self._became(process)
        if state == SERVING:
            raise Violation("SRV-4", "it serves, after a SIGTERM while it started")
        self._ends_well(process, "a SIGTERM while it started")
        self.model.ended()

    # Ending.

    @_step("SRV-3", needs=[Cap.KILL])
    def kill(self) -> None:
        self._need_owner()
        self._kill_owner()

    @_step("SRV-4", needs=[Cap.STOP], has=lambda target: target.methods.stop)
    def stop(self) -> None:
        self._need_owner()
        with self._may_be_gone():
            self._ask_stop()
            self._end_owner("a stop")

    @_step("SRV-4", needs=[Cap.STOP])
    def terminate(self) -> None:
        self._need_owner()
        self._terminate()

    @_step(
        "SRV-3",
        needs=[Cap.KILL, Cap.STOP],
        points=["stop"],
        has=lambda target: target.faults and target.faults.crash,
        politely=[False, True],
    )
    def kill_during_stop(self, point: str, politely: bool) -> None:
        self._make_room()
        process = self._launch(self._faults.crash, point)
        self._must_serve(process)
        if politely and self.target.methods.stop:
            with suppress(Gone):  # idle already, and at the point
                self._ask_stop()
        else:
            process.send(signal.SIGTERM)
        if (status := life.status_of(process)) != -signal.SIGKILL:
            raise RuntimeError(f"a fault of the target's: {point!r}: {told(process)}: {status}")
        self._forget_owner(killed=True)

    @_step(
        "SRV-4",
        needs=[Cap.STOP],
        points=["stop"],
        has=lambda target: target.faults and target.faults.terminate,
    )
    def terminate_during_stop(self, point: str) -> None:
        """Twice, that is."""
        self._make_room()
        self._must_serve(self._launch(self._faults.terminate, point))
        self._terminate()

    @_step(
        *("SRV-2", "SRV-4"),
        needs=[Cap.STOP, Cap.TAKEN],
        has=lambda target: target.methods.stop,
    )
    def restart(self) -> None:
        """Without waiting for the end of the one before."""
        self._need_owner()
        old = self.model.owner
        with self._may_be_gone():
            self._ask_stop()
        next_one = self._launch()
        state = self._became(next_one)
        if self.model.owner == old:
            self._end_owner("a stop")
        if state == SERVING:
            self._starts(next_one, self._pid_of(next_one))
        else:  # it found the one before still answering
            self._ends_as_taken(next_one)

    @_step("TTL-5", needs=[Cap.IDLE])
    def leave_alone(self) -> None:
        """A daemon that is idle ends by itself, where it is configured to."""
        self._configure("idles")
        self._need_owner()
        self._end_owner("", about="TTL-5")
        self._configure("keeps")

    @_step("TTL-5", name=())
    def configure(self, name: str) -> None:
        self._configure(name)

    # Asking.

    @_step("SRV-4")
    def connect(self) -> None:
        """And stay connected, whatever becomes of the daemon."""
        self._need_owner()
        with self._may_be_gone():
            self.connections.append(self._connect())
        while len(self.connections) > _MAX_CONNECTIONS:
            self.connections.pop(0).close()

    @_step("SRV-4")
    def ask_on_old_connections(self) -> None:
        """On the connections that were kept: each leads to its own daemon, or nowhere."""
        for asker in self.connections:
            with suppress(Gone, Refused, TimeoutError):
                asker.query("anything")
                if asker.pid and not self._is_owner(asker.pid) and not is_running(asker.pid):
                    raise Violation("SRV-4", f"{asker.pid} has ended, and still answers")

    @_step("CACHE-8", mode=["query", "query_fts", "query_hybrid"])
    def query(self, mode: str) -> None:
        self._need_owner()
        with self._may_be_gone():
            self._query(self._mode(mode))

    @_step("FRESH-2", needs=[Cap.FRESH], mode=["query", "query_fts", "query_hybrid"])
    def query_freshly(self, mode: str) -> None:
        self._need_owner()
        if self.target.methods.call(self._mode(mode)).takes("fresh"):
            with self._may_be_gone():
                self._query(self._mode(mode), fresh=True)

    @_step("CACHE-8", needs=[Cap.CLEAR])
    def clear_cache(self) -> None:
        if self.model.owner:
            with self._may_be_gone(), self._connect() as asker:
                asker.ask("clear")

    # Writing.

    @_step("CACHE-8", has=_offers_writing)
    def edit(self) -> None:
        """And have nothing indexed."""
        self._edit()

    @_step(needs=[Cap.WATCH])
    def edit_and_poll(self) -> None:
        """A daemon that watches needs no command."""
        self._configure("watches")
        self._need_owner()
        if not self.reading.is_known or 0 in self.model.live:  # nothing there to be kept up to date
            return
        self.the_index_is_one_that_may_answer()  # what it does when it starts, it has done
        self._edit()
        with self._may_be_gone():
            for _ in looks(VISIBLE_S):
                if self._query(self._mode("query_fts")) == (self.model.edition,) * 2:
                    return
            raise Violation("FRESH-1", f"it was saved {VISIBLE_S:.0f} s ago, and nobody indexes it")

    @_step("CACHE-5", needs=[Cap.INDEX], edit=[False, True])
    def index(self, edit: bool) -> None:
        """Through the daemon."""
        self._need_owner()
        if edit:
            self._edit()
        with self._may_be_gone(), self._connect() as asker:
            self.has_index = True
            self.model.writer_was_killed()  # for all that is known until the answer is there
            asker.ask("index")
            self.model.indexed(by_daemon=True)

    @_step("CACHE-8", needs=[Cap.WRITER], edit=[False, True])
    def index_elsewhere(self, edit: bool) -> None:
        """By another process."""
        if edit:
            self._edit()
        self._written(self._launch(self.target.writer))

    @_step("WRITE-3", needs=[Cap.WRITER, Cap.KILL], points=["publish"])
    def kill_during_publish(self, point: str) -> None:
        self._need_owner()  # who is asked at once what there is then
        self.the_index_is_one_that_may_answer()
        self._edit()
        self._written(self._launch(self._faults.crash_writer, point))

    @_step("WRITE-3", needs=[Cap.WRITER, Cap.KILL], share=[0.2, 0.5, 0.8, 0.95])
    def kill_writer(self, share: float) -> None:
        """At some moment of its run."""
        self.the_index_is_one_that_may_answer()
        self._edit()
        began = SYSTEM.monotonic()
        writer = self._launch(self.target.writer)
        if not end_of(writer.pid, share * self.reading.writer_s):
            with suppress(ProcessLookupError):
                os.killpg(writer.pid, signal.SIGKILL)
        self._written(writer)
        if writer.status == 0:
            self.reading.writer_s = SYSTEM.monotonic() - began

    @_step("WRITE-3", needs=[Cap.INDEX, Cap.KILL], share=[0.1, 0.5, 0.9])
    def kill_during_index(self, share: float) -> None:
        """The daemon, in the middle of a build; which must not outlive it."""
        self._need_owner()
        self.the_index_is_one_that_may_answer()
        self._edit()
        self.has_index = True
        took = self.reading.index_s
        with self._may_be_gone(), self._connect() as asker:

            def run() -> None:
                nonlocal took
                began = SYSTEM.monotonic()
                with suppress(Exception):
                    asker.ask("index")
                    took = SYSTEM.monotonic() - began

            thread = SYSTEM.thread(run, "index")
            thread.join(share * took)
            self._kill_owner()
            thread.join(life.TIMEOUT_S)
            self.reading.index_s = min(took, 5.0)
            if self.target.beyond.processes:
                self._nothing_runs("WRITE-3")
            self.model.writer_was_killed()
