"""One thing after the other: what a cache is made to do, step by step, and what it answered.

All short sequences of a few kinds of steps are tried, the shortest first, so the first that breaks
a promise is the shortest there is; then longer ones, drawn from a seed.  They run under a scheduler
in one thread, so that clocks, and threads that the cache has in the background, are the
scheduler's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from cidx_ref.testing.concurrency.explore import Script
from cidx_ref.testing.concurrency.instrument import modules_of
from cidx_ref.testing.concurrency.scheduler import Scheduler, ThreadPool
from cidx_ref.testing.conformance.parts.asking import TTL_S, Asked, MakeCache
from cidx_ref.testing.conformance.parts.source import Load

__all__ = ["Played", "Seen", "Step", "parse", "play", "sequences"]

#: Seconds that somebody who clears or checks meanwhile is waited for.
_PATIENCE_S = 1.0
_LONGER = 10


@dataclass(frozen=True)
class Step:
    """`name`, and perhaps how many seconds: see `_DO`."""

    name: str
    seconds: float | None = None

    def __str__(self) -> str:
        return self.name if self.seconds is None else f"{self.name} {self.seconds:g}"


@dataclass(frozen=True)
class Seen:
    """What came of one step."""

    step: Step
    #: When it began, and ended: seconds since the beginning.
    began: float
    ended: float
    #: Of a query: what answered it, None if it failed; and how many loads it made.
    load: Load | None = None
    loads: int = 0
    #: What it raised, in words.
    raised: str = ""
    #: A load failed in it.
    failed: bool = False

    @property
    def is_query(self) -> bool:
        return "query" in self.step.name or self.step.name == "failing load"

    def __str__(self) -> str:
        said = ""
        if self.is_query:
            how = "new" if self.loads else "cached"
            said = f" -> {self.load} ({how})" if self.load else f" -> {self.raised or 'failed'}"
        return f"{self.began:>8g} s  {self.step}{said}"


@dataclass
class Played:
    """A sequence that was played."""

    asked: Asked
    seen: list[Seen] = field(default_factory=list)

    def queries(self) -> list[Seen]:
        return [seen for seen in self.seen if seen.is_query]

    def table(self) -> str:
        return "\n".join(map(str, self.seen))


class _Player:
    def __init__(self, asked: Asked, runtime: Scheduler) -> None:
        self.asked = asked
        self.runtime = runtime
        self.played = Played(asked)
        self.fails_next = False
        self.used_at: float | None = None

    def fails(self) -> bool:
        fails, self.fails_next = self.fails_next, False
        return fails

    def run(self, steps: Sequence[Step], judge: Callable[[Played], None]) -> None:
        start = self.runtime.time_s
        for step in steps:
            began, before = self.runtime.time_s, len(self.asked.source.loads)
            load, raised, failed = None, "", False
            try:
                load = _DO[step.name](self, step)
            except AssertionError as closed:
                now = self.runtime.time_s - start
                self.played.seen.append(Seen(step, began - start, now, raised=str(closed)))
                raise
            except Exception as error:
                raised = f"{type(error).__name__}: {error}"
            if step.name == "failing load":
                # Where nothing had to be loaded, it is a query like any other.
                failed, self.fails_next = not self.fails_next, False
            now, loads = self.runtime.time_s, len(self.asked.source.loads) - before
            self.played.seen.append(
                Seen(step, began - start, now - start, load, loads, raised, failed)
            )
            judge(self.played)

    # The steps.

    def query(self, step: Step) -> Load | None:
        """A query; one that takes some time is checked upon at its end, by somebody else."""
        try:
            return self.asked.query(self._during(step.seconds))
        finally:
            self.used_at = self.runtime.time_s

    def failing_query(self, step: Step) -> Load | None:
        def fail() -> None:
            raise _QueryFailed

        try:
            self.asked.query(fail)
        except _QueryFailed:
            return None
        finally:
            self.used_at = self.runtime.time_s
        raise AssertionError("the error of a query was swallowed")

    def query_with(self, other: Callable[[], object]) -> Load | None:
        try:
            return self.asked.query(lambda: self._meanwhile(other))
        finally:
            self.used_at = self.runtime.time_s

    def failing_load(self, step: Step) -> Load | None:
        self.fails_next = True
        return self.query(Step("query"))

    def wait(self, step: Step) -> None:
        self.runtime.sleep(step.seconds or 0.0)

    def wait_for_the_ttl(self, step: Step) -> None:
        """Until so long after the TTL, counted from the last use."""
        until = (self.used_at or self.runtime.time_s) + TTL_S + (step.seconds or 0.0)
        self.runtime.sleep(max(0.0, until - self.runtime.time_s))

    def _during(self, seconds: float | None) -> Callable[[], object]:
        def during() -> None:
            if seconds is not None:
                self.runtime.sleep(seconds)
                self._meanwhile(self.asked.evict)

        return during

    def _meanwhile(self, other: Callable[[], object]) -> None:
        # By another thread, and no longer waited for than a moment: a cache may well keep it
        # waiting until the query has ended.
        self.runtime.thread(other, "other").join(_PATIENCE_S)


class _QueryFailed(Exception):  # noqa: N818
    """What a query may raise after it was given its value."""


_DO: dict[str, Callable[[_Player, Step], Any]] = {
    "query": _Player.query,
    "failing query": _Player.failing_query,
    "failing load": _Player.failing_load,
    "query, cleared meanwhile": lambda player, step: player.query_with(player.asked.clear),
    "query, published meanwhile": lambda player, step: player.query_with(
        player.asked.source.publish
    ),
    "wait": _Player.wait,
    "wait for the TTL": _Player.wait_for_the_ttl,
    "check": lambda player, step: player.asked.evict(),
    "clear": lambda player, step: player.asked.clear(),
    "publish": lambda player, step: player.asked.source.publish() and None,
    "set the wall clock": lambda player, step: player.runtime.step_wall_clock(step.seconds or 0.0),
    "start": lambda player, step: player.asked.cache.start(),
    "stop": lambda player, step: player.asked.cache.stop(),
}


def play(
    make_cache: MakeCache,
    steps: Sequence[Step],
    pool: ThreadPool,
    judge: Callable[[Played], None] = lambda played: None,
    begun: Callable[[Played], None] = lambda played: None,
) -> Played:
    """Play `steps` on a new cache; `judge` is called after each, and may raise.  `begun` is given
    what is to be seen before there is anything."""
    runtime = Scheduler(Script({}), pool, max_steps=20_000)
    with modules_of(make_cache, runtime):
        players: list[_Player] = []
        asked = Asked(make_cache, runtime, fails=lambda: bool(players) and players[0].fails())
        players.append(_Player(asked, runtime))
        begun(players[0].played)
        runtime.run({"client": lambda: players[0].run(steps, judge)})
    return players[0].played


def sequences(
    kinds: Sequence[Step], length: int, *, seed: int, drawn: int
) -> Iterator[tuple[Step, ...]]:
    """All that begin with a query and have at most so many steps, and then so many longer ones."""
    first = Step("query")
    for size in range(length):
        for rest in product(kinds, repeat=size):
            yield (first, *rest)
    chance = random.Random(seed)
    for _ in range(drawn):
        yield (first, *chance.choices(kinds, k=chance.randrange(length, _LONGER)))


def parse(text: str) -> list[Step]:
    """What `"; ".join(map(str, steps))` wrote.  Raises `ValueError`."""
    return [_parsed(part.strip()) for part in text.split(";") if part.strip()]


def _parsed(text: str) -> Step:
    name, _, last = text.rpartition(" ")
    try:
        step = Step(name, float(last))
    except ValueError:
        step = Step(text)
    if step.name not in _DO:
        raise ValueError(f"{text!r} is none of the steps {sorted(_DO)}")
    return step


def shorter(steps: Sequence[Step]) -> Iterable[tuple[Step, ...]]:
    """`steps` without one of them."""
    return (tuple(steps[:n]) + tuple(steps[n + 1 :]) for n in range(len(steps)))
