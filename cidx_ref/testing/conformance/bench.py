"""What a check works at: a directory and processes of its own, and a note of what it shows.

Here belong benches, and how what happens on one becomes findings (`judged`).  Whatever happens,
Ctrl-C too, what was started is ended and what was written is removed.
"""

from __future__ import annotations

import os
import random
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cidx_ref.testing.concurrency.explore import Counterexample, NothingExplored
from cidx_ref.testing.conformance import corpus, subject
from cidx_ref.testing.conformance.asking import Gone, Refused, Unreadable, open_socket
from cidx_ref.testing.conformance.checks import Check
from cidx_ref.testing.conformance.parts.judging import in_words, is_judged, reason
from cidx_ref.testing.conformance.processes import Household, Process, end_of
from cidx_ref.testing.conformance.subject import Daemon, NotStarted, Project, WriterFailed
from cidx_ref.testing.conformance.target import Attach, Cap, Spawn, Target
from cidx_ref.testing.ground import SYSTEM, Scratch, peer_pid
from cidx_ref.testing.promises.findings import Finding, Measured, Verdict

__all__ = ["Bench", "NotOffered", "NotTried", "judged", "raised"]

#: What counts against a promise where it is raised while that is shown.
_FAULTS = (
    AssertionError,
    Gone,
    NotStarted,
    OSError,  # a TimeoutError is one
    EOFError,
    Refused,
    Unreadable,
    WriterFailed,
)
#: So that a socket's path has room for what a target puts below it.
_MAX_HOME_CHARS = 40


class NotOffered(Exception):  # noqa: N818 - a turn of events
    """The target does not have what is to be shown; the words say what is missing."""


class NotTried(Exception):  # noqa: N818 - a turn of events
    """It cannot be shown here; the words say why."""


@dataclass
class _Noted:
    """What is known of one promise so far."""

    verdict: Verdict | None = None
    words: str = ""
    trace: str = ""
    replay: str = ""
    figures: list[Measured] = field(default_factory=list)
    tried: Counter[str] = field(default_factory=Counter)

    def note(self, verdict: Verdict, words: str = "", trace: str = "") -> None:
        order = list(Verdict)
        # What was broken once stays so.
        if self.verdict is None or order.index(verdict) < order.index(self.verdict):
            self.verdict, self.words, self.trace = verdict, words or self.words, trace or self.trace


class _Told(Exception):  # noqa: N818 - a turn of events
    """A check has ended, and it is noted why."""


class Bench:
    """One check's, and used up with it: a context manager."""

    def __init__(
        self,
        target: Target,
        *,
        deep: bool = False,
        seed: int = 0,
        home: Path | None = None,
        inside: bool = False,
    ) -> None:
        self.target = target
        self.deep = deep
        self.seed = seed
        #: Drawn from by what is left to chance.
        self.random = random.Random(seed)
        self._home = home
        # What runs in this process is the project's own code, whatever it raises.
        self._faults: tuple[type[Exception], ...] = (Exception,) if inside else _FAULTS
        self._notes: dict[str, _Noted] = {}
        self._projects = 0
        self._daemons: list[Daemon] = []
        self._began = SYSTEM.monotonic()

    def __enter__(self) -> Bench:
        self._scratch = Scratch("k", self._home or _short())
        self.directory = self._scratch.path.resolve()
        logs = self.directory / "log"
        logs.mkdir()
        self.household = Household(logs, self.directory)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for daemon in self._daemons:
                daemon.close()
        finally:
            try:
                _surely(self.household.end)
            finally:
                _surely(self._scratch.close)

    # What a check shows.

    def seconds(self, default: float, deep: float) -> float:
        """How long to try: longer with `--deep`."""
        return deep if self.deep else default

    @contextmanager
    def showing(self, *promises: str) -> Iterator[None]:
        """While the block runs, what the daemon does wrong counts against `promises`; where it
        comes to its end, they were kept there."""
        notes = [self._note(promise) for promise in promises]
        try:
            yield
        except NotOffered as said:
            self._end(notes, Verdict.NOT_OFFERED, str(said))
        except NotTried as said:
            self._end(notes, Verdict.NOT_TRIED, str(said))
        except NothingExplored as nothing:
            self._end(notes, Verdict.NOT_TRIED, str(nothing))
        except Counterexample as found:
            self._tell(notes, found)
        except self._faults as error:
            self._end(notes, Verdict.BROKEN, _worded(error), _traced(error))
        for note in notes:
            note.note(Verdict.KEPT)

    def _tell(self, notes: list[_Noted], found: Counterexample) -> None:
        """What an explorer has found; of what it cannot judge, why."""
        for note in notes:
            note.tried["schedules"] += found.tried
        if not is_judged(found.error):
            self._end(notes, Verdict.NOT_TRIED, reason(found.error))
        for note in notes:
            note.replay = note.replay or found.replay_line
        self._end(notes, Verdict.BROKEN, in_words(found.error), found.table)

    def _end(self, notes: list[_Noted], verdict: Verdict, words: str, trace: str = "") -> None:
        for note in notes:
            note.note(verdict, words, trace)
        raise _Told

    def note(self, promise: str, verdict: Verdict, words: str = "", trace: str = "") -> None:
        """What is known of a promise, for a check that goes on after it."""
        self._note(promise).note(verdict, words, trace)

    def says(self, promise: str, words: str) -> None:
        """What is said of a promise that was kept."""
        self._note(promise).words = words

    def figure(
        self, promise: str, name: str, value: float, unit: str = "", limit: float | None = None
    ) -> None:
        """Attach a measured figure to the finding; it judges nothing by itself."""
        self._note(promise).figures.append(Measured(name, value, unit, limit))

    def tried(self, promise: str, count: int, unit: str) -> None:
        """Add to how many schedules, examples, rounds and so on were tried."""
        self._note(promise).tried[unit] += count

    def trace(self, promise: str, text: str) -> None:
        """Attach the steps that led to what was found."""
        self._note(promise).trace = text

    def _note(self, promise: str) -> _Noted:
        return self._notes.setdefault(promise, _Noted())

    # What a check works with.

    @property
    def age_s(self) -> float:
        """How long the bench is there: what it started is not older."""
        return SYSTEM.monotonic() - self._began

    @property
    def questions(self) -> Sequence[tuple[str, str]]:
        """Queries, and for each a file that must be found."""
        if self.target.questions or isinstance(self.target.start, Attach):
            return self.target.questions
        return corpus.QUESTIONS

    @property
    def spawn(self) -> Spawn:
        """How it is started.  Raises `NotOffered`."""
        if isinstance(self.target.start, Attach):
            raise NotOffered("needs a daemon that the kit starts (Spawn)")
        return self.target.start

    def need(self, *caps: Cap) -> None:
        """Raises `NotOffered`."""
        for cap in caps:
            if not self.target.offers(cap):
                raise NotOffered(f"needs {cap.value} (Cap.{cap.name})")

    def need_hits(self) -> None:
        """Answers that are judged by what they say.  Raises `NotOffered`."""
        if not (self.target.hits and self.target.path):
            raise NotOffered("needs hits with paths (Target.hits, path)")
        if not self.questions:
            raise NotOffered("needs questions with files that must be found (Target.questions)")

    def too_quick(self, seconds: float) -> str:
        """Why nothing is in flight where no query takes so long; and what would help."""
        more = "more files (Target.corpus), or a command by which it is slower, would show it"
        if isinstance(self.target.start, Attach):
            more = "a first question that takes its time (Target.questions) would show it"
        return f"no query takes {seconds:g} s, however long its text is: {more}"

    def project(self, edition: int = 1, **values: Any) -> Project:
        """A new project with the files of that edition, configured; `values`: `ttl_s`, `idle`,
        `watch`."""
        if isinstance(self.target.start, Attach):
            return Project(self.target, Path(self.target.start.project).resolve(), **values)
        self._projects += 1
        root = self.directory / f"p{self._projects}"
        root.mkdir(mode=0o755)
        project = Project(self.target, root, **values)
        project.write(edition)
        project.configure()
        return project

    def launch(self, project: Project, command: str | Sequence[str] = "", **values: str) -> Process:
        """Start a daemon, or another command, and do not wait for anything."""
        return subject.launch(self.household, project, command, **values)

    def start(self, project: Project, command: str | Sequence[str] = "", **values: str) -> Daemon:
        """Start a daemon, or one by `command`, and return when it accepts.  Raises `NotStarted`."""
        if isinstance(self.target.start, Attach):
            daemon = self._attached(project)
        else:
            daemon = subject.started(self.launch(project, command, **values), project)
        self._daemons.append(daemon)
        return daemon

    def start_again(self, daemon: Daemon, timeout_s: float = subject.PROMPT_S) -> Process:
        """A second start for the same project, once it has ended.  Raises `TimeoutError`."""
        second = self.launch(daemon.project)
        second.wait(timeout_s)
        return second

    def write_index(self, project: Project, timeout_s: float = 120.0) -> Process:
        """Have the writer beside the daemon bring the index up to date.  Raises `WriterFailed`."""
        return subject.write_index(self.household, project, timeout_s)

    def index(self, daemon: Daemon, timeout_s: float = 120.0, **roles: Any) -> None:
        """Have the index brought up to date in the way that the target has; nothing where it has
        none.  Raises what asking raises, or `WriterFailed`."""
        if isinstance(self.target.start, Attach):
            return
        if self.target.offers(Cap.INDEX):
            with daemon.connect(timeout_s) as asker:
                asker.ask("index", **roles)
        elif self.target.offers(Cap.WRITER):
            self.write_index(daemon.project, timeout_s)

    @contextmanager
    def daemon(
        self,
        project: Project | None = None,
        *,
        ttl_s: float | None = None,
        idle: bool | None = None,
        watch: bool | None = None,
        index: bool = True,
        command: str | Sequence[str] = "",
        **placeholders: str,
    ) -> Iterator[Daemon]:
        """A daemon that serves, its index brought up to date if `index` and the target has a way;
        killed at the end.  What is not given is as the project says, of a new one 600 s, no, no.
        `command`, with those placeholders, is what starts it instead of the usual one."""
        given: dict[str, Any] = {"ttl_s": ttl_s, "idle": idle, "watch": watch}
        values = {name: value for name, value in given.items() if value is not None}
        if project is None:
            project = self.project(1, **values)
        elif values:
            for name, value in values.items():
                setattr(project, name, value)
            project.configure()
        daemon = self.start(project, command, **placeholders)
        try:
            if index:
                self.index(daemon)
            yield daemon
        finally:
            daemon.close()
            if daemon.process is not None:
                _put_down(daemon)

    def together(self, *functions: Callable[[], Any], timeout_s: float = 60.0) -> list[Any]:
        """Call all at once, each in a thread; what each returned or raised, in their order.

        Raises `TimeoutError`."""
        outcomes: list[Any] = [None] * len(functions)
        go = SYSTEM.event("all at once")

        def run(number: int) -> None:
            go.wait()
            try:
                outcomes[number] = functions[number]()
            except Exception as error:
                outcomes[number] = error

        threads = [
            SYSTEM.thread(lambda number=number: run(number), f"client {number}")  # type: ignore[misc]
            for number in range(len(functions))
        ]
        go.set()
        deadline = SYSTEM.monotonic() + timeout_s
        for thread in threads:
            thread.join(max(0.0, deadline - SYSTEM.monotonic()))
        # Nothing is to be asked any more when the bench is taken down.
        if late := sum(thread.is_alive() for thread in threads):
            raise TimeoutError(f"{late} of {len(threads)} clients had no answer in {timeout_s:g} s")
        return outcomes

    def _attached(self, project: Project) -> Daemon:
        if not subject.accepts(project.address):
            raise NotStarted(f"nobody accepts at {project.address}")
        pid = 0
        if "://" not in project.address:
            with open_socket(project.address, 5.0) as sock:
                pid = peer_pid(sock)
        return Daemon(project, None, pid)

    def findings(self, check: Check, error: BaseException | None, seconds: float) -> list[Finding]:
        """What the check found of each promise that it is about, or has noted."""
        found = []
        for promise in dict.fromkeys((*check.promises, *self._notes)):
            note = self._note(promise)
            if note.verdict is None:
                note.note(Verdict.NOT_TRIED, _unreached(error), _traced(error))
            assert note.verdict is not None
            found.append(
                Finding(
                    promise,
                    note.verdict,
                    note.words,
                    check.name,
                    tuple(note.figures),
                    note.trace,
                    note.replay,
                    tried=dict(note.tried),
                    seconds=seconds,
                )
            )
        return found


def _surely(end: Callable[[], object]) -> None:
    """Do it, also where an interrupt comes meanwhile, which is raised then."""
    try:
        end()
    except KeyboardInterrupt:
        end()
        raise


def raised(outcomes: Iterable[Any]) -> None:
    """Raise the first exception among the outcomes."""
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


def judged(
    check: Check, target: Target, *, deep: bool = False, seed: int = 0, home: Path | None = None
) -> list[Finding]:
    """Run one check on a bench of its own.  What a target does wrong is found, and not raised.

    Whether the target offers what the check needs is for who calls.
    """
    started = SYSTEM.monotonic()
    ended: BaseException | None = None
    with Bench(target, deep=deep, seed=seed, home=home, inside=check.inside) as bench:
        try:
            check.run(bench)
        except _Told:
            pass
        except Exception as error:
            ended = error
    return bench.findings(check, ended, SYSTEM.monotonic() - started)


def _unreached(error: BaseException | None) -> str:
    if error is None:
        return "the check came to its end before it"
    if isinstance(error, (NotTried, NotOffered)):
        return str(error)
    if isinstance(error, _FAULTS):
        return f"it did not come to that: {_worded(error)}"
    return f"the check itself failed: {type(error).__name__}: {error}"


def _worded(error: BaseException) -> str:
    """The error in one sentence; of a check's own assertion, its words."""
    text = str(error).strip()
    if isinstance(error, AssertionError):
        return text.partition("\nassert ")[0] or "an assertion failed"
    if isinstance(error, Refused):
        return f"it was refused: {text}"
    if not isinstance(error, _FAULTS):
        return in_words(error)
    return text or type(error).__name__


def _traced(error: BaseException | None) -> str:
    """Where in the check; the notes of an error, where it has some, instead."""
    if error is None:
        return ""
    if notes := getattr(error, "__notes__", None):
        return "\n".join(notes)
    return "" if isinstance(error, _FAULTS) else "".join(traceback.format_exception(error)[-4:])


def _put_down(daemon: Daemon) -> None:
    """End it; quickly, because what it would do on a graceful end is for checks of that."""
    assert daemon.process is not None
    daemon.signal(9)
    for pid in {daemon.pid, daemon.process.pid} - {0}:
        end_of(pid, subject.PROMPT_S)


def _short() -> str:
    default = tempfile.gettempdir()
    return default if len(default) <= _MAX_HOME_CHARS or not os.access("/tmp", os.W_OK) else "/tmp"
