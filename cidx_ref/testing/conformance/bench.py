"""What a check works at: a directory and processes of its own.

Here belong benches, and how a check is run on one (`judged`); what it shows there is in `notes`.
Whatever happens, Ctrl-C too, what was started is ended and what was written is removed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cidx_ref.testing.conformance import corpus, subject
from cidx_ref.testing.conformance.asking import open_socket
from cidx_ref.testing.conformance.checks import Check
from cidx_ref.testing.conformance.homes import BENCH, home, short
from cidx_ref.testing.conformance.notes import Notes, NotOffered, NotTried, Told
from cidx_ref.testing.conformance.overdue import Overdue
from cidx_ref.testing.conformance.processes import Household, Process, end_of
from cidx_ref.testing.conformance.subject import Daemon, NotStarted, Project
from cidx_ref.testing.conformance.target import Attach, Cap, Spawn, Target
from cidx_ref.testing.ground import SYSTEM, peer_pid
from cidx_ref.testing.promises.findings import Finding

__all__ = ["Bench", "NotOffered", "NotTried", "judged", "raised"]


class Bench(Notes):
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
        super().__init__(inside=inside)
        self.target = target
        self.deep = deep
        self.seed = seed
        #: Drawn from by what is left to chance.
        self.random = random.Random(seed)
        self._home = home
        self._projects = 0
        self._daemons: list[Daemon] = []
        self._began = SYSTEM.monotonic()

    def __enter__(self) -> Bench:
        self._made = home(BENCH, self._home or short())
        self.directory = self._made.path.resolve()
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
                _surely(self._made.close)

    # What a check works with.

    def seconds(self, default: float, deep: float) -> float:
        """How long to try: longer with `--deep`."""
        return deep if self.deep else default

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
    bench = Bench(target, deep=deep, seed=seed, home=home, inside=check.inside)
    try:
        with bench, suppress(Told):
            check.run(bench)
    except BaseException as error:  # `pytest.fail` and `sys.exit` too; also of what it leaves
        if isinstance(error, KeyboardInterrupt) and not isinstance(error, Overdue):
            raise
        ended = error
    return bench.findings(check, ended, SYSTEM.monotonic() - started)


def _put_down(daemon: Daemon) -> None:
    """End it; quickly, because what it would do on a graceful end is for checks of that."""
    assert daemon.process is not None
    daemon.signal(9)
    for pid in {daemon.pid, daemon.process.pid} - {0}:
        end_of(pid, subject.PROMPT_S)
