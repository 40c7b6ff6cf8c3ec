"""A daemon's life in any order: a state machine on real processes and the real socket.

Here belongs what may happen to a daemon from outside (started, killed, stopped, asked, indexed,
left alone), and the model of what may be so afterwards.  The model knows three things: who owns
the path, which index may answer, and what a kill may have left behind.  It is written apart from
the code it checks; whatever it learns, it learns from the socket, the process table and the
directory.

    check_lifecycle(target, tmp_path, steps=300)

A `Target` says how the daemon is started.  The rest goes through the socket, by a plain RPyC
client, with the story's methods and result keys.
"""

from __future__ import annotations

import functools
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO, Any, ClassVar, Protocol, TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from cidx_ref.project import Project
from cidx_ref.testing.conformance.plain import Gone, PlainConnection, connected
from cidx_ref.testing.ground import SYSTEM

__all__ = ["Command", "Lifecycle", "Model", "Target", "check_lifecycle"]

#: Arguments and environment of a process.
Command = tuple[list[str], dict[str, str]]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])

#: How long anything is waited for that should happen at once.
TIMEOUT_S = 30.0
#: How long it is waited for that what was saved is found; on a machine that is busy, too.
VISIBLE_S = 30.0
_STEPS_PER_EXAMPLE = 10
_MAX_CONNECTIONS = 3
#: After so many runs that nobody asked for, nothing of them may lie about.
_RUNS = 50
_MARK = "CIDX_LIFECYCLE"


class Target(Protocol):
    """How a daemon, and a writer beside it, are started; and where they can be made to crash.

    A daemon says "serving" or "already running" in one line when that is so.  One in the
    foreground ends with status 0 unless it was killed.  A writer prints JSON with `generation`.
    With `crash_at`, the process kills itself by SIGKILL when it comes to that point, if it does;
    with `term_at`, by SIGTERM.
    """

    #: Every start that is not too late comes by these, in this order,
    start_points: ClassVar[Sequence[str]]
    #: by these only if there is something to sweep,
    sweep_points: ClassVar[Sequence[str]]
    #: every orderly stop by these,
    stop_points: ClassVar[Sequence[str]]
    #: and a writer that has something to write by the first of these.
    publish_points: ClassVar[Sequence[str]]
    #: Its queries take `fresh`, its hits say `stale`, and `watch` in its configuration has it bring
    #: the index up to date by itself while it is in use.
    is_fresh: ClassVar[bool] = False

    def start(self, root: Path) -> Command:
        """Starts a daemon in the background, and ends with status 0 once one accepts."""

    def serve(self, root: Path, *, crash_at: str = "", term_at: str = "") -> Command:
        """A daemon in the foreground."""

    def build(self, root: Path, *, crash_at: str = "", full: bool = False) -> Command:
        """A writer of its own, which brings the index up to date, or with `full` makes it anew."""

    def sockets(self, root: Path) -> list[str]:
        """The names in the project's directory that are a daemon's socket, or may become one."""

    def halves(self, root: Path) -> list[str]:
        """What lies among the generations and is not a whole one, or not yet one."""


@dataclass
class Model:
    """What may be so."""

    #: The process that owns the path; 0: nobody may be serving.
    owner: int = 0
    #: The configuration has an idle daemon leave: the owner may be gone at any moment.
    idles: bool = False
    #: Of the files in the project.
    edition: int = 0
    #: The edition, and the generation if that is known, of each index that may answer now.
    live: set[tuple[int, str]] = field(default_factory=lambda: {(0, "")})
    #: The configuration has a daemon watch the files,
    is_watch_wanted: bool = False
    #: which the owner may have done since it has started: it indexes by itself what it sees, and
    #: there are files of such a run, at any moment.
    watches: bool = False
    #: The edition up to which an owner before may have brought the index by itself.
    reach: int = 0
    #: A daemon was killed, and none has started since.
    may_leave_socket: bool = False
    #: A writer was killed, and none has written and no daemon has started since.
    may_leave_halves: bool = False

    def started(self, pid: int) -> None:
        self.owner, self.watches = pid, self.is_watch_wanted
        self.may_leave_socket = self.may_leave_halves = False

    def ended(self, *, killed: bool = False) -> None:
        if self.watches:  # and a run of its own may have ended with it
            self.reach, self.may_leave_halves = self.edition, True
        self.owner, self.watches = 0, False
        self.may_leave_socket |= killed

    def configured(self, *, idles: bool, watch: bool) -> None:
        self.idles, self.is_watch_wanted = idles, watch
        self.watches |= watch and bool(self.owner)

    def indexed(self, generation: str) -> None:
        self.live = {(self.edition, generation)}
        self.may_leave_halves = False

    def writer_was_killed(self) -> None:
        # The old one or the new one, and the next answer tells which.
        self.live = {*self.live, (self.edition, "")}
        self.may_leave_halves = True

    def answered(self, edition: int, generation: str, newest: int | None = None) -> None:
        """Raises `AssertionError` for an answer that may not be.

        It is of that edition; or of two, up to the `newest`, as where files are saved while an
        index run reads them."""
        newest = edition if newest is None else newest
        oldest = min(each for each, _ in self.live)
        reach = self.edition if self.watches else self.reach
        # A run that nobody asked for makes a new generation of what has changed, and of nothing.
        has_moved = oldest <= edition and oldest < newest <= reach
        allowed = {(edition, generation), (edition, "")} & self.live and edition == newest
        assert allowed or has_moved, (
            f"edition {edition} of generation {generation!r}, not one of {self.live}"
        )
        self.live = {(edition, generation)}

    def answered_freshly(self, edition: int, generation: str) -> None:
        """The same, where the query wanted it fresh."""
        assert edition == self.edition, f"edition {edition}, asked for fresh {self.edition}"
        self.live = {(edition, generation)}


#: The shortest times that a configuration may have: a second, and a tenth of one.
_TTL_MINUTES = 1 / 60
_CHECK_S = 0.1

#: `watch` is for daemons that have it (`Target.is_fresh`).
CONFIGURATIONS: dict[str, dict[str, object]] = {
    "stays": {"ttl_minutes": _TTL_MINUTES, "auto_shutdown_on_idle": False, "watch": False},
    "keeps": {"ttl_minutes": 10, "auto_shutdown_on_idle": False, "watch": False},
    "idles": {"ttl_minutes": _TTL_MINUTES, "auto_shutdown_on_idle": True, "watch": False},
    "default": {"ttl_minutes": 10, "auto_shutdown_on_idle": True, "watch": True},
    "watches": {"ttl_minutes": _TTL_MINUTES, "auto_shutdown_on_idle": False, "watch": True},
}


#: The names of all rules.
_RULES: list[str] = []


def _step(function: F) -> F:
    """Count a rule's execution, and check the invariants after it.

    They are not hypothesis's own `invariant`s: it would print each of them after each step.
    """
    _RULES.append(function.__name__)

    @functools.wraps(function)
    def step(self: Lifecycle, **arguments: object) -> None:
        self.tally[function.__name__] += 1
        function(self, **arguments)
        self.check()

    return step  # type: ignore[return-value]


def _any_of(*names: str) -> st.SearchStrategy[str]:
    """One of the target's points, by its name, so that it is printed as such."""

    def points(machine: Lifecycle) -> st.SearchStrategy[str]:
        return st.sampled_from([point for name in names for point in getattr(machine.target, name)])

    return st.runner().flatmap(points)


class Lifecycle(RuleBasedStateMachine):
    """The rules.  After each of them the invariants are checked, at the end of this class."""

    def __init__(self, target: Target, home: Path, tally: Counter[str] | None = None) -> None:
        """A new project under `home`, with nothing started; `tally` counts the rules."""
        super().__init__()
        self.target = target
        self.tally = Counter[str]() if tally is None else tally
        self.root = Path(tempfile.mkdtemp(dir=home)).resolve()
        self.project = Project(self.root)
        self.project.create_directory()
        self.model = Model()
        self.children: dict[int, subprocess.Popen[str]] = {}
        self.connections: list[PlainConnection] = []
        self._edit()
        self._configure("stays")

    # Starting.

    @rule()
    @_step
    def start(self) -> None:
        starter = self._run(self.target.start(self.root))
        said = _line(starter)
        self._wait(starter)
        self._heard(said, self._answering)

    @rule()
    @_step
    def serve(self) -> None:
        self._serve()

    @rule(background=st.integers(0, 1), foreground=st.integers(2, 3))
    @_step
    def start_several_at_once(self, background: int, foreground: int) -> None:
        was_there, idled = self.model.owner, self.model.idles
        serving = [self._run(self.target.serve(self.root)) for _ in range(foreground)]
        starting = [self._run(self.target.start(self.root)) for _ in range(background)]
        said = {process.pid: _line(process) for process in (*serving, *starting)}
        assert set(said.values()) <= {"serving", "already running"}, said
        if not idled:  # else each may have left before the next one came
            served = [pid for pid, line in said.items() if line == "serving"]
            assert len(served) == (0 if was_there else 1), said
        for process in starting:
            self._wait(process)
        self._settle(has_served="serving" in said.values())
        for process in serving:
            if process.pid != self.model.owner:
                self._wait(process)

    @rule(point=_any_of("start_points", "sweep_points"), rival=st.booleans())
    @_step
    def kill_during_start(self, point: str, rival: bool) -> None:
        self._make_room()
        crashing = self._run(self.target.serve(self.root, crash_at=point))
        other = self._run(self.target.serve(self.root)) if rival else None
        said = _line(crashing)
        if said == "serving":  # there was nothing to sweep
            assert point in self.target.sweep_points, f"it passed {point!r}, and lives"
            crashing.kill()
        if said != "already running":
            self._wait(crashing, -signal.SIGKILL)
            self.model.ended(killed=True)
        if other is not None:
            # It may have been told "already running" by the one that was killed then.
            self._settle(has_served=_line(other) == "serving")
            if other.pid != self.model.owner:
                self._wait(other)
        if said == "already running":
            self._wait(crashing)

    @rule(point=_any_of("start_points"))
    @_step
    def terminate_during_start(self, point: str) -> None:
        self._make_room()
        process = self._run(self.target.serve(self.root, term_at=point))
        said = _line(process)
        assert said == "", f"{said}, after a SIGTERM"
        self._wait(process)
        self.model.ended()

    # Ending.

    @rule()
    @_step
    def kill(self) -> None:
        self._need_owner()
        self._kill_owner()

    @rule()
    @_step
    def stop(self) -> None:
        self._need_owner()
        with self._may_be_gone():
            self._ask("shutdown")
            self._end_owner()

    @rule()
    @_step
    def terminate(self) -> None:
        self._need_owner()
        self._terminate()

    @rule(point=_any_of("stop_points"), politely=st.booleans())
    @_step
    def kill_during_stop(self, point: str, politely: bool) -> None:
        self._make_room()
        process = self._run(self.target.serve(self.root, crash_at=point))
        assert _line(process) == "serving"
        self.model.started(process.pid)
        with suppress(Gone):  # idle already, and at the point
            if politely:
                self._ask("shutdown")
        if not politely:
            process.terminate()
        self._wait(process, -signal.SIGKILL)
        self.model.ended(killed=True)

    @rule(point=_any_of("stop_points"))
    @_step
    def terminate_during_stop(self, point: str) -> None:
        """Twice, that is."""
        self._make_room()
        process = self._run(self.target.serve(self.root, term_at=point))
        assert _line(process) == "serving"
        self.model.started(process.pid)
        self._terminate()

    @rule()
    @_step
    def restart(self) -> None:
        """Without waiting for the end of the one before."""
        self._need_owner()
        old = self.model.owner
        with self._may_be_gone():
            self._ask("shutdown")
        next_one = self._run(self.target.serve(self.root))
        said = _line(next_one)
        if self.model.owner == old:
            self._end_owner()
        if said == "serving":
            self.model.started(next_one.pid)
        else:  # it found the one before still answering
            assert said == "already running", said
            self._wait(next_one)

    @rule()
    @_step
    def leave_alone(self) -> None:
        """An idle daemon ends by itself, if it is configured to."""
        self._need_owner()
        self._configure("idles")
        self._configure("stays")

    @rule(name=st.sampled_from(sorted(CONFIGURATIONS)))
    @_step
    def configure(self, name: str) -> None:
        self._configure(name)

    # Asking.

    @rule()
    @_step
    def connect(self) -> None:
        """And stay connected, whatever becomes of the daemon."""
        self._need_owner()
        with self._may_be_gone():
            self.connections.append(PlainConnection(self.project.socket_path, TIMEOUT_S))
            assert self.connections[-1].pid == self.model.owner
        while len(self.connections) > _MAX_CONNECTIONS:
            self.connections.pop(0).close()

    @rule()
    @_step
    def ping(self) -> None:
        """On the connections that were kept: each leads to its own daemon, or nowhere."""
        for connection in self.connections:
            if connection.pid == self.model.owner:
                with self._may_be_gone():
                    assert connection.ask("ping", read=_pid) == self.model.owner
            else:
                with suppress(Gone):
                    pid = connection.ask("ping", read=_pid)
                    raise AssertionError(f"{pid} still answers")

    @rule(method=st.sampled_from(["query", "query_fts", "query_hybrid"]), fresh=st.booleans())
    @_step
    def query(self, method: str, fresh: bool = False) -> None:
        self._need_owner()
        with self._may_be_gone():
            self._query(method, fresh=fresh and self.target.is_fresh)

    @rule()
    @_step
    def clear_cache(self) -> None:
        if self.model.owner:
            with self._may_be_gone():
                self._ask("clear_cache")

    # Writing.

    @rule()
    @_step
    def edit(self) -> None:
        """And have nothing indexed."""
        self._edit()

    @rule()
    @_step
    def edit_and_poll(self) -> None:
        """A daemon that watches needs no command."""
        if not self.target.is_fresh:
            return
        self._configure("default")  # what is evicted meanwhile is looked at anew
        self._need_owner()
        if (0, "") in self.model.live:  # there may be nothing to be kept up to date
            return
        self._edit()
        deadline = SYSTEM.monotonic() + VISIBLE_S
        with self._may_be_gone():
            while (self.model.edition, self.model.edition) != self._query("query_fts"):
                assert SYSTEM.monotonic() < deadline, "it was saved, and nobody indexes it"
                SYSTEM.sleep(_CHECK_S / 2)

    @rule(edit=st.booleans())
    @_step
    def index(self, edit: bool) -> None:
        """Through the daemon."""
        self._need_owner()
        if edit:
            self._edit()
        with self._may_be_gone():
            self.model.writer_was_killed()  # for all that is known until the answer is there
            generation = self._ask("index", str(self.root), read=lambda said: said["generation"])
            self.model.indexed(str(generation))

    @rule(edit=st.booleans(), full=st.booleans())
    @_step
    def index_elsewhere(self, edit: bool, full: bool) -> None:
        """By another process."""
        if edit:
            self._edit()
        self._written(self._run(self.target.build(self.root, full=full)))

    @rule(point=_any_of("publish_points"))
    @_step
    def kill_during_publish(self, point: str) -> None:
        self._need_owner()  # who is asked at once what there is then
        self._edit()
        self._written(self._run(self.target.build(self.root, crash_at=point)))

    @rule()
    @_step
    def kill_during_index(self) -> None:
        """The daemon, in the middle of a build; which must not outlive it."""
        self._need_owner()
        self._edit()
        with self._may_be_gone(), connected(self.project.socket_path, TIMEOUT_S) as connection:
            connection.begin_index(self.root)
            self._kill_owner()
            for pid in self.processes():
                _wait_for_end(pid)
            self.model.writer_was_killed()

    # What the rules are made of.

    def _edit(self) -> None:
        """Two files, so that half an index can be told from a whole one."""
        self.model.edition += 1
        for name in ("a", "b"):
            text = f'def {name}():\n    """edition_{self.model.edition} of {name}"""\n'
            (self.root / f"{name}.py").write_text(text)

    def _configure(self, name: str) -> None:
        if self.model.idles and self.model.owner:
            # It will leave.  Else it would not be known which of the two it goes by.
            self._end_owner()
        block = {**CONFIGURATIONS[name], "eviction_check_interval_seconds": _CHECK_S}
        watch = bool(block.pop("watch"))
        if self.target.is_fresh:
            block["watch"] = watch
        new = self.root / "config.new"
        new.write_text(json.dumps({"daemon": block}))
        new.replace(self.project.config_path)
        self.model.configured(idles=name == "idles", watch=watch and self.target.is_fresh)

    def _run(self, command: Command) -> subprocess.Popen[str]:
        arguments, environment = command
        process = subprocess.Popen(
            arguments,
            env={**environment, _MARK: str(self.root)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
        )
        self.children[process.pid] = process
        return process

    def _wait(self, process: subprocess.Popen[str], status: int = 0) -> str:
        """Until our child has ended, as it should; returns the rest of what it said."""
        _wait_for_end(process.pid)
        assert process.stdout is not None
        with process.stdout:
            rest = process.stdout.read()
        del self.children[process.pid]
        assert process.wait() == status, f"process {process.pid}: {process.returncode}"
        return rest

    def _serve(self) -> None:
        process = self._run(self.target.serve(self.root))
        said = _line(process)
        self._heard(said, lambda: process.pid)
        if said == "already running":
            self._wait(process)

    def _heard(self, said: str, find_pid: Callable[[], int]) -> None:
        """What one starter said, and nobody else is starting."""
        assert said in ("serving", "already running"), said
        if said == "already running":
            assert self.model.owner, "already running? nobody is"
            return
        if self.model.owner:
            self._owner_has_left()
        owner = find_pid()
        assert owner or self.model.idles, "it says that it serves, and nobody is reached"
        self.model.started(owner)

    def _settle(self, *, has_served: bool) -> None:
        """After several starters: whoever answers now owns."""
        owner = self._answering()
        if self.model.owner and owner != self.model.owner:
            self._owner_has_left()
        if has_served and not self.model.owner:
            assert owner or self.model.idles, "it says that it serves, and nobody is reached"
            if owner:
                self.model.started(owner)

    def _need_owner(self) -> None:
        if not self.model.owner:
            self._serve()

    def _make_room(self) -> None:
        if self.model.owner:
            self._terminate()

    def _kill_owner(self) -> None:
        pid = self.model.owner
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self._end_owner(killed=True)

    def _terminate(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.model.owner, signal.SIGTERM)
        self._end_owner()

    def _end_owner(self, *, killed: bool = False) -> None:
        """The owner ends, or has ended."""
        pid = self.model.owner
        _wait_for_end(pid)
        if pid in self.children:
            # One that idles may have been quicker than the signal.
            is_first = killed and not (self.model.idles and self.children[pid].wait() == 0)
            self._wait(self.children[pid], -signal.SIGKILL if is_first else 0)
        self.model.ended(killed=killed)

    @contextmanager
    def _may_be_gone(self) -> Iterator[None]:
        try:
            yield
        except Gone as gone:
            self._owner_has_left(gone)

    def _owner_has_left(self, how: object = "") -> None:
        assert self.model.idles, f"the owner {self.model.owner} is not reached: {how}"
        self._end_owner()

    def _written(self, writer: subprocess.Popen[str]) -> None:
        _wait_for_end(writer.pid)
        if writer.wait() == -signal.SIGKILL:
            self._wait(writer, -signal.SIGKILL)
            self.model.writer_was_killed()
        else:
            self.model.indexed(json.loads(self._wait(writer))["generation"])

    def _ask(
        self,
        method: str,
        *arguments: object,
        read: Callable[[Any], T] | None = None,
        **options: object,
    ) -> Any:
        with connected(self.project.socket_path, TIMEOUT_S) as connection:
            return connection.ask(method, *arguments, read=read, **options)

    def _query(self, method: str, *, fresh: bool = False) -> tuple[int, int]:
        """One query; the editions of the two files that it found."""
        options = {"fresh": True} if fresh else {}
        try:
            found = self._ask(method, str(self.root), "edition", read=_found, **options)
        except Exception as error:
            if getattr(error, "kind", "") != "no_index":
                raise
            self.model.answered(0, "")
            return 0, 0
        oldest, newest = found.editions
        if self.target.is_fresh:
            for edition, stale in found.hits:
                wanted = edition != self.model.edition
                assert stale == wanted, f"edition {edition} of {self.model.edition}: stale: {stale}"
        if fresh:
            assert found.fresh, "asked for a fresh answer, and got none"
            self.model.answered_freshly(oldest, found.generation)
        else:
            self.model.answered(oldest, found.generation, newest)
        return oldest, newest

    def _answering(self) -> int:
        """The process that answers at the path; 0 if nobody does."""
        with suppress(Gone), connected(self.project.socket_path, TIMEOUT_S) as connection:
            pid = connection.ask("ping", read=_pid)
            assert pid == connection.pid, f"{connection.pid} listens, {pid} answers"
            return int(pid)
        return 0

    def processes(self) -> list[int]:
        """All that we have started, and what those have started, and that has not ended."""
        mark = os.fsencode(f"{_MARK}={self.root}")
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    # The invariants.

    def check(self) -> None:
        """Raises `AssertionError` for what may not be, whatever has happened."""
        self.the_owner_answers_and_nobody_else()
        self.the_owner_lives_and_nobody_else()
        self.the_index_is_one_that_may_answer()
        self.nothing_lies_about()

    def the_owner_answers_and_nobody_else(self) -> None:
        answering = self._answering()
        if self.model.owner and not answering:
            self._owner_has_left()
        assert answering == self.model.owner, f"{answering} answers, not {self.model.owner}"

    def the_owner_lives_and_nobody_else(self) -> None:
        # Whoever found another one running may still be on the way out.
        for pid in self.processes():
            if pid != self.model.owner:
                _wait_for_end(pid)

    def the_index_is_one_that_may_answer(self) -> None:
        if self.model.owner:
            with self._may_be_gone():
                self._query("query_fts")

    def nothing_lies_about(self) -> None:
        sockets, halves = self.target.sockets(self.root), self.target.halves(self.root)
        for _ in range(_RUNS):
            if not (halves and self.model.watches):
                break
            # Of a run that nobody asked for, perhaps; the next one removes what a killed one left.
            self.the_index_is_one_that_may_answer()
            self.the_owner_lives_and_nobody_else()
            halves = self.target.halves(self.root)
        if not self.model.may_leave_socket:
            wanted = ["daemon.sock"] if self.model.owner else []
            has_left = self.model.idles and sockets == []
            assert has_left or sockets == wanted, f"{sockets} lie there, and not {wanted}"
        assert self.model.may_leave_halves or halves == [], f"{halves} lie there"

    def teardown(self) -> None:
        # Nothing more is asked of a daemon that has failed already.
        failed = sys.exc_info()[0] is not None
        try:
            if self.model.owner and not failed:
                self._terminate()
                self.the_owner_lives_and_nobody_else()
                self.nothing_lies_about()
        finally:
            self._clean_up()

    def _clean_up(self) -> None:
        for connection in self.connections:
            connection.close()
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            _wait_for_end(pid)
        for process in self.children.values():
            assert process.stdout is not None
            process.stdout.close()
            process.wait()
        shutil.rmtree(self.root)


def _pid(answer: Any) -> int:
    return int(answer["pid"])


@dataclass
class _Found:
    """What an answer says."""

    generation: str
    fresh: bool
    #: Of each file, its edition, and whether the hit says that it is stale.
    hits: list[tuple[int, bool]]

    @property
    def editions(self) -> tuple[int, int]:
        """The oldest, and the newest."""
        editions = [edition for edition, _ in self.hits]
        return min(editions), max(editions)


def _found(answer: Any) -> _Found:
    """What an answer says, which must be of both files."""
    hits = {
        hit["path"]: (
            int(re.findall(r"edition_(\d+)", hit["snippet"])[0]),
            bool(hit.get("stale", False)),
        )
        for hit in answer["results"]
    }
    assert set(hits) == {"a.py", "b.py"}, f"half an index: {hits}"
    return _Found(str(answer["generation"]), answer.get("fresh") is True, list(hits.values()))


def _line(process: subprocess.Popen[str]) -> str:
    """The next line that a process says; "" if it ends without.  Waits, but not for ever."""
    assert process.stdout is not None
    if not _is_readable(process.stdout):
        raise AssertionError(f"process {process.pid} says nothing")
    return process.stdout.readline().strip()


def _wait_for_end(pid: int) -> None:
    """Until a process, whoever's child it is, has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert _is_readable(fd), f"process {pid} does not end"
    finally:
        os.close(fd)


def _is_readable(file: int | IO[str]) -> bool:
    poller = select.poll()
    poller.register(file, select.POLLIN)
    return bool(poller.poll(TIMEOUT_S * 1000))


def check_lifecycle(
    target: Target, home: Path, *, steps: int, seed: int = 0, shrink: bool = False
) -> Counter[str]:
    """Have `target` live through at least `steps` steps, with each rule among them, of projects
    made in `home`.

    The steps are the same for the same `seed`.  Returns how often each rule was executed.  Raises
    what was found, and hypothesis prints the steps that led to it; with `shrink`, as few as it
    finds, which takes minutes.
    """
    tally = Counter(dict.fromkeys(_RULES, 0))

    def machine() -> Lifecycle:
        return Lifecycle(target, home, tally)

    # Hypothesis leaves some rules out of each example, and ends some early: what is missing then
    # is made up for.
    for more in count(1000 * seed):
        hypothesis.seed(more)(machine)
        missing = max(steps - tally.total(), 0 if all(tally.values()) else 1)
        if not missing:
            break
        # It is called and nothing else, so that it need not be the class itself.
        run_state_machine_as_test(
            machine,  # type: ignore[arg-type]
            settings=_settings(missing, shrink=shrink),
        )

    return tally


def _settings(steps: int, *, shrink: bool) -> settings:
    return settings(
        # The first example is not random: it has the first rule in all its steps.
        max_examples=-(-steps // _STEPS_PER_EXAMPLE) + 1,
        stateful_step_count=_STEPS_PER_EXAMPLE,
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
