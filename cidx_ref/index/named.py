"""What the patterns of a query mean in one generation: the names that are there come first.

A path that was copied from a hit means that file, though it may have `[id]` or a star in it, and
the number of a line after it.  What a pattern means otherwise is the matter of `globs`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from cidx_ref.globs import escape, is_literal, parse
from cidx_ref.index import languages
from cidx_ref.index.filelist import StoredFile
from cidx_ref.index.filters import Filters, spelled
from cidx_ref.index.matching import PathSet

__all__ = ["Names", "Unmatched"]

#: By the name of the argument, what was asked for that is not there, and what is likest to it.
Unmatched = Mapping[str, Mapping[str, str | None]]

#: `path:12`, `path:12:5` or `path:12-20`, as hits and compilers say it.
_LINE = re.compile(r":\d++(?:[:-]\d++)?:?\Z")
_SPECIAL = re.compile(r"[\\*?\[{]| \Z")
_MAX_PASSES = 4  # over all paths, to see that nothing matches a pattern: 5 ms with 30,000
_FEW = 16  # names: of more, a pass over all paths takes less time
_MAX_LIKE = 500  # names that another is compared with
_MAX_NAME_CHARS = 100


class Names:
    """The paths of the live files of a generation.  Thread-safe."""

    def __init__(self, files: Iterable[StoredFile]) -> None:
        self._files = list(files)
        self._paths = sorted(file.path for file in self._files)
        self._all: str | None = None

    def understood(self, filters: Filters) -> tuple[Filters, Unmatched]:
        """`filters` with nothing but patterns as in .gitignore; and what of them no file matches,
        each taken by itself.

        A pattern without wildcards comes with the path that is likest to it, if any is like it.  Of
        very many patterns not all are looked at.
        """
        given = filters.paths + filters.exclude_paths
        anywhere = self._anywhere({bare for glob in given for bare in _bare(glob)})
        meanings = {glob: self._meanings(glob, anywhere) for glob in given}
        found: dict[str, dict[str, str | None]] = {}
        if unspoken := self._unspoken(filters.languages):
            found["languages"] = dict.fromkeys(unspoken)
        passes = _MAX_PASSES
        for name, globs in ("paths", filters.paths), ("exclude_paths", filters.exclude_paths):
            for glob in globs:
                is_looked_up = all(map(_is_at_one_place, meanings[glob]))
                passes -= not is_looked_up
                if passes < 0 and not is_looked_up:
                    continue
                if not any(map(self._is_matched, meanings[glob])):
                    found.setdefault(name, {})[glob] = self._likest(glob)
        paths, excluded = (
            tuple(meant for glob in globs for meant in meanings[glob])
            for globs in (filters.paths, filters.exclude_paths)
        )
        return Filters(filters.languages, paths, excluded), found

    def _meanings(self, glob: str, anywhere: set[str]) -> Sequence[str]:
        is_plain = _SPECIAL.search(glob) is None
        for bare in _bare(glob):
            is_there = self._holds(bare) if "/" in bare else bare in anywhere or self._holds(bare)
            if is_there:
                if is_plain and bare == glob.strip("/"):
                    break
                from_root = "/" * (glob.startswith("/") or "/" in bare)
                return [from_root + escape(bare) + "/" * glob.endswith("/")]
        return [glob] if is_plain else spelled(self._with_folders_as_they_are(glob))

    def _with_folders_as_they_are(self, glob: str) -> str:
        """`glob`, with the folders at its beginning that are there escaped."""
        names = glob.split("/")
        kept: list[str] = []
        for name in names[:-1]:
            if "*" in name or "?" in name or not self._holds("/".join([*kept, name]).lstrip("/")):
                break
            kept.append(name)
        return "/".join([*map(escape, kept), *names[len(kept) :]])

    def _holds(self, path: str) -> bool:
        """Whether there is a file or a folder at `path`."""
        return bool(path) and (
            self._at(path) == path or self._at(f"{path}/").startswith(f"{path}/")
        )

    def _at(self, path: str) -> str:
        """The first of all paths that is not before `path`; "" if there is none."""
        place = bisect_left(self._paths, path)
        return self._paths[place] if place < len(self._paths) else ""

    def _anywhere(self, names: set[str]) -> set[str]:
        """Those of `names` that a file or a folder has, however deep."""
        wanted = {name for name in names if not {"/", "*", "?"} & {*name}}
        if len(wanted) <= _FEW:
            said = ((name, f"/{name}/", f"/{name}\n") for name in wanted)
            return {name for name, *ways in said if any(way in self._joined() for way in ways)}
        return {name for path in self._paths for name in path.split("/") if name in wanted}

    def _is_matched(self, pattern: str) -> bool:
        bare = pattern.strip("/")
        if pattern.endswith("/") and "/" not in bare and is_literal(pattern):
            return (not pattern.startswith("/") and f"/{bare}/" in self._joined()) or (
                self._at(f"{bare}/").startswith(f"{bare}/")
            )
        if _is_at_one_place(pattern):
            return self._at(f"{bare}/").startswith(f"{bare}/") or (
                not pattern.endswith("/") and self._at(bare) == bare
            )
        [first, *others] = parse(pattern)
        [part, *more] = first.parts
        if others or more or not first.loops[0] or first.folders_only or part.kind == "regex":
            return any(PathSet([pattern]).select(self._paths))
        # A name at any depth: to look at each path would take thirty times as long.
        before = "" if part.kind == "ending" else "/"
        ends = ("",) if part.kind == "beginning" else ("/", "\n")
        return any(f"{before}{part.text}{end}" in self._joined() for end in ends)

    def _joined(self) -> str:
        """All paths, each with a slash before it, a line each."""
        if self._all is None:
            self._all = "".join(f"/{path}\n" for path in self._paths)
        return self._all

    def _unspoken(self, wanted: Sequence[str]) -> list[str]:
        """The languages among `wanted` that no file answers to."""
        spoken = {file.language for file in self._files} if wanted else set()
        return [
            language
            for language in dict.fromkeys(wanted)
            if language not in spoken and not any(map(languages.answering([language]), self._files))
        ]

    def _likest(self, glob: str) -> str | None:
        """The path that is there and has the names likest to those in `glob` that are not."""
        above, like = "", None
        for name in glob.strip("/").split("/"):
            if self._holds(above + name):
                above += f"{name}/"
                continue
            if _SPECIAL.search(name) or len(name) > _MAX_NAME_CHARS:
                break
            near = _likest_of(self._within(above), name)
            if not near and name == glob.strip("/"):  # it is one at any depth
                near = _likest_of({part for path in self._paths for part in path.split("/")}, name)
            if not near:
                break
            like = above + near
            above = f"{like}/"
        return like and above.rstrip("/")

    def _within(self, folder: str) -> Iterator[str]:
        """The names in `folder`, which is "" or ends in a slash."""
        path = self._at(folder)
        while path.startswith(folder) and path:
            name = path[len(folder) :].partition("/")[0]
            yield name
            # The next that does not begin with this name and a slash.
            after = f"{folder}{name}/" if path != folder + name else path
            path = self._at(after[:-1] + "0" if after.endswith("/") else f"{after}\0")


def _likest_of(names: Iterable[str], name: str) -> str | None:
    """The shortest that begins with `name`, else the one that is most like it; in any case."""
    by_lower = {each.lower(): each for each in sorted(names)}
    begun = (each for each in by_lower if each.startswith(name.lower()) and len(name) > 1)
    if shortest := min(begun, key=len, default=None):
        return by_lower[shortest]
    from difflib import get_close_matches  # only here: it is slow to import

    close = get_close_matches(name.lower(), list(islice(by_lower, _MAX_LIKE)), n=1)
    return by_lower[close[0]] if close else None


def _is_at_one_place(pattern: str) -> bool:
    """Whether it is looked up, and no pass over all paths is needed."""
    return "/" in pattern.strip("/") and is_literal(pattern)


def _bare(glob: str) -> list[str]:
    """The paths that `glob` may be if nothing in it means anything: without the slashes at its
    ends, and without the number of a line; none for the usual pattern."""
    bare = glob.strip("/")
    found = [bare] if _SPECIAL.search(glob) else []
    if line := _LINE.search(bare):
        found += [bare] * (not found) + [bare[: line.start()]]
    return list(filter(None, found))
