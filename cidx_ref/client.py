"""The client: one project's daemon as an object, however often its connection is lost.

It starts a daemon where none answers, replaces one of another version, and repeats a call whose
connection was lost, with the configured back-off.  Each process that is forked has a connection of
its own.  How one call is made is the matter of `backend`, and how daemons are started and stopped
that of `launcher`, which is imported when it is needed; nothing of the daemon or the index is
imported here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from cidx_ref._version import __version__
from cidx_ref.backend import (
    Backend,
    ConnectionLostError,
    InProcess,
    NotListeningError,
    Progress,
    Remote,
    encode,
    harmless,
    listed,
    patience,
    understood,
)
from cidx_ref.config import Config
from cidx_ref.errors import (
    BadArgumentError,
    BusyError,
    CidxError,
    DaemonUnavailableError,
    InternalError,
    ReplacedError,
    ShuttingDownError,
)
from cidx_ref.limits import check_length
from cidx_ref.project import Project
from cidx_ref.results import Answer
from cidx_ref.runtime import SYSTEM, Runtime, get_ident

if TYPE_CHECKING:
    from cidx_ref.reports import (
        CacheCleared,
        Diagnostics,
        Health,
        IndexReport,
        Metrics,
        Ping,
        Skipped,
        Status,
    )
    from cidx_ref.turns import Turn

__all__ = ["DaemonClient", "connect"]

T = TypeVar("T")

_METHODS = {"hybrid": "query_hybrid", "semantic": "query", "fts": "query_fts",
            "literal": "query_literal", "regex": "query_regex"}  # fmt: skip


def connect(
    project: str | os.PathLike[str] | None = None,
    *,
    start: bool = True,
    timeout_s: float = 30.0,
    runtime: Runtime = SYSTEM,
) -> DaemonClient:
    """A client of the daemon of the project around `project` (default: the working directory);
    with `start`, one is started if none answers.

    A root of another user's is passed over, with a warning, unless `project` names it.
    `timeout_s` bounds every call but `index`.  Where the configuration says `enabled: false`, the
    client answers in this process.  Raises `DaemonUnavailableError`, `ConfigError`,
    `BadArgumentError` and `UntrustedError`.
    """
    found = Project.around("." if project is None else project, consent=project is not None)
    return DaemonClient(found, start=start, timeout_s=timeout_s, runtime=runtime)


class DaemonClient:
    """One connection to one project's daemon.

    A lost connection is made anew, and the call repeated, as often as the configuration's
    `max_retries` says.  Thread-safe, but one call at a time: use one client a thread to have
    them answered at once.  Any method raises `DaemonUnavailableError` if all tries fail.

    After a fork the child's client makes a connection of its own with its next call, also if the
    fork was in the middle of one.  That call ends in the parent only.
    """

    def __init__(
        self,
        project: Project,
        *,
        start: bool = True,
        timeout_s: float = 30.0,
        launch: Callable[[Project], object] | None = None,
        runtime: Runtime = SYSTEM,
    ) -> None:
        """See `connect`.  `launch` starts a daemon, and returns once it accepts connections; by
        default `launcher.start_process`."""
        project.check()
        self.project = project
        self.config = Config.load(project.config_path)
        self._start = start
        self._launch = launch
        self._timeout_s = timeout_s
        self._runtime = runtime
        self._lock = runtime.lock("client")
        self._caller: int | None = None
        self._backend: Backend | None = None
        #: Held from when a daemon is to be started or ended until the call is over.
        self._turn: Turn | None = None
        _clients.add(self)
        self._retrying(lambda: None)

    def query(
        self,
        text: str,
        *,
        mode: str = "hybrid",
        limit: int = 10,
        languages: Iterable[str] = (),
        paths: Iterable[str] = (),
        exclude_paths: Iterable[str] = (),
        ignore_case: bool = False,
        fresh: bool = False,
        timeout_s: float | None = None,
        explain: bool = False,
        source: str | None = None,
    ) -> Answer:
        """Search.  `mode` is "hybrid", "semantic" or "fts"; or "literal" or "regex" (RE2's syntax),
        for exact lines, with `ignore_case` in any case; `languages` are names like "python",
        `paths` and `exclude_paths` patterns as in .gitignore.  With `fresh`, the answer is from an
        index that holds every change made before this call; if that is not to be had within
        `timeout_s` (0.05 to 3600; default: 60), it is the one that is there, and `fresh` is False.
        With `explain`, each hit says what made its score (`Hit.signals`).  `source` is whose index
        is to answer: "own", or "cidx", that of the full cidx; None: ours if there is one.

        Raises `NoIndexError`, `IndexUnusableError`, `BadArgumentError`.
        """
        if mode not in _METHODS:
            raise BadArgumentError(f"mode: {mode[:100]!r}: must be one of {', '.join(_METHODS)}")
        check_length(text)
        filters = {"languages": languages, "paths": paths, "exclude_paths": exclude_paths}
        others = {"ignore_case": ignore_case, "explain": explain, "fresh": fresh,
                  "timeout_s": timeout_s, "source": source}  # fmt: skip
        arguments = {"project_path": str(self.project.root), "query": text, "limit": limit}
        arguments |= {name: listed(name, value) for name, value in filters.items() if value}
        arguments |= {name: v for name, v in others.items() if v is not None and v is not False}
        answer = self._call(_METHODS[mode], arguments, more_s=patience(timeout_s) if fresh else 0)
        try:
            return Answer.from_dict(answer)
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # of another kind
            raise InternalError(
                f"what the daemon answered cannot be read ({type(error).__name__}: {error}): "
                "an answer has `results`, `mode`, `generation` and `took_ms`"
            ) from None

    def index(
        self,
        *,
        progress: Progress | None = None,
        full: bool = False,
        wait_s: float | None = None,
        keep_unverified: bool = False,
    ) -> IndexReport:
        """Bring the index up to date, and return what it then holds.

        Once this has returned, every later query answers from it.  Indexes here that this account
        has not made are removed, and named under `removed`, except with `keep_unverified`; `notes`
        has what a user should know of the run, a sentence each.  Raises `BusyError` if another
        writer is not done after `wait_s` seconds (None: wait for it), `IndexingError`.
        """
        arguments = {
            "project_path": str(self.project.root),
            "full": full,
            "wait_s": wait_s,
            "keep_unverified": keep_unverified,
        }
        answer: IndexReport = self._call("index", arguments, progress)
        return answer

    def status(self) -> Status:
        """What is cached, how old the index on disk is, and who answers."""
        answer: Status = self._call("get_status", {})
        return answer

    def health(self) -> Health:
        """Whether the daemon is well, judged over the last five minutes."""
        answer: Health = self._call("get_health", {})
        return answer

    def metrics(self) -> Metrics:
        """Counts of calls, loads, hits and evictions since the daemon's start."""
        answer: Metrics = self._call("get_metrics", {})
        return answer

    def diagnostics(self) -> Diagnostics:
        """What is in flight, threads, versions and limits; and whether the files on disk still are
        what their manifest says, for which the daemon reads all of them."""
        answer: Diagnostics = self._call("get_diagnostics", {})
        return answer

    def skipped(self) -> Skipped:
        """What the last index run left out: files and whole folders, each with the reason."""
        answer: Skipped = self._call("get_skipped", {})
        return answer

    def clear_cache(self) -> CacheCleared:
        """Have the daemon forget the loaded index; the next query loads it anew."""
        answer: CacheCleared = self._call("clear_cache", {})
        return answer

    def ping(self) -> Ping:
        """Who answers: process, version and project."""
        answer: Ping = self._call("ping", {})
        return answer

    def shutdown(self) -> None:
        """Stop the daemon, and wait until its process has ended.

        It answers what is in flight first.  Does nothing if there is none.  Raises
        `DaemonUnavailableError` if it has not ended after 40 seconds.
        """
        from cidx_ref.launcher import stop

        with self._one_call():
            self._drop()
            stop(self.project, self._runtime)

    def close(self) -> None:
        """End the connection; the daemon goes on.  The next call would make a new connection."""
        with self._one_call():
            self._drop()

    def __enter__(self) -> DaemonClient:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _call(
        self, method: str, arguments: Any, progress: Progress | None = None, *, more_s: float = 0
    ) -> Any:
        timeout_s = None if method == "index" else self._timeout_s + more_s
        text, callback = encode(arguments), harmless(progress)

        def ask() -> Any:
            assert self._backend is not None
            told = self._backend.call(method, text, callback, timeout_s)
            return understood(method, told, self._backend.who)

        # An index run has waited for a busy writer already; and a user who has a daemon stopped
        # means its index run, too.
        return self._retrying(ask, if_refused=method != "index")

    def _retrying(self, ask: Callable[[], T], *, if_refused: bool = True) -> T:
        worth_another_try: tuple[type[CidxError], ...] = (ConnectionLostError, ReplacedError)
        if if_refused:
            worth_another_try += (BusyError, ShuttingDownError)
        pid = os.getpid()
        with self._one_call(with_turn=not if_refused):
            for delay_ms in (*self.config.delays_ms(), None):  # after each try that failed
                try:
                    self._be_connected()
                    return ask()
                except (BusyError, DaemonUnavailableError, ShuttingDownError) as error:
                    # Also one that is busy: it may have room for another connection next.
                    if not isinstance(self._backend, InProcess):
                        self._drop()
                    if delay_ms is None or not isinstance(error, worth_another_try):
                        raise
                    if os.getpid() != pid:  # forked in a callback, which has returned
                        raise
                self._runtime.sleep(delay_ms / 1000)
        raise AssertionError("the last delay is None")

    @contextmanager
    def _one_call(self, *, with_turn: bool = False) -> Iterator[None]:
        if self._caller == get_ident():
            raise BusyError("a call of this client is under way: a callback needs one of its own")
        with self._lock:
            self._caller = get_ident()
            try:
                if with_turn and self.config.enabled:
                    self._take_turn()
                yield
            finally:
                turn, self._turn, self._caller = self._turn, None, None
                if turn is not None:
                    turn.release()

    def _be_connected(self) -> None:
        # A daemon ends a connection that is silent for long: this is none of its tries.
        if self._backend is not None and self._backend.has_ended():
            self._drop()
        if self._backend is None:
            self._backend = self._connect()

    def _connect(self) -> Backend:
        if not self.config.enabled and self._start:
            return InProcess(self.project)
        try:
            found = self._find()
        except (ConnectionLostError, ShuttingDownError) as error:  # no daemon, or it is going
            if self._start:
                return self._take_over()
            if not isinstance(error, NotListeningError):
                raise
            raise DaemonUnavailableError(f"no daemon is running for {self.project.root}") from None
        if isinstance(found, Remote):
            return found
        if not self._start:
            raise DaemonUnavailableError(
                f"the daemon that runs is of version {found}, this is {__version__}"
            )
        return self._take_over()

    def _find(self) -> Remote | str:
        """The daemon that answers; the version of one that is to be replaced, and not to be talked
        to: what its answers mean is not known."""
        remote = Remote(self.project)
        try:
            version, root = remote.ask_identity(self._timeout_s)
            if version == __version__ and not self.project.is_at(root):
                # The directory was moved here, and its daemon has not noticed yet that it must end.
                raise NotListeningError(f"the daemon that answers serves {root}")
        except BaseException:
            remote.close()
            raise
        if version == __version__:
            return remote
        remote.close()
        return version

    def _take_turn(self) -> None:
        """Keep clients of other versions from ending the daemon in this call, if they have not
        begun to: an index run is not repeated."""
        self._own_turn().try_take()

    def _own_turn(self) -> Turn:
        """The turn of this call, which may not be taken yet."""
        from cidx_ref.turns import Turn

        if self._turn is None:
            self._turn = Turn(self.project, self._runtime)
        return self._turn

    def _take_over(self) -> Remote:
        from cidx_ref.launcher import start_process, stop
        from cidx_ref.turns import take_over

        launch = self._launch or start_process
        return take_over(
            self._own_turn(),
            self._find,
            lambda: launch(self.project),
            lambda: stop(self.project, self._runtime),
            patience_s=self._timeout_s,
            runtime=self._runtime,
        )

    def _drop(self) -> None:
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.close()
        self.project = self.project.anew()  # the next one may have its files elsewhere

    def _begin_anew(self) -> None:
        """In a forked child, whose only thread this is: the lock's owner may be in the parent."""
        backend, self._backend = self._backend, None
        turn, self._turn = self._turn, None
        self._lock, self._caller = self._runtime.lock("client"), None
        if turn is not None:
            turn.leave()
        if backend is not None:
            backend.leave()


#: Every client of this process, for when it forks.
_clients: WeakSet[DaemonClient] = WeakSet()


def _after_fork() -> None:
    # In the child, which has one thread yet: no other thread can be in a call.
    for client in list(_clients):
        client._begin_anew()


os.register_at_fork(after_in_child=lambda: _after_fork())
