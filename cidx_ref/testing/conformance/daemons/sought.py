"""What the checks of this room ask, and how they see that an answer is right.

Answers are judged by the files that they name, because these are the same for every way to rank.
What a daemon does not find when it is asked alone is held against it by the checks of searching,
and by no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile

from cidx_ref.testing.conformance.asking import Answer, Asker, Gone, Refused
from cidx_ref.testing.conformance.bench import Bench, NotTried
from cidx_ref.testing.conformance.holding import Gate, InFlight
from cidx_ref.testing.conformance.subject import Daemon
from cidx_ref.testing.conformance.target import Attach, Cap, Target
from cidx_ref.testing.ground import SYSTEM

__all__ = [
    "Long",
    "Meeting",
    "Question",
    "beside_a_held",
    "long_query",
    "modes",
    "refusals",
    "sound",
]

Question = tuple[str, str]

#: Lengths of a query, in characters, tried in turn until it takes as long as is wanted.
_LENGTHS = (2_000, 16_000, 64_000, 512_000)
_MODES = {"query": Cap.BASE, "query_fts": Cap.FTS, "query_hybrid": Cap.HYBRID}


def modes(target: Target) -> Iterator[str]:
    """The roles of the ways to search that it offers."""
    for mode, cap in _MODES.items():
        if target.offers(cap) and getattr(target.methods, mode):
            yield mode


def sound(bench: Bench, asker: Asker, count: int, mode: str = "query") -> list[Question]:
    """Questions that it answers rightly, asked alone.  Raises `NotOffered`, `NotTried`."""
    bench.need_hits()
    asked = bench.questions[:count]
    found = [(query, path) for query, path in asked if path in asker.query(query, mode).paths]
    if not found:
        raise NotTried(f"of {len(asked)} questions it finds no file, asked alone")
    return found


class Meeting:
    """All wait for all."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self._changed = SYSTEM.condition("meeting")

    def wait(self, timeout_s: float) -> None:
        with self._changed:
            self._missing -= 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._missing <= 0, timeout_s)


def right(answer: Answer, question: Question) -> bool:
    return question[1] in answer.paths


def must_be_right(answer: Answer, question: Question) -> None:
    """Raises `AssertionError`."""
    assert right(answer, question), f"{question[0]!r} finds {answer}, not {question[1]}"


def beside_a_held(daemon: Daemon, gate: Gate, questions: Sequence[Question]) -> None:
    """While one query is held in its search, others are answered, and it is in the end."""
    first, *others = questions
    with InFlight(daemon, gate, first[0]) as held:
        for question in others:
            try:
                with daemon.connect(_BESIDE_S) as asker:
                    answer = asker.query(question[0])
            except TimeoutError as error:
                raise AssertionError(
                    f"one query is in its search, another waits: {error}"
                ) from None
            must_be_right(answer, question)
        answer = held.answered()
    must_be_right(answer, first)


#: In which a query is answered that waits for nobody.
_BESIDE_S = 5.0


@dataclass(frozen=True)
class Long:
    """A query that takes its time."""

    text: str
    seconds: float
    #: The files that it finds.
    paths: frozenset[str]


def long_query(
    bench: Bench, daemon: Daemon, at_least_s: float, max_chars: int = _LENGTHS[-1]
) -> Long | None:
    """A query that takes so long: the same words again and again; None if there is none.

    The daemon may refuse long texts, or lose nothing by them.
    """
    words = bench.questions[0][0] if bench.questions else "village"
    # A daemon that others use is not asked for the longest.
    most = min(max_chars, _LENGTHS[2] if isinstance(bench.target.start, Attach) else max_chars)
    with suppress(Gone, Refused, TimeoutError):
        for length in takewhile(lambda length: length <= most, _LENGTHS):
            text = " ".join([words] * (length // (len(words) + 1)))
            with daemon.connect(20.0) as asker:
                asker.query(words)  # what is loaded for it is not what takes the time
                took_s, answer = _timed(asker, text)
                if took_s >= at_least_s:
                    took_s, answer = _timed(asker, text)  # nor is what is kept of it
            if took_s >= at_least_s:
                return Long(text, took_s, frozenset(answer.paths))
    return None


def _timed(asker: Asker, text: str) -> tuple[float, Answer]:
    began = SYSTEM.monotonic()
    answer = asker.query(text)
    return SYSTEM.monotonic() - began, answer


def refusals(asker: Asker) -> Iterator[tuple[str, tuple[object, ...], dict[str, object], str]]:
    """Calls that a daemon must refuse: what is wrong, its arguments, and what must be named."""
    call = asker.target.methods.call("query")
    good = {"project": str(asker.root), "query": "village", "limit": 5}
    args, kwargs = call.fill(**good)
    for unknown in ("nonsense", "gibberish"):
        yield f"the argument {unknown!r}", args, {**kwargs, unknown: 1}, unknown
    wrong = {"query": [5, ["village"]], "limit": ["five", -1]}
    for role, values in wrong.items():
        if not call.takes(role):
            continue
        named = next((name for name, (r, _) in call.kwargs if r == role), "")
        for value in values:
            args, kwargs = call.fill(**{**good, role: value})
            yield f"{role}={value!r}", args, kwargs, named
