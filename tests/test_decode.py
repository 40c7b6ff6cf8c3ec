"""Bytes as text: the encodings that source has, and what is no text at all."""

from __future__ import annotations

import bz2
import gzip
import io
import marshal
import random
import sysconfig
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cidx_ref.index import decode as decoding
from cidx_ref.index.decode import decode
from cidx_ref.index.scan import SourceFile, read_file

pytestmark = pytest.mark.once

SOURCE = (
    '/* Größe der Datei \u2013 naïve Schätzung, 5 € */\nint größe(char *pfad) { return "ß"[0]; }\n'
)


@pytest.mark.parametrize("text", ["", "Größe\n", "日本語 and ASCII", "a\n\n\n\u20ac" * 100])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-32-be", "utf-32-le"]
)
def test_unicode_with_a_mark_is_read_as_it_was_written(text: str, encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith("e") else ""  # the others write their own
    assert decode((mark + text).encode(encoding)) == (text, False)


def test_utf_16_without_a_mark_is_binary_as_it_is_to_git() -> None:
    assert decode("Größe".encode("utf-16-le")) is None


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_a_source_in_latin_1_is_read_and_counted_as_a_guess(encoding: str) -> None:
    text = SOURCE if encoding == "cp1252" else SOURCE.replace("\u2013", "-").replace("€", "EUR")
    assert decode(text.encode(encoding)) == (text, True)


@pytest.mark.parametrize(
    ("line", "encoding"),
    [
        ("# -*- coding: koi8-r -*-", "koi8-r"),
        ("#!/usr/bin/perl\n# vim: set fileencoding=cp1251 :", "cp1251"),
        (";; -*- mode: lisp; coding: iso-8859-5 -*-", "iso8859-5"),
        ("/* vim: set ts=4 fenc=koi8-u: */", "koi8-u"),
        ('<?xml version="1.0" encoding="windows-1251"?>', "cp1251"),
        ("<!DOCTYPE html>\n<html><head>\n<META charset=windows-1251>", "cp1251"),
        (
            '<meta http-equiv="Content-Type" content="text/html; charset=KOI8-R">',
            "koi8-r",
        ),
        ('@charset "iso-8859-5";', "iso8859-5"),
    ],
)
def test_what_a_file_says_of_its_own_encoding_is_believed(line: str, encoding: str) -> None:
    text = f"{line}\nжили\n"
    assert decode(text.encode(encoding)) == (text, False)
    assert decode(text.encode("utf-8")) == (text, False), "what is UTF-8 is UTF-8"


def test_vim_is_heard_at_the_end_of_a_file_too() -> None:
    text = "жили\n" + "x = 1\n" * 1000 + "# vim: fenc=koi8-r\n"
    assert decode(text.encode("koi8-r")) == (text, False)
    assert decode((text + "y = 2\n" * 1000).encode("koi8-r")) != (text, False)


@pytest.mark.parametrize("text", ["日本語 テスト", "コード"])
@pytest.mark.parametrize("encoding", ["shift_jis", "euc_jp"])
def test_encodings_of_several_bytes_a_character_are_read_where_they_are_named(
    text: str, encoding: str
) -> None:
    text = f"# coding: {encoding}\n{text}\n"
    assert decode(text.encode(encoding)) == (text, False)


@pytest.mark.parametrize(
    ("named", "encoding", "text"),
    [
        ("gb2312", "gbk", "朱镕基"),
        ("gbk", "gb18030", "㐀"),
        ("euc-cn", "gbk", "朱镕基"),
        ("shift_jis", "cp932", "①"),
        ("Shift-JIS", "cp932", "髙﨑"),
        ("x-sjis", "cp932", "①"),
        ("euc-kr", "cp949", "똠"),
        ("ks_c_5601-1987", "cp949", "똠"),
        ("iso-8859-1", "cp1252", "“x” \u2013 5 €"),
        ("latin1", "cp1252", "“x” \u2013 5 €"),
        ("iso-8859-9", "cp1254", "“ğ”"),
        ("tis-620", "cp874", "“ก”"),
        ("windows-874", "cp874", "“ก”"),
        ("big5", "big5hkscs", "嘅"),
    ],
)
def test_a_name_stands_for_all_that_browsers_read_by_it(
    named: str, encoding: str, text: str
) -> None:
    text = f"# coding: {named}\n{text}\n"
    assert decode(text.encode(encoding)) == (text, False)


def test_bytes_that_windows_1252_has_no_sign_for_are_kept() -> None:
    for named in ("iso-8859-1", "cp1252"):
        data = f"# coding: {named}\n".encode() + b"\x93\x81\xe9\n"
        assert decode(data) == (f"# coding: {named}\n“\x81é\n", False)


@pytest.mark.parametrize("ending", ["unix", "dos", "mac"])
@pytest.mark.parametrize("encoding", ["koi8-r", "windows-1251", "cp1251", "euc-jp"])
def test_emacs_may_say_how_lines_end(encoding: str, ending: str) -> None:
    words = "日本" if encoding == "euc-jp" else "жили"
    text = f"# -*- coding: {encoding}-{ending} -*-\n{words}\n"
    assert decode(text.encode(encoding)) == (text, False)


@pytest.mark.parametrize("encoding", ["euc-jp", "shift_jis", "gb2312", "euc-kr", "cp1251"])
@pytest.mark.parametrize("where", ["middle", "end"])
def test_a_few_stray_bytes_leave_a_file_in_the_encoding_that_it_names(
    encoding: str, where: str
) -> None:
    words = {"euc-kr": "한국어", "gb2312": "中文字", "cp1251": "жили"}.get(encoding, "日本語")
    stray = b"\x98" if encoding == "cp1251" else b"\xff"
    head, line = f"# coding: {encoding}\n".encode(), f"{words}\n".encode(encoding)
    data = head + line * 20 + stray + b"\n" + (line if where == "middle" else b"")
    found = decode(data)
    assert found is not None
    text, guessed = found
    assert text.count(words) == (21 if where == "middle" else 20)
    assert guessed, "as it is of UTF-8 with strays: a sign was lost"
    assert decode(head + b"Gr\xfc\xdfe, \x98\x98 " * 50) is not None


def test_a_name_by_which_a_fourth_cannot_be_read_is_wrong() -> None:
    data = b"# coding: euc-jp\n" + "日本語 ".encode("euc-jp") * 10 + b"\xff\n" * 10
    found = decode(data)
    assert found is not None
    assert "日本語" not in found[0]
    assert found[1]


def test_a_name_by_which_hardly_anything_can_be_read_is_wrong() -> None:
    text = "# coding: euc-jp\nGröße, naïve Schätzung, é\n"
    assert decode(text.encode("latin-1")) == (text, True)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("iso-2022-jp", "日本語 テスト"),
        ("iso-2022-jp", "日本\n語\n"),
        ("iso-2022-jp-1", "日本語"),
        ("iso-2022-kr", "한국어"),
    ],
)
def test_an_encoding_of_seven_bits_is_read_where_it_is_named(encoding: str, text: str) -> None:
    text = f"# -*- coding: {encoding} -*-\n{text}\n"
    data = text.encode(encoding)
    if encoding.endswith("kr"):  # the designation comes first
        data = data.replace(b"\x1b$)C", b"", 1).replace(b"\n", b"\n\x1b$)C", 1)
    assert decode(data) == (text, False)


def test_half_width_kana_are_read_by_the_name_of_iso_2022_jp() -> None:
    text = "# coding: iso-2022-jp\nﾃｽﾄ\n"
    assert decode(text.encode("iso2022_jp_ext")) == (text, False)


def test_what_cannot_be_read_by_its_seven_bits_is_a_guess() -> None:
    head = b"# coding: iso-2022-jp\n"
    assert decode(head + b"\x1b$Bxxx") == ("# coding: iso-2022-jp\n\x1b$Bxxx", True)
    assert decode(head + "日本".encode()) == ("# coding: iso-2022-jp\n日本", False)
    assert decode(head + b"x = 1\n") == ("# coding: iso-2022-jp\nx = 1\n", False)
    assert decode(b"# coding: hz\n~{<:Ky~}\n") == ("# coding: hz\n~{<:Ky~}\n", True)
    both = "日本 \x1b$B"
    assert decode(head + both.encode()) == (f"# coding: iso-2022-jp\n{both}", False)
    colours = "# coding: koi8-r\n\x1b[31mred\x1b[0m\n"
    assert decode(colours.encode()) == (colours, False)


@pytest.mark.parametrize(
    "unit", [b"\x1b$B", b"\x1b", b"\x1b(", b"\x1b$B0l", b"\x0e", b"\x1b$(", b"~{"]
)
@pytest.mark.parametrize("name", [b"iso-2022-jp", b"iso-2022-jp-2", b"iso-2022-kr", b"hz"])
def test_seven_bits_are_read_in_linear_time_and_can_be_stored(name: bytes, unit: bytes) -> None:
    data = b"# coding: " + name + b"\n\x1b$B" + unit * ((1 << 20) // len(unit))
    started = time.process_time()
    found = decode(data)
    assert time.process_time() - started < 2
    if found is not None:
        found[0].encode("utf-8")


@pytest.mark.parametrize(
    "text",
    ["ID3 est une étiquette", "RIFF désigne un format", "Rar! é", "BZh é", "GIF89a était", "GIF8é",
     "OggS é", "fLaC é", "LZIP é", "wOF é", "wOFF était un format", "%PDF- é"],
)  # fmt: skip
def test_prose_that_begins_with_the_letters_of_a_format_is_text(text: str) -> None:
    assert decode(f"{text}\n".encode("latin-1")) == (f"{text}\n", True)


@pytest.mark.parametrize("data", [b"\x01\x02\x03\x04" * 50, b"\x01", b"\x7f\x02\n" * 9])
def test_control_characters_alone_are_no_text_though_utf_8_has_them(data: bytes) -> None:
    assert decode(data) is None


@pytest.mark.parametrize("text", ["\x0c\n", "\x1b", "a\x01b\n", "^A is \x01, ^B \x02\n", "\t\b\r"])
def test_a_control_character_among_others_is_text(text: str) -> None:
    assert decode(text.encode()) == (text, False)


@pytest.mark.parametrize(
    "name",
    ["no-such", "hex", "punycode", "idna", "unicode_escape", "utf-7", "undefined", "utf-8", "..x",
     "latin-1x", "a" * 5000, "__init__", "shift_jis"],
)  # fmt: skip
def test_an_encoding_that_is_none_or_is_not_for_files_is_left_to_the_guess(name: str) -> None:
    found = decode(f"# coding: {name}\n".encode("latin-1") + b"Gr\xf6\xdfe\n")
    assert found == (f"# coding: {name}\nGröße\n", True)


def test_a_name_far_from_where_editors_look_is_no_encoding() -> None:
    text = 'x = 1\ny = 2\ns = "coding: koi8-r, charset=koi8-r"\n# Größe\n'
    assert decode(text.encode("latin-1")) == (text, True)


def test_utf_8_with_a_few_stray_bytes_stays_utf_8() -> None:
    text = "日本語 Größe 日本語\n"
    assert decode(text.encode() + b"Gr\xf6\xdfe\n") == (text + "Größe\n", True)
    assert decode(b"\xef\xbb\xbfGr\xf6\xdfe") == ("Größe", True), "the mark says so"


def test_a_broken_character_at_the_end_of_utf_16_is_a_guess_and_not_a_reason() -> None:
    data = ("Größe\n" * 20).encode("utf-16")
    assert decode(data[:-1]) == ("Größe\n" * 19 + "Größe\ufffd", True)


def _noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


PACKED = gzip.compress(SOURCE.encode() * 3)
BINARIES = {
    "compiled python": b"\xcb\r\r\n" + marshal.dumps(compile("def f(): return 1", "a", "exec")),
    "small gzip": gzip.compress(b"x"),
    "gzip": PACKED,
    "zlib, as git keeps it": zlib.compress(_noise(300).hex().encode()),
    "png": b"\x89PNG\r\n\x1a\n" + b"IHDR text without a zero byte " * 400,
    "gif": b"GIF89a" + b"\xfe text only " * 1000,
    "jpeg": b"\xff\xd8\xff\xe0" + b"JFIF and a long comment " * 1000,
    "pdf of ASCII": b"%PDF-1.4\n1 0 obj\n<< /Filter /ASCII85Decode >>\n" * 500,
    "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + b"1 0 obj << >>\n" * 1000,
    "woff": b"wOFF\x00\x01" + _noise(500),
    "bzip2": bz2.compress(SOURCE.encode()),
    "mp3 with a tag": b"ID3\x03" + b"\xff\xfb text only " * 1000,
    "rar": b"Rar!\x1a\x07\x01" + b"\xfe text only " * 1000,
    "wave": b"RIFF\x24\x80\x01\x02WAVEfmt " + b"\xfe text only " * 1000,
    "zip": b"PK\x03\x04" + b"name.txt \xf6 " * 1000,
    "noise": bytes(b or 1 for b in _noise(9000)),
    "a zero after 8 KB of Latin-1": b"Gr\xf6\xdfe\n" * 2000 + b"\0",
    "a mark of UTF-16, then noise": b"\xff\xfe" + _noise(3001),
    "a mark of UTF-32, then noise": b"\xff\xfe\0\0" + _noise(3001),
}


@pytest.mark.parametrize("what", sorted(BINARIES))
def test_what_is_no_text_is_binary(what: str) -> None:
    assert decode(BINARIES[what]) is None


@pytest.mark.parametrize(
    "text", ["PK: public key\n", "GIF89a is a format\n", "\x1b[31mred\x1b[0m\n", "ID3 \x0c\n"]
)
def test_text_that_begins_like_a_binary_or_has_colours_is_text(text: str) -> None:
    assert decode(text.encode()) == (text, False)


def test_of_the_interpreter_all_sources_are_text_and_all_that_is_compiled_is_binary() -> None:
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.glob("*.py"))[:60]:
        assert decode(path.read_bytes()) is not None, path
    compiled = [*library.glob("__pycache__/*.pyc"), *library.rglob("*.so")][:60]
    for path in compiled:
        assert decode(path.read_bytes()) is None, path


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=300)
    | st.text(max_size=80).map(lambda t: t.encode("utf-16", "surrogatepass"))
    | st.builds(
        lambda line, rest: line + rest,
        st.sampled_from([b"# coding: koi8-r\n", b"# coding: big5\n", b"\xff\xfe\0\0", b"\xfe\xff"]),
        st.binary(max_size=100),
    )
)
def test_any_bytes_are_binary_or_text_that_can_be_stored(data: bytes) -> None:
    found = decode(data)
    if found is None:
        return
    text, _ = found
    text.encode("utf-8")


@pytest.mark.parametrize(
    "unit",
    [b"\xe9", b"\xc3\xa9\xe9", b"\xe2\x82", b"vim:", b"<meta", b"\xff\xfe", b"coding:a\xe9",
     b"\xff\xfe\0\xd8", b"# coding: punycode\xe9"],
)  # fmt: skip
@pytest.mark.parametrize("head", [b"", b"# coding: gb18030\n", b"<?xml ", b"# vi: "])
def test_any_bytes_are_read_in_linear_time(unit: bytes, head: bytes) -> None:
    """A megabyte takes some hundredths of a second; what is more than linear would take minutes."""
    data = head + unit * ((1 << 20) // len(unit))
    started = time.process_time()
    decode(data)
    assert time.process_time() - started < 2


def test_patterns_that_name_encodings_are_shown_two_kilobytes_of_a_file_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = 0

    class Looking:
        def search(self, where: bytes) -> None:
            nonlocal seen
            seen += len(where)

        match = search

    for name in ("_CODING", "_VIM", "_XML", "_HTML", "_CSS"):
        monkeypatch.setattr(decoding, name, Looking())
    decode(b"\xe9" * (1 << 20))
    assert 0 < seen < 8 * 1024


def test_a_file_of_the_tree_says_whether_its_encoding_was_guessed(tmp_path: Path) -> None:
    for name, data in (("a.c", b"Gr\xf6\xdfe"), ("b.c", "Größe".encode("utf-16"))):
        with io.FileIO(tmp_path / name, "w") as file:
            file.write(data)
        found = read_file(tmp_path, name, 1000)
        assert isinstance(found, SourceFile)
        assert (found.text, found.guessed) == ("Größe", name == "a.c")
