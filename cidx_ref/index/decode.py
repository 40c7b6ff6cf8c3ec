"""What a file's bytes say: text, by which encoding, and which files are no text at all.

Asked in order: a byte order mark; zero bytes and known beginnings, which no text has; UTF-8,
unless the file names an encoding of seven bits; a line in which it names its encoding; and last
windows-1252, which is Latin-1 with some signs more.  That last one takes any bytes, so control
characters decide there what is binary.
All of it is linear in the number of bytes.
"""

from __future__ import annotations

import codecs
import re

__all__ = ["Decoded", "decode", "is_surely_binary"]

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
_BEGINNINGS_OF_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\0\0")

# Beginnings of what may have no zero byte in its first kilobytes, and too few control characters.
# Prose may begin with the letters of some, so what comes after these counts, too.
_MAGIC = re.compile(
    rb"\x1f\x8b|BZh[1-9](?:1AY&SY|\x17rE)|\xfd7zXZ|\(\xb5/\xfd|\x04\x22M\x18|LZIP[\0\1]|PK\x03\x04"
    rb"|7z\xbc\xaf|Rar!\x1a|\x89PNG|GIF8[79]a[^ -~\r\n]|\xff\xd8\xff|ID3[\2-\4]"
    rb"|RIFF[\0-\xff]{4}(?:WAVE|AVI |WEBP|RMID|ACON|sfbk)"
    rb"|\x7fELF|!<arch>\n|\xca\xfe\xba\xbe|SQLite format 3"
)
_PDF = re.compile(rb"%PDF-\d")  # may be of ASCII alone, and has nothing to read all the same

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
_FAMILIES = ("iso8859-", "cp12", "cp4", "cp7", "cp85", "cp86", "cp874", "mac-")
# What editors and browsers read by these names, which has all of what is meant and some signs more.
_SUPERSETS = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
}
# Names that Python does not have.
_ALIASES = {
    "x-sjis": "cp932",
    "windows-31j": "cp932",
    "x-gbk": "gbk",
    "x-euc-jp": "euc_jp",
    "euc-japan": "euc_jp",
    "windows-874": "cp874",
    "windows-949": "cp949",
    "x-mac-cyrillic": "mac-cyrillic",
}
_LINE_ENDS = ("-unix", "-dos", "-mac")  # as Emacs writes them after a name
# Of seven bits, so that it is valid UTF-8.  Those of ISO 2022 are linear, and can be stored.
_SEVEN_BITS = ("iso2022_", "hz", "utf-7")
_ESCAPED = {"iso2022_jp": "iso2022_jp_ext", "iso2022_jp_1": "iso2022_jp_ext"}
_ESCAPES = (b"\x1b$", b"\x1b(", b"~{")

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
_UNREAD = re.compile("[\ufffd\ue000-\uf8ff]")  # what has no meaning, or only a private one
_MAX_UNREAD = 1 / 10  # of the signs that are not ASCII
_NOT_ASCII = re.compile("[^\0-\x7f]")
_STRAYS = {0xDC00 + byte: _LAST_RESORT[byte] for byte in range(128, 256)}


def is_surely_binary(head: bytes) -> bool:
    """Whether any file that begins so is binary to `decode`; else that is not known."""
    is_marked = head[:2] in _BEGINNINGS_OF_MARKS
    return not is_marked and b"\0" in head[:_PREFIX_BYTES]


def decode(data: bytes) -> Decoded | None:
    """The text of `data`, without a mark, that UTF-8 can encode; None where it is binary."""
    if data[:2] in _BEGINNINGS_OF_MARKS:
        for mark, encoding in _MARKS:
            if data.startswith(mark) and (found := _wide(data[len(mark) :], encoding)):
                return found
    if b"\0" in data[:_PREFIX_BYTES] or _PDF.match(data):
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    else:
        # UTF-8 has all control characters, so more of them are let through than below.
        return None if _controls(data) > len(data) / 2 else _seven_bits(data, text)
    if _MAGIC.match(data) or _is_noise(data):
        return None
    return _as_declared(data) or (_guessed(data), True)


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
    return b"\0" in data or _controls(data) > len(data) * _MAX_CONTROLS


def _controls(data: bytes) -> int:
    return len(data) - len(data.translate(None, _CONTROLS))


def _seven_bits(data: bytes, text: str) -> Decoded:
    """`text`, unless `data` names an encoding that says something else with the same bytes."""
    if not any(escape in data for escape in _ESCAPES):
        return text, False
    codec = _codec(data)
    if not codec.startswith(_SEVEN_BITS) or not data.isascii():
        return text, False
    if codec.startswith("iso2022_"):
        try:
            return data.decode(_ESCAPED.get(codec, codec)), False
        except UnicodeDecodeError:
            pass
    return text, True


def _as_declared(data: bytes) -> Decoded | None:
    """`data` by the encoding that it names itself; None where there is none that works."""
    codec = _codec(data)
    if codec not in _ENCODINGS and not codec.startswith(_FAMILIES):
        return None
    codec = _SUPERSETS.get(codec, codec)
    if codec == "cp1252":
        return codecs.charmap_decode(data, "strict", _LAST_RESORT)[0], False
    text = data.decode(codec, "replace")
    unread = sum(1 for _ in _UNREAD.finditer(text))
    if not unread:
        return text, False
    # A sign or two that are broken, or that only one program knows, make no name wrong.
    read = sum(1 for _ in _NOT_ASCII.finditer(text)) - unread
    is_right = read > unread and unread <= max(1, read * _MAX_UNREAD)
    return (text, True) if is_right else None


def _codec(data: bytes) -> str:
    """What Python calls the encoding that `data` names; "" where it names none."""
    said = (_declared(data) or b"").decode("ascii", "replace").lower()
    plain = next((said.removesuffix(end) for end in _LINE_ENDS if said.endswith(end)), said)
    try:
        return codecs.lookup(_ALIASES.get(plain, plain)).name
    except (LookupError, ValueError):
        return ""


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
