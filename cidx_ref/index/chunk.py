"""Where a file is cut into the pieces that a search can find.

Lines are what "\\n" ends, numbered from 1: not what `str.splitlines` makes of a form feed.
What has an outline is cut at its definitions (`layout`), and all else at gaps between its lines.  A
line that is longer than a piece should be, as of data and of what a program wrote, is cut, too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

from cidx_ref.index.layout import MAX_LINES, Span, by_gaps, laid_out, trimmed
from cidx_ref.index.outlines import outline_of
from cidx_ref.index.structure import OWNER, Outline, names_by_piece, owners

__all__ = [
    "MAX_CHARS",
    "MAX_LINES",
    "MAX_LINE_CHARS",
    "MAX_PIECES",
    "MIN_OVERLAP",
    "Chunk",
    "chunk",
    "definition",
]

MAX_LINE_CHARS = 2000  # a line of more is cut
MAX_CHARS = 12_000  # of a chunk: as much as the longest definitions have that are written by hand
MAX_PIECES = 8192  # of a file, but for those of long lines: half of what a segment may have
_MAX_BLANK_END = 64  # characters behind the last word of a long line that stay with it
_WORD_REACH = 256  # characters at the end of a piece among which the end of a word is looked for
# Characters that a piece has of the one before it, as many as any phrase has that people look for.
# Not fewer than the first; up to the second if a word or a line begins there.
MIN_OVERLAP = 200
_MAX_OVERLAP = 300


@dataclass(frozen=True, slots=True)
class Chunk:
    """The lines `line_start` to `line_end`, counted from 1 and inclusive, joined by "\\n".

    `name` is the definition they are of, such as "Class.method", or "", and `kind` what that is
    (one of `structure.KINDS`).  Of what is too long there are several, and the first or the last of
    their lines may be a part of a line: `column` is how many characters of the first line come
    before the text.  `defines` are the simple names of all that these very lines define: of a long
    definition, the first piece has its name.  Behind `OWNER`, it has what qualifies one of them
    and is no part of the `name`.
    """

    name: str
    line_start: int
    line_end: int
    text: str
    kind: str = ""
    defines: tuple[str, ...] = ()
    column: int = 0


def chunk(text: str, language: str, *, path: str = "", parsed: str | None = None) -> list[Chunk]:
    """The pieces of `text` in the order of their lines; every line that is not blank is in one.

    Only the pieces that a long definition, a long stretch of text or a long line is cut into may
    overlap.
    `path` is that of its file: keys are names in what configures.  `parsed` is what may be parsed,
    line by line, where `text` itself is not Python.  A text of more than `MAX_PIECES` has larger
    ones, without names.
    """
    lines = text.split("\n")
    outline = outline_of(language, text, lines, path)
    if outline is None and parsed is not None:
        outline = outline_of(language, parsed, lines)
    spans = list(_spans(outline, language, lines))
    if len(spans) > MAX_PIECES:
        spans = _joined(spans, lines)
    found = _of_bounded_size(
        Chunk(name, start + 1, end, "\n".join(lines[start:end]), kind)
        for name, kind, start, end in spans
    )
    return _with_names(found, outline) if outline is not None else found


def _spans(outline: Outline | None, language: str, lines: list[str]) -> Iterator[Span]:
    is_outlined = outline is not None and (outline.definitions or language == "python")
    if outline is not None and is_outlined:
        found = iter(laid_out(outline, lines, sparing=language != "python"))
    else:
        found = by_gaps(lines)
    for span in found:
        start, end = trimmed(lines, span.start, span.end)
        if start < end:
            yield span._replace(start=start, end=end)


def _with_names(chunks: list[Chunk], outline: Outline) -> list[Chunk]:
    """`chunks`, with what each of them defines."""
    spans = [(piece.line_start - 1, piece.line_end) for piece in chunks]
    owned = [
        (each.start, f"{OWNER}{owner}")
        for each in outline.definitions
        if each.kind != "heading"
        for owner in sorted(owners(each.name))
    ]
    parts = zip(names_by_piece(outline.names, spans), names_by_piece(owned, spans), strict=True)
    named = zip(chunks, parts, strict=True)
    return [replace(piece, defines=_told(piece.name, *names)) for piece, names in named]


def _told(name: str, names: tuple[str, ...], owned: tuple[str, ...]) -> tuple[str, ...]:
    """`names`, and what qualifies some of them, if the piece called `name` does not tell."""
    if not owned:
        return names
    told = {*name.split("."), *names}
    return (*names, *(each for each in owned if each.removeprefix(OWNER) not in told))


def _joined(spans: list[Span], lines: list[str]) -> list[Span]:
    """The spans, with as many in one as are not too long together."""
    before = list(accumulate((len(line) + 1 for line in lines), initial=0))
    joined: list[Span] = []
    for _, _, start, end in spans:
        if joined and before[end] - before[joined[-1].start] <= MAX_CHARS:
            start = joined.pop().start
        joined.append(Span("", "", start, end))
    return joined


def definition(name: str) -> str:
    """What the chunk called `name` defines, without the number of a notebook's cell."""
    if not name.startswith("cell "):
        return name
    cell, _, rest = name.partition(": ")
    number = cell.removeprefix("cell ")
    return rest if number != cell and number.isdecimal() else name


def _of_bounded_size(chunks: Iterable[Chunk]) -> list[Chunk]:
    """`chunks`, and those that are too long in pieces; in the order of their lines."""
    found: list[Chunk] = []
    cut = 0  # the last line of those that were cut, which are not cut again in the next window
    for whole in chunks:
        if _is_too_long(whole.text):
            found += _pieces(whole, max(0, cut + 1 - whole.line_start))
            cut = max(cut, whole.line_end)
        else:
            found.append(whole)
    # A window's overlap may begin before the last piece of the one before it.
    return sorted(found, key=lambda one: one.line_start)


def _is_too_long(text: str) -> bool:
    if len(text) <= MAX_LINE_CHARS:
        return False
    return len(text) > MAX_CHARS or max(map(len, text.split("\n"))) > MAX_LINE_CHARS


def _pieces(whole: Chunk, first: int) -> Iterator[Chunk]:
    """Pieces of `whole` from its line `first`, counted from 0.

    Each begins with the end of what is before it, unless a blank line is between them.
    """
    text, lines = whole.text, whole.text.split("\n")
    starts = list(accumulate((len(line) + 1 for line in lines), initial=0))
    before = starts[first] - 1  # where the piece before this one ends
    for start, end in _cuts(text, lines, starts, first):
        between = text[max(0, before) : start]
        begin = start if between.count("\n") > 1 or between.strip() else _overlap(text, start)
        first_line = bisect_right(starts, begin) - 1
        number, column = whole.line_start + first_line, begin - starts[first_line]
        last = whole.line_start + bisect_right(starts, end - 1) - 1
        yield Chunk(whole.name, number, last, text[begin:end], whole.kind, column=column)
        before = end


def _cuts(text: str, lines: list[str], starts: list[int], first: int) -> Iterator[tuple[int, int]]:
    """Where the pieces of `text` begin and end before they overlap, without those that are blank.

    `starts` is where each of the `lines` begins, and where one after them would.
    """
    begun = first
    for place in range(first, len(lines) + 1):
        is_long = place < len(lines) and len(lines[place]) > MAX_LINE_CHARS
        full = starts[min(place + 1, len(lines))] - starts[begun] > MAX_CHARS - _MAX_OVERLAP
        if is_long or full or place == len(lines):
            start, end = trimmed(lines, begun, place)
            if start < end:
                yield starts[start], starts[end] - 1
            begun = place
        if is_long:
            stretches = _stretches(text, starts[place], starts[place + 1] - 1)
            yield from ((start, end) for start, end in stretches if text[start:end].strip())
            begun = place + 1


def _stretches(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Those of a long line from `start` to `end`, cut between words if there is such a place."""
    while end - start > MAX_LINE_CHARS - _MAX_OVERLAP:
        full = start + MAX_LINE_CHARS - _MAX_OVERLAP
        cut = next((i for i in range(full, full - _WORD_REACH, -1) if _may_cut(text, i)), full)
        if end - cut <= _MAX_BLANK_END and text[cut:end].isspace():
            break  # a piece of its own would be blank, and so left out
        yield start, cut
        start = cut
    yield start, end


def _overlap(text: str, start: int) -> int:
    """Where a piece begins, for what lies across its `start` to be in it as a whole."""
    near = start - MIN_OVERLAP
    far = max(0, start - _MAX_OVERLAP)
    if near <= 0:
        return 0
    line = text.rfind("\n", far, near) + 1
    return line or next((i for i in range(near, far, -1) if _may_cut(text, i)), near)


def _may_cut(text: str, place: int) -> bool:
    """Whether neither a word nor a run of punctuation goes on there."""
    before, after = text[place - 1], text[place]
    return before.isspace() or after.isspace() or _is_of_word(before) != _is_of_word(after)


def _is_of_word(character: str) -> bool:
    return character == "_" or character.isalnum()
