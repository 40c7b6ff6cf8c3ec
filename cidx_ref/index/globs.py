"""Patterns as in .gitignore: what they mean, and which paths they match, in bounded time.

A pattern is cut at its slashes into parts.  The parts of all patterns are the states of one
automaton, which reads a path name by name: a set of bits says which parts may come next, so that a
`**` is a bit which stays set, and nothing is tried twice.  Python's `re` would try `**/a/**/a/**/b`
in all ways.  Within a name a part is a comparison, or a regular expression that never goes back.

The meaning is git's (`dir.c` and `wildmatch.c`); `tests/test_globs.py` holds it against git.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

__all__ = ["Glob", "IgnoreRules", "Part", "PathSet", "is_literal", "parse"]

_WILDCARDS = re.compile(r"[*?\[\\]")
_TOKEN = re.compile(
    r"(?P<stars>\*+)|(?P<any>\?)|(?P<set>\[)|(?P<slash>\\?/)|\\(?P<escaped>.)|(?P<text>[^*?\[\\/]+)",
    re.DOTALL,
)
#: Literal text, and after it two stars or more that are a whole name but for that text.
_STARS_AFTER_TEXT = re.compile(
    r"(?P<text>[^*?\[\\]*+(?<=[^/]))\*\*+(?P<slash>/(?:\*\*+/)*|\\/|\Z)", re.DOTALL
)
_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": re.escape(string.punctuation),
    "space": r" \t\n\r",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
_NAMELESS = "there is no name between two of its slashes"

# A `.gitignore` comes from a tree that may be anybody's: what comes after so many parts, or regular
# expressions among them, is left unread; and no path that a longer line could match can be opened.
_MAX_RULE_PARTS = 20_000
_MAX_RULE_REGEXES = 2_000
_MAX_LINE_CHARS = 4_096
# Kinds of folders that are remembered.  A tree has few, unless it was made to have many.
_MAX_REMEMBERED = 2_000


class Part(NamedTuple):
    """What a name must be: this very one, one that begins or ends so, or a full match."""

    kind: Literal["name", "beginning", "ending", "regex"]
    text: str


_ANY = Part("ending", "")


@dataclass(frozen=True, slots=True)
class Glob:
    """One pattern: what the names of a path must be, and before which of them folders may come.

    `parts` and `loops` are of the same length, of at least one.
    """

    parts: tuple[Part, ...]
    loops: tuple[bool, ...]
    folders_only: bool


# From text to patterns.


def is_literal(pattern: str) -> bool:
    """Whether `pattern` is the name of something: no character but the slash means anything."""
    return _WILDCARDS.search(pattern) is None


def parse(pattern: str) -> list[Glob]:
    """`pattern`, taken for neither a comment nor a negation, as patterns of which one must match.

    Raises `ValueError` with the reason where nothing can match.  The time is linear in its length.
    """
    pattern = _trimmed(pattern)
    folders_only = pattern.endswith("/")
    pattern = pattern.removesuffix("/")
    if is_literal(pattern):
        return [_literal(pattern, folders_only)]
    if "/" not in pattern:  # at any depth
        [(tokens, _)] = _cut(pattern)
        return [Glob((_part(tokens),), (True,), folders_only)]
    found, reason = [], ""
    for spelling in _spellings(pattern.removeprefix("/")):
        try:
            found.append(Glob(*_placed(_cut(spelling)), folders_only))
        except ValueError as error:
            reason = str(error)
    if not found:
        raise ValueError(reason)
    return found


def _literal(pattern: str, folders_only: bool) -> Glob:
    names = pattern.removeprefix("/").split("/")
    if not all(names):
        raise ValueError(_NAMELESS)
    loops = ("/" not in pattern, *[False] * (len(names) - 1))
    return Glob(tuple(Part("name", name) for name in names), loops, folders_only)


def _trimmed(pattern: str) -> str:
    """`pattern` without the spaces at its end, but for one that a backslash protects."""
    bare = pattern.rstrip(" ")
    backslashes = len(bare) - len(bare.rstrip("\\"))
    return bare + " " if backslashes % 2 and bare != pattern else bare


def _spellings(pattern: str) -> list[str]:
    """What `pattern` means where its first wildcard is two stars after literal text.

    Git compares the text by itself, so its `wildmatch` sees the stars at the beginning: `a**/b` is
    `ab` or `a*/**/b`, and not the `a*/b` of git's documentation.
    """
    odd = _STARS_AFTER_TEXT.match(pattern)
    if odd is None:
        return [pattern]
    text, slash, rest = odd["text"], odd["slash"], pattern[odd.end() :]
    if not slash:
        return [f"{text}*", f"{text}*/**"]
    longer = f"{text}*/**/{rest}"
    if slash == "\\/":
        return [longer]
    # Without the slash, too, stars that come next are at the beginning of what is left.
    shorter = _spellings(text + rest) if rest.startswith("**") else [text + rest]
    return [*shorter, longer]


#: What is between two slashes: kind ("text", "stars", or "char" for the regular expression of one
#: character) and text.
_Tokens = list[tuple[str, str]]


def _cut(pattern: str) -> list[tuple[_Tokens, str]]:
    """The tokens between the slashes of `pattern`, each with the slash after them, or ""."""
    cut: list[tuple[_Tokens, str]] = []
    tokens: _Tokens = []
    for kind, text in _tokens(pattern):
        if kind == "slash":
            cut.append((tokens, text))
            tokens = []
        else:
            tokens.append((kind, text))
    return [*cut, (tokens, "")]


def _tokens(pattern: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(pattern):
        found = _TOKEN.match(pattern, at)
        if found is None:
            raise ValueError("it ends in a backslash")
        kind, at = str(found.lastgroup), found.end()
        if kind == "set":
            text, at = _set(pattern, at)
            yield "char", text
        elif kind == "any":
            yield "char", "."
        else:
            yield ("text" if kind == "escaped" else kind), found[kind]


def _placed(cut: list[tuple[_Tokens, str]]) -> tuple[tuple[Part, ...], tuple[bool, ...]]:
    """The parts, and before which of them stands a `**`."""
    parts: list[Part] = []
    loops: list[bool] = []
    loop = False
    for tokens, slash in cut:
        is_loop = len(tokens) == 1 and tokens[0][0] == "stars" and len(tokens[0][1]) > 1
        loop = loop or is_loop
        # At the end, and before an escaped slash, `**` is at least one name.
        if not is_loop or slash != "/":
            parts.append(_part(tokens))
            loops.append(loop)
            loop = False
    return tuple(parts), tuple(loops)


def _part(tokens: _Tokens) -> Part:
    if not tokens:
        raise ValueError(_NAMELESS)
    kinds = [kind for kind, _ in tokens]
    text = "".join(text for kind, text in tokens if kind == "text")
    if "char" not in kinds:
        if "stars" not in kinds:
            return Part("name", text)
        if "stars" not in kinds[1:]:
            return Part("ending", text)
        if "stars" not in kinds[:-1]:
            return Part("beginning", text)
    return Part("regex", _regex(tokens))


def _regex(tokens: _Tokens) -> str:
    """A regular expression for a whole name that never goes back to try another place.

    The leftmost place of a piece between two stars leaves the most to all that comes after it, so
    no other need be tried.  The last piece stands at the end, where a look back finds it: first of
    all, as most names end otherwise.
    """
    pieces: list[list[str]] = [[]]
    for kind, text in tokens:
        if kind == "stars":
            pieces.append([])
        else:
            pieces[-1] += map(re.escape, text) if kind == "text" else [text]
    first, last = "".join(pieces[0]), "".join(pieces[-1])
    if len(pieces) == 1:
        return first
    between = "".join(_leftmost(piece) for piece in pieces[1:-1])
    ends = f"(?=.*+(?<={last}))" if last else ""
    return f"{ends}{first}{between}.{{{len(pieces[-1])},}}+"


def _leftmost(piece: list[str]) -> str:
    """The first place of `piece` from here on, and what comes before it."""
    text = "".join(piece)
    is_letter = len(piece) == 1 and text != "." and not text.startswith("[")
    # Of one letter, much faster on long names.
    return f"[^{text}]*+{text}" if is_letter else f"(?>.*?{text})"


def _set(pattern: str, at: int) -> tuple[str, int]:
    """What stands in brackets, from `at` on, as a set of `re`; and where the pattern goes on."""
    negated = pattern[at : at + 1] in ("!", "^")
    begin = at = at + negated
    members, before = [], ""
    try:
        while at == begin or pattern[at] != "]":  # a bracket that comes first is a member
            member, before, at = _member(pattern, at, before)
            members.append(member)
    except IndexError:
        raise ValueError("it has a [ without its ]") from None
    return f"[{'^' * negated}{''.join(members)}]", at + 1


def _member(pattern: str, at: int, before: str) -> tuple[str, str, int]:
    """The member of a set at `at`: as regular expression, as the start of a range, and its end.

    `before` is the character that a range may start with, which is a member already, or "".
    """
    char = pattern[at]
    if char == "[" and pattern[at + 1] == ":" and (end := _class_end(pattern, at)):
        return _class(pattern[at + 2 : end - 2]), "", end
    if char == "-" and before and pattern[at + 1] != "]":
        last, end = _char(pattern, at + 1)
        # Of a range that ends before it begins, the first character counts.
        return (f"{re.escape(before)}-{re.escape(last)}" if before <= last else ""), "", end
    char, end = _char(pattern, at)
    return re.escape(char), char, end


def _char(pattern: str, at: int) -> tuple[str, int]:
    """The character at `at`, which a backslash may stand before, and where the next one is."""
    at += pattern[at] == "\\"
    return pattern[at], at + 1


def _class_end(pattern: str, at: int) -> int:
    """Where the `[:name:]` at `at` ends; 0 if the next bracket is not that of a class."""
    end = pattern.find("]", at + 2)
    if end < 0:
        raise IndexError
    return end + 1 if end > at + 2 and pattern[end - 1] == ":" else 0


def _class(name: str) -> str:
    if name not in _CLASSES:
        raise ValueError(f"there is no class of characters [:{name[:20]}:]")
    return _CLASSES[name]


# From patterns to paths.

_Match = Callable[[str], object]


class _Rules:
    """Patterns as an automaton over the names of a path.

    Each part of each pattern has a bit, and bits are in the order of the patterns.  Not
    thread-safe: folders are remembered.
    """

    def __init__(self, globs: Iterable[Glob], *, absorbing: bool) -> None:
        """`absorbing`: what is in a folder that matches, matches, too."""
        self.absorbing = absorbing
        self.names: dict[str, int] = {}  # the bits of parts that are this very name
        self.any = 0  # the bits of parts that are any name
        self.tests: list[tuple[int, Part, _Match]] = []  # of the other parts
        self.starts = self.loops = 0
        self.lasts = [0, 0]  # the bits of last parts: for files, and for folders
        self.globs: list[int] = []  # by bit, the number of its pattern
        for number, glob in enumerate(globs):
            self._add(number, glob)
        self._remembered: dict[int, _Folder] = {}
        self.everything = _Folder(self, -1)
        self.top = _Folder(self, self.starts)

    def _add(self, number: int, glob: Glob) -> None:
        self.starts |= 1 << len(self.globs)
        for part, loop in zip(glob.parts, glob.loops, strict=True):
            bit = 1 << len(self.globs)
            self.globs.append(number)
            self.loops |= bit * loop
            if part.kind == "name":
                self.names[part.text] = self.names.get(part.text, 0) | bit
            elif part == _ANY:
                self.any |= bit
            else:
                self.tests.append((bit, part, _match(part)))
        self.lasts[True] |= bit
        self.lasts[False] |= bit * (not glob.folders_only)

    def enter(self, path: str) -> _Folder:
        """The folder at `path`, which is "" or the path of a folder."""
        folder = self.top
        for name in path.split("/") if path else ():
            folder = folder[name]
        return folder

    def hits(self, name: str, active: int) -> int:
        """The bits among `active` of the parts that `name` is."""
        hits = active & (self.names.get(name, 0) | self.any)
        for bit, _, match in self.tests:
            if bit & active and match(name):
                hits |= bit
        return hits

    def below(self, name: str, active: int) -> _Folder:
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
            self._remembered[active] = _Folder(self, active)
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


class _Folder(dict[str, "_Folder"]):
    """A kind of folder: the parts that may come next are the bits `active`, or all if it is -1.

    Holds the folders in it, by name, made when they are asked for.
    """

    __slots__ = ("_active", "_finals", "_rules")

    def __init__(self, rules: _Rules, active: int) -> None:
        super().__init__()
        self._rules = rules
        self._active = active
        self._finals: _Finals | None = None

    def __missing__(self, name: str) -> _Folder:
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
            bool(names and names & self._rules.names.get(name, 0))
            or name.startswith(beginnings)
            or name.endswith(endings)
            or bool(match and match(name))
        )

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
    parts = [part for bit, part, _ in rules.tests if bit & last]
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
