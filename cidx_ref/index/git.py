"""What git lists in a checkout that may be hostile: git is never shown the repository's own words.

`.git` may have come with an archive, and its configuration can have git run programs, fetch, and
read any file.  So git is given a *private* directory in the place of `.git`, made here and empty
but for copies of what a listing needs and what is mere data: the index, the file that it may be
split into, `info/exclude`.  Nothing in it can be fetched from, or run.  What git still reads is the
user's own configuration and the tree's `.gitignore` files, which can make it wait, or work without
end: it runs under limits (`index.limited`).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from heapq import nlargest
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from cidx_ref.errors import UntrustedError
from cidx_ref.files import Directory, own_directory
from cidx_ref.index.defaults import why_named
from cidx_ref.index.gitdir import (
    find_top,
    open_below,
    open_git_directory,
    open_shared_directory,
    read_below,
    require_owner,
)
from cidx_ref.index.gitrun import Git
from cidx_ref.index.limited import FailedError, HeldUpError, Limits
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = [
    "COULD_NOT_LIST",
    "GitListing",
    "configuration_of",
    "find_program",
    "list_checkout",
    "list_ignored",
    "make_private",
]

#: What a note begins with that says so.
COULD_NOT_LIST = "git could not list the files in"
_MAX_INDEX_BYTES = 1 << 28  # some two million files
_MAX_TEXT_BYTES = 1 << 20  # of `config` and `info/exclude`
_TRIED_SHARED_INDEXES = 8
_MAX_NOTE = 1000  # characters

_ADVICE = (
    " (look for a FIFO called .gitignore, or HEAD in a .git, and for patterns with many stars)"
)
_TRACKED = ["ls-files", "-z", "-t", "--cached"]  # with a letter for what each path is
_UNTRACKED = ["ls-files", "-z", "-t", "--others", "--exclude-standard"]
_TRACKED_AND_NEW = [*_TRACKED, "--others", "--exclude-standard"]
_IGNORED = ["ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"]
_MATCHED = ["check-ignore", "--no-index", "--"]
_NONE_MATCHED = 1  # its exit status
#: Folders are asked about so many characters of them at once, and so often.
_ASKED_CHARS, _ASKED_TIMES = 1 << 16, 16
_STAGED = ["ls-files", "-z", "--stage"]
#: In an index: the mode of a submodule's entry, and the name of the part on sparse folders.
_LINK_MODE, _SPARSE_FOLDERS = b"\0\0\xe0\0", b"sdir"

_SHA256 = re.compile(
    rb"""^[ \t]* (?:\[ [^]\n]* \] [ \t]*)? objectformat [ \t]*=[ \t]* "?sha256""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_SHARED_INDEX = re.compile(r"sharedindex\.[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(slots=True)
class GitListing:
    """Paths, relative to the root, as the index and git give them: not to be trusted.

    `tracked` and `new` are files; `links`, of those that are tracked, submodules; `sparse` is what
    is tracked, but need not be there (sparse checkout), a folder ending in "/"; `nested` are
    repositories of their own, ending in "/".  If not `complete`, files that git does not track are
    missing; perhaps all files are.  `notes` are sentences for the user: what was refused or failed,
    what was done instead, what to do.
    """

    tracked: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    sparse: list[str] = field(default_factory=list)
    nested: list[str] = field(default_factory=list)
    complete: bool = False
    notes: list[str] = field(default_factory=list)

    def say(self, note: str) -> None:
        """Add a note, which may hold names of the tree's choice: escaped, and not too long."""
        note = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in note)
        half = _MAX_NOTE // 2
        self.notes.append(note if len(note) <= _MAX_NOTE else f"{note[:half]}…{note[-half:]}")


def list_checkout(
    root: Path,
    scratch: Path,
    runtime: Runtime = SYSTEM,
    limits: Limits | None = None,
    *,
    within: Path | None = None,
) -> GitListing:
    """What git tracks or would add below `root`; nothing, and no note, if that is in no checkout.

    `scratch` is an empty directory of the caller's, who removes it.  `within` is the project that
    `root`, then the top of a checkout, lies in: whose owner it is that the user has chosen.  Runs
    nothing that the tree names, follows no link in `.git`, and changes nothing there.  Raises
    `OSError` if `scratch` cannot be written.
    """
    listing = GitListing()
    top = find_top(root) if within is None else root
    if top is None:
        return listing
    try:
        program = find_program()
        contents = _read_checkout(top, within or root, listing)
    except UntrustedError as refused:
        listing.say(f"{refused}; the directories were walked instead of asking git")
        return listing
    make_private(scratch, contents, runtime)
    git = Git(program, root, top, scratch, runtime, limits or Limits())
    _ask(git, listing, b"".join(contents.values()))
    return listing


def list_ignored(
    root: Path, scratch: Path, runtime: Runtime = SYSTEM, limits: Limits | None = None
) -> list[str] | None:
    """The folders below `root`, ending in "/", that a pattern ignores for git, and so all that ever
    comes to lie in them; None if it cannot say.  If they are very many, some are missing.

    `scratch` is as `list_checkout` has left it.
    """
    top = find_top(root)
    if top is None or not (scratch / "HEAD").is_file():
        return None
    for more in ([], ["--sparse"]):  # an index that is sparse cannot be expanded
        with suppress(FailedError, UntrustedError):
            git = Git(find_program(), root, top, scratch, runtime, limits or Limits())
            # Those, too, in which merely all that is there now is ignored.
            listed = [path for path in git.list_paths([*_IGNORED, *more]) if path[-1:] == "/"]
            return [
                line[len("./") :]
                for some in _portions(listed)
                for line in git.list_paths([*_MATCHED, *some], end="\n", fine={_NONE_MATCHED})
                if line.startswith("./")  # else it is quoted, and left in doubt
            ]
    return None


def _portions(folders: list[str]) -> Iterator[list[str]]:
    """The first of `folders` as arguments, which cannot be any number."""
    portion: list[str] = []
    times = chars = 0
    for folder in folders:
        if why_named(*_cut(folder)) is not None:  # nobody needs to know
            continue
        if chars + len(folder) > _ASKED_CHARS and portion:
            yield portion
            portion, chars, times = [], 0, times + 1
            if times == _ASKED_TIMES:
                return
        portion.append(f"./{folder}")  # or ":" would have a meaning
        chars += len(folder)
    if portion:
        yield portion


def _cut(folder: str) -> tuple[str, str]:
    above = folder[: folder[:-1].rfind("/") + 1]
    return above, folder[len(above) : -1]


def _ask(git: Git, listing: GitListing, index: bytes) -> None:
    sparse = ["--sparse"] if _SPARSE_FOLDERS in index else []
    try:
        # A look at the directories expands the index, so by then it has been listed.
        apart = [[*_TRACKED, *sparse], [*_UNTRACKED, *sparse]] if sparse else [_TRACKED_AND_NEW]
        _sort(listing, [line for each in apart for line in git.list_paths(each)])
        listing.complete = True
    except FailedError as failed:
        instead = "the directories were walked instead"
        # Without --others git looks at no directory: nothing in the tree can hold it up.
        with suppress(FailedError):
            _sort(listing, git.list_paths([*_TRACKED, *sparse]))
            instead = "the directories were walked for the files that git does not track"
        advice = _ADVICE if isinstance(failed, HeldUpError) else ""
        listing.say(f"{COULD_NOT_LIST} {git.top}: {failed}{advice}; {instead}")
    if _LINK_MODE in index:  # so it may have one
        with suppress(FailedError):
            _find_links(listing, git.list_paths([*_STAGED, *sparse]))


def _sort(listing: GitListing, lines: list[str]) -> None:
    found: dict[str, list[str]] = {}
    for letter, group in groupby(lines, key=itemgetter(0)):  # most are long: new files come first
        found.setdefault(letter, []).extend(line[2:] for line in group)
    new, listing.sparse = found.pop("?", []), found.pop("S", [])
    listing.new = [path for path in new if path[-1:] != "/"]
    listing.nested = [path for path in new if path[-1:] == "/"]
    listing.tracked = found.pop("H", [])
    for others in found.values():  # as of a conflict, of which each side is an entry
        listing.tracked += dict.fromkeys(others)


def _find_links(listing: GitListing, lines: list[str]) -> None:
    links = {line.partition("\t")[2] for line in lines if line.startswith("160000 ")}
    listing.links = sorted(links.difference(listing.sparse))
    listing.tracked = [path for path in listing.tracked if path not in links]


def find_program() -> str:
    """Git's absolute path; `UntrustedError` if it is not in PATH.

    An empty or relative entry of PATH would find the tree's own `./git`.
    """
    places = os.environ.get("PATH", os.defpath).split(os.pathsep)
    program = shutil.which("git", path=os.pathsep.join(p for p in places if p.startswith("/")))
    if program is None:
        raise UntrustedError("there is a .git, but no git in PATH: install git")
    return program


def _read_checkout(top: Path, root: Path, listing: GitListing) -> dict[str, bytes]:
    """What a private git directory should hold, by its names there.  Raises `UntrustedError`.

    `.git` in `top` is a directory or names one, and that may share things with others by a second
    one (linked worktrees).  As for git itself, all three must belong to the user; or to the owner
    of `root`, which the user has chosen.
    """
    try:
        trusted = {os.geteuid(), root.stat().st_uid}
        with Directory.open(top) as above:
            require_owner(above, trusted)
            own = open_git_directory(above)
        with own:
            require_owner(own, trusted)
            with open_shared_directory(own) as common:
                require_owner(common, trusted)
                return {
                    "HEAD": b"ref: refs/heads/none\n",
                    "config": configuration_of(common),
                    "info/exclude": _read_exclude(common, listing),
                    "info/sparse-checkout": b"/*\n!/*/\n",  # any that is one will do
                    **_read_index(own),
                }
    except OSError as error:
        raise UntrustedError(f"{top}/.git cannot be used: {error.strerror}") from None


# What of it is passed on.


def configuration_of(common: Directory) -> bytes:
    """The least that git needs.  The repository's own is looked at for one word only."""
    config = None
    with suppress(UntrustedError):  # taken for one of SHA-1; if it is not, git will say so
        config = read_below(common, "config", _MAX_TEXT_BYTES)
    text = b"[core]\n\tbare = false\n"
    if config and _SHA256.search(config):
        text += b"\trepositoryFormatVersion = 1\n[extensions]\n\tobjectFormat = sha256\n"
    return text


def _read_exclude(common: Directory, listing: GitListing) -> bytes:
    try:
        with open_below(common, "info") as info:
            return read_below(info, "exclude", _MAX_TEXT_BYTES) or b""
    except FileNotFoundError:
        return b""
    except NotADirectoryError:
        refused = f"{common.path}/info is not a directory"
    except UntrustedError as error:
        refused = str(error)
    listing.say(f"{refused}; its patterns were not applied")
    return b""


def _read_index(own: Directory) -> dict[str, bytes]:
    """The index, and the file that it is split into, if it is; neither in a new repository."""
    index = read_below(own, "index", _MAX_INDEX_BYTES)
    if index is None:
        return {}
    names = [name for name in os.listdir(own.fd) if _SHARED_INDEX.fullmatch(name)]

    def modified(name: str) -> float:
        return os.stat(name, dir_fd=own.fd, follow_symlinks=False).st_mtime

    # A split index holds the hash that the other file is named by.  Git touches that file at each
    # use, so it is among the newest; older ones are left over.
    for name in nlargest(_TRIED_SHARED_INDEXES, names, key=modified):
        if bytes.fromhex(name.partition(".")[2]) in index:
            return {"index": index, name: read_below(own, name, _MAX_INDEX_BYTES) or b""}
    return {"index": index}


def make_private(scratch: Path, contents: dict[str, bytes], runtime: Runtime) -> None:
    """Make a git directory in `scratch` that has no objects, and so no remotes to get them from."""
    with own_directory(scratch, runtime=runtime) as directory:
        for name in ("objects", "refs", "info"):
            directory.make(name).close()
        for name, data in contents.items():
            within, _, plain = name.rpartition("/")
            inner = directory.sub(within) if within else nullcontext(directory)
            with inner as place, place.writer(plain) as file:
                file.write(data)
