"""What `.gitattributes` says of generated and vendored files, in the words of GitHub's linguist."""

from __future__ import annotations

import re

from cidx_ref.index.matching import IgnoreRules

__all__ = ["GENERATED", "NOT_GENERATED", "VENDORED", "overlong_line", "rules_of"]

GENERATED, VENDORED = "linguist-generated", "linguist-vendored"
#: Whose rules say yes where the first of them is unset, and not merely unspecified.
NOT_GENERATED = "-linguist-generated"

# Git itself passes over lines of more bytes, and macros but in the file at the top.
_MAX_LINE = 2_047
_MACRO = "[attr]"
# A pattern may be quoted as in C; what comes after it are attributes.
_LINE = re.compile(r'(?:"(?P<quoted>(?:[^"\\]|\\.)*+)"|(?P<plain>[^\s"]\S*+))(?P<words>\s.*)')
_ESCAPE = re.compile(r"\\([0-7]{3}|.)")
_TEXTS = {"true": True, "1": True, "false": False, "0": False}
_LETTERS = {"a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r"}


# What a line says of an attribute; None is "unspecified".
_Values = dict[str, bool | None]


def rules_of(text: str, *, is_top: bool) -> dict[str, IgnoreRules]:
    """For each attribute that `text` speaks of, rules whose verdict is whether it is set.

    `text` has a character for each byte.  As in git, the last line that matches counts, and in it
    the last word; only the file at the top has macros.
    """
    lines = text.split("\n")
    macros = _macros(lines) if is_top and _MACRO in text else {}
    found: dict[str, list[tuple[str, bool | None]]] = {GENERATED: [], VENDORED: []}
    for line in lines:
        if not macros and "linguist-" not in line:
            continue
        pattern, words = _parsed(line)
        if pattern:
            for name, value in _values(words, macros).items():
                found[name].append((pattern, value))
    rules = {name: _rules(said, True) for name, said in found.items() if said}
    if any(value is not True for _, value in found[GENERATED]):
        rules[NOT_GENERATED] = _rules(found[GENERATED], False)
    return rules


def overlong_line(text: str) -> int:
    """The number of the first line that is too long to be read; 0 if there is none."""
    if len(text) > _MAX_LINE:
        for number, line in enumerate(text.split("\n"), 1):
            if len(line) > _MAX_LINE and not line.lstrip().startswith("#"):
                return number
    return 0


def _rules(said: list[tuple[str, bool | None]], wanted: bool) -> IgnoreRules:
    """Rules whose verdict is whether the value is `wanted`."""
    return IgnoreRules(
        "\n".join(f"{'' if value is wanted else '!'}{pattern}" for pattern, value in said)
    )


def _parsed(line: str) -> tuple[str, str]:
    """The pattern of a line, as a `.gitignore` would have it, and its words; "" for none."""
    line = line.strip(" \t\r")
    found = _LINE.match(line) if len(line) <= _MAX_LINE and line[:1] not in ("#", "!") else None
    if found is None or line.startswith(_MACRO):
        return "", ""
    pattern = found["plain"] or _unquoted(found["quoted"] or "")
    if not pattern or pattern.endswith("/") or "\n" in pattern:  # which match no file
        return "", ""
    # A "#" or "!" at the beginning, and a space at the end, mean themselves here.
    start = "\\" if pattern[0] in "#!" else ""
    stop = "\\ " if pattern.endswith(" ") else ""
    return f"{start}{pattern[:-1] if stop else pattern}{stop}", found["words"]


def _macros(lines: list[str]) -> dict[str, _Values]:
    """What each macro says, in words that are attributes or macros of lines before it."""
    macros: dict[str, _Values] = {}
    for line in lines:
        if line.startswith(_MACRO) and len(line) <= _MAX_LINE:
            name, _, words = line.removeprefix(_MACRO).strip().replace("\t", " ").partition(" ")
            macros[name] = _values(words, macros)
    return macros


def _values(words: str, macros: dict[str, _Values]) -> _Values:
    """What the words of a line say of the attributes that are read."""
    values: _Values = {}
    for word in words.split():
        sign = word[0] if word[0] in "-!" else ""
        name, equals, text = word[len(sign) :].partition("=")
        if name in (GENERATED, VENDORED):
            if sign:
                values[name] = None if sign == "!" else False
            elif not equals or text in _TEXTS:
                values[name] = _TEXTS.get(text, True)
        elif name in macros and not equals:
            # Without its macro an attribute is what nobody has said.
            values |= dict.fromkeys(macros[name]) if sign else macros[name]
    return values


def _unquoted(text: str) -> str:
    def char(found: re.Match[str]) -> str:
        code = found[1]
        return chr(int(code, 8) & 255) if len(code) == 3 else _LETTERS.get(code, code)

    return _ESCAPE.sub(char, text)
