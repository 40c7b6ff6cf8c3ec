"""Text of strangers made fit to be shown: what a daemon says goes to terminals, XML and pages."""

from __future__ import annotations

__all__ = ["count_of", "one_line", "printable", "shown"]


def printable(text: str) -> str:
    """`text` with its line breaks, and what would steer a terminal or break a document escaped."""
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return "    " if character == "\t" else character.encode("unicode_escape").decode("ascii")


def one_line(text: str) -> str:
    """The same, without line breaks and surplus blanks."""
    return printable(" ".join(text.split()))


def count_of(number: int, noun: str, plural: str = "") -> str:
    """`1 promise`, `2 promises`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def shown(value: object, most: int = 100) -> str:
    """A value as it is written, on one line, and not all of a long one."""
    try:
        text = one_line(repr(value))
    except Exception:  # it is somebody else's
        text = object.__repr__(value)
    return text if len(text) <= most else f"{text[:most]}..."
