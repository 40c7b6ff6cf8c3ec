"""The named places where threads or processes meet, or may die: all of them, a sentence each.

The code passes them by `Runtime.step`.  An explorer switches threads there, a crash test ends the
process there, and a fake runtime calls a test's function there.  Each member says what is true when
a thread is at that place.  A new place gets a member here, and a test that reaches it.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Operation", "Step"]


class Step(StrEnum):
    """A place; it compares equal to its name."""

    sentence: str

    def __new__(cls, name: str, sentence: str) -> Step:
        step = str.__new__(cls, name)
        step._value_ = name
        step.sentence = sentence
        return step

    # The cache.
    LOADED = "loaded", "A load has read its generation, which is not installed yet."
    JOINED = "joined", "A query has joined another one's load, and does not wait yet."

    # An index run, as the daemon sees it.
    RUN_ASKED = "run asked", "A request has joined an index run, or has begun one."
    RUN_CLOSED = "run closed", "A run is about to scan: later requests begin another one."

    # Reading a generation.
    OPENING = "open generation", "A load knows which generation it will open."
    OPENED = "opened", "A lease has its generation's directory open, and no lock on it yet."

    # Writing one.
    DIRECTORY_OPENED = "directory opened", "A writer has the directory open, and no lock yet."
    BEGUN = "begun", "The directory of a new generation has been made, and is empty."
    WRITTEN = "written", "All its files but the manifest have been written."
    UNSEALED = "unsealed", "The manifest is about to be written."
    SEALED = "sealed", "Manifest and files are on disk."
    RENAMED = "renamed", "The new generation has its name, and is not live."
    LINKED = "linked", "The new link has been made under another name."
    PUBLISHED = "published", "The new generation is live, and on disk so."
    SWEPT = "swept", "A sweep has dealt with one entry."
    HALF_REMOVED = "half removed", "A generation that is being removed has no manifest any more."

    # Being a project's one daemon.
    LOCK_OPENED = "lock opened", "The lock's file is open, and not locked yet."
    CLAIMED = "claimed", "This process holds the project."
    BOUND = "bound", "The socket is bound under another name."
    LISTENING = "listening", "The socket accepts, and cannot be found yet."
    REACHABLE = "reachable", "Clients find the socket."
    LEAVING = "leaving", "The socket is about to lose its name."
    UNLINKED = "unlinked", "Clients find no daemon; the project is still held."


class Operation(StrEnum):
    """A change of the file system, told before it is made (`Runtime.operation`): a test can have
    the n-th one fail, or the process die there."""

    MKDIR = "mkdir"
    CREATE = "create"
    WRITE = "write"
    SYNC = "sync"
    CHMOD = "chmod"
    RENAME = "rename"
    SYMLINK = "symlink"
    LINK = "link"
    UNLINK = "unlink"
    RMDIR = "rmdir"
    ENGINE = "engine"
