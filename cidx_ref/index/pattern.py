"""What `literal` and `regex` look for, checked and compiled: the one place that knows RE2.

A line is what grep takes for one: what is between two "\\n".  A pattern is matched within one line,
whatever it says of line ends.  Of a literal text of several lines, the one that says most is looked
for, and where it stands the others are compared (`Lines`).  RE2 takes time that is linear in the
text, and lets other threads on meanwhile.  It is imported when the first pattern is compiled:
neither a client nor a daemon that is asked for no pattern has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from cidx_ref.errors import BadArgumentError
from cidx_ref.shown import shown

if TYPE_CHECKING:
    from mmap import mmap

    Buffer = bytes | mmap

__all__ = ["MAX_PATTERN_CHARS", "Lines", "Pattern", "compiled"]

MAX_PATTERN_CHARS = 4096  # of a regular expression, or of a text in whatever case
_MAX_STEPS = 10_000  # of the compiled program; a character in `a{1000}` is one, `.` up to eight
_FEW_BYTES = 256  # a longer literal is cheaper by way of Python's own search
# Where its cache of states is of no use, RE2 takes some 14 ns for each byte and step.  So much is
# looked at in one go, and a quarter of a second at worst; then the clock is read.
_BYTES_AND_STEPS = 1 << 24
_MAX_BLOCK = 1 << 19
_STRETCH_BYTES = 1 << 16

_CODEC = ("utf-8", "surrogatepass")
_NOT_FIRST = bytes(range(0x80, 0xC0))  # bytes of a character, in UTF-8
# Flags, what may hold `^` and `$` that are no ends of a line, and what RE2 calls the ends of a
# text: here the text is the line.  Nothing in it goes back.
_TOKENS = re.compile(
    r"\\Q(?s:.*?)(?:\\E|\Z)"  # as it stands
    r"|\[\^?\]?(?:\\.|\[:\^?\w++:\]|[^\]\\])*+\]"  # a class of characters
    r"|\(\?[a-zA-Z-]*[:)]"  # flags
    r"|\\[pP]\{[^}]*\}|\\.|[\^$]"
)
_ENDS = {"^": "(?m:^)", r"\A": "(?m:^)", "$": "(?m:$)", r"\z": "(?m:$)"}
_HINTS = {
    "invalid perl operator: (?": "; look-around is not to be had in linear time",
    "invalid repetition size": "; at most 1000 in all",
    **{
        f"invalid escape sequence: \\{n}": "; references to groups are not to be had in linear time"
        for n in range(1, 10)
    },
}


def compiled(mode: str, text: str, *, ignore_case: bool = False) -> Pattern:
    """What `text` looks for in `mode` ("literal" or "regex").

    Raises `BadArgumentError`, which says what cannot be looked for, and why.
    """
    if mode == "literal":
        # The text of the index has no other line ends; and around what was copied there may be
        # some that were not meant.
        text = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
        if "\n" in text:
            return Lines(text.split("\n"), ignore_case=ignore_case)
        return _Literal(text, ignore_case=ignore_case)
    return _Regex(text, ignore_case=ignore_case)


class Pattern:
    """Finds the lines of a text in which something stands.  Thread-safe."""

    #: How long a match may be, in characters; None: as long as a line.
    max_chars: int | None = None
    steps = 1

    @property
    def block_bytes(self) -> int:
        """How much may be looked at in one go."""
        return max(1, min(_MAX_BLOCK, _BYTES_AND_STEPS // self.steps))

    def places(self, text: Buffer, start: int, stop: int) -> Iterator[int]:
        """Where in each line of `text[start:stop]` the first match begins, or more than one of
        them, in order.  Around what is looked at, there are line ends, or ends of the text."""
        raise NotImplementedError

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where each match in a line begins and ends, in characters."""
        raise NotImplementedError


class _Literal(Pattern):
    def __init__(self, text: str, *, ignore_case: bool) -> None:
        self._text = text
        if not self._text:
            raise BadArgumentError("query: nothing to look for: it must not be empty")
        self._bytes = self._text.encode(*_CODEC)
        self._ignores_case = ignore_case
        self.max_chars = len(self._text)
        self._regexp: Any = None
        if ignore_case or len(self._bytes) <= _FEW_BYTES:
            self._regexp = self._compiled()

    def _compiled(self) -> Any:
        if not self._ignores_case:
            # As bytes, which half a character is, too.
            return _re2(_escaped(self._bytes), as_bytes=True)
        found = _of_any_case(self._text)
        self.steps = _steps(found)
        return found

    def places(self, text: Buffer, start: int, stop: int) -> Iterator[int]:
        if self._regexp is None:
            yield from _found(text[start:stop], self._bytes, start)
            return
        while (match := self._regexp.search(text, start, stop)) is not None:
            place = match.start()
            yield place
            if self._ignores_case:
                following = text.find(b"\n", place, stop)
                if following < 0:
                    return
                start = following + 1
            else:
                # Python's own search for the next ones: another thread that wants to run may
                # keep the engine from going on for 5 ms, each time it has let it.
                start = min(stop, place + _STRETCH_BYTES)
                # One that goes on behind `start` is met by the next round.
                until = min(stop, start + len(self._bytes) - 1)
                found = _found(text[place:until], self._bytes, place)
                next(found)
                yield from found

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        if self._ignores_case:
            yield from _spans(self._regexp, text)
            return
        at = text.find(self._text)
        while at >= 0:
            yield at, at + len(self._text)
            at = text.find(self._text, at + len(self._text))


class Lines(Pattern):
    """A text of several lines: `places` and `steps` are those of one of them, the longest.

    The first one is the end of a line, the last one the beginning of a line, and those between are
    lines.
    """

    def __init__(self, lines: list[str], *, ignore_case: bool) -> None:
        self.lines = lines
        #: Which of them `places` finds.  Blank lines are not told, so one of blanks says nothing.
        self.told = max(range(len(lines)), key=lambda number: len(lines[number].strip()))
        self._regexp = _of_any_case("\n".join(lines)) if ignore_case else None
        self._one = _Literal(lines[self.told], ignore_case=ignore_case)
        self.max_chars, self.steps = self._one.max_chars, self._one.steps

    def places(self, text: Buffer, start: int, stop: int) -> Iterator[int]:
        return self._one.places(text, start, stop)

    def stand_in(self, line_at: Callable[[int], str | None]) -> bool:
        """Whether they stand where `line_at` has the lines from the first one on; None is a line
        that is blank, and no more is known of it."""
        found = []
        for number, wanted in enumerate(self.lines):
            line = line_at(number)
            if line is None and not wanted.strip():
                line = wanted
            elif line is not None and number == 0:
                line = line[-len(wanted) :]
            elif line is not None and number == len(self.lines) - 1:
                line = line[: len(wanted)]
            # What a letter is in the other case is one character, too.
            if line is None or len(line) != len(wanted):
                return False
            if self._regexp is None and line != wanted:
                return False
            found.append(line)
        whole = "\n".join(found).encode(*_CODEC)
        return self._regexp is None or self._regexp.fullmatch(whole) is not None

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """The one match in the lines `text`, in which they stand."""
        start = text.find("\n") - len(self.lines[0])
        end = text.rfind("\n") + 1 + len(self.lines[-1])
        yield max(0, start), min(end, len(text))


class _Regex(Pattern):
    def __init__(self, text: str, *, ignore_case: bool) -> None:
        _check_size(text)
        if not text:
            raise BadArgumentError("query: nothing to look for: it must not be empty")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise BadArgumentError("query: not text, so no regular expression") from None
        _re2(text.encode(), ignore_case=ignore_case, shown_as=text)
        bare = _within_lines(text).encode()
        self._regexp = _re2(bare, ignore_case=ignore_case)
        # What follows in the line belongs to the match: so one is found in each line, not each one.
        self._of_lines = _re2(b"(?:" + bare + b")(?-s:.*)", ignore_case=ignore_case)
        # `.?.?` and the rest of the line is but the rest of the line to the second one.
        self.steps = max(_steps(self._regexp), _steps(self._of_lines))

    def places(self, text: Buffer, start: int, stop: int) -> Iterator[int]:
        for match in self._of_lines.finditer(text, start, stop):
            yield match.start()

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        return _spans(self._regexp, text)


def _within_lines(text: str) -> str:
    """The regular expression `text`, whose ends of a text are those of a line."""

    def of_line(match: re.Match[str]) -> str:
        token = match[0]
        if token == r"\C":
            raise BadArgumentError(r"query: \C: bytes are not looked for, only characters")
        if token == r"\n":
            raise BadArgumentError(_NO_LINES)
        if token.startswith(r"\Q") and not token.endswith(r"\E"):
            return token + r"\E"  # or it would go on behind the pattern
        if token.startswith("(?") and "s" in token.partition("-")[0]:
            raise BadArgumentError(f"query: {token}{_ONE_LINE}")
        return _ENDS.get(token, token)

    if "\n" in text:
        raise BadArgumentError(_NO_LINES)
    return _TOKENS.sub(of_line, text)


_ONE_LINE = (
    ": a regular expression is looked for in one line at a time; mode literal takes several lines"
)
_NO_LINES = rf"query: \n{_ONE_LINE}"


def _check_size(text: str) -> None:
    if len(text) > MAX_PATTERN_CHARS:
        raise BadArgumentError(
            f"query: {len(text)} characters are too many; at most {MAX_PATTERN_CHARS} in a regular "
            "expression, or where case is ignored"
        )


def _of_any_case(text: str) -> Any:
    """A literal text, whatever its case."""
    _check_size(text)
    try:
        as_utf8 = text.encode()
    except UnicodeEncodeError:
        raise BadArgumentError("query: not text, so it has no case to be ignored") from None
    return _re2(_escaped(as_utf8), ignore_case=True, never_nl="\n" not in text)


def _steps(regexp: Any) -> int:
    steps: int = max(1, regexp.programsize)
    if steps > _MAX_STEPS:
        raise BadArgumentError(
            f"query: it takes {steps} steps, and at most {_MAX_STEPS} are allowed: repeat less"
        )
    return steps


def _re2(
    pattern: bytes,
    *,
    ignore_case: bool = False,
    never_nl: bool = True,
    as_bytes: bool = False,
    shown_as: str = "",
) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.never_nl = never_nl
    options.case_sensitive = not ignore_case
    if as_bytes:
        options.encoding = re2.Options.Encoding.LATIN1
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise BadArgumentError(f"query: {_problem(error, shown_as)}") from None
    finally:
        # The module would keep the last 128 in memory, megabytes each.
        re2.purge()


def _problem(error: Exception, text: str) -> str:
    said = error.args[0] if error.args else ""
    message = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    hint = next((hint for begin, hint in _HINTS.items() if message.startswith(begin)), "")
    what, colon, part = message.partition(": ")
    at = text.find(part) if part else len(text) - 1
    place = f" (from character {at + 1} on)" if at >= 0 else ""
    part = f"{colon}{shown(part)}" if part else ""
    return f"not a regular expression: {what}{part}{place}{hint}"


def _escaped(literal: bytes) -> bytes:
    import re2

    escaped: bytes = re2.escape(literal)
    return escaped


def _found(text: bytes, wanted: bytes, offset: int) -> Iterator[int]:
    """Where `wanted` first begins in each line of `text`."""
    at = text.find(wanted)
    while at >= 0:
        yield offset + at
        following = text.find(b"\n", at)
        at = text.find(wanted, following + 1) if following >= 0 else -1


def _spans(regexp: Any, text: str) -> Iterator[tuple[int, int]]:
    data = text.encode(*_CODEC)
    at = characters = 0
    for match in regexp.finditer(data):
        start, end = match.start(), match.end()
        if start == end:
            continue
        characters += _length(data[at:start])
        length = _length(data[start:end])
        yield characters, characters + length
        at, characters = end, characters + length


def _length(data: bytes) -> int:
    """How many characters begin in `data`."""
    return len(data.translate(None, _NOT_FIRST))
