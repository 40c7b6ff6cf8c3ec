"""Which paths some patterns match, in bounded time: all patterns are one automaton.

The parts of all patterns are its states.  It reads a path name by name: a set of bits says which
parts may come next, so that a `**` is a bit which stays set, and nothing is tried twice.  Python's
`re` would try `**/a/**/a/**/b` in all ways, and hold the interpreter meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from cidx_ref.globs import ANY, Glob, Part, parse

__all__ = ["Folder", "IgnoreRules", "PathSet"]

# A `.gitignore` comes from a tree that may be anybody's: what comes after so many parts, or regular
# expressions among them, is left unread; and no path that a longer line could match can be opened.
_MAX_RULE_PARTS = 20_000
_MAX_RULE_REGEXES = 2_000
_MAX_LINE_CHARS = 4_096
# Kinds of folders that are remembered.  A tree has few, unless it was made to have many.
_MAX_REMEMBERED = 2_000
_MAX_PLACES = 64  # of parts that are the same name, kept one by one

_Match = Callable[[str], object]


class _Rules:
    """Patterns as an automaton over the names of a path.

    Each part of each pattern has a bit, and bits are in the order of the patterns.  Not
    thread-safe: folders are remembered.
    """

    def __init__(self, globs: Iterable[Glob], *, absorbing: bool) -> None:
        """`absorbing`: what is in a folder that matches, matches, too."""
        self.absorbing = absorbing
        self._names: dict[str, list[int] | int] = {}  # see `named`
        self.any = 0  # the bits of parts that are any name
        self.tests: list[tuple[int, Part, _Match]] = []  # of the other parts, with the bit's number
        self.starts = self.loops = 0
        self.lasts = [0, 0]  # the bits of last parts: for files, and for folders
        self.globs: list[int] = []  # by bit, the number of its pattern
        for number, glob in enumerate(globs):
            self._add(number, glob)
        self._remembered: dict[int, Folder] = {}
        self.everything = Folder(self, -1)
        self.top = Folder(self, self.starts)

    def _add(self, number: int, glob: Glob) -> None:
        self.starts |= 1 << len(self.globs)
        for part, loop in zip(glob.parts, glob.loops, strict=True):
            bit = 1 << len(self.globs)
            self.globs.append(number)
            self.loops |= bit * loop
            if part.kind == "name":
                self._add_name(part.text, len(self.globs) - 1)
            elif part == ANY:
                self.any |= bit
            else:
                self.tests.append((len(self.globs) - 1, part, _match(part)))
        self.lasts[True] |= bit
        self.lasts[False] |= bit * (not glob.folders_only)

    def _add_name(self, name: str, place: int) -> None:
        # A set of bits is as long as its last one: of thousands of names, each would have
        # thousands.  A name that is many parts has one all the same, and few such names there are.
        known = self._names.setdefault(name, [])
        if isinstance(known, list) and len(known) < _MAX_PLACES:
            known.append(place)
        else:
            self._names[name] = self.named(name) | 1 << place

    def named(self, name: str) -> int:
        """The bits of the parts that are this very name."""
        known = self._names.get(name, 0)
        return known if isinstance(known, int) else sum(1 << place for place in known)

    def enter(self, path: str) -> Folder:
        """The folder at `path`, which is "" or the path of a folder."""
        folder = self.top
        for name in path.split("/") if path else ():
            folder = folder[name]
        return folder

    def pass_by(self, path: str) -> Folder:
        """The folder at `path`, as if no pattern matched itself or a folder above it."""
        active = self.starts
        for name in path.split("/"):
            hits = self.hits(name, active) & ~self.lasts[True]
            active = hits << 1 | active & self.loops
        return Folder(self, active)

    def hits(self, name: str, active: int) -> int:
        """The bits among `active` of the parts that `name` is."""
        hits = active & (self.named(name) | self.any)
        if self.tests:
            # Of thousands of bits, one is much nearer in bytes than by a shift of them all.
            octets = active.to_bytes(len(self.globs) // 8 + 1, "little")
            for place, _, match in self.tests:
                if octets[place >> 3] >> (place & 7) & 1 and match(name):
                    hits |= 1 << place
        return hits

    def below(self, name: str, active: int) -> Folder:
        """The folder `name` of one in which the parts `active` may come next."""
        hits = self.hits(name, active)
        if hits & self.lasts[True]:
            if self.absorbing:
                return self.everything
            hits &= ~self.lasts[True]
        active = hits << 1 | active & self.loops
        if active not in self._remembered:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._forget()
            self._remembered[active] = Folder(self, active)
        return self._remembered[active]

    def _forget(self) -> None:
        for folder in (self.top, *self._remembered.values()):
            folder.clear()
        self._remembered.clear()


def _match(part: Part) -> _Match:
    if part.kind == "ending":
        return lambda name: name.endswith(part.text)
    if part.kind == "beginning":
        return lambda name: name.startswith(part.text)
    return re.compile(part.text, re.DOTALL).fullmatch


class Folder(dict[str, "Folder"]):
    """A kind of folder: the parts that may come next are the bits `active`, or all if it is -1.

    Holds the folders in it, by name, made when they are asked for.
    """

    __slots__ = ("_active", "_finals", "_rules")

    def __init__(self, rules: _Rules, active: int) -> None:
        super().__init__()
        self._rules = rules
        self._active = active
        self._finals: _Finals | None = None

    def __missing__(self, name: str) -> Folder:
        rules = self._rules
        is_everything = self is rules.everything
        self[name] = below = self if is_everything else rules.below(name, self._active)
        return below

    def holds(self, name: str) -> bool:
        """Whether any pattern matches the file `name` in this folder."""
        if self._finals is None:  # most folders of a deep tree hold no file
            self._finals = _finals(self._rules, self._active)
        names, beginnings, endings, match = self._finals
        return (
            bool(names and names & self._rules.named(name))
            or name.startswith(beginnings)
            or name.endswith(endings)
            or bool(match and match(name))
        )

    @property
    def is_whole(self) -> bool:
        """Whether a pattern matches this folder, or one above it."""
        return self is self._rules.everything

    @property
    def is_beside(self) -> bool:
        """Whether no pattern matches anything in this folder, however deep."""
        return self._active == 0

    def pass_by(self, path: str) -> Folder:
        """The folder at `path`, from the root, as if no pattern matched itself or one above it."""
        return self._rules.pass_by(path)

    def last(self, name: str, is_folder: bool) -> int:
        """The number of the last pattern that matches the entry `name` of this folder, or -1."""
        found = self._rules.hits(name, self._active & self._rules.lasts[is_folder])
        return self._rules.globs[found.bit_length() - 1] if found else -1


class _Finals(NamedTuple):
    """What the last parts that may come next make of the name of a file: many at once, as most of
    all calls are about them."""

    names: int
    beginnings: tuple[str, ...]
    endings: tuple[str, ...]
    match: _Match | None


def _finals(rules: _Rules, active: int) -> _Finals:
    if active == -1:
        return _Finals(0, (), ("",), None)
    last = active & rules.lasts[False]
    parts = [part for place, part, _ in rules.tests if last >> place & 1]
    regexes = [f"(?:{part.text})" for part in parts if part.kind == "regex"]
    return _Finals(
        names=last,
        beginnings=tuple(part.text for part in parts if part.kind == "beginning"),
        endings=(
            *(part.text for part in parts if part.kind == "ending"),
            *([""] if last & rules.any else []),
        ),
        match=re.compile("|".join(regexes), re.DOTALL).fullmatch if regexes else None,
    )


class PathSet:
    """The paths that any of some patterns matches, or a folder above which one matches.

    Raises `ValueError` where a pattern can match nothing.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._globs = [glob for pattern in patterns for glob in parse(pattern)]

    def top(self) -> Folder:
        """The root, from where folders are entered by their names.  Not thread-safe."""
        return _Rules(self._globs, absorbing=True).top

    def select(self, paths: Iterable[str]) -> Iterator[bool]:
        """Whether each of the `paths` is in it.  Quickest where paths of one folder follow.

        Safe from many threads at once.
        """
        rules = _Rules(self._globs, absorbing=True)
        above, folder = "", rules.top
        for path in paths:
            parent, _, name = path.rpartition("/")
            if parent != above:
                above, folder = parent, rules.enter(parent)
            yield folder.holds(name)


class IgnoreRules:
    """The rules of one `.gitignore`, whose text is `text`.  Not thread-safe.

    A pattern that can match nothing is passed over, as git does.
    """

    def __init__(self, text: str) -> None:
        globs: list[Glob] = []
        self._ignores: list[bool] = []  # by the number of the pattern
        parts = regexes = 0
        for line in text.split("\n"):
            negated, found = _rule(line)
            kinds = [part.kind for glob in found for part in glob.parts]
            parts, regexes = parts + len(kinds), regexes + kinds.count("regex")
            if parts > _MAX_RULE_PARTS or regexes > _MAX_RULE_REGEXES:
                break
            globs += found
            self._ignores += [not negated] * len(found)
        self._rules = _Rules(globs, absorbing=False)
        self._above, self._folder = "", self._rules.top

    def verdict(self, path: str, is_folder: bool) -> bool | None:
        """Whether the last pattern that matches `path` ignores it; None if none does.

        Nothing but the path itself counts: the folders above it are not ignored, or it would not
        be asked for.
        """
        parent, _, name = path.rpartition("/")
        if parent != self._above:
            self._above, self._folder = parent, self._rules.enter(parent)
        number = self._folder.last(name, is_folder)
        return self._ignores[number] if number >= 0 else None


def _rule(line: str) -> tuple[bool, list[Glob]]:
    """One line of a `.gitignore`: whether it is negated, and its patterns."""
    line = line.removesuffix("\r").partition("\0")[0]  # to git, a zero byte ends the line
    negated = line.startswith("!")
    if not line or line.startswith("#") or len(line) > _MAX_LINE_CHARS:
        return False, []
    try:
        return negated, parse(line.removeprefix("!"))
    except ValueError:
        return negated, []
