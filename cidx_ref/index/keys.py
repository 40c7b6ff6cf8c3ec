"""The outline of what configures something: sections and keys, of the first two levels.

Keys are names that are asked for less than what code defines, as keys of an object in code are.  A
translation, a fixture or a lock file has thousands of them that nobody asks for: so the path must
be that of a configuration, and what has more keys than people write in one has no outline.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from cidx_ref.index.purpose import purpose
from cidx_ref.index.structure import INNER, OWNER, Definition, Outline, owners

__all__ = ["KEYED", "keys_outline"]

_MAX_LINES = 2000
_MAX_KEYS = 64  # of the first level
_MAX_BELOW = 128  # of the second level, all together
_MAX_CHARS = 100

_OTHER_FOLDERS = frozenset(
    "locale locales i18n l10n lang langs language languages translation translations messages "
    "_data data cassettes snapshots __snapshots__ migrations".split()
)
_OTHER_PURPOSES = frozenset(("test", "example", "vendored", "generated"))
#: JSON is data; these are what somebody configures with it.
_JSON = re.compile(
    r"package\.json|composer\.json|bower\.json|deno\.jsonc?|turbo\.json|nx\.json|lerna\.json"
    r"|angular\.json|babel\.config\.json|[jt]sconfig(?:\.[\w-]+)*\.json|appsettings(?:\.\w+)*\.json"
    r"|\.\w+rc(?:\.json)?|devcontainer\.json|vercel\.json|firebase\.json|renovate\.json"
)
#: Whose names are those of other packages.
_OTHERS = re.compile(r"\w*[dD]ependencies\w*|require(?:-dev)?|resolutions|overrides|paths")

_YAML_KEY = re.compile(r"([A-Za-z_][\w./-]*|\"[\w ./:-]+\"|'[\w ./:-]+')[ \t]*:(?:[ \t]+(.*)|$)")
_JSON_KEY = re.compile(r"\"([\w@$./: -]+)\"[ \t]*:[ \t]*(.*)")
_SECTION = re.compile(r"\[{1,2}([^\[\]#;]+)\]{1,2}[ \t]*(?:[#;].*)?$")
_INI_KEY = re.compile(r"([A-Za-z_][\w.-]*)[ \t]*[=:]()")
_TOML_KEY = re.compile(r"([A-Za-z_][\w.-]*|\"[^\"]+\")[ \t]*=()")
#: Where a text of several lines begins: as a value, or in a list of them.
_TOML_TEXT = re.compile(
    r"""(?:(?!\"{3}|'{3})[\w."' \t-]+=[ \t]*)?(?:\[[ \t]*)?(?P<quotes>\"{3}|'{3})"""
)
#: What YAML says of a value before it: anchors and tags.
_PROPERTIES = re.compile(r"(?:[&!]\S*(?:[ \t]+|$))*")
#: What is said in a line of JSON, where braces count for nothing.
_JSON_SAID = re.compile(r"\"(?:[^\"\\]++|\\.?)*+\"?|//.*")
_WHOLE = re.compile(r"[\w.:@$/ -]+")


class _Key(NamedTuple):
    """A key: its line, how deep it is (0 or 1), and whether it may have keys below it."""

    line: int
    level: int
    name: str
    is_section: bool


def keys_outline(language: str, path: str, lines: Sequence[str]) -> Outline | None:
    """The sections and keys of a configuration at `path`; None for other data."""
    if len(lines) > _MAX_LINES or not _is_configuration(language, path):
        return None
    keys: list[_Key] = []
    below = 0
    for key in KEYED[language](lines):
        keys.append(key)
        below += key.level
        if len(keys) - below > _MAX_KEYS:
            return None
    if below > _MAX_BELOW:
        keys = [key for key in keys if not key.level]
    if language == "yaml" and {"apiVersion", "kind"} <= {key.name for key in keys}:
        return None  # an object of Kubernetes: each of them has the same keys
    return _outline(keys, lines)


def _is_configuration(language: str, path: str) -> bool:
    *folders, name = path.lower().split("/")
    if (
        not name
        or name.endswith(".lock")
        or "lock." in name
        or not _OTHER_FOLDERS.isdisjoint(folders)
    ):
        return False
    if language == "json" and not _JSON.fullmatch(name):
        return False
    return purpose(path) not in _OTHER_PURPOSES


def _outline(keys: Sequence[_Key], lines: Sequence[str]) -> Outline:
    definitions: list[Definition] = []
    names: list[tuple[int, str]] = []
    above, is_others = "", False
    for place, key in enumerate(keys):
        if not key.level:
            above, is_others = key.name if key.is_section else "", bool(_OTHERS.fullmatch(key.name))
        qualified = f"{above}.{key.name}" if key.level and above else key.name
        if key.is_section:
            ends = (other.line for other in keys[place + 1 :] if other.level <= key.level)
            end = next(ends, len(lines))
            end = _with_comments(lines, end, key.line + 1) if end < len(lines) else end
            start = _with_comments(lines, key.line, 0)
            definitions.append(Definition(qualified, "section", start, end))
        if not (key.level and is_others) and _WHOLE.fullmatch(key.name):
            simple = re.split(r"[.:](?=\w)", key.name)[-1] if key.is_section else key.name
            names.append((key.line, INNER + simple))
            names += ((key.line, OWNER + owner) for owner in sorted(owners(qualified)))
    return Outline(definitions, names)


def _with_comments(lines: Sequence[str], line: int, floor: int) -> int:
    """Where the comments right above `line` begin."""
    while line > floor and lines[line - 1].lstrip().startswith(("#", ";", "//")):
        line -= 1
    return line


def _of_yaml(lines: Sequence[str]) -> Iterator[_Key]:
    depth = 0  # of the keys of the second level, in what is open; -1 if it has none
    for number, line in enumerate(lines):
        bare = line.lstrip(" ")
        indent = len(line) - len(bare)
        if (indent and indent != depth and depth) or bare[:1] in "#-\t\r" or depth < 0 < indent:
            if indent and not depth and bare[:1] == "-":
                depth = -1  # a list
            continue
        met = _YAML_KEY.match(bare[:_MAX_CHARS].rstrip())
        if not indent:
            depth = 0
        if met is None:
            depth = depth or (-1 if indent else 0)
            continue
        value = _PROPERTIES.sub("", (met[2] or "").partition(" #")[0], count=1)
        is_section = value[:1] in ("", "#")
        if indent:
            depth = indent
        elif not is_section and value[0] not in "{[":
            depth = -1  # what is below goes on with a text
        yield _Key(number, min(indent, 1), met[1].strip("\"'"), is_section)


def _of_json(lines: Sequence[str]) -> Iterator[_Key]:
    depth, first = 0, -1
    for number, line in enumerate(lines):
        bare = line.strip()
        met = _JSON_KEY.match(bare[:_MAX_CHARS].rstrip()) if bare[:1] == '"' else None
        if met is not None:
            first = depth if first < 0 else first
            if depth - first in (0, 1):
                yield _Key(number, depth - first, met[1], met[2].startswith(("{", "[")))
        signs = _JSON_SAID.sub("", bare)
        depth += signs.count("{") + signs.count("[") - signs.count("}") - signs.count("]")


def _of_sections(lines: Sequence[str], key: re.Pattern[str]) -> Iterator[_Key]:
    level = 0
    closing = ""  # what ends the text that is open
    for number, line in enumerate(lines):
        if closing:
            closing = "" if closing in line else closing
            continue
        if key is _TOML_KEY and (text := _TOML_TEXT.match(line.lstrip(), 0, 2 * _MAX_CHARS)):
            closing = "" if text["quotes"] in line.lstrip()[text.end() :] else text["quotes"]
        if line[:1] in " \t#;\r":
            continue
        if line[:1] == "[" and (met := _SECTION.match(line[: 2 * _MAX_CHARS].rstrip())):
            if name := met[1].strip(" \t").replace('"', "").replace("'", ""):
                yield _Key(number, 0, name, True)
                level = 1
        elif met := key.match(line[:_MAX_CHARS]):
            yield _Key(number, level, met[1].strip('"'), False)


#: By language, how its keys are found.
KEYED: dict[str, Callable[[Sequence[str]], Iterator[_Key]]] = {
    "ini": lambda lines: _of_sections(lines, _INI_KEY),
    "json": _of_json,
    "toml": lambda lines: _of_sections(lines, _TOML_KEY),
    "yaml": _of_yaml,
}
