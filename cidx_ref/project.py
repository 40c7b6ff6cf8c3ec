"""Where a project is, and the opening and making of the directories that its files lie in.

What lies in a project's tree may have come with a clone, so none of it is believed: which root is
taken depends on who owns it, and what is ours is opened by `Project.open` only.  Which directories
those are, in the tree or elsewhere, is the matter of `places`.
"""

from __future__ import annotations

import json
import os
import stat
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cidx_ref.errors import BadArgumentError, NoIndexError, UntrustedError
from cidx_ref.files import Directory
from cidx_ref.places import (
    DIRECTORY,
    INDEX_DIRECTORY,
    LOCK,
    SOCKET,
    STATE_DIRECTORY,
    Places,
    anew,
    chosen,
    chosen_directory,
    locate,
    make,
    usual_home,
)
from cidx_ref.runtime import SYSTEM, Runtime
from cidx_ref.shown import escape, owner_name, shown

__all__ = ["DIRECTORY", "Project"]

LOG, SKIPPED, SEEN = "daemon.log", "skipped.json", "seen.bin"
#: What is ours in it, each with what it must be; anything else there belongs to other programs.
_OURS = {
    ".gitignore": stat.S_IFREG,
    "config.json": stat.S_IFREG,
    LOCK: stat.S_IFREG,
    "daemon.log": stat.S_IFREG,
    "daemon.log.1": stat.S_IFREG,
    "daemon.log.2": stat.S_IFREG,
    SOCKET: stat.S_IFSOCK,
    "generations": stat.S_IFDIR,
    "kept-vectors": stat.S_IFDIR,
    "seen.bin": stat.S_IFREG,
    "skipped.json": stat.S_IFREG,
    "turn.lock": stat.S_IFREG,
}
#: Those of them, and of the next, that are replaced as a whole.
_REPLACED = (".gitignore", "config.json", "project.json", "skipped.json")
#: Says whose it is, in a directory that is not in the project's tree.
_OWNER = "project.json"
_MAX_OWNER_BYTES = 1 << 16
#: The full cidx's files: other programs may have a reason to read where these are.
_OF_CIDX = ("index", "tantivy_index")


def _warn(message: str) -> None:
    warnings.warn(escape(message), stacklevel=4)


@dataclass(frozen=True, slots=True)
class Project:
    """A repository, by its resolved root directory.

    Where its files lie is found out once, when it is first asked: so a daemon stays where it is,
    whatever becomes of the setting and of the tree's permissions.
    """

    root: Path
    _places: Places | None = field(default=None, init=False, compare=False, repr=False)

    @classmethod
    def at(cls, directory: str | os.PathLike[str]) -> Project:
        """The project whose root is `directory`; `BadArgumentError` where that is no directory."""
        try:
            root = Path(directory).resolve(strict=True)
            if root.is_dir() and os.fspath(directory):  # "" is an unset variable, not a directory
                return cls(root)
        except (OSError, ValueError, RuntimeError):  # ValueError: an embedded NUL
            pass
        if os.fspath(directory) == ".":
            raise BadArgumentError("project: the working directory is gone: name one (--project)")
        raise BadArgumentError(f"project: not a directory: {shown(os.fspath(directory))}")

    @classmethod
    def around(
        cls,
        directory: str | os.PathLike[str],
        *,
        consent: bool = True,
        notice: Callable[[str], object] = _warn,
    ) -> Project:
        """The project that `directory` lies in.

        That is the nearest ancestor, itself included, that belongs to the user and has a
        `.code-indexer/`, or is the root of a git checkout; else the directory itself.  A root of
        somebody else's on the way is passed over, of which `notice` is told: what lies there
        would decide what is searched, and who answers.  With `consent` the directory was named by
        the user, and is taken from any owner; without, `UntrustedError` says how to name it.
        """
        start = cls.at(directory).root
        passed_over: list[str] = []
        base = chosen_directory()
        for root in (start, *start.parents):
            if (mark := _mark(root, base)) is None:
                continue
            owner = _stranger(root, mark)
            if owner is None or (consent and root == start):
                for message in passed_over:
                    notice(message)
                return cls(root)
            passed_over.append(f"{root} belongs to {owner_name(owner)}, and is passed over")
        return cls._by_itself(start, passed_over, consent=consent, notice=notice)

    @classmethod
    def _by_itself(
        cls,
        start: Path,
        passed_over: list[str],
        *,
        consent: bool,
        notice: Callable[[str], object],
    ) -> Project:
        owner = start.stat().st_uid
        if not consent and owner != os.geteuid():
            who = passed_over[0].partition(", and")[0] if passed_over else ""
            who = who or f"{start} belongs to {owner_name(owner)}"
            raise UntrustedError(f"{who}: name it with --project DIR if it shall be searched")
        for message in passed_over:
            notice(message)
        return cls(start)

    def is_at(self, root: str | None) -> bool:
        """Whether `root` is this project's, perhaps by another way (a link, a mount)."""
        if root is None or root == str(self.root):
            return root is not None
        try:
            return self.root.samefile(root)
        except (OSError, ValueError):
            return False

    @property
    def places(self) -> Places:
        """Where its files lie.  Raises `ConfigError` for a bad setting."""
        if self._places is None:
            object.__setattr__(self, "_places", locate(self.root))  # the same, if two threads do it
        assert self._places is not None
        return self._places

    def anew(self) -> Project:
        """The project as it would be found now, for who does not reach it where it was: its tree
        may have become one that can be written, or cannot."""
        found = Project(self.root)
        object.__setattr__(found, "_places", anew(self.root, self.places))
        return found

    @property
    def directory(self) -> Path:
        """What socket, lock and log lie in."""
        return self.places.running

    @property
    def index_directory(self) -> Path:
        """What `generations/` lies in."""
        return self.places.index

    @property
    def config_path(self) -> Path:
        """The project's configuration: in the tree, also where the index lies elsewhere.

        Beside that index only if the tree's `.code-indexer/` is another user's, who may not say.
        """
        tree = self.root / DIRECTORY
        if self.places.is_chosen and _is_foreign(tree):
            return self.directory / "config.json"
        return tree / "config.json"

    @property
    def socket_path(self) -> Path:
        return self.directory / SOCKET

    @property
    def log_path(self) -> Path:
        return self.directory / LOG

    @property
    def generations(self) -> Path:
        return self.index_directory / "generations"

    def whereabouts(self) -> dict[str, str]:
        """The socket's path, what `generations/` lies in, and the log, as a daemon tells them."""
        return {
            "address": str(self.socket_path),
            "index_directory": str(self.index_directory),
            "log": str(self.log_path),
        }

    def open(self, *, create: bool = False, runtime: Runtime = SYSTEM) -> Directory:
        """The directory of socket, lock and log, opened, with nothing in it that must not be used.

        With `create` it is made if need be, ignores itself in git, and is closed to other users.
        Raises `FileNotFoundError`, `UntrustedError`, or another `OSError`.
        """
        if self.places.base is None:
            return self._open_tree(create=create, runtime=runtime)
        self._check_tree()
        return self._open_elsewhere(self.places.base, create=create, runtime=runtime)

    def open_configuration(self, runtime: Runtime = SYSTEM) -> Directory:
        """The directory of `config_path`, made if need be; raises as `open` does."""
        if self.config_path.parent == self.directory:
            return self.open(create=True, runtime=runtime)
        return self._open_tree(create=True, runtime=runtime)

    def _open_tree(self, *, create: bool = False, runtime: Runtime = SYSTEM) -> Directory:
        _refuse_link(self.root / DIRECTORY)
        with Directory.open(self.root, runtime) as root:
            return _checked(root.sub(DIRECTORY, create=create), create=create)

    def _check_tree(self) -> None:
        """See that what is read of a tree that no file of ours is made in may be used."""
        if self.places.is_chosen:  # which is a configuration, and that is seen to when it is read
            _refuse_link(self.root / DIRECTORY)
            return
        with suppress(FileNotFoundError):
            self._open_tree().close()

    def _open_elsewhere(self, base: Path, *, create: bool, runtime: Runtime) -> Directory:
        if create and not base.is_dir():
            make(base)
        with Directory.open(base, runtime) as above:
            directory = _checked(above.sub(self.directory.name, create=create), create=create)
        try:
            self._require_owner(directory, create=create)
        except BaseException:
            directory.close()
            raise
        return directory

    def _require_owner(self, directory: Directory, *, create: bool) -> None:
        """See that `directory` is this project's, or, with `create`, have it say so."""
        if directory.status(_OWNER) is None:
            if create:
                directory.replace(_OWNER, json.dumps({"root": str(self.root)}).encode())
            return
        path = directory.path / _OWNER
        try:
            owner = json.loads(directory.read(_OWNER, _MAX_OWNER_BYTES))
        except (ValueError, RecursionError):
            owner = None
        root = owner.get("root") if isinstance(owner, dict) else None
        if root != str(self.root):
            raise UntrustedError(
                f"{path} names {escape(str(root))}, not {self.root}: remove {directory.path}"
            )

    def check(self) -> None:
        """Raise `UntrustedError` if something where its files lie must not be used."""
        try:
            with suppress(FileNotFoundError):
                self.open().close()
        except OSError as error:
            at = Path(str(error.filename))
            raise UntrustedError(f"{at}: {error.strerror}: {self.remedy(at)}") from None

    def see_to_its_root(
        self, *, is_named: bool, may_build: bool, notice: Callable[[str], object]
    ) -> None:
        """Before a query, where the project has nothing yet: that nothing begins to lie there that
        was not asked for.  `notice` is told what a person should know.

        What lies in `/`, or in a home, would be what every directory below belongs to.  Raises
        `NoIndexError`, `BadArgumentError`.
        """
        try:
            os.lstat(self.index_directory)
            return
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                return  # whoever needs it says why
        if not may_build:
            raise NoIndexError("this project has no index yet: run `cidx-ref index`")
        root = self.root
        if is_named or (root / ".git").exists():
            return
        if root == root.parent or root == usual_home().resolve():
            what = f"{root} is no repository: --project {root} indexes all of it"
            raise BadArgumentError(f"project: {what}")
        notice(f"no repository above: all below {root} is indexed")

    def remedy(self, at: Path) -> str:
        """What to do where the system refuses what is called `at`."""
        tree = self.root / DIRECTORY
        if self.places.base is None or at.is_relative_to(tree):
            return f"{tree} is to be a directory of your own, mode 700"
        setting = STATE_DIRECTORY if self.places.is_read_only else INDEX_DIRECTORY
        return f"{setting} names another directory for what a daemon writes"

    def create_directory(self, runtime: Runtime = SYSTEM) -> Path:
        """Make the directory of socket, lock and log, which ignores itself in git; return it."""
        self.open(create=True, runtime=runtime).close()
        return self.directory


def _checked(directory: Directory, *, create: bool) -> Directory:
    """`directory`, with nothing in it that must not be used; closed if there is."""
    try:
        for name, kind in _OURS.items():
            directory.check(name, kind)
        if create:
            _prepare(directory)
    except BaseException:
        directory.close()
        raise
    return directory


def _refuse_link(tree: Path) -> None:
    try:
        is_link = stat.S_ISLNK(tree.lstat().st_mode)
    except OSError:
        return
    if is_link:
        raise UntrustedError(
            f"{tree} is a symbolic link, and is not followed: remove it; {INDEX_DIRECTORY} names "
            "a directory that indexes lie in instead"
        )


def _is_foreign(tree: Path) -> bool:
    try:
        return tree.lstat().st_uid != os.geteuid()
    except OSError:
        return False


def _prepare(directory: Directory) -> None:
    if not any(directory.status(name) for name in _OF_CIDX):
        directory.make_private()
    if directory.status(".gitignore") is None:  # another starter may be quicker: with the same
        directory.replace(".gitignore", b"*\n")
    _sweep(directory)


def _sweep(directory: Directory) -> None:
    """Remove what those have left half written who died while they replaced a file of ours."""
    for name in directory.names():
        *_, pid, thread = f"..{name}".rsplit(".", 2)  # see `Directory.replace`
        is_ours = any(name == f".{each}.{pid}.{thread}" for each in _REPLACED)
        if is_ours and pid.isdecimal():
            from cidx_ref.processes import is_alive  # which nearly nobody needs

            if not is_alive(int(pid)):
                directory.remove(name)


def _mark(root: Path, base: Path | None) -> os.stat_result | None:
    """What makes `root` the root of a project, if anything does: the entry itself, link or not.

    An index below `base`, the user's setting, does, too: where it is, the tree may have no entry.
    """
    for name in (DIRECTORY, ".git"):
        with suppress(OSError):
            found = (root / name).lstat()
            if name == ".git" or not stat.S_ISREG(found.st_mode):
                return found
    if base is not None:
        with suppress(OSError):
            return chosen(root, base).running.lstat()
    return None


def _stranger(root: Path, mark: os.stat_result) -> int | None:
    """The other user who made `root`, or the mark in it, a project; None if the user did both."""
    owners = (root.stat().st_uid, mark.st_uid)
    return next((owner for owner in owners if owner != os.geteuid()), None)
