"""The outline of Markdown: its headings, each with what stands below it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cidx_ref.index.structure import Definition, Outline

__all__ = ["markdown_outline"]

_MAX_CHARS = 120
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*)")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-{2,})[ \t\r]*$")
_NO_PARAGRAPH = re.compile(r"\s*(?:$|[-*+>|#=~`<]|\d+[.)]\s)")
_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])?|<[^<>]*>|[*`\\]|\{#[^{}]*\}")
_JOINT = " > "


def markdown_outline(lines: Sequence[str]) -> Outline:
    """The sections of a text of `lines`: called after their headings, and those they are in."""
    found = list(_headings(lines))
    open_: list[tuple[int, str, int]] = []  # level, name, first line
    definitions: list[Definition] = []
    for line, level, text in [*found, (len(lines), 0, "")]:
        while open_ and open_[-1][0] >= level:
            _, name, start = open_.pop()
            definitions.append(Definition(name, "heading", start, line))
        above = open_[-1][1] if open_ else ""
        open_.append((level, f"{above}{_JOINT}{text}" if above and text else above or text, line))
    definitions.sort(key=lambda each: (each.start, -each.end))
    return Outline(
        [each for each in definitions if each.name],
        [(line, text) for line, _, text in found if text],
    )


def _headings(lines: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """The line, the level and the text of each heading."""
    fence = ""
    for number, line in enumerate(lines):
        if line[:1].isalpha():
            continue
        if met := _FENCE.match(line):
            fence = met[1] if not fence else "" if met[1].startswith(fence) else fence
        elif fence:
            continue
        elif met := _HEADING.match(line[: 4 * _MAX_CHARS]):
            yield number, len(met[1]), _plain(met[2])
        elif _underlines(lines, number):
            yield number - 1, 1 if line.lstrip()[0] == "=" else 2, _plain(lines[number - 1])


def _underlines(lines: Sequence[str], number: int) -> bool:
    """Whether a line makes a heading of the one above it."""
    if number == 0 or not _UNDERLINE.match(lines[number][:200]):
        return False
    is_alone = number < 2 or not lines[number - 2].strip()
    return is_alone and not _NO_PARAGRAPH.match(lines[number - 1])


def _plain(text: str) -> str:
    """A heading without its marks."""
    text = text[: 4 * _MAX_CHARS].strip().rstrip("#").rstrip()
    return " ".join(_LINK.sub(lambda met: met[1] or "", text).split())[:_MAX_CHARS]
