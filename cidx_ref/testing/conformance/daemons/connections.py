"""Connections: one message each way, nothing else within reach, nobody delayed, nothing left."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from cidx_ref.testing.conformance.asking import Asker, Gone
from cidx_ref.testing.conformance.bench import Bench, NotOffered, NotTried, raised
from cidx_ref.testing.conformance.checks import check
from cidx_ref.testing.conformance.daemons.sought import (
    Meeting,
    Question,
    beside_a_held,
    long_query,
    modes,
    must_be_right,
    sound,
)
from cidx_ref.testing.conformance.holding import can, gated
from cidx_ref.testing.conformance.peer import RpycPeer, open_socket
from cidx_ref.testing.conformance.processes import end_of
from cidx_ref.testing.conformance.subject import Daemon
from cidx_ref.testing.conformance.target import Cap
from cidx_ref.testing.ground import SYSTEM

__all__ = ["CHECKS"]

#: The head of a frame of a thousand bytes, as RPyC sends it: length, and whether it is compressed.
_HEAD = struct.pack("!LB", 1000, 0)


@check("by-value", "RPC-1", needs={Cap.BY_VALUE}, spawns=False)
def by_value(bench: Bench) -> None:
    """An answer is asked for and read with one message each way."""
    with bench.daemon() as daemon, bench.showing("RPC-1"), daemon.connect() as asker:
        if not asker.sent:
            raise NotTried("the connection does not count what it sends (its `sent`)")
        for mode in modes(bench.target):
            for query, _ in bench.questions[:5] or [("village", "")]:
                answer = asker.query(query, mode)
                assert answer.messages == 1, (
                    f"{mode}: the client sent {answer.messages} messages to have and to read "
                    f"{len(answer.hits)} hits"
                )
                bench.tried("RPC-1", 1, "answers")


# What a slow or silent client costs others.

_SLOW = 20
#: How long a client waits beside others.
_PATIENCE_S = 10.0


@contextmanager
def _silent(daemon: Daemon, idle: int, half: int, reading: int) -> Iterator[None]:
    """Connections that say nothing, that stop within a message, and that ask and do not read."""
    with ExitStack() as stack:
        for _ in range(idle):
            stack.enter_context(open_socket(daemon.address, 5.0))
        for _ in range(half):
            sock = stack.enter_context(open_socket(daemon.address, 5.0))
            sock.sendall(_HEAD + b"\0")
        for _ in range(reading):
            # Until it does not take any more: which takes the client's whole patience.
            with suppress(Gone, TimeoutError, EOFError):
                _ask_on(stack.enter_context(daemon.connect(1.0)))
        yield


def _ask_on(asker: Asker) -> None:
    """Ask until nothing more is taken, and read nothing."""
    peer = asker.raw
    if not isinstance(peer, RpycPeer):
        return
    call = asker.target.methods.call("query")
    args, kwargs = call.fill(project=str(asker.root), query="village", limit=20)
    for _ in range(200):
        peer.begin(call.name, *args, **kwargs)


@check("slow-clients", "RPC-4", spawns=False, alone=True)
def slow_clients(bench: Bench) -> None:
    """Clients that are silent, stop within a message or do not read keep nobody waiting."""
    with bench.daemon() as daemon, bench.showing("RPC-4"):
        with daemon.connect() as asker:
            questions = sound(bench, asker, 10)
        before_s = _slowest(daemon, questions)
        with _silent(daemon, _SLOW, _SLOW // 2, 2):
            slowest_s = _slowest(daemon, questions)
        bench.tried("RPC-4", 2 * _SLOW, "clients")
        bench.figure("RPC-4", "slowest answer, alone", before_s * 1000, "ms")
        bench.figure(
            "RPC-4", f"slowest answer, beside {2 * _SLOW} slow ones", slowest_s * 1000, "ms"
        )


def _slowest(daemon: Daemon, questions: list[Question]) -> float:
    slowest = 0.0
    for question in questions:
        began = SYSTEM.monotonic()
        try:
            with daemon.connect(_PATIENCE_S) as asker:
                answer = asker.query(question[0])
        except (Gone, TimeoutError) as error:
            raise AssertionError(f"beside slow clients, another is kept waiting: {error}") from None
        must_be_right(answer, question)
        slowest = max(slowest, SYSTEM.monotonic() - began)
    return slowest


@check("slow-query", "RPC-4", spawns=False)
def slow_query(bench: Bench) -> None:
    """A quick query that comes later is answered before a long one."""
    if can(bench, "hold"):
        _beside_a_held(bench)
        return
    with bench.daemon() as daemon, bench.showing("RPC-4"):
        long = long_query(bench, daemon, 2 * _LEFT_S)
        if long is None:
            raise NotTried(bench.too_quick(2 * _LEFT_S))
        waits = []
        for _ in range(2 * _ROUNDS):
            quick_s, left_s = _side_by_side(bench, daemon, long.text, long.seconds)
            if left_s < _LEFT_S:
                continue  # it was answered sooner than it was before
            if quick_s < _DELAYED * left_s:
                break
            waits.append(quick_s)
            assert len(waits) < _ROUNDS, (
                f"a quick query waits for a long one: asked {left_s:.2f} s before that was "
                f"answered, it took {quick_s:.2f} s; and so it was in each of {_ROUNDS} rounds"
            )
        else:
            raise NotTried("its long queries are not long each time")
        beside = f"a quick query, asked {left_s:.2f} s before a long one was answered"
        bench.figure("RPC-4", beside, quick_s * 1000, "ms")


def _beside_a_held(bench: Bench) -> None:
    with gated(bench, "hold") as (daemon, gate), bench.showing("RPC-4"):
        with daemon.connect() as asker:
            questions = sound(bench, asker, 6)
        beside_a_held(daemon, gate, questions)
        bench.tried("RPC-4", len(questions) - 1, "queries beside one that is held")


#: In which a quick query has to wait each time: a machine may be busy for a moment.
_ROUNDS = 3
#: How long the long one has to take from then on, to be told from a moment.
_LEFT_S = 0.25
#: Of the time that the long one still takes, what a quick one may take and is not waiting for it.
_DELAYED = 0.6


def _side_by_side(bench: Bench, daemon: Daemon, text: str, seconds: float) -> tuple[float, float]:
    """How long the quick one took, and how long from its beginning the long one."""
    patience_s = max(20.0, 20 * seconds)

    ready = Meeting(2)

    def ask(text: str, after_s: float) -> tuple[float, float]:
        with daemon.connect(patience_s) as asker:
            asker.query("village")  # so that each has what it needs for a connection
            ready.wait(patience_s)
            end_of(daemon.pid, after_s)
            began = SYSTEM.monotonic()
            asker.query(text)
        return began, SYSTEM.monotonic()

    both = bench.together(
        lambda: ask("village", seconds / 4), lambda: ask(text, 0.0), timeout_s=2 * patience_s
    )
    raised(both)
    (began, quick), (_, long) = both
    return quick - began, long - began


# What those leave behind who vanish.


def _held(daemon: Daemon) -> tuple[int, int]:
    """Its descriptors and its threads."""
    process = Path(f"/proc/{daemon.pid}")
    return len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))


_VANISHING = 20
#: Within which it notices that they have.
_SETTLED_S = 15.0


@check("vanishing-clients", "RPC-5", spawns=False)
def vanishing_clients(bench: Bench) -> None:
    """Clients that vanish within a call, a message or an answer leave nothing behind."""
    with bench.daemon() as daemon, bench.showing("RPC-5"):
        if not daemon.is_local:
            raise NotOffered("needs a process that can be looked at")
        long = long_query(bench, daemon, 0.2)
        text = long.text if long else "village"
        # What is made once, a pool of threads for example, is there after the first round.
        _vanish(daemon, text)
        base = _settled(daemon, (0, 0))
        rounds = 10 if bench.deep else 3
        for _ in range(rounds):
            _vanish(daemon, text)
        after = _settled(daemon, base)
        bench.tried("RPC-5", rounds * _VANISHING, "clients")
        for what, had, has in zip(("descriptors", "threads"), base, after, strict=True):
            assert has - had < _VANISHING // 2, (
                f"{rounds * _VANISHING} clients vanished, and it holds {has} {what}, {had} before"
            )
            bench.figure("RPC-5", f"{what} more after {rounds * _VANISHING} clients", has - had)
        _holds_no_lock(bench, daemon)


def _vanish(daemon: Daemon, text: str) -> None:
    for number in range(_VANISHING):
        if number % 4 == 3:
            with suppress(OSError), open_socket(daemon.address, 5.0) as sock:
                sock.sendall(_HEAD + b"\0")
            continue
        with suppress(Gone), daemon.connect() as asker:
            _begin(asker, text if number == 0 else "village")


def _begin(asker: Asker, text: str) -> None:
    """Ask, and be gone before the answer."""
    call = asker.target.methods.call("query")
    args, kwargs = call.fill(project=str(asker.root), query=text, limit=5)
    if isinstance(asker.raw, RpycPeer):
        with suppress(EOFError, OSError):
            asker.raw.begin(call.name, *args, **kwargs)


def _settled(daemon: Daemon, base: tuple[int, int]) -> tuple[int, int]:
    """What it holds once it is down to `base`, or does not change for a while."""
    deadline = SYSTEM.monotonic() + _SETTLED_S
    held, since = _held(daemon), SYSTEM.monotonic()
    while SYSTEM.monotonic() < deadline:
        now = _held(daemon)
        if now != held:
            held, since = now, SYSTEM.monotonic()
        is_down = now[0] <= base[0] and now[1] <= base[1]
        if is_down or (not any(base) and SYSTEM.monotonic() - since > 1.0):
            break
        end_of(daemon.pid, 0.05)
    return held


def _holds_no_lock(bench: Bench, daemon: Daemon) -> None:
    uses: dict[str, Callable[[Asker], object]] = {"a query": lambda asker: asker.query("village")}
    if bench.target.offers(Cap.CLEAR):
        uses["a clear"] = lambda asker: asker.ask("clear")
    if bench.target.offers(Cap.INDEX):
        uses["an index"] = lambda asker: asker.ask("index")
    for name, use in uses.items():
        try:
            with daemon.connect(60.0) as asker:
                use(asker)
        except TimeoutError as error:
            raise AssertionError(f"after clients have vanished, {name} hangs: {error}") from None


CHECKS = [by_value, slow_clients, slow_query, vanishing_clients]
