"""What a person sees: results and the progress bar (`cidx_ref.terminal`)."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cidx_ref.progressbar import ProgressBar
from cidx_ref.results import Answer, Hit
from cidx_ref.shown import escape, why
from cidx_ref.terminal import render_answer, unavailable_note, use_color

SGR = re.compile(r"\x1b\[(?:0|2|32|1;31|1;35)m")


class Screen(io.StringIO):
    """A terminal that remembers what was written to it."""

    def isatty(self) -> bool:
        return True


class AsciiScreen(Screen):
    encoding = "ascii"


class BrokenScreen(Screen):
    def __init__(self) -> None:
        super().__init__()
        self.attempts = 0

    def write(self, text: str) -> int:
        self.attempts += 1
        raise BrokenPipeError


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


def hit(**changes: object) -> Hit:
    values: dict[str, object] = {
        "path": "pkg/cache.py",
        "line_start": 42,
        "line_end": 45,
        "language": "python",
        "score": 0.8311,
        "snippet": "def pin(self):\n    return 1\n",
        "snippet_start": 44,
        "name": "IndexCache.pin",
    }
    return Hit(**{**values, **changes})  # type: ignore[arg-type]


def answer(*hits: Hit, **unavailable: str) -> Answer:
    return Answer(hits, "hybrid", "g1", 1.0, unavailable=unavailable)


def render(*hits: Hit, width: int | None = None, color: bool = False) -> str:
    return render_answer(answer(*hits), width=width, color=color)


def snippet(text: str, *marks: tuple[int, int], **options: object) -> str:
    """The one snippet line that `text` becomes, without its number."""
    lines = render(hit(snippet=text, marks=marks), **options).splitlines()  # type: ignore[arg-type]
    assert len(lines) in (2, 3), "what is told of it has a line of its own where it is too long"
    return lines[-1].partition("│")[2].removeprefix(" ")


def child_env() -> dict[str, str]:
    """The environment in which a child finds the same packages."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def columns(text: str) -> int:
    """The columns of `text` by the common rule: wide characters two, combining ones none."""
    return sum(
        0
        if unicodedata.category(char) in ("Mn", "Me", "Cf")
        else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )


# Results


def test_a_hit_is_a_clickable_headline_and_its_numbered_snippet() -> None:
    assert render(hit()) == (
        "pkg/cache.py:44  0.83  python  IndexCache.pin\n"
        "   44 │ def pin(self):\n"
        "   45 │     return 1\n"
    )


def test_the_kind_of_what_was_found_stands_at_the_end_of_its_headline_and_is_cut_first() -> None:
    found = hit(kind="method")
    assert render(found).splitlines()[0] == "pkg/cache.py:44  0.83  python  IndexCache.pin  method"
    painted = render(found, color=True).splitlines()[0]
    assert painted.endswith("IndexCache.pin\x1b[2m  method\x1b[0m")
    narrow = render(found, width=48).splitlines()[0]
    assert narrow == "pkg/cache.py:44  0.83  python  IndexCache.pin  …"


def test_a_blank_line_stands_between_hits_and_none_after_the_last() -> None:
    text = render(hit(), hit(path="b.py"))
    assert text.count("\n\n") == 1
    assert "\n\nb.py:44" in text
    assert text.endswith("return 1\n")


def test_no_result_is_no_text_at_all() -> None:
    none = answer(fts="no index")
    assert render_answer(none, width=80, color=True) == ""


def test_a_hit_without_language_name_or_snippet_is_a_short_headline() -> None:
    assert render(hit(language="", name="", snippet="")) == "pkg/cache.py:44  0.83\n"


def test_a_snippet_without_a_start_begins_at_the_line_of_the_hit() -> None:
    assert "   42 │ def pin" in render(hit(snippet_start=0))


def test_line_numbers_stay_aligned_where_they_get_a_digit_more() -> None:
    text = render(hit(snippet="a\nb", snippet_start=99_999))
    assert text.splitlines()[1:] == [" 99999 │ a", "100000 │ b"]


def test_a_blank_line_of_a_snippet_leaves_no_trailing_space() -> None:
    assert render(hit(snippet="a\n  \nb\r\n")).splitlines()[2:] == ["   45 │", "   46 │ b"]


@pytest.mark.parametrize(
    ("score", "shown"),
    [(12.5, "12.50"), (0.1, "0.10"), (-0.25, "-0.25"), (1 / 61, "0.0164"), (0.016, "0.0160")],
)
def test_a_small_score_keeps_three_digits_that_count(score: float, shown: str) -> None:
    assert f"  {shown}  python" in render(hit(score=score))


def test_an_engine_that_was_missing_is_named_below_the_hits() -> None:
    text = render_answer(answer(hit(), fts="being\nbuilt"), width=None, color=False)
    assert text.endswith("return 1\n\n(without fts: being·built)\n")


def test_the_note_names_every_missing_engine_and_is_empty_without_one() -> None:
    assert unavailable_note(answer(fts="a", semantic="b")) == "(without fts: a; semantic: b)"
    assert unavailable_note(answer()) == ""


# Width


def test_a_line_that_is_too_long_is_cut_with_an_ellipsis() -> None:
    found = hit(snippet="abcdefghijkl", name="")
    assert render(found, width=16) == ("pkg/cache.py:44\n  0.83  python\n   44 │ abcdefg…\n")


def test_where_a_hit_is_nothing_cuts() -> None:
    path = "engine/src/main/java/org/example/engine/extension/Directory.java"
    first, second, _ = render(hit(path=path, kind="method"), width=60).splitlines()[:3]
    assert first == f"{path}:44"
    assert second == "  0.83  python  IndexCache.pin  method"
    exact = replace(answer(hit(path=path, snippet="x" * 90)), total_matches=1)
    (line,) = render_answer(exact, width=60, color=False).splitlines()
    assert line.startswith(f"{path}:42:{'x' * 30}")
    assert line.endswith("…")


def test_a_line_that_just_fits_is_not_cut() -> None:
    assert snippet("abcdefgh", width=16) == "abcdefgh"


def test_piped_output_is_never_cut() -> None:
    assert snippet("x" * 5000) == "x" * 5000


def test_wide_characters_take_two_columns_and_are_never_halved() -> None:
    assert snippet("日本語", width=8 + 6) == "日本語"
    assert snippet("日本語", width=8 + 5) == "日本…"
    assert snippet("日本語", width=8 + 4) == "日…"


def test_combining_characters_take_no_column_and_stay_with_their_letter() -> None:
    assert snippet("e\u0301" * 4, width=8 + 4) == "e\u0301" * 4
    assert snippet("e\u0301" * 5, width=8 + 4) == "e\u0301" * 3 + "…"


def test_an_emoji_or_unknown_character_counts_as_the_most_it_may_take() -> None:
    assert snippet("\u2764\ufe0f" * 2, width=8 + 4) == "\u2764\ufe0f" * 2
    assert snippet("\u2764\ufe0f" * 2, width=8 + 3) == "\u2764\ufe0f…"
    assert snippet("\u0378" * 2, width=8 + 3) == "\u0378…"


def test_tabs_go_to_the_next_fourth_column() -> None:
    assert snippet("\tif a:\tb") == "    if a:   b"


def test_exact_lines_are_as_they_are_where_no_terminal_shows_them() -> None:
    line = hit(path="a/Makefile", line_start=3, snippet="\tcc\t-o x  \x1b[0m \t", marks=((1, 3),))
    exact = replace(answer(line), total_matches=1)
    piped = render_answer(exact, width=None, color=False)
    assert piped == "a/Makefile:3:\tcc\t-o x  ·[0m \t\n"
    assert "\x1b[0m" in (painted := render_answer(exact, width=None, color=True))
    assert re.sub(r"\x1b\[[\d;]*m", "", painted) == piped
    assert render_answer(exact, width=80, color=False) == "a/Makefile:3:    cc  -o x  ·[0m\n"


# What must not reach the terminal


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("a b/é日.py", "a b/é日.py"),
        ("back\\slash.py", "back\\slash.py"),
        ("a\nb\r\t", "a\\nb\\r\\t"),
        ("\x1b[31mred\x7f", "\\x1b[31mred\\x7f"),
        ("caf\udce9.py", "caf\\xe9.py"),
        ("\x9b\u202egpj.exe", "\\u009b\\u202egpj.exe"),
        ("\ud800\U000e0001", "\\ud800\\U000e0001"),
    ],
)
def test_a_path_shows_what_cannot_be_printed_as_an_escape(path: str, shown: str) -> None:
    assert escape(path) == shown
    assert render(hit(path=path)).startswith(f"{shown}:44  ")


@pytest.mark.parametrize(
    "bad", ["\x1b", "\x00", "\x07", "\r", "\x9b", "\u202e", "\u2028", "\u2029", "\udcff"]
)
def test_a_snippet_shows_a_dot_for_what_acts_on_the_terminal(bad: str) -> None:
    assert snippet(f"a{bad}[2Jb") == "a·[2Jb"


def test_emoji_joiners_and_private_use_icons_of_a_snippet_survive() -> None:
    family = "\U0001f469\u200d\U0001f467 \ue0b0"
    assert snippet(family) == family


def test_language_and_name_cannot_break_the_headline() -> None:
    text = render(hit(language="py\x1b", name="a\nb", snippet=""))
    assert text == "pkg/cache.py:44  0.83  py·  a·b\n"


HOSTILE = st.text(
    st.one_of(
        st.characters(exclude_categories=()), st.sampled_from("\x1b\n\r\t\x9b\udcffab日e\u0301")
    )
)


MARKS = st.lists(st.tuples(st.integers(-3, 40), st.integers(-3, 40)), max_size=4).map(tuple)


@given(HOSTILE, HOSTILE, HOSTILE, MARKS, st.one_of(st.none(), st.integers(1, 60)), st.booleans())
@example("\x1b[0m", "\x1b[2Jx\x1b[0m", "\n", ((1, 5),), 12, True)
@example("a", "日" * 40, "é", ((0, 9), (10, 40)), 14, True)
@example("a", "a\tb\tc", "", ((2, 4),), None, True)
def test_no_text_makes_a_line_too_wide_or_gets_a_control_character_through(
    path: str,
    text: str,
    name: str,
    marks: tuple[tuple[int, int], ...],
    width: int | None,
    color: bool,
) -> None:
    # What is known is escaped before: an own color sequence of the text may not pass as ours.
    found = answer(hit(path=path, snippet=text, name=name, marks=marks), hit(), fts=name)
    rendered = render_answer(found, width=width, color=color)
    plain = SGR.sub("", rendered) if color else rendered
    bad = {c for c in plain if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")}
    assert bad <= {"\n"}
    paths = [f"{escape(each.path)}:" for each in found]
    assert all(
        width is None or columns(line) <= width or line.startswith(tuple(paths))
        for line in plain.split("\n")
    )
    # ... and the colors change nothing else, and end where they began.
    assert plain == render_answer(found, width=width, color=False)
    unmarked = answer(hit(path=path, snippet=text, name=name), hit(), fts=name)
    expected = render_answer(unmarked, width=width, color=False).split("\n")
    assert plain.split("\n")[1:] == expected[1:], "but for the line that heads it"
    assert all(line.count("\x1b[0m") * 2 == line.count("\x1b[") for line in rendered.split("\n"))


# Color


def test_color_tells_path_line_and_score_apart() -> None:
    text = render(hit(path="a.py", name=""), color=True)
    assert text.splitlines()[0] == (
        "\x1b[1;35ma.py\x1b[0m:\x1b[32m44\x1b[0m\x1b[2m  0.83\x1b[0m  python"
    )


BOLD = re.compile(r"\x1b\[1;31m(.*?)\x1b\[0m")


def test_what_a_hit_marks_is_bold_in_each_of_its_lines() -> None:
    marked = hit(snippet="def pin(self):\n    return pin\n", marks=((4, 7), (26, 29)))
    lines = render(marked, color=True).splitlines()[1:]
    assert [BOLD.findall(line) for line in lines] == [["pin"], ["pin"]]
    assert "\x1b[1" not in render(marked)


def test_a_mark_over_the_end_of_a_line_goes_on_in_the_next() -> None:
    lines = render(hit(snippet="a = {\r\n}\n", marks=((4, 8),)), color=True).splitlines()[1:]
    assert [BOLD.findall(line) for line in lines] == [["{"], ["}"]]


@pytest.mark.parametrize(
    "before", ["\x1b[31m", "\x00\x07", "\t", "a\tb\t", "日本", "\u202e", "\udcff"]
)
@pytest.mark.parametrize("after", ["", "\x1b[0m", "\t\tx", "\r"])
def test_the_mark_stays_on_its_word_whatever_stands_before_it(before: str, after: str) -> None:
    line = f"{before}needle{after}"
    shown = snippet(line, (len(before), len(before) + 6), color=True)
    assert BOLD.findall(shown) == ["needle"]
    assert SGR.sub("", shown)[1:] == snippet(line), "and the line is the same without it"


def test_control_characters_within_a_mark_are_harmless() -> None:
    assert BOLD.findall(snippet("x \x1b[2J\ty", (2, 8), color=True)) == ["·[2J  y"]


def test_marks_that_lie_outside_or_over_each_other_harm_nothing() -> None:
    for marks in [((-5, -1),), ((9, 99),), ((3, 1),), ((2, 4), (0, 3)), ((0, 4), (1, 2))]:
        assert SGR.sub("", snippet("abcd", *marks, color=True)) == " abcd"


def test_a_hit_without_marks_is_all_plain() -> None:
    assert "\x1b[1;31m" not in render(hit(), color=True)


def test_the_mark_of_a_word_that_is_cut_ends_before_the_ellipsis() -> None:
    assert snippet("indexing", (0, 8), width=12, color=True).endswith("\x1b[1;31mind\x1b[0m…")


def test_colors_need_a_terminal_that_is_not_dumb_and_no_no_color() -> None:
    assert use_color(Screen(), {})
    assert use_color(Screen(), {"NO_COLOR": "", "TERM": "xterm"})
    assert not use_color(Screen(), {"NO_COLOR": "1"})
    assert not use_color(Screen(), {"TERM": "dumb"})
    assert not use_color(io.StringIO(), {})


def test_a_closed_or_missing_stream_has_no_colors() -> None:
    closed = Screen()
    closed.isatty = io.StringIO.isatty.__get__(closed)  # type: ignore[method-assign]
    closed.close()
    assert not use_color(closed, {})
    assert not use_color(None, {})


# The progress bar


def draws(screen: io.StringIO) -> list[str]:
    """The lines drawn in place, one after the other."""
    first, *lines = screen.getvalue().split("\r")
    assert first == ""
    assert all(line.count("\x1b[K") == 1 for line in lines)
    return [line.replace("\x1b[K", "") for line in lines]


def test_the_bar_shows_label_numbers_percentage_and_path() -> None:
    screen = Screen()
    ProgressBar(screen, width=60)(412, 800, "asyncio/events.py")
    assert draws(screen) == ["indexing  [######------]  412/800   51%  asyncio/events.py"]


def test_a_wide_terminal_leaves_the_room_to_the_path() -> None:
    screen = Screen()
    ProgressBar(screen, width=300)(0, 800, "a.py")
    assert draws(screen) == [f"indexing  [{'-' * 24}]    0/800    0%  a.py"]


def test_the_bar_is_drawn_in_place_and_ends_with_a_newline() -> None:
    screen = Screen()
    with ProgressBar(screen, width=80) as bar:
        bar(1, 2, "a.py")
        bar(2, 2, "b.py")
    first, last = draws(screen)
    assert "1/2" in first
    assert "\n" not in first
    assert last.endswith("2/2  100%  b.py\n")
    assert "[################]" in last


def test_the_bar_writes_nothing_while_nothing_changes() -> None:
    screen = Screen()
    bar = ProgressBar(screen, width=80)
    for _ in range(5):
        bar(1, 2, "a.py")
    assert len(draws(screen)) == 1


def test_a_bar_that_never_drew_leaves_no_empty_line() -> None:
    screen = Screen()
    with ProgressBar(screen):
        pass
    assert screen.getvalue() == ""


@given(st.integers(-5, 10**9), st.integers(-5, 10**9), HOSTILE, HOSTILE, st.integers(1, 120))
def test_the_bar_is_never_wider_than_the_terminal_and_shows_no_control_character(
    current: int, total: int, path: str, info: str, width: int
) -> None:
    screen = Screen()
    screen_bar = ProgressBar(screen, width=width)
    screen_bar._in_place = True  # whatever $TERM is here
    screen_bar(current, total, path, info)
    (line,) = draws(screen)
    assert columns(line) <= width
    assert not {c for c in line if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")}


def test_the_bar_follows_a_terminal_that_is_resized(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    bar = ProgressBar(screen)
    for width in ("60", "20"):
        monkeypatch.setenv("COLUMNS", width)
        bar(412, 800, "asyncio/events.py")
    wide, narrow = draws(screen)
    assert wide.endswith("asyncio/events.py")
    assert narrow == "indexing  412/800 …"


def test_the_bar_on_stderr_knows_its_width_while_stdout_is_piped() -> None:
    pty = pytest.importorskip("pty")
    fcntl = pytest.importorskip("fcntl")
    import struct
    import termios

    code = (
        "import sys; from cidx_ref.progressbar import ProgressBar\n"
        "ProgressBar(sys.stderr)(1, 2, 'a' * 300)"
    )
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 31, 0, 0))
        env = {**child_env(), "PYTHONUTF8": "1"}
        env.pop("COLUMNS", None)
        subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, env=env, check=True
        )
        drawn = os.read(ours, 4096).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert len(drawn.replace("\r", "").replace("\x1b[K", "")) == 30


def test_an_unknown_total_shows_what_is_going_on_and_no_percentage() -> None:
    screen = Screen()
    ProgressBar(screen, width=80)(0, 0, "", "looking for files")
    assert draws(screen) == ["indexing  looking for files"]


@pytest.mark.parametrize(("total", "expected"), [(800, 10), (100_003, 10), (3, 3), (0, 0)])
def test_a_log_gets_one_line_for_each_tenth(total: int, expected: int) -> None:
    log = io.StringIO()
    with ProgressBar(log) as bar:
        for current in range(total + 1):
            bar(current, total, "a.py")
    lines = log.getvalue().splitlines()
    assert len(lines) == expected
    assert lines[-1:] == [f"indexing {total}/{total} 100%"][: len(lines)]


def test_a_log_line_is_plain_text() -> None:
    log = io.StringIO()
    ProgressBar(log, label="reading")(80, 800, "a.py")
    assert log.getvalue() == "reading 80/800 10%\n"


def test_a_dumb_terminal_gets_the_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    screen = Screen()
    ProgressBar(screen)(1, 2, "a.py")
    assert screen.getvalue() == "indexing 1/2 50%\n"


def test_a_bar_on_a_broken_pipe_goes_silent() -> None:
    screen = BrokenScreen()
    with ProgressBar(screen, width=80) as bar:
        bar(1, 2, "a.py")
        bar(2, 2, "b.py")
    assert screen.attempts == 1


def test_a_bar_whose_stream_is_closed_or_missing_goes_silent() -> None:
    screen = Screen()
    with ProgressBar(screen, width=80) as bar:
        bar(1, 2, "a.py")
        screen.close()
        bar(2, 2, "b.py")
    with ProgressBar(None) as bar:
        bar(1, 2, "a.py")


def test_a_terminal_without_unicode_gets_a_question_mark_for_what_it_lacks() -> None:
    screen = AsciiScreen()
    ProgressBar(screen, width=80)(1, 2, "é.py")
    assert draws(screen)[0].endswith("50%  ?.py")


def test_the_module_is_cheap_to_import() -> None:
    code = (
        "import sys, cidx_ref; before = set(sys.modules); import cidx_ref.terminal\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=child_env(), capture_output=True, text=True, check=True
    )
    assert "cidx_ref.terminal" in done.stdout
    assert not {"shutil", "unicodedata", "dataclasses", "numpy"} & set(done.stdout.split())


def test_a_hit_shows_what_made_its_score_where_that_was_asked_for() -> None:
    signals = {"fulltext": 0.9, "semantic": 0.0, "siblings": 0.1, "path": 1.25, "test": 0.4}
    lines = render(hit(signals=signals)).splitlines()
    assert lines[1] == "  = (fulltext 0.90 + siblings 0.10) * path 1.25 * test 0.40"
    assert render(hit(signals={"semantic": 0.5})).splitlines()[1] == "  = semantic 0.50"
    assert "=" not in render(hit())


def test_a_hit_says_where_else_it_stands() -> None:
    found = hit(also=("lib/x.js:10",), also_count=1)
    assert render(found).splitlines()[1] == "  also in lib/x.js:10"
    found = hit(also=tuple(f"lib/x{n}.js:10" for n in range(5)), also_count=7)
    expected = "  also in lib/x0.js:10, lib/x1.js:10, lib/x2.js:10 and 4 more"
    assert render(found).splitlines()[1] == expected
    assert "\x1b[2J" not in render(hit(also=("a\x1b[2J.js:1",), also_count=1))
    assert "also" not in render(hit())


def test_a_hit_is_headed_by_the_line_of_its_first_mark() -> None:
    shown = hit(snippet="one\ntwo\nthree", snippet_start=10, marks=((8, 11),))
    assert render(shown).startswith("pkg/cache.py:12  ")
    assert render(hit(snippet="one\ntwo", snippet_start=10)).startswith("pkg/cache.py:10  ")


def test_a_hit_is_headed_by_the_line_of_a_whole_name_before_that_of_a_part() -> None:
    text = "open_all(x)\nend\nopen_lid(y)\n"
    marks = ((0, 4), (16, 24))
    assert render(hit(snippet=text, snippet_start=7, marks=marks)).startswith("pkg/cache.py:9  ")
    text, marks = "URL lid\nopenLid(y)\n", ((0, 3), (8, 15))
    assert render(hit(snippet=text, snippet_start=7, marks=marks)).startswith("pkg/cache.py:8  ")


def test_a_hit_whose_file_has_changed_says_so_beside_its_place() -> None:
    lines = render(hit(stale=True)).splitlines()
    assert lines[0] == "pkg/cache.py:44 (stale)  0.83  python  IndexCache.pin"
    assert "stale" not in render(hit())


@pytest.mark.parametrize(
    ("pending", "line"),
    [
        (1, "1 file changed since: --fresh waits for it"),
        (2, "2 files changed since: --fresh waits for them"),
        (0, None),
        (None, "whether files have changed since is not known: --fresh looks"),
    ],
)
def test_the_last_line_tells_what_has_changed_since(pending: int | None, line: str | None) -> None:
    said = Answer((hit(),), "hybrid", "g1", 1.0, pending=pending, indexed_at="2026-01-01T12:00:00Z")
    lines = render_answer(said, width=None, color=False).splitlines()
    assert lines[-1] == line if line else "changed since" not in "\n".join(lines)


def test_of_an_index_that_is_made_fresh_elsewhere_no_fresh_answer_is_advised() -> None:
    said = Answer((hit(),), "hybrid", "g1", 1.0, indexed_at="2026-01-01T12:00:00Z", source="cidx")
    assert "--fresh" not in render_answer(said, width=None, color=False)


def test_who_has_asked_for_a_fresh_answer_is_not_advised_to() -> None:
    said = Answer((hit(),), "hybrid", "g1", 1.0, pending=1, fresh=False, fresh_problem="no space")
    lines = render_answer(said, width=None, color=False).splitlines()
    assert lines[-1] == "1 file changed since"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(28, "No space left on device", "/p/seen.bin"),
            "/p/seen.bin: No space left on device",
        ),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("of its own"), "of its own"),
        (ValueError("not UTF-8"), "not UTF-8"),
    ],
)
def test_a_sentence_says_of_an_error_where_and_why_and_no_number(
    error: Exception, said: str
) -> None:
    assert why(error) == said
