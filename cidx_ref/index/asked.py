"""Whether a text asks for one thing by its name, and how that is written: qualified in the way of
any language, with arguments of types, or as its definition begins.

A phrase is none, even one of two words such as "class decorator": a name counts more than all else.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from cidx_ref.index.text import composed, words

__all__ = ["NO_NAME", "Name", "name_in", "without_backslashes"]

_MAX_CHARS = 256
#: Letters, digits and underscores, with what joins the parts of a name, and maybe called.
_NAME = re.compile(r"(?:[@$:]{0,2}|~(?=[A-Z]))\w+(?:(?:\.|::|->|#)[~$]?\w+)*(?:\(\)|[?!])?;?")
_HYPHENED = re.compile(r"-{0,2}[^\W_]\w*(?:-\w+)+[?!]?")
_NAMESPACED = re.compile(
    r"\\?[A-Z]\w*(?:\\(?:[A-Z]\w*|[a-z]\w+))+(?:::\w+)?(?:\(\))?|\\[A-Z]\w+(?:::\w+)?(?:\(\))?"
)
#: What names are written with that is no part of them: of `Cache<K, V>::get`, of Go's
#: `(*Server).Serve`, and of `Enum.map/2`.
_ARGUMENTS = re.compile(r"(?<=\w)<[\w\s,.:&*?'|\[\]]*>(?=$|\.|::|\(|[>,])")
_NESTED = 3
_RECEIVER = re.compile(
    r"^(?:func\s+)?\((?:\w+\s+)?[*&]?(?:\w+\.)*([^\W\d]\w*)\)(?:\.|\s+)(?=\w+(?:\(\))?$)"
)
_ARITY = re.compile(r"^((?:[A-Z]\w*\.)+\w+[?!]?|[a-z]\w*_\w+[?!]?|\w+[?!])/\d{1,2}$")
#: What a definition begins with, and may end with, around a name that looks like code.
_DEFINING = re.compile(
    r"^(?:(?:export|default|pub|public|private|protected|static|abstract|final|async)\s+)*"
    r"(?:class|struct|interface|enum(?:\s+class)?|trait|type|typedef|union|record|protocol|object|"
    r"module|namespace|impl|macro|const|defp?|defmodule|func|fun|fn|function|sub|proc|#define)\s+"
    r"(?=\S*(?:[a-z\d][A-Z]|[A-Z]{2}[a-z]|[^\W_]_[^\W_])\S*(?:\s*\{)?$)"
)
#: The same where no sentence has it: a type with a capital, and what takes arguments.
_DEFINING_ANY = re.compile(
    r"^(?:(?:class|struct|interface|enum|trait|impl|defmodule)\s+(?=[A-Z]\w{2,}(?:\(\))?\s*[:{]?$)"
    r"|class\s+(?=[A-Z]\w{2,}\()"
    r"|(?:async\s+)?(?:defp?|func|fun|fn|function)\s+(?=[\w.]+\((?!s\))))"
)
#: Its arguments, what it returns, and what its body begins with.
_TAKING = re.compile(
    r"\((?:[^()]|\([^()]*\))*\)\s*(?:(?:->|=>|:)[^(){}]*)?(?:[\w.*\[\]]+\s*\{|,\s*do:.*|[;{=]|)$"
)
_AFTER = re.compile(r"\s*[:{]$")
#: The last part with the signs that belong to it: `valid?`, `save!`, `~Pool`, `$fields`.
_WRITTEN = re.compile(r"[~$]?\w+[?!]?(?=(?:\(\))?;?$)")


class Name(NamedTuple):
    """A name that is asked for: its parts, and the last of them with its signs."""

    parts: tuple[str, ...]
    written: str = ""


NO_NAME = Name(())


def without_backslashes(text: str) -> str:
    """`text`, with dots for the backslashes of a name such as `App\\Mail\\Courier`: in all else
    they may escape a character."""
    name = text.strip()
    if "\\" not in name or len(name) > _MAX_CHARS or not _NAMESPACED.fullmatch(name):
        return text
    return name.strip("\\").replace("\\", ".")


def name_in(text: str) -> Name:
    """The one name that all of `text` is; `NO_NAME` if it is more than that, or less."""
    text = text.strip()
    if len(text) > _MAX_CHARS:
        return NO_NAME
    text = composed(without_backslashes(text))
    if _DEFINING_ANY.match(text):
        text = _TAKING.sub("", _AFTER.sub("", _DEFINING_ANY.sub("", text)))
    elif _DEFINING.match(text):
        text = _AFTER.sub("", _DEFINING.sub("", text))
    for _ in range(_NESTED if "<" in text else 0):
        text = _ARGUMENTS.sub("", text)
    text = _ARITY.sub(r"\1", _RECEIVER.sub(r"\1.", text))
    if _HYPHENED.fullmatch(text) and "->" not in text:
        return Name((text.strip("-?!"),), text.strip("-"))
    if not _NAME.fullmatch(text):
        return NO_NAME
    parts = _qualified(words(text))
    if not parts or not any(map(str.isalnum, parts[-1])):
        return NO_NAME
    written = _WRITTEN.search(text)
    return Name(tuple(parts), written[0] if written else parts[-1])


def _qualified(parts: list[str]) -> list[str]:
    """`parts`, without those that say nothing of a qualified name in JavaScript."""
    first = 2 if parts[:2] == ["module", "exports"] else 1 if parts[:1] == ["exports"] else 0
    kept = parts[first:] or parts
    return [part for part in kept[:-1] if part != "prototype"] + kept[-1:]
