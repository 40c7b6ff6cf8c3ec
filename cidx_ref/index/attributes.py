"""What `.gitattributes` says of generated and vendored files, in the words of GitHub's linguist."""

from __future__ import annotations

import re

from cidx_ref.index.matching import IgnoreRules

__all__ = ["ATTRIBUTES", "rules_of"]

#: Those that are read.
ATTRIBUTES = ("linguist-generated", "linguist-vendored")

# A pattern may be quoted as in C; what comes after it are attributes.
_LINE = re.compile(r'(?:"(?P<quoted>(?:[^"\\]|\\.)*+)"|(?P<plain>[^\s"]\S*+))(?P<words>\s.*)')
_ESCAPE = re.compile(r"\\([0-7]{3}|.)")
_LETTERS = {"a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r"}


def rules_of(text: str) -> dict[str, IgnoreRules]:
    """For each attribute that `text` speaks of, rules whose verdict is its value.

    `text` has a character for each byte.  As in git, the last line that matches counts.
    """
    lines: dict[str, list[str]] = {name: [] for name in ATTRIBUTES}
    for line in text.split("\n"):
        found = _LINE.match(line.strip(" \t\r")) if "linguist-" in line else None
        if found is None or line.lstrip()[0] in "#!":
            continue
        pattern = found["plain"] or _unquoted(found["quoted"] or "")
        if not pattern or pattern.endswith("/") or "\n" in pattern:  # which match no file
            continue
        for word in found["words"].split():
            name, value = _attribute(word)
            if name in lines and value is not None:
                # A "#" or "!" at the beginning, and a space at the end, mean themselves here.
                start = "\\" if pattern[0] in "#!" else ""
                stop = "\\ " if pattern.endswith(" ") else ""
                bare = pattern[:-1] if stop else pattern
                lines[name].append(f"{'' if value else '!'}{start}{bare}{stop}")
    return {name: IgnoreRules("\n".join(rules)) for name, rules in lines.items() if rules}


def _attribute(word: str) -> tuple[str, bool | None]:
    """The name in `word`, and its value; None where it is of another kind."""
    if word.startswith("-"):
        return word[1:], False
    name, _, value = word.partition("=")
    return name, {"": True, "true": True, "1": True, "false": False, "0": False}.get(value)


def _unquoted(text: str) -> str:
    def char(found: re.Match[str]) -> str:
        code = found[1]
        return chr(int(code, 8) & 255) if len(code) == 3 else _LETTERS.get(code, code)

    return _ESCAPE.sub(char, text)
