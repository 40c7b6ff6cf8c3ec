"""One `.cidxignore`: how its bytes are read, what it leaves out, and what its `!` lines ask for.

Which files there are, and what beats what, is the matter of `belongs`.
"""

from __future__ import annotations

import re

from cidx_ref.index.matching import IgnoreRules

__all__ = ["OwnIgnores", "as_bytes"]

_UTF_8_MARK = b"\xef\xbb\xbf"
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
#: A `!pattern` whose last part names nothing: wildcards, or an ending of one word.
_NAMELESS = re.compile(r"!(?:.*/)?\*+(?:\.\w+|\.\*)?/?\s*")
_MAX_LINE = 4_096  # no longer pattern is read


class OwnIgnores:
    """The rules of a `.cidxignore` in `folder`, and those that ask for what the defaults leave out.

    A `!pattern` that names nothing and comes after a line that leaves something out only undoes
    that line; one without a slash asks for nothing within a folder that is left out.
    """

    def __init__(self, folder: str, text: str) -> None:
        self.folder = folder
        self.rules = IgnoreRules(text)
        self._text = text
        self._asking: dict[bool, IgnoreRules] = {}

    def asking(self, inside: bool) -> IgnoreRules:
        """Rules that say no of what is asked for, `inside` a folder that is left out or not."""
        if inside not in self._asking:
            self._asking[inside] = self._made(inside)
        return self._asking[inside]

    @property
    def placed(self) -> list[str]:
        """The patterns that ask for something within what is left out, as seen from the folder."""
        return [line[1:] for line in self._kept(inside=True) if line.startswith("!")]

    def _made(self, inside: bool) -> IgnoreRules:
        kept = self._kept(inside)
        return self.rules if kept == self._text.split("\n") else IgnoreRules("\n".join(kept))

    def _kept(self, inside: bool) -> list[str]:
        lines = self._text.split("\n")
        kept = []
        leaves_out = False
        for line in lines:
            if not line.startswith("!"):
                leaves_out = leaves_out or bool(line.strip() and line[0] != "#")
            elif (inside and not _is_placed(line)) or (leaves_out and _is_nameless(line)):
                continue
            kept.append(line)
        return kept


def as_bytes(data: bytes) -> str:
    """The text of a `.cidxignore`, with a character for each byte of UTF-8."""
    if data.startswith(_UTF_16_MARKS):  # as a shell of Windows writes it
        data = data.decode("utf-16", "replace").encode("utf-8", "replace")
    return data.removeprefix(_UTF_8_MARK).decode("latin-1")


def _is_placed(line: str) -> bool:
    return "/" in line.rstrip().removesuffix("/")


def _is_nameless(line: str) -> bool:
    return len(line) <= _MAX_LINE and _NAMELESS.fullmatch(line) is not None
