"""Turns: clients of several versions share one project, and each has its daemon for a while.

A client talks to a daemon of its own version only, and ends another one.  Two versions that ask at
once could end each other's daemons before anybody is answered.  So a client has to have the turn to
end a daemon, or to start one, and keeps it until it has its answer:

1.  The turn is an exclusive `flock` on `.code-indexer/turn.lock`, a file that its holder removes in
    the end.  The kernel gives it back when a process dies.
2.  While another client has it, one waits; if the daemon that answers comes to be of one's own
    version, no turn is needed to ask it.
3.  A holder that had to wait lets the daemon that it will end answer for another half a second.
    So many queries share a change of daemons, which takes as long.
4.  The wait is bounded: a holder that is stopped or hangs costs time, and then is passed over.

A query that finds a daemon of its own version imports nothing of this.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from cidx_ref import _version
from cidx_ref.backend import ConnectionLostError
from cidx_ref.errors import CidxError, DaemonUnavailableError, ShuttingDownError
from cidx_ref.locks import try_lock
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["TURN", "Turn", "take_over"]

TURN = "turn.lock"
#: How long the daemon of another version may still answer, where its clients have to wait, too.
TENURE_S = 0.5
_POLL_S = 0.02
#: So often another version's daemon may be found where one's own was started, until it is an error.
_STARTS = 3

T = TypeVar("T")


class Turn:
    """The right to end and start a project's daemon, from `try_take` to `release`."""

    def __init__(self, project: Project, runtime: Runtime = SYSTEM) -> None:
        self._project = project
        self._runtime = runtime
        self._fd = -1

    def try_take(self) -> bool:
        """Have the turn; False if another client has it.  Raises `UntrustedError`."""
        if self._fd >= 0:
            return True
        try:
            with self._project.open(create=True, runtime=self._runtime) as directory:
                fd = directory.open_for_append(TURN)
        except OSError:  # nothing can be written: no daemon can be started either, which says why
            return True
        if try_lock(fd, self._project.directory / TURN):
            self._fd = fd
            return True
        os.close(fd)
        return False

    def release(self) -> None:
        """Let the next client have it."""
        if self._fd < 0:
            return
        # The name first.  A client that has the file open, and locks it later, sees that it has no
        # name any more (`try_lock`).
        with (
            suppress(CidxError, OSError),
            self._project.open(runtime=self._runtime) as directory,
        ):
            found = directory.status(TURN)
            if found is not None and os.path.samestat(found, os.fstat(self._fd)):
                directory.unlink(TURN)
        self.leave()

    def leave(self) -> None:
        """In a forked child: it is the parent's, which must not notice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def take_over(
    turn: Turn,
    find: Callable[[], T | str],
    start: Callable[[], object],
    stop: Callable[[], object],
    *,
    patience_s: float,
    runtime: Runtime = SYSTEM,
) -> T:
    """A connection to a daemon of this version, which is started if need be; `turn` may be taken.

    `find` gives a connection, or the version of the daemon that answers; `start` and `stop` return
    when it is done.  Another client's turn is waited for for `patience_s` seconds.
    Raises what `find` raises of the daemon that was started, `DaemonUnavailableError` if it is of
    another version each time, and what `start` and `stop` raise.
    """
    deadline = runtime.monotonic() + patience_s
    had_to_wait, starts = False, 0
    while True:
        has_turn = turn.try_take()
        found = _found(find)
        if not isinstance(found, str | CidxError):
            return found
        if not has_turn and runtime.monotonic() < deadline:
            had_to_wait = True
            runtime.sleep(_POLL_S)
            continue
        if isinstance(found, CidxError) and starts:  # the client waits before its next try
            raise found
        if starts == _STARTS:
            raise DaemonUnavailableError(
                f"a daemon of version {found} is started each time: if cidx-ref was replaced, "
                "start this program again"
            )
        # Else it would end a daemon whose like it can no longer start, with each call.
        _require_installed()
        if isinstance(found, str):
            if had_to_wait:
                runtime.sleep(TENURE_S)
            stop()
        start()
        starts += 1


def _require_installed() -> None:
    """Raise `DaemonUnavailableError` if what is installed is another version than this process is
    of, or nothing: it would be what is started."""
    place = Path(_version.__file__)
    try:
        text = place.read_text("utf-8", "replace")
    except OSError as error:
        problem = f"{place}: {error.strerror}"
    else:
        if f'"{_version.__version__}"' in text:
            return
        problem = f"{place} is of another version than this program"
    raise DaemonUnavailableError(
        f"no daemon can be started: {problem}; if cidx-ref was installed anew, "
        "start this program again"
    )


def _found(find: Callable[[], T]) -> T | CidxError:
    try:
        return find()
    except (ConnectionLostError, ShuttingDownError) as error:  # no daemon, or it is going
        return error
