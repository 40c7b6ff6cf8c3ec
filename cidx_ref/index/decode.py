"""What a file's bytes say: text, by which encoding, and which files are no text at all.

Asked in order: a byte order mark; zero bytes and known beginnings, which no text has; UTF-8; a
line in which the file names its encoding; and last windows-1252, which is Latin-1 with some signs
more.  That last one takes any bytes, so control characters decide there what is binary.
All of it is linear in the number of bytes.
"""

from __future__ import annotations

import codecs
import re

__all__ = ["Decoded", "decode"]

#: The text, and whether its encoding was a guess.
Decoded = tuple[str, bool]

_PREFIX_BYTES = 8192  # looked at for zero bytes, as git does
_DECLARED_BYTES = 1024  # at either end, in which a file may name its encoding

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# Beginnings of what may have no zero byte in its first kilobytes, and too few control characters.
_MAGIC = (
    *(b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"(\xb5/\xfd", b"\x04\x22M\x18", b"LZIP", b"PK\x03\x04"),
    *(b"7z\xbc\xaf", b"Rar!", b"\x89PNG", b"GIF8", b"\xff\xd8\xff", b"wOF", b"OggS", b"ID3"),
    *(b"fLaC", b"RIFF", b"\x7fELF", b"!<arch>", b"\xca\xfe\xba\xbe", b"SQLite format 3"),
)
_PDF = b"%PDF-"  # may be of ASCII alone, and has nothing to read all the same

# No text has them, but for tab, line feed, form feed, carriage return, backspace and escape.
_CONTROLS = bytes({*range(32), 127} - {8, 9, 10, 12, 13, 27})
# Of all bytes.  What is compressed or encrypted has a tenth, and no text that was tried more than a
# twentieth: a keyboard table has that.
_MAX_CONTROLS = 1 / 20

# The names are those of `codecs`.  Only what is one table, or a few: some of Python's other codecs
# take more than linear time, and some make what nothing can store.
_ENCODINGS = frozenset(
    "koi8-r koi8-u koi8-t kz1048 hp-roman8 tis-620 ptcp154 shift_jis shift_jisx0213 shift_jis_2004 "
    "cp932 euc_jp euc_jisx0213 euc_jis_2004 euc_kr cp949 johab gb2312 gbk gb18030 big5 big5hkscs "
    "cp950".split()
)
_FAMILIES = ("iso8859-", "cp12", "cp4", "cp7", "cp85", "cp86", "mac-")

# Of PEP 263, Emacs, Vim, XML, HTML and CSS.  The first is for the first two lines; no repetition
# is without a bound, or next to another one that could take the same.
_CODING = re.compile(rb"coding[:=][ \t]{0,9}([\w.-]{1,40})")
_VIM = re.compile(rb"\b(?:vim?|ex):[^\n]{0,200}?\b(?:fileencoding|fenc)=([\w.-]{1,40})")
_XML = re.compile(rb"\s{0,9}<\?xml[^>]{0,200}?\bencoding\s?=\s?[\"']([\w.-]{1,40})")
_HTML = re.compile(rb"<meta[^>]{0,200}?\bcharset\s?=\s?[\"']?([\w.-]{1,40})", re.IGNORECASE)
_CSS = re.compile(rb'@charset "([\w.-]{1,40})"')


def _windows_1252() -> str:
    """As browsers have it: of the five bytes without a meaning, Latin-1's."""
    table = (bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(256))
    return "".join(table)


_LAST_RESORT = _windows_1252()
_STRAY = re.compile("[\udc80-\udcff]")  # what "surrogateescape" makes of a byte that is not UTF-8
_NOT_ASCII = re.compile("[^\0-\x7f]")
_STRAYS = {0xDC00 + byte: _LAST_RESORT[byte] for byte in range(128, 256)}


def decode(data: bytes) -> Decoded | None:
    """The text of `data`, without a mark, that UTF-8 can encode; None where it is binary."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff", b"\0\0"):
        for mark, encoding in _MARKS:
            if data.startswith(mark) and (found := _wide(data[len(mark) :], encoding)):
                return found
    if b"\0" in data[:_PREFIX_BYTES] or data.startswith(_PDF):
        return None
    try:
        return data.decode("utf-8-sig"), False
    except UnicodeDecodeError:
        pass
    if data.startswith(_MAGIC) or _is_noise(data):
        return None
    declared = _as_declared(data)
    return (_guessed(data), True) if declared is None else (declared, False)


def _wide(data: bytes, encoding: str) -> Decoded | None:
    """Text of two or four bytes a character; None if it cannot be that."""
    text = data.decode(encoding, "replace")
    # Half a character at the end, or one that was cut, is no reason to leave a file out.
    broken, guessed = text.count("\ufffd"), False
    if broken:
        guessed = _fails(data, encoding)
    controls = sum(map(text.count, map(chr, _CONTROLS)))
    if controls > len(text) * _MAX_CONTROLS or (guessed and broken > 1 + len(text) // 100):
        return None
    return text, guessed


def _fails(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return True
    return False


def _is_noise(data: bytes) -> bool:
    """Whether there is more in `data` that is no text than a text may have by accident."""
    controls = len(data) - len(data.translate(None, _CONTROLS))
    return b"\0" in data or controls > len(data) * _MAX_CONTROLS


def _as_declared(data: bytes) -> str | None:
    """`data` by the encoding that it names itself; None where there is none that works."""
    name = _declared(data)
    if name is None:
        return None
    try:
        found = codecs.lookup(name.decode("ascii"))
        if found.name not in _ENCODINGS and not found.name.startswith(_FAMILIES):
            return None
        return data.decode(found.name)
    except (LookupError, ValueError):
        return None


def _declared(data: bytes) -> bytes | None:
    head = data[:_DECLARED_BYTES].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines = head.split(b"\n", 2)[:2]
    places = (
        *((_CODING.search, line) for line in lines),
        (_XML.match, head),
        (_CSS.match, head),
        (_HTML.search, head),
        (_VIM.search, head),
        (_VIM.search, data[-_DECLARED_BYTES:]),
    )
    return next((match[1] for look, where in places if (match := look(where))), None)


def _guessed(data: bytes) -> str:
    """Windows-1252, or UTF-8 with strays of it, whichever `data` has more of."""
    text = data.decode("utf-8", "surrogateescape")
    strays = sum(1 for _ in _STRAY.finditer(text))
    characters = sum(1 for _ in _NOT_ASCII.finditer(text)) - strays
    if characters > strays or text.startswith("\ufeff"):
        return text.removeprefix("\ufeff").translate(_STRAYS)
    return codecs.charmap_decode(data, "strict", _LAST_RESORT)[0]
