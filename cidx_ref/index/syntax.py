"""What the lines of a language look like: the words in which the patterns of definitions are said.

The patterns themselves are in `heads_systems` and the others beside it; `patterns` goes by them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

__all__ = [
    "ALONE",
    "ANGLES",
    "CONTAINERS",
    "Heredocs",
    "MAX_HEAD_CHARS",
    "MAX_HEAD_LINES",
    "Rule",
    "Syntax",
    "any_of",
    "bare_name",
    "begins_with",
    "end_of_head",
    "is_header",
    "opens_near",
    "parts_of_name",
    "pattern",
    "tail_of",
]

MAX_HEAD_LINES = 24
_MAX_NAME_CHARS = 120
_JOINTS = re.compile(r"[:.]+")
_HEADER_LINES = 200  # in which a header says that it is one: behind its licence
_ONCE = re.compile(r"#\s*(?:pragma\s+once\b|ifndef\s+(?P<guard>\w+)\s*$)")
_HEREDOC = re.compile(r"<<[~-]?(?:\"([^\"]+)\"|'([^']+)'|([A-Za-z_]\w*))")
_GROUP = re.compile(r"\(\?P<\w+>")
MAX_HEAD_CHARS = 300  # of a line that is looked at

#: An annotation in a line of its own.
ALONE = r"@[\w.:]+(?:\([^()]*(?:\([^()]*\)[^()]*)*\)?)?\s*$"

#: What stands in angle brackets behind a type, three deep; there is one way only to match it.
_PLAIN = r"[^;{}()=<>]*"
ANGLES = f"<{_PLAIN}(?:<{_PLAIN}(?:<{_PLAIN}>{_PLAIN})*>{_PLAIN})*>"

#: In which a function is a method.
CONTAINERS = frozenset("class interface struct enum trait impl constant".split())


def pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    return re.compile(text, flags)


class Rule(NamedTuple):
    """How a line looks that begins a definition.

    `pattern` matches it from its first letter on.  Its groups: `name`; `of`, or `of_that`, what
    that is a part of.  Without a `name`, or with an empty one, it has none, and is looked into.

    `into`: what lies in it is looked at.  `flat`: only where it is not indented, or right within
    what is looked into.  `within`: only there, or only in what is of `within_kind`; `outside`: not
    in a type.  `body`: only if a body follows, with `near` at once; or, in what is of a kind in
    `bare`, a semicolon.  `opens`: what can begin its body, as the last character of a line.
    `members` are names that stand in lines right within it; as `keys` of an object, they are asked
    for less often than what is called so elsewhere.
    """

    pattern: re.Pattern[str]
    kind: str
    into: bool = False
    flat: bool = False
    within: bool = False
    outside: bool = False
    within_kind: str = ""
    body: bool = False
    near: bool = False
    bare: frozenset[str] = frozenset()
    opens: str = "{"
    members: re.Pattern[str] | None = None
    keys: bool = False
    #: That it ends where its line does, whatever follows.
    single: re.Pattern[str] | None = None
    #: The name stands behind its end, as in `typedef struct { } Name;`.
    named_at_end: re.Pattern[str] | None = None
    #: All that follows is a part of it, up to the next one of the kind: the head has no body.
    rest: bool = False
    #: It has its whole name in its head, whatever it stands in.
    whole: bool = False
    #: What it is called is a key, which is asked for less often than what is called so elsewhere.
    key: bool = False


class Syntax(NamedTuple):
    """What a language looks like.

    `ends`: what a line begins with that ends a definition.  `layout`: so does any line that is
    not further indented.  `above`: lines that belong to what is below them.  `comments`: what a
    comment of several lines begins with, and ends with.  `line_comment`: what ends code in a line.
    `more`: what a line begins with that goes on with what is above it.  `clauses`: definitions of
    one name that follow each other are one.  `nested`: a line within a function that defines
    another one, which has no piece of its own.  `apart`: the end of a comment that belongs to what
    is below it, though a blank line comes between them.  `heredocs`: `<<WORD` begins a text, up to
    a line that is the word.
    """

    rules: tuple[Rule, ...]
    above: re.Pattern[str]
    ends: tuple[str, ...] = ("}",)
    layout: bool = False
    comments: tuple[tuple[str, str], ...] = (("/*", "*/"),)
    line_comment: str = "//"
    more: re.Pattern[str] = re.compile(r"[{)\]:,|&=.<>?+#-]|where\b|public:|private:|protected:")
    clauses: bool = False
    heredoc: str = ""
    macro: re.Pattern[str] | None = None
    statement: bool = False
    nested: re.Pattern[str] | None = None
    apart: str = ""
    heredocs: bool = False


class Heredocs:
    """The texts of several lines that stand within code, from `<<WORD` to a line that is the word.

    No line is looked at twice, though what looks like the begin of one may be a shift.
    """

    def __init__(self, syntax: Syntax, lines: Sequence[str]) -> None:
        self._syntax = syntax
        self._lines = lines
        self._last: dict[str, int] = {}  # by its text, the last line that is so

    def behind(self, number: int, line: str) -> int:
        """The first line behind all that the line `number` begins."""
        end, comment = number, self._syntax.line_comment
        if not self._syntax.heredocs or "<<" not in line or line.lstrip().startswith(comment):
            return number + 1
        if not self._last:
            self._last = {each.strip(): place for place, each in enumerate(self._lines)}
        for met in _HEREDOC.finditer(tail_of(line, comment)):
            word = (met[1] or met[2] or met[3]).strip()
            if self._last.get(word, -1) > end:
                end += 1
                while self._lines[end].strip() != word:
                    end += 1
        return end + 1


@cache
def any_of(rules: tuple[Rule, ...]) -> re.Pattern[str]:
    """Matches what any of `rules` does, and names the first one of them: "r" and its place."""
    one_by_one = (
        f"(?P<r{place}>{_flagged(_GROUP.sub('(?:', rule.pattern.pattern), rule)})"
        for place, rule in enumerate(rules)
    )
    return re.compile("|".join(one_by_one))


def _flagged(pattern: str, rule: Rule) -> str:
    return f"(?i:{pattern})" if rule.pattern.flags & re.IGNORECASE else pattern


def bare_name(name: str) -> str:
    """A name without its quotes."""
    name = name[:_MAX_NAME_CHARS].strip("`\"'#")
    name = name[1:-1] if name[:1] == "[" and name[-1] == "]" and name != "[]" else name
    return name.replace(".", " ").replace(":", " ") if " " in name else name


def parts_of_name(name: str) -> list[str]:
    """What a qualified name is made of, without what JavaScript has in between."""
    if name.isidentifier() or not name:
        return [name] if name else []
    return [part for part in _JOINTS.split(name) if part and part != "prototype"]


def begins_with(bare: str, ends: Iterable[str]) -> bool:
    for end in ends:
        if bare.startswith(end):
            after = bare[len(end) : len(end) + 1]
            if not end.isalpha() or not (after.isalnum() or after == "_"):
                return True
    return False


def tail_of(bare: str, line_comment: str) -> str:
    """The code of a line, without a comment behind it."""
    at = bare.find(f" {line_comment}") if line_comment else -1
    if at < 0:
        at = bare.find("\t" + line_comment) if line_comment else -1
    if at >= 0:
        bare = bare[:at]
    elif bare.endswith("*/"):
        bare = bare[: max(0, bare.rfind("/*"))]
    return bare.rstrip()


def end_of_head(
    lines: Sequence[str], number: int, line_comment: str, pattern: re.Pattern[str]
) -> str:
    """What ends a head that begins in the line `number`: "{", ";" or neither, also where another
    head begins before."""
    indent = indent_of(lines[number])
    for place, bare in enumerate(_some(lines, number)):
        if place and indent_of(lines[number + place]) <= indent and pattern.match(bare):
            return ""
        tail = tail_of(bare, line_comment)
        if tail.endswith("{") or (tail.endswith("}") and "{" in tail):
            return "{"
        if tail.endswith(";"):
            return ";" if tail.count("{") <= tail.count("}") and "{" not in tail else "{"
        if "{" in tail:
            return "{"
        if tail.endswith("}") or not tail:
            return ""
    return ""


def indent_of(line: str) -> int:
    return len(line) - len(line.lstrip())


def opens_near(lines: Sequence[str], number: int) -> bool:
    """Whether a body begins in the line `number`, or in the next one."""
    line = lines[number]
    after = lines[number + 1].lstrip() if number + 1 < len(lines) else ""
    return "{" in line or line.rstrip().endswith((":", ",")) or after.startswith(("{", ":"))


def is_header(lines: Sequence[str]) -> bool:
    """Whether a text in C or C++ is to be included, and once: it declares what others define."""
    for number, line in enumerate(lines[:_HEADER_LINES]):
        if line[:1] == "#" and (met := _ONCE.match(line.rstrip())):
            guard, after = met["guard"], lines[number + 1 : number + 2]
            return guard is None or bool(after and after[0].split()[1:2] == [guard])
    return False


def _some(lines: Sequence[str], number: int) -> Iterator[str]:
    for at in range(number, min(len(lines), number + MAX_HEAD_LINES)):
        yield lines[at].strip()[:MAX_HEAD_CHARS]
