"""What was typed as a path on the command line, as a pattern from the project's root.

A pattern begins at the root, as in .gitignore; but whoever types a path, or has the shell complete
it, means it from where they are.  So what is there on the disk is meant first, under its very name:
`[id]` is that folder, and no pattern.  What is not is left to the daemon, which knows what is
indexed (`index.named`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress

from cidx_ref.errors import BadArgumentError
from cidx_ref.globs import escape

__all__ = ["all_from_root", "from_root"]

_LINE = re.compile(r":\d++(?:[:-]\d++)?:?\Z")  # `path:12`, as hits and compilers say it
_MAX_NAMES = 256  # that are looked for on the disk


def all_from_root(typed: Iterable[str], root: str, option: str) -> dict[str, str]:
    """The patterns that were typed for `option`, each with what was typed for it; see `from_root`,
    which says where the working directory is meant."""
    here = ""
    with suppress(FileNotFoundError):  # removed under our feet
        here = os.getcwd()  # noqa: PTH109 - a string is needed
    try:
        return {from_root(each, root, here): each for each in typed}
    except BadArgumentError as error:
        raise BadArgumentError(f"{option}: {error}") from None


def from_root(typed: str, root: str, here: str) -> str:
    """What was `typed` in the directory `here`, as a pattern from `root`, the project's.

    Raises `BadArgumentError` for a path that does not lead into the project, or is none.
    """
    if "\0" in typed:
        raise BadArgumentError("a zero byte, which no path has")
    path = _told(typed, here)
    if (inside := _inside(path, root, here)) is None:
        raise BadArgumentError(f"{typed}: not in the project {root}")
    return _as_it_is(inside, root)


def _told(typed: str, here: str) -> str:
    """`typed` without a home directory or the number of a line in it, unless that is a name."""
    if _is_there(here, typed):
        return typed
    if typed == "~" or typed.startswith("~/"):
        typed = os.path.expanduser(typed)  # noqa: PTH111 - as bash does, but not after a `=`
    bare = _LINE.sub("", typed)
    return bare if bare != typed and _is_there(here, bare) else typed


def _inside(path: str, root: str, here: str) -> str | None:
    """`path` from the root: with a slash before it where it is that path and no other.  None where
    it leads out."""
    names = path.split("/")
    if path.startswith("/"):
        found = _below(path, root)
        if found is None and not _is_there(root, names[1]) and _is_there("/", names[1]):
            return None  # else it is a pattern that begins at the root
        return path if found is None else found
    if {".", ".."} & {*names} or ("/" in path.rstrip("/") and _is_from_here(names, root, here)):
        return _below(f"{here}/{path}", root)
    return path


def _is_from_here(names: list[str], root: str, here: str) -> bool:
    """Whether what comes before the first wildcard is there, in a directory within the project."""
    before = next((n for n, name in enumerate(names) if set(name) & {*"*?[{"}), len(names))
    first = "/".join(names[:before]).rstrip("/")
    return bool(first) and here.startswith(f"{root}/") and _is_there(here, _LINE.sub("", first))


def _below(path: str, root: str) -> str | None:
    """The absolute `path` from the root; None if it is elsewhere."""
    is_folder = path.endswith(("/", "/.", "/.."))
    for each in (os.path.normpath(path), os.path.realpath(path)):
        if each == root:
            return "/"
        if each.startswith(f"{root.rstrip('/')}/"):
            return each[len(root.rstrip("/")) :] + "/" * is_folder
    return None


def _as_it_is(inside: str, root: str) -> str:
    """`inside`, in which the names at its beginning that are there mean nothing but themselves."""
    kept: list[str] = []
    names = inside.split("/")
    for name in names[:_MAX_NAMES]:
        if name and not _is_there(root, "/".join([*kept, name])):
            break
        kept.append(name)
    return "/".join([*map(escape, kept), *names[len(kept) :]])


def _is_there(directory: str, name: str) -> bool:
    try:
        return bool(name) and os.path.lexists(f"{directory}/{name}")
    except ValueError:  # a zero byte
        return False
