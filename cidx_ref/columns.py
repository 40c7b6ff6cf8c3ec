"""Text in the columns of a terminal: made harmless, measured, cut and coloured.

A line is pieces, each with the style that it is shown in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ["ELLIPSIS", "TAB", "Piece", "clean", "columns", "fit", "harmless", "plain", "rendered"]

ELLIPSIS = "…"
TAB = 4
_REPLACEMENT = "·"

#: One stretch of a line and its style ("" for none).
Piece = tuple[str, str]


def rendered(lines: Iterable[list[Piece]], width: int | None, color: bool) -> Iterator[str]:
    """Each line as text: cut to `width` columns, if that is not None, and with `color`, painted."""
    show = paint if color else plain
    return (show(line if width is None else fit(line, width)) for line in lines)


def plain(pieces: Iterable[Piece]) -> str:
    return "".join(text for text, _ in pieces)


def paint(pieces: Iterable[Piece]) -> str:
    return "".join(f"\x1b[{sgr}m{text}\x1b[0m" if sgr else text for text, sgr in pieces if text)


def fit(pieces: list[Piece], width: int) -> list[Piece]:
    """`pieces`, cut where they take more than `width` columns."""
    if sum(columns(text) for text, _ in pieces) <= width:
        return pieces
    room = width - len(ELLIPSIS)
    kept: list[Piece] = []
    for text, sgr in pieces:
        kept.append((_prefix(text, room), sgr))
        room -= columns(text)
    return [*kept, (ELLIPSIS, "")]


def _prefix(text: str, width: int) -> str:
    """As much of the start of `text` as `width` columns hold."""
    for index, char in enumerate(text):
        width -= columns(char)
        if width < 0:
            return text[:index]
    return text


def columns(text: str) -> int:
    """How many columns printable `text` takes; where terminals differ, the most it may take."""
    return len(text) if text.isascii() else sum(map(_char_columns, text))


def _char_columns(char: str) -> int:
    import unicodedata

    if char == "\ufe0f":  # asks for the emoji form of the character before it, which may be wider
        return 1
    category = unicodedata.category(char)
    if category in ("Mn", "Me", "Cf"):
        return 0
    # "Cn" is a character that is younger than this Python, maybe an emoji.
    return 2 if category == "Cn" or unicodedata.east_asian_width(char) in "WF" else 1


def clean(text: str) -> str:
    """`text` on one line, tabs expanded, with a dot for every character that does things."""
    return text if text.isprintable() else harmless(text).expandtabs(TAB)


def harmless(text: str) -> str:
    """`text` with a dot for every character but tabs that does things."""
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(char: str) -> str:
    import unicodedata

    if char.isprintable() or char in "\t\u200c\u200d":  # these two join letters and emoji
        return char
    return _REPLACEMENT if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") else char
