"""What may be so after each step of a daemon's life: who owns the path, which edition of the files
may be in an answer, and what a kill may have left behind.

The model is written apart from all daemons.  What it does not allow is a `Violation` of the promise
that the last events were about.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Model", "Violation"]


class Violation(AssertionError):  # noqa: N818 - what was found
    """A promise is broken; the words say what was seen."""

    def __init__(self, promise: str, words: str) -> None:
        super().__init__(words)
        self.promise = promise


@dataclass
class Model:
    """What may be so.  An edition is a state of the project's files; 0 is "no index"."""

    #: The process that owns the path; 0: nobody may be serving.
    owner: int = 0
    #: The owner ends by itself when it is idle: it may be gone at any moment.
    idles: bool = False
    #: Of the files in the project.
    edition: int = 0
    #: The editions of the indexes that may answer now.
    live: set[int] = field(default_factory=lambda: {0})
    #: No answer is newer than what was indexed.  Otherwise a daemon may read the files by itself.
    is_exact: bool = False
    #: The next daemon is to watch the files,
    is_watch_wanted: bool = False
    #: which the owner does: it indexes by itself what it sees, and there are files of such a run,
    #: at any moment.
    watches: bool = False
    #: The edition up to which an owner before may have brought the index by itself.
    reach: int = 0
    #: A daemon was killed, and none has started since.
    may_leave_socket: bool = False
    #: A writer was killed, and none has written and no daemon has started since.
    may_leave_halves: bool = False
    #: The owner was asked while there was no index.
    has_failed: bool = False
    #: The promise that is broken by an answer of an old edition,
    about_old: str = "CACHE-8"
    #: and by one of no whole edition.
    about_half: str = "WRITE-2"

    def started(self, pid: int) -> None:
        self.owner, self.watches = pid, self.is_watch_wanted
        self.may_leave_socket = self.may_leave_halves = False

    def ended(self, *, killed: bool = False, indexes: bool = True) -> None:
        if self.watches:  # and a run of its own may have ended with it
            self.reach, self.may_leave_halves = self.edition, True
        self.owner, self.watches, self.has_failed = 0, False, False
        self.may_leave_socket |= killed
        if killed and indexes:
            self.about_old = self.about_half = "WRITE-3"

    def indexed(self, *, by_daemon: bool) -> None:
        # Who had no index, and still says so, remembers that a load has failed.
        elsewhere = "CACHE-2" if self.has_failed and 0 in self.live else "CACHE-8"
        self.live = {self.edition}
        self.may_leave_halves = False
        self.about_old, self.about_half = "CACHE-5" if by_daemon else elsewhere, "WRITE-2"

    def writer_was_killed(self) -> None:
        # The old one or the new one, and the next answer tells which.
        self.live = {*self.live, self.edition}
        self.may_leave_halves = True
        self.about_old = self.about_half = "WRITE-3"

    def answered(self, oldest: int, newest: int | None = None) -> None:
        """Raises `Violation` for an answer that may not be.

        It is of one edition; or of two, up to the `newest`, as where files are saved while an index
        run reads them.
        """
        newest = oldest if newest is None else newest
        if not self._is_allowed(oldest, newest):
            promise = self.about_old if oldest == newest else self.about_half
            found = str(oldest) if oldest == newest else f"{oldest} and {newest}"
            raise Violation(
                promise, f"it answers with edition {found} of {self.edition}, not of {self._may()}"
            )
        self.live = {oldest}
        self.has_failed |= oldest == 0

    def answered_freshly(self, edition: int) -> None:
        """The same, where the query wanted it fresh."""
        if edition == 0 and 0 in self.live:  # and none was promised to be made
            return
        if edition != self.edition:
            raise Violation(
                "FRESH-2", f"it answers with edition {edition}, asked for fresh {self.edition}"
            )
        self.live = {edition}

    def _is_allowed(self, oldest: int, newest: int) -> bool:
        first = min(self.live)
        if oldest == newest and oldest in self.live:
            return True
        # A run that nobody asked for makes a new index of what has changed, and of nothing else.
        reach = self.edition if self.watches else self.reach
        if first <= oldest and first < newest <= reach:
            return True
        return not self.is_exact and first <= oldest == newest <= self.edition

    def _may(self) -> str:
        return " or ".join(map(str, sorted(self.live)))
