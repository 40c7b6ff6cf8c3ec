"""Where a project's files lie: in its tree, or below a directory of the user's own.

Usually everything is in the tree's `.code-indexer/`.  A setting of the user's puts it elsewhere:
`CIDX_REF_INDEX_DIR`, else `index_directory` in the user's own `config.json`.  Where there is no
setting and the tree cannot be written, an index in it is read there, and the daemon's files go
below the state directory.  Every client and every daemon of the user goes by this rule, so they
meet.  Nothing of it comes from the tree.

Whether the tree can be written may change while a daemon serves: a flag, a mount, a permission.  A
daemon that has its files in the tree keeps it then, and is found there (`is_served`); one that has
them in the state directory ends, and makes room for one in the tree.

A query from the shell imports this, so it imports little, and asks the system little.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cidx_ref.errors import ConfigError
from cidx_ref.shown import owner_name, shown

__all__ = [
    "DIRECTORY",
    "INDEX_DIRECTORY",
    "LOCK",
    "SOCKET",
    "STATE_DIRECTORY",
    "Places",
    "anew",
    "can_be_written",
    "chosen_directory",
    "is_gone",
    "is_served",
    "locate",
    "make",
    "other",
    "state_directory",
    "usual_home",
]

DIRECTORY = ".code-indexer"
INDEX_DIRECTORY = "CIDX_REF_INDEX_DIR"
STATE_DIRECTORY = "CIDX_REF_STATE_DIR"
SOCKET, LOCK = "daemon.sock", "daemon.lock"
_KEY = "index_directory"
_MAX_BYTES = 1 << 18
_MAX_NAME_CHARS = 24
#: A daemon that listens accepts at once, if it has any room.
_CONNECT_S = 1.0


@dataclass(frozen=True, slots=True)
class Places:
    """The directories of one project's files."""

    #: Socket, lock and log.
    running: Path
    #: What `generations/` lies in.
    index: Path
    #: What `running` lies in if that is not the tree; trusted, because the user named it.
    base: Path | None = None

    @property
    def is_chosen(self) -> bool:
        """Whether the user's setting puts the index elsewhere."""
        return self.base is not None and self.index == self.running

    @property
    def is_read_only(self) -> bool:
        """Whether the index lies in a tree that cannot be written."""
        return self.base is not None and self.index != self.running


def locate(root: Path) -> Places:
    """The places of the project with the resolved root `root`.  Raises `ConfigError`."""
    if (base := chosen_directory()) is not None:
        return chosen(root, base)
    return _by_tree(root)


def anew(root: Path, places: Places) -> Places:
    """`places` as they would be now, by what has become of the tree; the user's setting stays what
    it was."""
    return places if places.is_chosen else _by_tree(root)


def other(root: Path, places: Places) -> Path | None:
    """Where socket and lock of a daemon lie that found the tree otherwise: that could write it, or
    could not.  None where the user's setting says where they lie."""
    if places.is_chosen:
        return None
    return root / DIRECTORY if places.is_read_only else _beside(root).running


def chosen(root: Path, base: Path) -> Places:
    """The places of the project at `root` where the user's setting is `base`."""
    own = base / _name(root)
    return Places(own, own, base)


def chosen_directory() -> Path | None:
    """The directory that the user's setting names; None where there is none.

    Raises `ConfigError` for a setting that cannot be meant.
    """
    named = os.environ.get(INDEX_DIRECTORY)
    if named is not None:  # an empty one says: none, whatever the file says
        return _absolute(named, INDEX_DIRECTORY)
    path = _config_directory() / "config.json"
    document = _own_configuration(path)
    # Other keys may be a later version's; what is nearly this one is a slip.
    for key in sorted(document.keys() - {_KEY}):
        if key.lower().startswith("index"):
            raise ConfigError(f"{path}: {shown(key)}: no such key: did you mean {_KEY!r}?")
    return _absolute(document.get(_KEY), f"{path}: {_KEY}")


def state_directory() -> Path:
    """Where what must outlast a project's directory is kept."""
    # Relative ones are ignored, as the specification of the second has it: they would be another
    # place for the daemon, and lie in the tree.
    if (named := Path(os.environ.get(STATE_DIRECTORY, ""))).is_absolute():
        return named
    if (state := Path(os.environ.get("XDG_STATE_HOME", ""))).is_absolute():
        return state / "cidx-ref"
    return _home() / ".local" / "state" / "cidx-ref"


def can_be_written(root: Path) -> bool:
    """Whether the tree takes files of ours."""
    tree = root / DIRECTORY
    if os.access(tree, os.W_OK | os.X_OK, effective_ids=True):  # the usual case: one call
        return True
    try:
        tree.lstat()
    except FileNotFoundError:
        # A root that is not there is no tree that is read only.
        return os.access(root, os.W_OK | os.X_OK, effective_ids=True) or not root.is_dir()
    except OSError:
        return False
    # It may have been made between the two, by another starter: then both must find the same place.
    return os.access(tree, os.W_OK | os.X_OK, effective_ids=True)


def is_served(directory: Path) -> bool:
    """Whether a daemon that can be asked from here serves from `directory`, or another process is
    about to, or about to end.

    Not one that has other mounts, as that of a container's host has: to it the project is another
    directory, if it knows it at all.
    """
    from cidx_ref.processes import has_our_mounts, holder
    from cidx_ref.sockets import connect, peer_pid

    try:
        found = directory.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return False  # what lies there is not ours, and a link leads anywhere (TRUST-1)
    try:
        with connect(directory / SOCKET, _CONNECT_S) as sock:
            return has_our_mounts(peer_pid(sock))
    except OSError:
        pid = holder(directory / LOCK)
        return pid != os.getpid() and has_our_mounts(pid)


def is_gone(root: Path) -> bool:
    """Whether there is no directory at `root`; not where the system cannot say."""
    try:
        return not stat.S_ISDIR(root.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def make(base: Path) -> None:
    """Make a directory of the user's own, and those above it, for the user alone."""
    for each in (*reversed(base.parents), base):
        each.mkdir(mode=0o700, exist_ok=True)  # whatever the umask is


def _config_directory() -> Path:
    if (named := Path(os.environ.get("XDG_CONFIG_HOME", ""))).is_absolute():
        return named / "cidx-ref"
    return usual_home() / ".config" / "cidx-ref"


def usual_home() -> Path:
    """HOME, where it is the account's: asking for the account takes a query twenty system calls."""
    home = os.environ.get("HOME", "")
    try:
        if home.startswith("/") and Path(home).stat().st_uid == os.geteuid():
            return Path(home)
    except (OSError, ValueError):
        pass
    return _home()


def _home() -> Path:
    """The account's home, by its uid: HOME may be another user's (sudo)."""
    import pwd

    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:  # a uid without an account, as in containers
        return Path(os.environ.get("HOME", "/nonexistent"))


def _own_configuration(path: Path) -> dict[str, Any]:
    """The user's own configuration; an empty one where there is no file.

    Its directory is the user's, so links are followed there.  What others could have written is
    refused.
    """
    try:
        # Without O_NONBLOCK the opening of a FIFO waits for a writer.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        with open(fd, "rb") as file:
            _require_private(path, os.fstat(fd))
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise ConfigError(f"{path}: larger than {_MAX_BYTES} bytes")
        document = json.loads(data)
    except OSError as error:  # a directory
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: must hold a JSON object, not {type(document).__name__}")
    return document


def _require_private(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{path}: not a regular file")
    if found.st_uid not in (os.geteuid(), 0):
        raise ConfigError(f"{path}: belongs to {owner_name(found.st_uid)}, and is not believed")
    if found.st_mode & 0o022:
        raise ConfigError(f"{path}: can be written by other users: chmod go-w it")


def _absolute(value: object, name: str) -> Path | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and _is_path(value):
        if value.partition("/")[0] == "~":
            return usual_home() / value[2:].lstrip("/")
        if value.startswith("/"):
            return Path(value)
    raise ConfigError(f"{name}: {shown(value)}: must be an absolute path, or begin with ~/")


def _is_path(value: str) -> bool:
    try:
        return b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:  # half a character
        return False


def _by_tree(root: Path) -> Places:
    tree = root / DIRECTORY
    if can_be_written(root) or is_served(tree):
        return Places(tree, tree)
    return _beside(root)


def _beside(root: Path) -> Places:
    """The places where the tree cannot be written."""
    base = state_directory() / "projects"
    return Places(base / _name(root), root / DIRECTORY, base)


def _name(root: Path) -> str:
    """One name for `root` and this user: so users with the same setting do not meet."""
    from hashlib import sha256  # of which the usual query has no need

    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in root.name)
    digest = sha256(b"%d %s" % (os.geteuid(), os.fsencode(root))).hexdigest()
    return f"{plain[:_MAX_NAME_CHARS].strip('.-') or 'project'}-{digest[:16]}"
