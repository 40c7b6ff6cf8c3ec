"""What must hold of a cache that does one thing after the other: a rule for each promise.

A rule is given what was seen so far, and raises `Broken`; it looks at its own promise and at
nothing else, and where another one was broken it goes on from what it sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cidx_ref.testing.conformance.parts.asking import TTL_S, Asked
from cidx_ref.testing.conformance.parts.judging import Broken
from cidx_ref.testing.conformance.parts.source import Load
from cidx_ref.testing.conformance.parts.steps import Played, Seen, Step

__all__ = ["RULES", "Rule", "Same", "World"]

_HALF = TTL_S / 2

QUERY = Step("query")
CHECK = Step("check")
CLEAR = Step("clear")
PUBLISH = Step("publish")
#: Around the TTL, counted from the last use.
AROUND = tuple(Step("wait for the TTL", seconds) for seconds in (-0.5, 0.0, 0.5))


@dataclass(frozen=True)
class World:
    """What is known of the cache: what it has, and what it does not promise, with the reason."""

    has: frozenset[str]
    absent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """`judge` is asked after each step of each sequence of these kinds."""

    name: str
    promise: str
    kinds: Sequence[Step]
    judge: Callable[[Played, World], None]
    #: What the cache has to have.
    needs: frozenset[str] = frozenset()
    #: Sequences of at most so many steps are all tried.
    length: int = 4


@dataclass(frozen=True)
class Same:
    """A sequence must be answered alike with its step `odd` and with `plain` in its place (None:
    without it)."""

    name: str
    promise: str
    kinds: Sequence[Step]
    odd: Sequence[Step]
    plain: Step | None
    words: str
    needs: frozenset[str] = frozenset()
    length: int = 4


class _Life:
    """One value, from its load on: when it was used, and what of that decides."""

    def __init__(self, seen: Seen) -> None:
        self.load = seen.load
        self.loaded_at = seen.began
        self.used_at = seen.ended
        self.checked_at = -1.0

    def is_early(self, now: float) -> bool:
        return now - self.used_at < TTL_S


def _lives(played: Played, renews: bool) -> tuple[_Life | None, Seen]:
    """What was cached before the last step, as far as one can know, and that step."""
    life: _Life | None = None
    *before, last = played.seen
    for seen in before:
        if seen.step.name == "check" and life is not None:
            life.checked_at = seen.began
        elif seen.is_query:
            if life is None or seen.load is not life.load:
                life = _Life(seen)
            elif renews:
                life.used_at = seen.ended
    if life is not None and not renews:
        life.used_at = life.loaded_at
    return life, last


def _lost_early(played: Played, world: World) -> tuple[_Life, Seen] | None:
    life, last = _lives(played, "TTL-2" not in world.absent)
    if life is None or not last.is_query or not last.loads or not life.is_early(last.began):
        return None
    return life, last


def _ttl(played: Played, world: World) -> None:
    """TTL-1: alive strictly before the TTL, gone at the first check at or after it."""
    found = _lost_early(played, world)
    if found is not None and found[1].began - found[0].loaded_at < TTL_S:
        age = found[1].began - found[0].used_at
        raise Broken("TTL-1", f"gone {age:g} s after it was used; the TTL is {TTL_S:g} s")
    life, last = _lives(played, "TTL-2" not in world.absent)
    if life is None or not last.is_query or last.load is not life.load:
        return
    is_checked = not played.asked.has & {"evict"} or life.checked_at - life.used_at >= TTL_S
    if is_checked and last.began - life.used_at >= TTL_S:
        age = (life.checked_at if "evict" in played.asked.has else last.began) - life.used_at
        raise Broken(
            "TTL-1", f"still there at a check {age:g} s after its last use; the TTL is {TTL_S:g} s"
        )


def _renewal(played: Played, world: World) -> None:
    """TTL-2: every use renews, at its end as well as its beginning; in use it stays."""
    found = _lost_early(played, world)
    if found is None:
        return
    age = found[1].began - found[0].used_at
    # Long before: what happens about the TTL is TTL-1's.
    if found[1].began - found[0].loaded_at >= TTL_S and age <= _HALF:
        raise Broken("TTL-2", f"gone {age:g} s after a use had ended, which has not renewed it")


def _failures(played: Played, world: World) -> None:
    """CACHE-2: a failed load is reported, not remembered."""
    last = played.seen[-1]
    if last.failed and last.load is not None:
        raise Broken("CACHE-2", "a load failed, and its query did not say so")
    if last.is_query and not last.failed and last.load is None:
        raise Broken(
            "CACHE-2", f"a query after a load that failed fails without a new load: {last.raised}"
        )


def _once(played: Played, world: World) -> None:
    """CACHE-1: a query right after another one finds what that one found."""
    *_, before, last = [None, *played.seen]
    if (
        before is not None
        and before.is_query
        and last is not None
        and last.is_query
        and before.load is not None
        and last.loads
    ):
        raise Broken("CACHE-1", "a query right after another one loaded again")


def _live(played: Played, world: World) -> None:
    """CACHE-8: each query answers from what is live."""
    last = played.seen[-1]
    live = played.asked.source.live
    if last.step.name == "query" and last.load is not None and last.load.version != live:
        raise Broken("CACHE-8", f"{live} was published, then {last.load.version} answered")


def _whole(played: Played, world: World) -> None:
    """CACHE-4: what a query uses stays as it is; a value says by itself when it is not."""
    last = played.seen[-1]
    if last.is_query and last.raised and "meanwhile" in last.step.name:
        raise Broken("CACHE-4", f"a query raised {last.raised}")


def _memory(played: Played, world: World) -> None:
    """CACHE-7: what was cleared or evicted is closed, or nothing refers to it any more."""
    *before, last = played.seen
    if last.step.name == "clear" or (last.step.name == "check" and _is_due(before, last)):
        # One that closes values at all has to close each: nobody knows when the memory of one that
        # it only lets go of comes back.
        closes = "closes" in world.has
        kept = [load for load in _answered(before) if not load.is_gone(by_closing=closes)]
        if kept and _is_forgotten(played.asked, kept):
            how = "not closed, as others are" if closes else "neither closed nor let go of"
            raise Broken("CACHE-7", f"{kept[0]}: after a {last.step} {how}")


def _is_due(before: Sequence[Seen], last: Seen) -> bool:
    used = [seen.ended for seen in before if seen.is_query]
    # Clearly: what happens at the TTL itself is TTL-1's.
    return bool(used) and last.began - used[-1] > TTL_S


def _answered(seen: Sequence[Seen]) -> list[Load]:
    return [s.load for s in seen if s.load is not None]


def _is_forgotten(asked: Asked, kept: Sequence[Load]) -> bool:
    """The cache does not answer with any of them."""
    return asked.query() not in kept


RULES: tuple[Rule | Same, ...] = (
    Rule("repeating", "CACHE-1", (QUERY, CHECK, CLEAR, PUBLISH), _once),
    Rule(
        "failing loads",
        "CACHE-2",
        (QUERY, Step("failing load"), CHECK, CLEAR, AROUND[2]),
        _failures,
    ),
    Rule(
        "changes meanwhile",
        "CACHE-4",
        (QUERY, Step("query, cleared meanwhile"), Step("query, published meanwhile")),
        _whole,
        frozenset({"clear"}),
        length=3,
    ),
    Same(
        "failing queries",
        "CACHE-6",
        (QUERY, CHECK, Step("wait", _HALF), AROUND[2], PUBLISH),
        (Step("failing query"),),
        QUERY,
        "a query that failed changed what later ones find",
        frozenset({"use"}),
    ),
    Rule("memory", "CACHE-7", (QUERY, CLEAR, CHECK, AROUND[2]), _memory),
    Rule("publishes", "CACHE-8", (QUERY, PUBLISH, CHECK, CLEAR), _live, frozenset({"current"})),
    Rule("around the TTL", "TTL-1", (QUERY, CHECK, *AROUND, Step("wait", _HALF)), _ttl),
    Rule(
        "uses",
        "TTL-2",
        (QUERY, Step("query", _HALF), Step("query", TTL_S), CHECK, Step("wait", _HALF)),
        _renewal,
    ),
    Same(
        "the wall clock",
        "TTL-3",
        (QUERY, CHECK, *AROUND[:2], Step("wait", _HALF)),
        (Step("set the wall clock", 7200.0), Step("set the wall clock", -7200.0)),
        None,
        "a step of the wall clock changed what is cached",
    ),
)
