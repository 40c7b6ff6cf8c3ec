"""The lines that a hit shows: those with the match, and where in them it is marked."""

from __future__ import annotations

import sysconfig
import time
import unicodedata
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cidx_ref.index.query import Query
from cidx_ref.index.snippet import Probes, Snippet
from cidx_ref.index.spelling import spellings
from cidx_ref.index.storing import StoredChunk
from cidx_ref.index.text import terms, words

LIBRARY = Path(sysconfig.get_path("stdlib"))


def stored(
    text: str,
    *,
    name: str = "",
    path: str = "a.py",
    language: str = "python",
    defines: tuple[str, ...] = (),
) -> StoredChunk:
    last = 10 + text.count("\n")
    return StoredChunk(path, language, name, 10, last, text, defines=defines)


def cut(query: str, text: str, **about: Any) -> Snippet:
    return Probes(Query(query)).cut(stored(text, **about))


def marked(snippet: Snippet) -> list[str]:
    return [snippet.text[start:end] for start, end in snippet.marks]


def among(lines: dict[int, str], count: int = 60) -> str:
    """Lines that say nothing, but for those of the numbers given."""
    return "\n".join(lines.get(number, f"    pass  # {number}") for number in range(count))


def first_shown(query: str, lines: dict[int, str], **about: str) -> str:
    return cut(query, among(lines), **about).text.split("\n")[0]


# Which lines.


@pytest.mark.promise("QRY-1")
def test_the_snippet_begins_with_the_first_line_that_has_a_match() -> None:
    shown = cut("wombat", among({23: "wombat()", 25: "wombat(1)"}))
    assert shown.start == 10 + 23
    assert shown.text.split("\n")[0] == "wombat()"
    assert shown.text.count("\n") == 4
    assert marked(shown) == ["wombat", "wombat"]


def test_a_quick_cut_begins_with_the_rarest_word_and_marks_what_it_shows() -> None:
    lines = {3: "a wombat", 6: "return it", 40: "def wombat_return(): return wombat"}
    chunk = stored(among(lines), name="wombat_return")
    text = "return of a wombat"
    probes = Probes(Query(text), quickly=True)
    shown = probes.cut(chunk)
    assert shown.start == 13
    assert (shown.text.split("\n")[0], marked(shown)) == ("a wombat", ["wombat", "return"])
    assert probes.cut(stored(among({3: "return it", 40: "a wombat"}))).start == 50
    several = Probes(Query(text))
    assert [several.cut(chunk).start for _ in range(3)] == [50, 50, 13], (
        "the first two are shown best"
    )
    within = Probes(Query("ombat"), quickly=True).cut(stored(among({7: "Wombats"})))
    assert within.start == 17, "a part of a word is shown, too"


def test_of_later_hits_all_words_are_marked_that_the_lines_have() -> None:
    text = among({0: "wait for the wombat", 9: "a wombat may wait: Quokka"})
    shown = Probes(Query("wait quokka wombat"), quickly=True).cut(stored(text))
    line = shown.text.split("\n")[0]
    assert [line[start:end] for start, end in shown.marks] == ["wombat", "wait", "Quokka"]
    for few in ("the Quokka may\nwait", "Quokka may wait", "Quokka\n\nwait\n", "\n\n\nquokka wait"):
        shown = Probes(Query("wait quokka"), quickly=True).cut(stored(few))
        assert (shown.start, shown.text) == (10, few)
        assert len(shown.marks) == 2


@pytest.mark.parametrize("quickly", [False, True])
def test_each_hit_shows_the_name_that_is_asked_for(quickly: bool) -> None:
    probes = Probes(Query("wombat_diet"), quickly=quickly)
    chunk = stored(among({3: "a wombat", 30: "wombat_diet()"}))
    assert [probes.cut(chunk).start for _ in range(10)] == [40] * 10


@pytest.mark.parametrize("query", ["Box.send", "send", "Box::send"])
@pytest.mark.parametrize("name", ["Box", "", "Box.lid"])
def test_of_what_is_no_piece_of_its_own_the_definition_is_shown(query: str, name: str) -> None:
    lines = {0: "class Box:", 9: "    # send it", 20: "    self.send(1)", 40: "    def send(self):"}
    shown = cut(query, among(lines), name=name, defines=("Box", "lid", "send"))
    assert lines[40] in shown.text


def test_at_the_end_of_a_chunk_there_are_five_lines_too() -> None:
    shown = cut("wombat", among({58: "wombat()"}))
    assert shown.start == 10 + 55
    assert shown.text.split("\n")[3] == "wombat()"


def test_more_distinct_words_beat_one_word_said_often() -> None:
    lines = {5: "parse parse parse", 6: "parse(parse)", 30: "the header is", 33: "what we parse"}
    assert first_shown("parse header", lines) == "the header is"


def test_a_rare_word_beats_a_common_one() -> None:
    assert first_shown("return wombat", {5: "return x", 30: "wombat"}) == "wombat"


def test_of_windows_that_say_as_much_the_earliest_is_shown() -> None:
    lines = {7: "parse the header", 30: "parse the header"}
    assert cut("parse header", among(lines)).start == 10 + 7
    apart = {7: "wombat", 20: "numbat", 40: "wombat"}
    assert cut("wombat numbat", among(apart)).start == 10 + 7


@pytest.mark.parametrize("said", ["parse_args", "parseArgs", "ParseArgs", "PARSE_ARGS"])
@pytest.mark.parametrize("query", ["parse_args", "parseArgs", "where is parse_args called"])
def test_a_whole_identifier_beats_its_parts_whatever_its_joints(query: str, said: str) -> None:
    lines = {5: "args = parse(it)", 30: f"x = {said}(argv)"}
    shown = cut(query, among(lines))
    assert shown.text.split("\n")[0] == lines[30]
    assert marked(shown)[0] == said


def test_a_whole_word_beats_the_part_of_a_name() -> None:
    lines = {5: "self._split_all(it)", 30: "def split(it):"}
    assert first_shown("split", lines) == lines[30]
    assert first_shown("split", {5: lines[5]}) == lines[5]


@pytest.mark.parametrize("word", ["catalog = 1", "logical()", "dialogue", "xlog"])
def test_a_word_beats_the_same_letters_within_another_word(word: str) -> None:
    shown = cut("log", among({5: word, 30: "self.log(x)"}))
    assert shown.start == 10 + 30
    assert marked(shown) == ["log"]
    near = cut("log", among({28: word, 30: "self.log(x)"}))
    assert near.start == 10 + 30, "the snippet begins with the match"


def test_letters_where_a_word_begins_beat_letters_within_one() -> None:
    shown = cut("auth", among({5: "reauthorise()", 30: "authorize_user()"}))
    assert shown.text.split("\n")[0] == "authorize_user()"
    assert marked(shown) == ["auth"]


def test_letters_within_words_are_shown_where_there_is_nothing_better() -> None:
    shown = cut("log", among({30: "catalog"}))
    assert (shown.start, marked(shown)) == (40, ["log"])


def test_the_definition_beats_a_mention_in_the_comment_above_it() -> None:
    lines = {0: "# retry_later: see below", 9: "def retry_later(job):", 40: "retry_later(job)"}
    for query in ("retry_later", "retry later"):
        assert first_shown(query, lines, name="Queue.retry_later") == lines[9]
    assert first_shown("retry_later", lines) == lines[0], "nothing says that it is defined"


@pytest.mark.parametrize("query", ["ringbuffer", "ring_buffer", "ringBuffer"])
@pytest.mark.parametrize("said", ["ring_buffer_push", "RingBufferPush", "ringbuffer", "RINGBUFFER"])
def test_compounds_meet_with_and_without_joints(query: str, said: str) -> None:
    shown = cut(query, among({30: f"{said}(x)"}))
    assert shown.text.split("\n")[0] == f"{said}(x)"
    assert "".join(marked(shown)).lower().replace("_", "").startswith("ringbuffer")


def test_words_as_they_were_typed_beat_the_same_words_elsewhere() -> None:
    lines = {5: "p.next = a", 30: "p->next = a"}
    assert first_shown('"p->next"', lines) == lines[30]
    assert first_shown("a != b", {5: "a == b", 30: "a != b"}) == "a != b"


def test_punctuation_alone_is_shown_and_marked() -> None:
    shown = cut("=>", among({30: "x => y"}))
    assert (shown.start, marked(shown)) == (40, ["=>"])


LICENCE = "/*\n * Copyright (c) 1999 Nobody\n * All rights reserved.\n */\n"
HEADS = [
    ("\n\n\nvalue = 1\n", "", "value = 1"),
    (f"{LICENCE}\nint value;\n", "", "int value;"),
    ("#!/bin/sh\n# SPDX-License-Identifier: MIT\n#\n# more of it\n\nset -e\n", "", "set -e"),
    ("// Package queue runs jobs.\npackage queue\n", "", "// Package queue runs jobs."),
    ("# why it is so\n# and more\n@wrapped\ndef later(job):\n", "Queue.later", "def later(job):"),
    ("#include <a.h>\n/* SIZE: */\n#define SIZE 8\n", "SIZE", "#define SIZE 8"),
    ("/* Copyright\n   without an end\n", "", "/* Copyright"),
]


@pytest.mark.parametrize(("head", "name", "first"), HEADS)
def test_where_only_name_or_path_match_the_head_of_the_definition_is_shown(
    head: str, name: str, first: str
) -> None:
    shown = cut("wombat", head + "x\n" * 20, name=name, path="wombat.py")
    assert shown.text.split("\n")[0] == first
    assert (head + "x\n" * 20).split("\n")[shown.start - 10] == first
    assert shown.marks == ()


# Long lines.


@pytest.mark.promise("QRY-1")
@pytest.mark.parametrize("before", [0, 299, 300, 1500])
def test_of_a_line_of_semicolons_the_part_with_the_match_is_shown(before: int) -> None:
    """The field's case W6: 300 semicolons and then `needle()`."""
    for text in (f"{';' * before}needle()", among({7: f"{';' * before}needle(){';' * 400}"})):
        shown = cut("needle", text)
        assert marked(shown) == ["needle"]
        assert shown.text[: shown.marks[0][0]].count(";") >= min(before, 60), "and what is before"
        assert max(map(len, shown.text.split("\n"))) <= 300


def test_of_matches_far_apart_in_one_line_those_that_say_most_are_shown() -> None:
    line = f"parse();{'a=b;' * 200}header();{'a=b;' * 200}parse(header);{'a=b;' * 99}"
    shown = cut("parse header", f"first\n{line}\nlast parse")
    assert marked(shown) == ["parse", "header", "parse"]
    assert shown.text.split("\n")[1] in line


def test_in_a_minified_file_each_long_line_shows_its_own_match() -> None:
    lines = [f"{'x();' * 300}wombat{n}(){'y();' * 300}" for n in range(4)]
    shown = cut("wombat", "\n".join(lines))
    assert [text in line for text, line in zip(shown.text.split("\n"), lines, strict=True)]
    assert marked(shown) == ["wombat"] * 4


def test_a_match_that_is_longer_than_what_is_shown_is_cut() -> None:
    word = "z" * 400
    shown = cut(word, f"{'.' * 500}{word}{'.' * 500}")
    assert shown.marks
    assert max(shown.marks)[1] <= len(shown.text) == 300


# Marks.


@pytest.mark.parametrize(
    ("query", "text", "said"),
    [
        ("parse", "parsing = it.parses(PARSED)", ["parsing", "parses", "PARSED"]),
        ("pin, index a", "def IndexCache_pin(a): xpin unpinned", ["Index", "pin"]),
        ("header", "HTTPHeaders, parseHTTPHeader, header2", ["Headers", "Header", "header"]),
        ("http", "HTTPHeaders parseHTTP httpd HTTPS", ["HTTP", "HTTP"]),
        ("sha256", "x = sha256(y); SHA256", ["sha256", "SHA256"]),
        ("try", "tries, string, try:, tried", ["tries", "try", "tried"]),
        ("tries", "try:", ["try"]),
        ("use", "using it", ["using"]),
        ("dying", "let it die", ["die"]),
        ("possible", "a possibility", ["possibility"]),
        ("usage", r'puts("\nusage: frob")', ["usage"]),
        ("parse_args", "parse_args_all(parse)", ["parse_args", "parse"]),
    ],
)
def test_what_is_marked_is_the_part_of_a_name_that_matched(
    query: str, text: str, said: list[str]
) -> None:
    assert marked(cut(query, text)) == said


@pytest.mark.parametrize(
    ("query", "text", "said"),
    [
        ("needle", "İİİ needle İ", ["needle"]),
        ("needle", "ẞß ﬁ NEEDLE", ["NEEDLE"]),
        ("straße", "ẞ STRASSE Straße", ["STRASSE", "Straße"]),
        ("İstanbul", "İ İstanbul", ["İstanbul"]),
        ("find", "a ﬁnd", ["ﬁnd"]),
        ("größe", unicodedata.normalize("NFD", "die größe"), ["gro\u0308ße"]),
        ("größe", "die Größe_max", ["Größe_max"]),
        ("日本", "これは日本語です", ["日本"]),
        ("needle", "日本needle語", ["needle"]),
        ("ключ", "мой ключ", ["ключ"]),
        ("needle", "\udcff\x00needle", ["needle"]),
    ],
)
def test_marks_are_right_whatever_letters_are_around(
    query: str, text: str, said: list[str]
) -> None:
    assert marked(cut(query, text)) == said
    assert marked(cut(query, among({30: text}))) == said


def test_a_word_of_a_language_with_accents_is_marked_as_a_whole() -> None:
    assert marked(cut("naïve", "naive naïve")) == ["naïve"]


@pytest.mark.promise("QRY-1")
def test_each_word_of_code_is_found_by_one_of_the_spellings_of_its_stem() -> None:
    text = "".join(path.read_text("utf-8") for path in sorted(LIBRARY.glob("*.py")))
    forms: dict[str, set[str]] = defaultdict(set)
    for word in {word.lower() for word in words(text) if word.isascii() and word.isalpha()}:
        for term in terms(word):
            forms[term].add(word)
    missed = {
        (term, word)
        for term, found in forms.items()
        for word in found
        if len(terms(word)) == 1 and len(word) <= 64
        if not any(word.startswith(spelling) for spelling in spellings(term))
    }
    assert len(forms) > 5000
    assert missed == set()


WORDS = st.sampled_from(
    "parse parsing Parser header HTTPHeaders get_user_name getUserName log catalog logic try "
    "tries use using skies sky die x a 12 sha256 größe gro\u0308ße İstanbul STRASSE Straße ﬁnd "
    "find 日本語 日 \n \n \n -> => ( ) ; _ __ . \\n ; é \udcff".split(" ")
)
TEXTS = st.lists(WORDS | st.text(max_size=4), max_size=60).flatmap(
    lambda found: st.sampled_from((" ", "", "_")).map(lambda joint: joint.join(found))
)
ABOUT = st.sampled_from(["", "parse", "Log.get_user_name", "cell 3: find"])


def _said(text: str) -> set[str]:
    composed = unicodedata.normalize("NFC", text)
    return {*terms(text), *terms(composed), composed.lower().replace("_", "")}


@settings(derandomize=True, deadline=None, max_examples=400)
@given(TEXTS, st.lists(WORDS, min_size=1, max_size=4).map(" ".join), ABOUT, st.booleans())
@example("logic\n\n\n\n\n\n\n\nlogs", "log", "", False)
@example("gro\u0308ße", "größe", "", False)
def test_any_snippet_is_text_of_its_lines_and_its_marks_are_what_matched(
    text: str, asked: str, name: str, is_long: bool
) -> None:
    if is_long:
        text = text.replace("\n", ";" * 250)
    query = Query(asked)
    chunk = stored(text, name=name)
    shown = Probes(query).cut(chunk)
    lines = text.split("\n")
    at = shown.start - chunk.line_start
    parts = shown.text.split("\n")
    assert len(parts) == min(5, len(lines))
    for part, line in zip(parts, lines[at : at + len(parts)], strict=True):
        assert part == line if len(line) <= 300 else part in line and len(part) == 300
    ends = [0]
    for start, end in shown.marks:
        assert ends[-1] <= start < end <= len(shown.text)
        ends.append(end)
    wanted = {*query.terms, *(said for word in query.words for said in _said(word))}
    for mark in marked(shown):
        # A term, letters of one, or else what was typed.
        letters = unicodedata.normalize("NFC", mark).lower()
        assert (
            wanted & _said(mark)
            or any(word.startswith(letters) or word in letters for word in wanted)
            or letters in asked.lower()
        ), mark
    if set(query.terms) & set(terms(text)) and not is_long:
        assert shown.marks, "what is said somewhere is shown"


@pytest.mark.promise("QRY-4", "RPC-4")
@pytest.mark.parametrize(
    ("query", "unit"),
    [
        ("a", "a"), ("a", "a "), ("aa", "aA"), ("ringbuffer", "ring_"), ("x_x_x", "x_"),
        ("größe", "größ"), ("日", "日"), ("->", "->"), ("é", "e\u0301"), ("copyright", "#\n"),
        ("zz", "/*\n"), ("log log2 log_x", "log_"), ('"a" "b"', 'a"b'),
    ],
)  # fmt: skip
def test_cutting_takes_time_in_proportion_to_the_text(query: str, unit: str) -> None:
    def best_of_some(size: int) -> float:
        chunk = stored(unit * (size // len(unit)), name="a")
        took = []
        for _ in range(5):
            probes = Probes(Query(query))
            began = time.process_time()
            probes.cut(chunk)
            took.append(time.process_time() - began)
        return min(took)

    assert best_of_some(16_000) < 12 * best_of_some(4_000) + 0.002


@pytest.mark.promise("RPC-4")
def test_what_stands_everywhere_is_marked_in_the_lines_that_say_the_rest() -> None:
    lines = dict.fromkeys(range(60), "self.x(self)") | {40: "self.wombat"}
    shown = cut("self wombat", among(lines))
    assert shown.start == 10 + 40
    assert marked(shown)[:3] == ["self", "wombat", "self"]
    everywhere = cut("self x", among(dict.fromkeys(range(60), "self.x")))
    assert (everywhere.start, marked(everywhere)) == (10, ["self", "x"] * 5)
