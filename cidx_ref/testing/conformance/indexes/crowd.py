"""Several clients at once, each with a connection of its own, that ask until they are told to stop;
and what one query of an edition showed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cidx_ref.testing.conformance import corpus
from cidx_ref.testing.conformance.asking import Asker, Refused, Unreadable, dig
from cidx_ref.testing.conformance.bench import Bench, NotTried
from cidx_ref.testing.conformance.editions import BY_PATH, BY_TEXT, Reading, by_what, seen
from cidx_ref.testing.conformance.subject import Daemon
from cidx_ref.testing.conformance.target import Cap, Target
from cidx_ref.testing.ground import SYSTEM

__all__ = [
    "HALF",
    "NONE",
    "WHOLE",
    "Crowd",
    "Look",
    "ballast",
    "clears",
    "look",
    "loads",
    "mode_of",
    "publish",
    "reading_at",
    "rss_mb",
    "telling_modes",
]

WHOLE, HALF, NONE, FAILED = "whole", "half", "none", "failed"
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Look:
    """One query for an edition."""

    edition: int
    #: `WHOLE`, `HALF`, `NONE` or `FAILED`.
    state: str
    began: float
    ended: float
    words: str = ""


def mode_of(target: Target) -> str:
    """The mode that finds words for sure: full text, where it is offered."""
    return "query_fts" if target.offers(Cap.FTS) else "query"


def look(asker: Asker, reading: Reading, edition: int, mode: str = "") -> Look:
    """Ask for an edition.  Raises `Gone` and `TimeoutError`."""
    began = SYSTEM.monotonic()
    try:
        answer = asker.query(corpus.marker(edition), mode or mode_of(asker.target), 8)
    except (Refused, Unreadable) as error:
        return Look(edition, FAILED, began, SYSTEM.monotonic(), str(error))
    hits = seen(answer, edition, reading)
    state = WHOLE if set(hits) == set(corpus.CHANGING) else HALF if hits else NONE
    return Look(edition, state, began, SYSTEM.monotonic(), f"found in {', '.join(hits) or 'none'}")


def telling_modes(daemon: Daemon, reading: Reading) -> list[str]:
    """The modes whose answers tell an edition from others."""
    edition = daemon.project.edition
    modes = list(dict.fromkeys((mode_of(daemon.target), "query")))
    with daemon.connect() as asker:
        return [
            mode
            for mode in modes
            if look(asker, reading, edition, mode).state == WHOLE
            and look(asker, reading, edition + 1, mode).state == NONE
        ]


def reading_at(bench: Bench, daemon: Daemon) -> Reading:
    """How editions are told apart by its answers, tried on what is indexed.

    Raises `NotTried`.
    """
    declared = by_what(bench.target)
    edition = daemon.project.edition
    with daemon.connect() as asker:
        for by in (BY_TEXT, BY_PATH):
            if by == BY_TEXT and declared.by != BY_TEXT:
                continue
            reading = Reading(by)
            there, other = look(asker, reading, edition), look(asker, reading, edition + 1)
            if there.state == WHOLE and other.state == NONE:
                return reading
    raise NotTried("what is indexed cannot be told by its answers: " + there.words)


def publish(bench: Bench, daemon: Daemon, *, by_writer: bool = False) -> int:
    """Write the next edition and have it indexed; returns it."""
    daemon.project.write(daemon.project.edition + 1)
    if by_writer:
        bench.write_index(daemon.project)
    else:
        bench.index(daemon)
    return daemon.project.edition


def loads(asker: Asker) -> int:
    """How often it has loaded an index, as it says itself.  Raises `Unreadable`."""
    target = asker.target
    is_of_status = "loads" in target.status
    role, places = ("status", target.status) if is_of_status else ("metrics", target.metrics)
    count = dig(asker.ask(role), places["loads"])
    if isinstance(count, bool) or not isinstance(count, (int, float)):
        raise Unreadable(f"{role}: {places['loads']!r} is {count!r}, not a number")
    return int(count)


def rss_mb(pid: int) -> float:
    """What is resident of a process and is no file's."""
    text = Path(f"/proc/{pid}/status").read_text("ascii")
    found = {line.split(":")[0]: line.split()[1] for line in text.splitlines() if " kB" in line}
    return int(found.get("RssAnon", found.get("VmRSS", "0"))) / 1024


@dataclass
class Crowd:
    """Clients that call `ask` again and again while the block `asking` runs."""

    daemon: Daemon
    #: Of each client, what its calls returned, and the errors that they raised.
    results: list[list[Look]] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)

    @contextmanager
    def asking(
        self, number: int, ask: Callable[[Asker], list[Look]], pause_s: float = 0.0
    ) -> Iterator[Crowd]:
        """Raises `TimeoutError` if one does not come to its end."""
        stop = SYSTEM.event("stop")

        def run(mine: list[Look]) -> None:
            try:
                with self.daemon.connect(30.0) as asker:
                    while not stop.is_set():
                        mine += ask(asker)
                        if pause_s:
                            stop.wait(pause_s)
            except Exception as error:
                self.errors.append(error)

        self.results += [[] for _ in range(number)]
        threads = [
            SYSTEM.thread(lambda mine=mine: run(mine), "client")  # type: ignore[misc]
            for mine in self.results[-number:]
        ]
        try:
            yield self
        finally:
            stop.set()
            deadline = SYSTEM.monotonic() + _PATIENCE_S
            for thread in threads:
                thread.join(max(0.0, deadline - SYSTEM.monotonic()))
        if any(thread.is_alive() for thread in threads):
            raise TimeoutError(f"a query is not answered within {_PATIENCE_S:.0f} s")

    def wait_for_answers(self, timeout_s: float = 10.0) -> None:
        """Until each client has had one; not for longer than that."""
        until = SYSTEM.monotonic() + timeout_s
        while not (all(self.results) or self.errors) and SYSTEM.monotonic() < until:
            SYSTEM.sleep(0.005)

    @property
    def looks(self) -> list[Look]:
        return [one for mine in self.results for one in mine]

    def must_not_have_failed(self) -> None:
        """Raises what a client met instead of an answer."""
        for error in self.errors:
            raise error


def ballast(root: Path, files: int) -> None:
    """Files that make an index larger, of words that no question has."""
    syllables = ("bra", "cle", "dri", "flo", "gru", "kla", "ple", "sti", "tro", "vru")
    words = [a + b + c for a in syllables for b in syllables for c in syllables]
    (root / "ballast").mkdir(exist_ok=True)
    for number in range(files):
        mine = [words[(number * 37 + step * 11) % len(words)] for step in range(120)]
        lines = [f"# {' '.join(mine[at : at + 8])}" for at in range(0, len(mine), 8)]
        (root / "ballast" / f"{words[number % 1000]}{'x' * (number // 1000)}.py").write_text(
            "\n".join(lines) + "\n", "utf-8"
        )


def clears(asker: Asker) -> list[Look]:
    """Empty the cache once."""
    with suppress(Refused):
        asker.ask("clear")
    return []
