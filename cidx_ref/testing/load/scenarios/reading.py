"""Scenarios of users who only read."""

from __future__ import annotations

import time
from typing import ClassVar

from locust.runners import MasterRunner

from cidx_ref.testing.conformance.target import Cap
from cidx_ref.testing.figures import percentile
from cidx_ref.testing.load import LoadTestShape, Scenario, task


class Readers(Scenario):
    """Users who search and think, each on a connection of its own, in all three modes.

    Shows that readers share the index and do not wait for each other: embedding a query takes 20 ms
    of our own daemon's time here, as a sentence model would, without the interpreter's lock.  And
    that an answer is one round trip.

    Objectives: full text p95 < 50 ms, semantic and hybrid p95 < 100 ms, one message a call.
    """

    promised: ClassVar[dict[Cap, tuple[str, ...]]] = {
        Cap.SPEED: ("query_fts:p95<50", "query:p95<100", "query_hybrid:p95<100"),
        Cap.BY_VALUE: ("*:trips<=1",),
    }
    tasks = (Scenario.search,)


class OpenLoop(Scenario):
    """Calls that arrive at a fixed rate, each user five a second, whether or not the last is done.

    Shows what somebody waits who comes during a stall.  Users who wait for their answer before they
    ask again do not ask during a stall, so their percentiles hardly show it; here a latency counts
    from when the call should have begun.  "(late)" are calls that began 10 ms late or more, and by
    how much.

    Objectives: full text p95 < 100 ms from the intended start.
    """

    promised: ClassVar[dict[Cap, tuple[str, ...]]] = {Cap.SPEED: ("query_fts:p95<100",)}
    every_s = 0.2
    late_ms = 10.0

    def on_start(self) -> None:
        super().on_start()
        self._intended = time.perf_counter() + self.every_s

    def wait_time(self) -> float:
        return max(0.0, self._intended - time.perf_counter())

    @task
    def arrive(self) -> None:
        intended, self._intended = self._intended, self._intended + self.every_s
        late_ms = (time.perf_counter() - intended) * 1000
        if late_ms >= self.late_ms:
            self.session.figure("(late)", late_ms)
        mode = self.session.mode()
        self.ask(mode, self.pick(mode), intended=intended)


class Climb(LoadTestShape):
    """More and more users, until the limit is broken twice running."""

    steps = (5, 10, 15, 20, 30, 40, 60, 80, 100, 125, 150, 200)

    def __init__(self) -> None:
        super().__init__()
        self._step = 0
        self._began: float | None = None
        self._until = 0.0
        self._seen = 0
        self._broken = 0

    def tick(self) -> tuple[int, float] | None:
        now = self.get_run_time()
        limit_s = self.runner.environment.parsed_options.run_time
        # Workers report every three seconds.
        step_s = 7.0 if isinstance(self.runner, MasterRunner) else 2.0
        if self._began is None and self.get_current_user_count():  # a daemon was started before
            self._began, self._until = now, now + step_s
        if self._began is None:
            return self.steps[0], 100.0
        if limit_s and now - self._began >= limit_s:
            return None  # locust itself does not look at it where there is a shape
        if now >= self._until:
            if not self._judge(self.steps[self._step]) or self._step + 1 == len(self.steps):
                return None
            self._step += 1
            self._until = now + step_s
        return self.steps[self._step], 100.0

    def _judge(self, users: int) -> bool:
        """Note a step that was within the limit; False if it is time to stop."""
        samples = Ramp.session.samples
        values = samples.values_since(Ramp.session.mode(), self._seen)
        self._seen += len(values)
        p95_ms = percentile(values, 95) if values else float("inf")
        if p95_ms < Ramp.limit_ms:
            self._broken = 0
            Ramp.session.figure("(knee)", users)
        else:
            self._broken += 1
        return self._broken < 2


class Ramp(Scenario):
    """Users come in steps of two seconds until the p95 of full text is 50 ms twice running, there
    are 200, or the time is over.

    Shows the knee: with how many users the daemon was last within the limit, as "(knee)".  Here an
    index that admits one reader at a time is told from one that is shared.

    Objectives: the knee is at 10 users or more.
    """

    promised: ClassVar[dict[Cap, tuple[str, ...]]] = {Cap.SPEED: ("(knee):max>=10",)}
    shape = Climb
    limit_ms = 50.0
    tasks = (Scenario.search,)
