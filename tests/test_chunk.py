"""Where a file is cut: pieces that are just lines of it, and that miss none."""

from __future__ import annotations

import re
import textwrap
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cidx_ref.index.chunk import (
    MAX_CHARS,
    MAX_LINE_CHARS,
    MAX_LINES,
    MAX_PIECES,
    Chunk,
    chunk,
    definition,
)
from cidx_ref.index.structure import KINDS


def python(text: str) -> list[Chunk]:
    return chunk(textwrap.dedent(text).lstrip("\n"), "python")


def outline(chunks: list[Chunk]) -> list[tuple[str, int, int]]:
    return [(piece.name, piece.line_start, piece.line_end) for piece in chunks]


def numbered(count: int) -> str:
    return "".join(f"x{number} = {number}\n" for number in range(1, count + 1))


def assert_sound(text: str, chunks: list[Chunk]) -> None:
    """Every piece is exactly its lines, in order, and no line that is not blank is missed."""
    lines = text.split("\n")
    for piece in chunks:
        assert 1 <= piece.line_start <= piece.line_end <= len(lines)
        assert piece.text == "\n".join(lines[piece.line_start - 1 : piece.line_end])
        ends = (lines[piece.line_start - 1], lines[piece.line_end - 1])
        assert all(line.strip() for line in ends), "a blank line at an end"
    starts = [piece.line_start for piece in chunks]
    assert starts == sorted(set(starts))
    found = {n for piece in chunks for n in range(piece.line_start, piece.line_end + 1)}
    assert {n for n, line in enumerate(lines, 1) if line.strip()} <= found


LINES = st.sampled_from(
    [
        "",
        " ",
        "\x0c",
        "x = 1",
        "    x = 1",
        "        y = 2",
        "def f():",
        "    def g(self): pass",
        "    def h():",
        "        return '''",
        "    # '''",
        "class A:",
        "class B(A): z = 3",
        "    class C:",
        "@d",
        "    @d(",
        "    )",
        "# comment",
        "    # comment",
        "if x:",
        "else:",
        "try:",
        "except E:",
        "'''",
        "s = '\\d'",
        "t = 1; \\",
        "}",
        "\r",
        "u\x85v\u2028w",
        "\ud800",
        "\0",
    ]
)


@pytest.mark.promise("QRY-1")
@given(text=st.text(), language=st.sampled_from(["python", "c", "text"]))
def test_any_text_is_cut_into_its_own_lines(text: str, language: str) -> None:
    assert_sound(text, chunk(text, language))


@pytest.mark.promise("QRY-1")
@given(
    lines=st.lists(LINES, max_size=200),
    newline=st.sampled_from(["\n", "\r\n"]),
    language=st.sampled_from(["python", "c", "text"]),
)
def test_anything_like_code_is_cut_into_its_own_lines(
    lines: list[str], newline: str, language: str
) -> None:
    text = newline.join(lines)
    assert_sound(text, chunk(text, language))


DEFINITIONS = st.recursive(
    st.sampled_from(["x = 1\n", "def f():\n    pass\n", "# c\n", "\n", "'''\n# s'''\n"]),
    lambda inner: st.builds(
        lambda head, bodies: head + textwrap.indent("".join(bodies) + "pass\n", "    "),
        st.sampled_from(["class A:\n", "if x:\n", "@d\nclass B:\n", "for i in x:\n", "def g():\n"]),
        st.lists(inner, max_size=5),
    ),
    max_leaves=40,
)


@given(st.lists(DEFINITIONS, max_size=12).map("".join))
def test_pieces_of_python_do_not_overlap_where_none_is_long(text: str) -> None:
    chunks = chunk(text, "python")
    assert_sound(text, chunks)
    if text.count("\n") < MAX_LINES:  # longer definitions are cut into windows, which overlap
        numbers = [n for p in chunks for n in range(p.line_start, p.line_end + 1)]
        assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("language", ["python", "c", "text"])
@pytest.mark.parametrize("text", ["", "\n", "  \n\t\n\x0c\n"])
def test_where_there_is_nothing_there_are_no_pieces(text: str, language: str) -> None:
    assert chunk(text, language) == []


# Python


def test_functions_are_pieces_and_so_is_what_lies_around_them() -> None:
    chunks = python('''
        """Module."""

        import os
        LIMIT = 3

        def first():
            return 1


        async def second():
            def inner():
                return 2
            return inner

        if __name__ == "__main__":
            first()
    ''')
    assert outline(chunks) == [("", 1, 4), ("first", 6, 7), ("second", 10, 13), ("", 15, 16)]
    assert chunks[1].text == "def first():\n    return 1"


def test_a_class_is_a_header_and_its_methods_also_when_nested() -> None:
    chunks = python('''
        @decorated
        class Outer(Base):
            """Docstring."""

            limit = 1

            def method(self):
                pass

            class Inner:
                """More."""

                async def method(self):
                    pass

        class Plain:
            x = 1
    ''')
    assert outline(chunks) == [
        ("Outer", 1, 5),
        ("Outer.method", 7, 8),
        ("Outer.Inner", 10, 11),
        ("Outer.Inner.method", 13, 14),
        ("Plain", 16, 17),
    ]


def test_decorators_and_the_comments_right_above_belong_to_a_definition() -> None:
    chunks = python("""
        x = 1
        # Section.

        # About f,
        # at length.
        @one
        @two(
            3)
        def f(): pass
        class A:
            # About m.
            def m(self):
                return 1
                # Still in m.
            # About n.
            def n(self): pass
    """)
    assert outline(chunks) == [
        ("", 1, 2),
        ("f", 4, 9),
        ("A", 10, 10),
        ("A.m", 11, 14),
        ("A.n", 15, 16),
    ]


def test_the_end_of_a_string_is_no_comment_of_the_next_definition() -> None:
    chunks = python("""
        def f():
            return '''
        # string'''
        def g(): pass
    """)
    assert outline(chunks) == [("f", 1, 3), ("g", 4, 4)]


def test_definitions_are_found_in_the_branches_of_a_module_and_a_class() -> None:
    chunks = python("""
        try:
            from fast import f
        except ImportError:
            def f(): pass
        if True:
            class A:
                if True:
                    def m(self): pass
        else:
            with x:
                def g(): pass
    """)
    names = [name for name, _, _ in outline(chunks)]
    assert names == ["", "f", "A", "A.m", "g"]


def test_a_few_lines_between_definitions_stay_with_the_one_before_them() -> None:
    chunks = python("""
        class A:
            def get(self): pass
            def set(self): pass
            both = property(get, set)

            few = 2
            def more(self): pass

            a = 1
            b = 2
            c = 3
            def last(self): pass
    """)
    assert outline(chunks) == [
        ("A", 1, 1),
        ("A.get", 2, 2),
        ("A.set", 3, 6),
        ("A.more", 7, 7),
        ("A", 9, 11),
        ("A.last", 12, 12),
    ]


def test_blank_lines_at_the_top_change_no_cut() -> None:
    text = "def f(): pass\nX = 1\ndef g(): pass\n"
    assert [p.text for p in chunk("\n\n" + text, "python")] == [
        p.text for p in chunk(text, "python")
    ]


def test_definitions_of_the_same_name_are_pieces_of_their_own() -> None:
    chunks = python("""
        @overload
        def f(x: int): ...
        @overload
        def f(x: str): ...
        def f(x): ...
    """)
    assert outline(chunks) == [("f", 1, 2), ("f", 3, 4), ("f", 5, 5)]


@pytest.mark.parametrize("separator", ["\x0c", "\x0b", "\x1c", "\x85", "\u2028"])
def test_only_newlines_count_as_line_ends(separator: str) -> None:
    text = f"x = '{separator}' # {separator}\n\ndef f():\n    '''{separator}'''\n\ndef g(): pass\n"
    assert outline(chunk(text, "python")) == [("", 1, 1), ("f", 3, 4), ("g", 6, 6)]
    assert chunk(text, "python")[2].text == "def g(): pass"


def test_a_form_feed_between_definitions_moves_no_line_number() -> None:
    text = "def f(): pass\n\x0c\ndef g(): pass\n\x0cdef h(): pass\n"
    assert outline(chunk(text, "python")) == [("f", 1, 1), ("g", 3, 3), ("h", 4, 4)]


def test_carriage_returns_move_no_line_number_either() -> None:
    text = "x = 1 \\\r\n  + 2\r\n\r\ny = '\r'\r\ndef f():\r\n    pass\r\n"
    assert outline(chunk(text.replace("'\r'", "\r 3"), "python")) == [("", 1, 4), ("f", 5, 6)]


@pytest.mark.parametrize("length", [100, 101, 150, 151, 400])
def test_only_a_long_definition_is_cut_into_windows_that_overlap(length: int) -> None:
    text = "def f():\n" + "    x = 1\n" * (length - 1)
    windows = outline(chunk(text, "python"))
    assert {name for name, _, _ in windows} == {"f"}
    assert windows[0][1] == 1
    assert windows[-1][2] == length
    if length == 100:
        assert windows == [("f", 1, 100)]
    else:
        assert all(end - start + 1 == 80 for _, start, end in windows[:-1])
        assert windows[-1][2] - windows[-1][1] + 1 <= 80
        overlaps = {earlier[2] - later[1] + 1 for earlier, later in pairwise(windows)}
        assert overlaps == {10}


def test_no_two_windows_begin_at_the_same_line() -> None:
    text = "def f():\n" + "    x = 1\n" * 69 + "\n" * 75 + "    x = 1\n" * 100
    chunks = chunk(text, "python")
    assert_sound(text, chunks)
    assert outline(chunks) == [("f", 1, 70), ("f", 146, 225), ("f", 216, 245)]


@pytest.mark.parametrize(
    "text",
    [
        "print 'python 2'\n" + numbered(60),
        "x = '\ud800'\n" + numbered(60),
        "x = 0 \0\n" + numbered(60),
        "x = " + "(" * 9000 + ")" * 9000 + "\n" + numbered(60),
        "x = " + "-" * 100_000 + "1\n" + numbered(60),
    ],
)
def test_what_is_no_python_is_cut_like_any_text(text: str) -> None:
    chunks = chunk(text, "python")
    assert chunks == chunk(text, "text")
    if len(text) < MAX_LINE_CHARS:
        assert outline(chunks) == [("", 1, 50), ("", 41, 61)]


def test_branches_nested_beyond_all_measure_are_cut_somehow() -> None:
    text = "if x:\n  y\n" + "elif x:\n  y\n" * 20_000
    assert_sound(text, chunk(text, "python"))


def test_bad_escapes_in_python_give_no_warning() -> None:
    assert outline(chunk("def f(): return '\\d'\n", "python")) == [("f", 1, 1)]


def test_a_piece_says_what_kind_of_thing_it_is_and_what_its_lines_define() -> None:
    chunks = python("""
        import os
        LIMIT, (LOW, HIGH) = 3, (1, 2)
        name: str
        os.x = y[0] = 4
        if os:
            FALLBACK = LIMIT = 5

        class Color(Enum):
            RED = 1
            def mix(self):
                local = 2
                def inner(): pass
            class Deep:
                field: int = 3

        async def main():
            pass

        last = main()
        LAST = 1
        done = 2
    """)
    assert [(piece.name, piece.kind, piece.defines) for piece in chunks] == [
        ("", "", ("LIMIT", "LOW", "HIGH", "name", "\tx", "\t\tos", "FALLBACK")),
        ("Color", "class", ("Color", "RED")),
        ("Color.mix", "method", ("mix", "\tinner")),
        ("Color.Deep", "class", ("Deep", "field")),
        ("main", "function", ("main",)),
        ("", "", ("last", "LAST", "done")),
    ]


def test_a_few_lines_that_stay_with_a_definition_are_among_what_it_defines() -> None:
    chunks = python("import os\ndef get(): pass\nboth = 1\ndef more(): pass\n")
    assert [(piece.name, piece.defines) for piece in chunks] == [
        ("", ()),
        ("get", ("get", "both")),
        ("more", ("more",)),
    ]


def test_only_the_first_piece_of_a_long_definition_defines_it() -> None:
    for text in ("def f():\n" + "    x = 1\n" * 300, f"def f(a='{'word ' * 9000}'): pass\n"):
        chunks = chunk(text, "python")
        assert {piece.name for piece in chunks} == {"f"}
        assert {piece.kind for piece in chunks} == {"function"}
        assert [piece.defines for piece in chunks] == [("f",)] + [()] * (len(chunks) - 1)


def test_where_a_decorated_definition_is_cut_before_its_name_a_later_piece_defines_it() -> None:
    text = "@d(\n" + "    1,\n" * 100 + ")\ndef f(): pass\n"
    assert [piece.defines for piece in chunk(text, "python")] == [(), ("f",)]


def test_each_kind_is_one_that_an_index_can_store() -> None:
    assert KINDS[0] == ""
    assert len(set(KINDS)) == len(KINDS) < 256


# Every other language


def test_text_without_gaps_is_cut_into_windows_that_overlap() -> None:
    assert outline(chunk(numbered(50), "text")) == [("", 1, 50)]
    assert outline(chunk(numbered(51), "text")) == [("", 1, 50), ("", 41, 51)]
    assert outline(chunk(numbered(130), "text")) == [("", 1, 50), ("", 41, 90), ("", 81, 130)]


@pytest.mark.parametrize("gap", ["", "   ", "}", "};"])
def test_a_window_ends_at_the_gap_nearest_to_its_end(gap: str) -> None:
    lines = [f"x{number}" for number in range(100)]
    lines[38] = lines[44] = gap  # lines 39 and 45
    first, second, *_ = chunk("\n".join(lines), "c")
    assert first.line_end == (45 if gap.strip() else 44)
    assert second.line_start == 46


@pytest.mark.parametrize(("line", "end"), [(35, 50), (36, 36), (50, 50)])
def test_a_gap_counts_only_in_the_last_lines_of_a_window(line: int, end: int) -> None:
    lines = [f"x{number}" for number in range(100)]
    lines[line - 1] = "}"
    first, second, *_ = chunk("\n".join(lines), "c")
    assert (first.line_end, second.line_start) == (end, end + 1 if line == end else 41)


def test_an_indented_brace_is_no_gap() -> None:
    lines = [f"x{number}" for number in range(60)]
    lines[44] = "    }"
    assert outline(chunk("\n".join(lines), "c")) == [("", 1, 50), ("", 41, 60)]


def test_blank_lines_around_a_text_take_no_room_in_its_windows() -> None:
    text = "\n" * 30 + numbered(50) + "\n" * 30
    assert outline(chunk(text, "markdown")) == [("", 31, 80)]


def assert_any_stretch_is_whole_in_a_piece(line: str, chunks: list[Chunk]) -> None:
    """Of 200 characters of a long line, wherever they stand, all are in one piece."""
    texts = [piece.text for piece in chunks]
    for start in {*range(0, len(line), 97), max(0, len(line) - 200)}:
        stretch = line[start : start + 200].strip()
        assert any(stretch in text for text in texts), start


LONG = st.builds(
    lambda unit, times, rest: unit * times + rest,
    st.sampled_from(["a", "ab;", " ", "x = y + 1, ", "é", "\t\u3000", "word_", '{"k":1},']),
    st.integers(1, 2 * MAX_LINE_CHARS),
    st.text(st.characters(exclude_characters="\n"), max_size=5),
)


@pytest.mark.promise("QRY-1")
@settings(deadline=None, max_examples=100)
@given(
    st.lists(LINES | LONG | st.just("x" * 500), max_size=60),
    st.sampled_from(["python", "javascript"]),
)
def test_no_piece_is_too_long_and_those_of_a_long_line_have_all_of_it(
    lines: list[str], language: str
) -> None:
    chunks = chunk("\n".join(lines), language)
    found = {n for piece in chunks for n in range(piece.line_start, piece.line_end + 1)}
    for number, line in enumerate("\n".join(lines).split("\n"), 1):
        if line.strip():
            assert number in found
        if line.strip() and len(line) > MAX_LINE_CHARS:
            assert_any_stretch_is_whole_in_a_piece(line, chunks)
    starts = [piece.line_start for piece in chunks]
    assert starts == sorted(starts)
    for piece in chunks:
        assert len(piece.text) <= MAX_CHARS
        assert piece.text.count("\n") == piece.line_end - piece.line_start


def test_a_long_line_is_cut_between_words_and_leaves_its_neighbours_alone() -> None:
    long = "".join(f"call_number_{n}(first, second);" for n in range(1000))
    chunks = chunk(f"// licence\n\n{long}\n\nafter();\n", "javascript")
    assert outline(chunks)[0] == ("", 1, 1)
    assert outline(chunks)[-1] == ("", 5, 5)
    pieces = chunks[1:-1]
    assert {piece.line_start for piece in pieces} == {3}
    assert len(pieces) < len(long) / MAX_LINE_CHARS * 1.25 + 1, "an eighth of a piece overlaps"
    words = {word for piece in pieces for word in re.findall(r"\w+", piece.text)}
    assert words == set(re.findall(r"\w+", long)), "no word is cut"


def test_a_python_file_with_a_long_line_keeps_the_names_of_its_definitions() -> None:
    blob = "x" * 9000
    chunks = python(
        f"def one():\n    pass\n\n\nclass Two:\n    DATA = '{blob}'\n\n    def m(self): 1\n"
    )
    assert [name for name, _, _ in outline(chunks)] == ["one", *["Two"] * 7, "Two.m"]
    assert_any_stretch_is_whole_in_a_piece(f"    DATA = '{blob}'", chunks)


def test_many_lines_that_are_not_long_are_no_large_piece_either() -> None:
    chunks = chunk("\n".join(["y = " + "1234 + " * 100] * 200), "javascript")
    assert max(len(piece.text) for piece in chunks) <= MAX_CHARS
    assert 200 < sum(piece.line_end - piece.line_start + 1 for piece in chunks) < 260


def test_a_phrase_is_whole_in_a_piece_wherever_the_long_line_that_it_is_in_is_cut() -> None:
    line = " ".join(f"{word}{n}" for n in range(900) for word in ("alpha", "beta"))
    words = line.split()
    texts = [f" {piece.text} " for piece in chunk(line, "markdown")]
    assert len(texts) > 5
    for first in range(len(words) - 9):
        phrase = " ".join(words[first : first + 10])
        assert any(f" {phrase} " in text for text in texts), phrase


@pytest.mark.parametrize("place", range(1990, 2010))
def test_punctuation_is_whole_in_a_piece_wherever_a_line_is_cut(place: int) -> None:
    for at in (place, place - 300, place - 150):
        line = f"{'w ' * 3000}"[:at] + "@#%" + "w " * 999
        assert any("@#%" in piece.text for piece in chunk(line, "text"))


def test_no_cut_is_within_punctuation_or_a_word_where_there_is_a_better_place() -> None:
    line = "name@#%+=" * 2000
    pieces = [piece.text for piece in chunk(line, "text")]
    assert len(pieces) > 5
    for piece in pieces:
        assert re.fullmatch(r"(@#%\+=)?(name@#%\+=)+(name)?", piece)


@pytest.mark.parametrize("kind", ["long line", "long chunk"])
def test_what_is_long_takes_no_overlap_from_the_rest_of_the_file(kind: str) -> None:
    lines = [f"line {n}" for n in range(1, 121)]
    rest = {"long line": ["x " * 1001], "long chunk": ["", *["y = " + "12 + " * 100] * 50]}[kind]
    kept = chunk("\n".join(lines), "text")
    found = chunk("\n".join([*lines, *rest]), "text")
    assert outline(kept) == [("", 1, 50), ("", 41, 90), ("", 81, 120)]
    assert outline(found)[:2] == outline(kept)[:2]
    for before, after in pairwise(lines):
        assert any(f"{before}\n{after}\n" in f"{piece.text}\n" for piece in found), before


@pytest.mark.parametrize("at", [0, 1, 39, 40, 45, 49, 50, 59])
def test_lines_around_a_long_one_are_whole_in_a_piece_with_its_end(at: int) -> None:
    """What stands at a line's end and at the next one's beginning may be one phrase."""
    lines = [f"first{n} of a line, last{n}" for n in range(60)]
    lines[at] = f"first{at} {'filler ' * 400}last{at}"
    found = chunk("\n".join(lines), "text")
    for n in range(59):
        assert any(f"last{n}\nfirst{n + 1} " in piece.text for piece in found), n


def test_a_chunk_of_many_characters_is_cut_into_pieces_that_overlap() -> None:
    lines = [f"first{n} {'filler ' * 60}last{n}" for n in range(90)]
    text = 'def f():\n    """\n' + "\n".join(lines) + '"""\n'
    for language in ("python", "text"):
        found = chunk(text, language)
        for n in range(89):
            assert any(f"last{n}\nfirst{n + 1} " in piece.text for piece in found), n
        numbered = text.split("\n")
        for piece in found:
            own = "\n".join(numbered[piece.line_start - 1 : piece.line_end])
            assert own.endswith(piece.text), "only the beginning may be within a line"


def test_a_blank_line_parts_a_long_line_from_its_neighbours() -> None:
    found = chunk(f"before\n\n{'x ' * 1100}\n \nafter\n", "text")
    assert [(piece.line_start, piece.line_end) for piece in found] == [
        (1, 1),
        (3, 3),
        (3, 3),
        (5, 5),
    ]


def test_a_long_line_in_two_windows_is_cut_once() -> None:
    lines = [f"line {n}" for n in range(1, 91)]
    lines[44] = long = " ".join(f"word{n}" for n in range(900))
    found = [piece for piece in chunk("\n".join(lines), "text") if "word450 " in piece.text]
    assert len(found) == 1
    assert found[0].text in long


def test_pieces_are_in_the_order_of_their_lines_where_only_the_first_window_is_too_long() -> None:
    lines = ["x" * 269] * 40 + ["y" * 120] * 10 + ["z"] * 40
    starts = [piece.line_start for piece in chunk("\n".join(lines), "text")]
    assert len(starts) == 3
    assert starts == sorted(starts)


def test_what_a_piece_has_of_the_lines_before_it_is_whole_lines_if_they_are_not_long() -> None:
    before = [f"number {n} {'of some words ' * 5}" for n in range(20)]
    long = "w " * 1500
    found = next(p for p in chunk("\n".join([*before, long]), "text") if p.line_end == 21)
    assert found.text.split("\n")[:-1] == before[-3:]
    assert found.line_start == 18


def test_a_stretch_of_a_long_line_that_is_blank_is_no_piece() -> None:
    found = chunk(f"left{' ' * 9000}right", "text")
    assert [piece.text.strip() for piece in found] == ["left", "right"]


def test_lines_that_a_person_wrote_are_cut_as_ever() -> None:
    """A definition of a hundred lines of a hundred characters stays in one piece."""
    text = "def f():\n" + ("    " + "x" * 95 + "\n") * 99
    assert outline(chunk(text, "python")) == [("f", 1, 100)]


@pytest.mark.parametrize("unit", ["a", "- ", ";", "x;", "é"])
def test_a_line_of_megabytes_is_cut_in_linear_time(unit: str) -> None:
    started = time.process_time()
    chunks = chunk("x" + unit * (4 << 20), "javascript")
    assert time.process_time() - started < 3
    assert len(chunks) >= (4 << 20) // MAX_LINE_CHARS


def test_a_file_of_very_many_definitions_has_larger_pieces_and_no_line_is_missed() -> None:
    """A segment cannot have less than a file: its graph would hold the interpreter for long."""
    one = "def f(): 0\n"
    assert len(chunk(one * MAX_PIECES, "python")) == MAX_PIECES
    text = one * (MAX_PIECES + 1)
    chunks = chunk(text, "python")
    assert len(chunks) <= 2 * len(text) / MAX_CHARS + 1
    assert all(len(piece.text) <= MAX_CHARS for piece in chunks)
    assert_sound(text, chunks)


@pytest.mark.once
@pytest.mark.parametrize("unit", ["x\n\n\n\n\n", "def f(): 0\n", "x = 1\n" * 3 + "\n" * 50])
def test_no_text_of_whatever_size_has_more_pieces_than_a_segment_should(unit: str) -> None:
    is_python = unit.startswith("def")  # which takes longer
    text = unit * ((1 << 19 if is_python else 4 << 20) // len(unit))
    chunks = chunk(text, "python" if is_python else "text")
    assert len(chunks) <= MAX_PIECES
    assert_sound(text, chunks)


@pytest.mark.parametrize(
    ("name", "defined"),
    [
        ("", ""),
        ("Class.method", "Class.method"),
        ("cell 3", ""),
        ("cell 12: Model.fit", "Model.fit"),
        ("cell", "cell"),
        ("cell 4: Note: well > Done", "Note: well > Done"),
        ("Note: well", "Note: well"),
        ("cell x: y", "cell x: y"),
    ],
)
def test_the_number_of_a_cell_is_no_part_of_what_it_defines(name: str, defined: str) -> None:
    assert definition(name) == defined
