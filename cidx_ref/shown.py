"""How text from a tree or a peer is shown: on one line, escaped, and cut where it is long."""

from __future__ import annotations

__all__ = ["bounded", "escape", "owner_name", "shown", "why"]

_MAX_CHARS = 200
_MAX_LINE_CHARS = 4000  # what is longer has something in it that is nobody's to read
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escape(text: str) -> str:
    r"""`text` on one line: what cannot be printed becomes `\n`, `\x1b`, `\u202e` and the like.

    A byte that is not UTF-8 (a lone surrogate) shows as that byte, `\xff`.  Printable text,
    backslashes and all, stays as it is.  This is for eyes only: there is no way back.
    """
    return text if text.isprintable() else "".join(map(_escape, text))


def shown(value: object) -> str:
    """A value as a message shows it: its repr, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, or very deep
        return f"a {type(value).__name__}"
    return bounded(text, _MAX_CHARS)


def bounded(text: str, most_chars: int = _MAX_LINE_CHARS) -> str:
    """`text`, cut where it is longer than so many characters."""
    return text if len(text) <= most_chars else f"{text[:most_chars]}..."


def why(error: BaseException) -> str:
    """What an exception says, as a part of a sentence: of an `OSError` the path and the reason, and
    no number."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def _escape(char: str) -> str:
    if char.isprintable():
        return char
    if "\udc80" <= char <= "\udcff":
        return f"\\x{ord(char) - 0xDC00:02x}"
    code = ord(char)
    digits = "x{:02x}" if code < 0x80 else "u{:04x}" if code < 0x10000 else "U{:08x}"
    return _ESCAPES.get(char, "\\" + digits.format(code))


def owner_name(uid: int) -> str:
    """A user as people know them."""
    import pwd

    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"
