"""The modes `literal` and `regex`: held against a search of the files, line by line."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from segments import indexed, nothing_tiny

from cidx_ref import cli
from cidx_ref.client import DaemonClient
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import BadArgumentError
from cidx_ref.index import grep, lines, pattern
from cidx_ref.index.decode import decode
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.filters import Filters
from cidx_ref.index.generation import Generations
from cidx_ref.index.pattern import MAX_PATTERN_CHARS, compiled
from cidx_ref.index.port import Search
from cidx_ref.index.snapshot import IndexSnapshot
from cidx_ref.index.source import GenerationSource
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.fixtures import MakeProject, build, served, write

pytestmark = pytest.mark.once

SOURCE = random.Random(13)
LONG = " ".join(f"w{SOURCE.randrange(10**6)}" for _ in range(2500))  # some 19,000 characters

#: What is looked for among thousands of chunks, and where lines are not simply lines.
WANTED: Mapping[str, str | bytes] = {
    "src/tabs.c": "int\tmain(void)\n{\n\treturn\t0;\n}\n",
    "src/crlf.cs": b"var x = 1;\r\nvar y = x;\r\n\r\n}\r\n",
    "src/latin.txt": "déjà vu\nvoilà\n".encode("latin-1"),
    "src/bad.txt": b"before \xff\xfe after\nnext\x81line\n",
    "src/wide.txt": "über Äpfel\n日本語 テキスト\n🚀 go\n".encode("utf-16"),
    "src/nfd.md": unicodedata.normalize("NFD", "# Café\n\nnaïve café\n"),
    "src/nfc.md": unicodedata.normalize("NFC", "# Café\n\nnaïve café\n"),
    "data/long.txt": f"start {LONG} end\nshort tail\n",
    "data/longer.txt": f"{LONG[:2500]}\n{'x ' * 3000}\n   \n{'-' * 5000}{LONG[-100:]}\n",
    "data/gap.txt": f"left{' ' * 6000}right\n",
    "data/windows.txt": "".join(f"row {n} of the table\n" for n in range(500)),
    "data/ends.txt": "first line\n\n\n  indented\nlast line without an end",
    "data/blank.txt": "\n\nafter two\nof the blank lines\n",
    "data/odd.txt": "a.b*c[d]\\e\n(x+x+)+y\n\x0cform feed\n\x1b[0mescape\n",
    "data/nul.txt": "y\n" * 5000 + "nul \x00 here\n",
    "data/twice.txt": "needle needle needle\n",
    "py/defs.py": "def frobnicate(a):\n    return frobnicate(a - 1)\n\n\nfrobnicate(3)\n",
    "py/use.py": "from defs import frobnicate\n\nprint(frobnicate(1))\n",
    "tests/test_defs.py": "def test_frobnicate():\n    assert frobnicate(1)\n",
}


def _noise(number: int) -> str:
    return "\n\n\n".join(
        f"def noise_{number}_{n}(value):\n    total = value + {SOURCE.randrange(10**6)}\n"
        f"    return total  # {SOURCE.randbytes(4).hex()}"
        for n in range(100)
    )


def _pasted(number: int) -> str:
    """Definitions with blank lines in and between them, some of them of blanks, and a long line."""
    source = random.Random(number)
    long = " ".join(f"v{source.randrange(10**6)}" for _ in range(1500))
    pieces = []
    for n in range(120):
        body = [f"\tvalue{n} = {source.randrange(10**5)};" for _ in range(source.randrange(1, 9))]
        body.insert(source.randrange(len(body)), source.choice(["", "", "    ", "\t}"]))
        blank = source.choice(["", "", "\n", "\n\n", "\n  \t"])
        pieces.append(
            "\n".join([f"int f{number}_{n}(void)", "{", *body, "\treturn 0;", "}", blank])
        )
    return "\n".join([*pieces[:60], f"// {long}", *pieces[60:]])


#: What texts of several lines are taken from: each of many pieces.
PASTED: Mapping[str, bytes] = {
    "paste/code.c": _pasted(1).encode(),
    "paste/dos.cpp": _pasted(2).replace("\n", "\r\n").encode(),
    "paste/mac.go": _pasted(3).replace("\n", "\r").encode(),
    "paste/plain.txt": _pasted(4).encode("utf-16"),
    "paste/fold.md": "\n\n".join(f"# Straße {n}\n\nÄpfel {n}" for n in range(200)).encode(),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lines")
    for number in range(30):
        write(root, f"noise/part{number:02}.py", _noise(number))
    for path, text in {**WANTED, **PASTED}.items():
        write(root, path, text)
    return root


@pytest.fixture(scope="module")
def snapshot(tree: Path) -> Iterator[IndexSnapshot]:
    build(Project.at(tree))
    with _loaded(tree) as found:
        assert len(found.chunks) > 3000
        yield found


class _loaded:  # noqa: N801 - as a function
    def __init__(self, root: Path) -> None:
        source = GenerationSource(Project.at(root).generations, HashingEmbedder())
        self._snapshot = source.load(source.current())

    def __enter__(self) -> IndexSnapshot:
        return self._snapshot

    def __exit__(self, *error: object) -> None:
        self._snapshot.close()


def ask(snapshot: IndexSnapshot, text: str, mode: str = "literal", **options: Any) -> Any:
    return snapshot.answer(Search(text, mode, **{"limit": 1000, **options}))


def told(answer: dict[str, Any]) -> Counter[tuple[str, int]]:
    return Counter((hit["path"], hit["line_start"]) for hit in answer["results"])


def lines_with(root: Path, holds: Any) -> Counter[tuple[str, int]]:
    """The lines of the files of which `holds` is true, found in the files themselves."""
    found: Counter[tuple[str, int]] = Counter()
    for path in root.rglob("*"):
        if path.is_file() and ".code-indexer" not in path.parts:
            decoded = decode(path.read_bytes())
            # What ends a line does not belong to it, whichever of the three it is.
            text = re.sub("\r\n?", "\n", decoded[0] if decoded else "")
            for number, line in enumerate(text.split("\n"), 1):
                if line.strip() and holds(line):
                    found[path.relative_to(root).as_posix(), number] += 1
    return found


LITERALS = [
    *("int\tmain", "x = 1;", "déjà", "\x81", "Äpfel", "テキスト", "🚀"),
    *("a.b*c[d]\\e", "(x+x+)+y"),
    *(unicodedata.normalize(form, "café") for form in ("NFC", "NFD")),
    *("\x0cform", "\x1b[0m", "\x00", "last line without an end", "  indented", " "),
    *("start w", " end"),
    *("needle", "row 49", "of the table", "noise_17_", "nothing of this kind"),
    "short tail",
    *(LONG[1500:1700], LONG[1600:2100], LONG[1000:9000], LONG, "start " + LONG[:2500]),
    *("x x x x", "-" * 4999, "-" + LONG[-100:], "t" + " " * 10 + "r", "ff"),
]  # fmt: skip


@pytest.mark.parametrize("text", LITERALS, ids=lambda text: ascii(text)[:30])
def test_a_literal_text_is_found_in_exactly_the_lines_that_hold_it(
    snapshot: IndexSnapshot, tree: Path, text: str
) -> None:
    expected = lines_with(tree, lambda line: text in line)
    answer = ask(snapshot, text)
    assert answer["total_matches"] == min(len(expected), grep.MAX_COUNTED)
    assert told(answer) == expected if len(expected) <= 1000 else sum(told(answer).values()) == 1000
    for hit in answer["results"]:
        assert all(hit["snippet"][a:b] == text[: b - a] for a, b in hit["marks"])
        assert hit["marks"]


#: In a syntax that RE2 and Python share.
PATTERNS = [
    *(r"^def frob\w+\(", r"frobnicate\(\d\)$", r"^last .* end$", r"^\s+indented$"),
    *(r"\bvu\b", r"^v"),
    *(r"^start .* end$", r"^w\d+ ", r" w\d+$", r"^x (x )+$", r"^-{5,}$", r"-{900}w"),
    r"^left +right$",
    *(r"^.*-{900}w.*$", r"^row \d0 ", r"row (1|22|333) of", r"(?i)FORM FEED"),
    *(r"[^\W\d_]{3} go|🚀", "日.語"),
    *(r"^var .*;$", r"x;$", r"\A\{", r"\}\Z", r"caf.$", r"café", r"[\t]", r"^[^ ]+$"),
    *(r"a{0}needle", r"(?-s:needle) n", r"(?i-s:NEEDLE) n", r"[(?s)]ow 7", r"row\(?s?"),
    *(r"noise_(3|4)_9\d\(value\):$", r"z*", r"^", r"\s", r"e\b.*\bn", r"nul . here"),
]  # fmt: skip


@pytest.mark.parametrize("text", PATTERNS)
def test_a_regular_expression_is_found_in_exactly_the_lines_that_it_matches(
    snapshot: IndexSnapshot, tree: Path, text: str
) -> None:
    in_python = re.compile(text, re.ASCII)
    expected = lines_with(tree, in_python.search)
    answer = ask(snapshot, text.replace(r"\Z", r"\z"), "regex")
    if len(expected) > 1000:
        assert answer["total_matches"] == min(len(expected), grep.MAX_COUNTED)
        assert len(answer["results"]) == 1000
        assert not told(answer) - expected
    else:
        assert told(answer) == expected
        assert answer["total_matches"] == len(expected)
    assert answer.get("more_matches", False) == (len(expected) > grep.MAX_COUNTED)


@pytest.mark.skipif(not shutil.which("grep"), reason="there is no grep")
@pytest.mark.parametrize(
    ("options", "text", "mode", "ignore_case"),
    [
        ("-F", "return total", "literal", False),
        ("-F", "RETURN FROB", "literal", True),
        ("-E", "^def noise_1[0-9]_5[0-9]", "regex", False),
        ("-E", "ROW 1+ OF", "regex", True),
        ("-E", "(total|frobnicate)[ (][^v]*$", "regex", False),
    ],
)
def test_grep_tells_the_same_lines_with_the_same_texts(
    snapshot: IndexSnapshot, tree: Path, options: str, text: str, mode: str, ignore_case: bool
) -> None:
    command = ["grep", "-rnI", options, *["-i"] * ignore_case, "--exclude-dir=.code-indexer", "--"]
    run = subprocess.run([*command, text, "noise", "py", "data/windows.txt"], cwd=tree,
                         capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})  # fmt: skip
    answer = ask(snapshot, text, mode, ignore_case=ignore_case,
                 filters=Filters(paths=("/noise/", "/py/", "/data/windows.txt")))  # fmt: skip
    said = run.stdout.decode().splitlines()
    assert answer["total_matches"] == len(said)
    assert {f"{h['path']}:{h['line_start']}:{h['snippet']}" for h in answer["results"]} <= {*said}
    assert len(answer["results"]) == min(1000, len(said))


WORDS = st.sampled_from(
    ["foo", "bar", "fooBar", " ", "\t", "é", "e\u0301", "日本", "(", "x" * 700, "ab " * 900, "\r"]
)
LINES = st.lists(WORDS, max_size=6).map("".join)
TEXTS = st.lists(LINES, max_size=70).map("\n".join)
ENCODED = st.tuples(TEXTS, st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])).map(
    lambda pair: pair[0].encode(pair[1])
)
BROKEN = st.lists(st.sampled_from([b"foo \xff", b"caf\xe9", b"bar", b"\n"]), max_size=9).map(
    b"".join
)
TREES = st.dictionaries(
    st.sampled_from(["a.py", "b.txt", "d/c.js", "d/e.md"]), ENCODED | BROKEN, min_size=1
)


@pytest.mark.once
@given(
    trees=st.lists(TREES, min_size=1, max_size=3),
    needles=st.lists(
        st.lists(WORDS.filter(str.isprintable), min_size=1, max_size=3).map("".join),
        min_size=4,
        max_size=4,
    ),
)
# A window of the lines before lies between the parts of the last one.
@example([{"a.py": b"ab " * 900 + b"\n\nfoo\nfoo" + b"ab " * 901}], ["foo"] * 4)
@example([{"a.py": b"x" * 700 + b"ab " * 900}], ["foo", "foo", "foo", "ab " * 900])
@settings(max_examples=25, suppress_health_check=list(HealthCheck), deadline=None)
def test_whatever_files_hold_and_however_they_change_the_lines_are_those_of_the_files(
    tmp_path_factory: pytest.TempPathFactory, trees: list[dict[str, bytes]], needles: list[str]
) -> None:
    root = tmp_path_factory.mktemp("any")
    project = Project.at(root)
    for files in trees:  # what the trees before have held is dead
        for old in [*root.rglob("*.*")]:
            if old.is_file() and ".code-indexer" not in old.parts:
                old.unlink()
        for path, data in files.items():
            write(root, path, data)
        with nothing_tiny():
            indexed(project)
    skipped = {path for path in trees[-1] if not _is_indexed(root, path)}
    with _loaded(root) as found:
        for needle in needles:
            modes = [("literal", needle), ("regex", re.escape(needle))]
            for mode, text in modes[: 1 if len(modes[1][1]) > MAX_PATTERN_CHARS else 2]:
                answer = ask(found, text, mode)
                expected = lines_with(root, lambda line, needle=needle: needle in line)
                expected = Counter({k: n for k, n in expected.items() if k[0] not in skipped})
                assert told(answer) == expected, (mode, needle)


def _is_indexed(root: Path, path: str) -> bool:
    with _loaded(root) as found:
        mask = found.chunks.mask(Filters(paths=(f"/{path}",)))
        return mask is None or bool(mask.files)


# What a line is.


def test_a_line_in_two_windows_is_told_once_and_one_that_was_cut_as_a_whole(
    snapshot: IndexSnapshot,
) -> None:
    rows = ask(snapshot, "of the table")
    assert len({hit["line_start"] for hit in rows["results"]}) == 500 == rows["total_matches"]
    (hit,) = ask(snapshot, LONG[9000:9300])["results"]
    assert (hit["path"], hit["line_start"], hit["line_end"]) == ("data/long.txt", 1, 1)
    assert len(hit["snippet"]) == 2000
    ((start, end),) = hit["marks"]
    assert hit["snippet"][start:end] == LONG[9000:9300]


def test_where_a_long_line_was_cut_neither_it_nor_a_word_begins_or_ends(
    snapshot: IndexSnapshot,
) -> None:
    assert told(ask(snapshot, r"^w\d+", "regex")) == {("data/longer.txt", 1): 1}
    assert told(ask(snapshot, r"^start w.*\bend$", "regex")) == {("data/long.txt", 1): 1}
    # All that is not looked at is a stretch of blanks of some thousands.
    assert told(ask(snapshot, r"left +right", "regex")) == {("data/gap.txt", 1): 1}


def test_a_text_of_several_lines_is_told_by_the_lines_it_stands_in(
    snapshot: IndexSnapshot, tree: Path
) -> None:
    (hit,) = ask(snapshot, "frobnicate(a):\n    return frob\n")["results"]
    assert (hit["path"], hit["line_start"], hit["line_end"]) == ("py/defs.py", 1, 2)
    assert hit["snippet"] == "def frobnicate(a):\n    return frobnicate(a - 1)"
    ((start, end),) = hit["marks"]
    assert hit["snippet"][start:end] == "frobnicate(a):\n    return frob"
    assert hit["score"] == 1  # it has the name that is defined there
    rows = "".join(f"row {n} of the table\n" for n in range(10, 30))  # more than a cut would have
    assert told(ask(snapshot, rows)) == {("data/windows.txt", 11): 1}
    assert told(ask(snapshot, "var x = 1;\r\nvar y")) == {("src/crlf.cs", 1): 1}
    assert ask(snapshot, "return frobnicate(a - 1)\nfrob")["results"] == []
    across = "return frobnicate(a - 1)\n\n\nfrob"  # blank lines between two pieces
    (hit,) = ask(snapshot, across)["results"]
    assert (hit["path"], hit["line_start"], hit["line_end"]) == ("py/defs.py", 2, 5)
    assert hit["snippet"] == "    return frobnicate(a - 1)\n\n\nfrobnicate(3)"
    ((start, end),) = hit["marks"]
    assert hit["snippet"][start:end] == across
    assert hit["score"] < 1
    # Before the first line of a file is none, nor before the first one that is not blank.
    assert ask(snapshot, "  \ndef frobnicate(a)")["results"] == []
    assert ask(snapshot, "of the blank lines\nafter two")["results"] == []
    assert told(ask(snapshot, "  \nafter two\nof")) == {("data/blank.txt", 2): 1}
    # A long line that was cut is one line.
    assert told(ask(snapshot, f"{LONG[-9000:]} end\nshort")) == {("data/long.txt", 1): 1}
    assert told(ask(snapshot, f"{LONG[:2500]}\nx x")) == {("data/longer.txt", 1): 1}
    assert ask(snapshot, f"{LONG[:2400]}\nx x")["results"] == []
    # A chunk's name comes after the text of the one before it.
    last = (tree / "noise/part00.py").read_text().split("\n")[2]
    assert ask(snapshot, last)["total_matches"] == 1
    assert ask(snapshot, f"{last}\nnoise_0_1")["results"] == []


def places_of(files: Mapping[str, str], wanted: str) -> Counter[tuple[str, int]]:
    """Where `wanted` stands in `files`: paths, and the lines of its first character."""
    found: Counter[tuple[str, int]] = Counter()
    for path, text in files.items():
        at = text.find(wanted)
        while at >= 0:
            found[path, text.count("\n", 0, at) + 1] += 1
            at = text.find(wanted, at + 1)
    return found


def at_most(files: Mapping[str, str], wanted: str) -> Counter[tuple[str, int]]:
    """Where `wanted` stands if of a blank line, which may be in no piece, only that is known."""
    rows = [
        re.escape(row) if row.strip() else rf"(?:{re.escape(row)}|^[^\S\n]*$)"
        for row in wanted.split("\n")
    ]
    at = re.compile("(?m)(?=" + "\n".join(rows) + ")")
    return Counter(
        {
            (path, text.count("\n", 0, match.start()) + 1)
            for path, text in files.items()
            for match in at.finditer(text)
        }
    )


def pastes(source: random.Random, text: str, count: int) -> Iterator[str]:
    """Stretches of 2 to 15 lines, which begin and end within a line, or with it."""
    lines = text.split("\n")
    while count:
        start, size = source.randrange(len(lines) - 15), source.randrange(2, 16)
        some = lines[start : start + size]
        if source.random() < 0.5:
            some[0] = some[0][source.randrange(len(some[0]) + 1) :]
            some[-1] = some[-1][: source.randrange(len(some[-1]) + 1)]
        wanted = "\n".join(some).strip("\n")
        if "\n" in wanted and wanted.strip():
            yield wanted
            count -= 1


@pytest.mark.parametrize("path", PASTED)
def test_whatever_lines_are_copied_from_a_file_are_found_where_they_stand_and_nowhere_else(
    snapshot: IndexSnapshot, tree: Path, path: str
) -> None:
    files: dict[str, str] = {}
    for each in (*WANTED, *PASTED):
        decoded = decode((tree / each).read_bytes())
        files[each] = re.sub("\r\n?", "\n", decoded[0] if decoded else "")
    source = random.Random(path)
    assert len(snapshot.chunks) > 3300
    for wanted in pastes(source, files[path], 60):
        expected = places_of(files, wanted)
        assert any(found == path for found, _ in expected)
        as_copied = wanted.replace("\n", source.choice(["\n", "\r\n"]))
        answer = ask(snapshot, as_copied)
        assert expected <= told(answer) <= at_most(files, wanted), wanted
        for hit in answer["results"]:
            assert hit["line_end"] == hit["line_start"] + wanted.count("\n")
            ((start, end),) = hit["marks"]
            shown = hit["snippet"][start:end]
            # Of lines between pieces only that they are blank is known.
            rows = [[row.strip() for row in text.split("\n")] for text in (shown, wanted)]
            assert rows[0] == rows[1] or len(hit["snippet"]) == 2000
        if len(wanted) <= MAX_PATTERN_CHARS:
            swapped = wanted.replace("ß", "\0").swapcase().replace("\0", "ß")
            assert not expected - told(ask(snapshot, swapped, ignore_case=True))
        visible = [n for n, sign in enumerate(wanted) if not sign.isspace()]
        at = source.choice(visible)
        changed = f"{wanted[:at]}\x7f{wanted[at + 1 :]}"
        assert ask(snapshot, changed)["total_matches"] == 0
        if len(changed) <= MAX_PATTERN_CHARS:
            assert ask(snapshot, changed, ignore_case=True)["total_matches"] == 0
        apart = re.sub(r"(\S)\n([ \t]*\S)", r"\1\n\n\2", wanted, count=1)  # by a blank line
        assert places_of(files, apart) <= told(ask(snapshot, apart)) <= at_most(files, apart)


def test_texts_of_several_lines_end_with_their_cell(make_project: MakeProject) -> None:
    cells = [
        {"cell_type": "code", "source": f"x = {n}\ny = needle({n})\n\n\nz = 1\n", "outputs": []}
        for n in range(12)
    ]
    project = make_project(
        {"book.ipynb": json.dumps({"nbformat": 4, "metadata": {}, "cells": cells})}
    )
    build(project)
    with _loaded(project.root) as found:
        (hit,) = ask(found, "needle(7)\n\n\nz")["results"]
        assert (hit["name"], hit["line_start"], hit["line_end"]) == ("cell 8", 2, 5)
        of_all = ask(found, ")\n\n\nz =")["results"]
        assert [hit["name"] for hit in of_all] == [f"cell {n}" for n in range(1, 13)]
        assert ask(found, "z = 1\nx = 8")["results"] == []
        assert ask(found, "\n\n\nz = 1\nx = 8")["results"] == []
        assert ask(found, "= 1\n\nx = 8")["results"] == []
        assert ask(found, "needle(6)\n\n\nz")["total_matches"] == 1


def test_texts_of_several_lines_are_not_found_in_what_is_dead_or_filtered_out(
    make_project: MakeProject,
) -> None:
    text = "def one():\n    return 1\n\n\ndef two():\n    return 2\n"
    wanted = "return 1\n\n\ndef two"
    project = make_project({f"f{n}.py": text for n in range(5)})
    with nothing_tiny():
        indexed(project)
        write(project.root, "f3.py", text.replace("two", "three"))
        (project.root / "f4.py").unlink()
        indexed(project)
    with _loaded(project.root) as found:
        assert {path for path, _ in told(ask(found, wanted))} == {"f0.py", "f1.py", "f2.py"}
        only = ask(found, wanted, filters=Filters(paths=("/f1.py",)))
        assert told(only) == {("f1.py", 2): 1}


def test_a_text_of_lines_that_are_everywhere_is_found_within_bounds(
    make_project: MakeProject,
) -> None:
    project = make_project({"a.txt": "ab\n" * 40_000})
    build(project)
    runtime = FakeRuntime()

    class Hasty(FakeRuntime):
        reads = 0

        def monotonic(self) -> float:
            self.reads += 1
            return runtime.monotonic() + self.reads / 2

    with _loaded(project.root) as found:
        some = ask(found, "ab\nab\nab")
        assert (some["total_matches"], some["more_matches"]) == (grep.MAX_COUNTED, True)
        search = Search("\n".join(["ab"] * 30_000), "literal", 5)
        few = grep.answer(found, search, Hasty())
        assert few["more_matches"] is True
        assert few["total_matches"] < 20
        none = grep.answer(found, Search("b\nab\nac", "literal", 5), Hasty())
        assert (none["total_matches"], none["more_matches"]) == (0, True)


def test_names_and_paths_are_not_lines(make_project: MakeProject) -> None:
    project = make_project({"quux/a.py": "class Outer:\n    def inner(self):\n        return 1\n"})
    build(project)
    with _loaded(project.root) as found:
        assert ask(found, "Outer.inner")["total_matches"] == 0
        assert ask(found, "quux")["total_matches"] == 0
        assert ask(found, r"^Outer", "regex")["total_matches"] == 0
        assert ask(found, "inner")["total_matches"] == 1


def test_lines_of_a_notebook_are_told_by_cell(make_project: MakeProject) -> None:
    cells = [
        {"cell_type": "code", "source": f"x = needle({n})\n", "outputs": []} for n in range(12)
    ]
    text = json.dumps({"nbformat": 4, "metadata": {}, "cells": cells})
    project = make_project({"book.ipynb": text})
    build(project)
    with _loaded(project.root) as found:
        hits = ask(found, "needle")["results"]
    assert [hit["name"] for hit in hits] == [f"cell {n}" for n in range(1, 13)]
    assert {hit["line_start"] for hit in hits} == {1}


def test_without_regard_to_case_other_letters_than_those_of_english_are_met_too(
    snapshot: IndexSnapshot,
) -> None:
    for mode in "literal", "regex":
        (hit,) = ask(snapshot, "ÜBER äPFEL", mode, ignore_case=True)["results"]
        assert (hit["path"], hit["marks"]) == ("src/wide.txt", [(0, 10)])
        assert ask(snapshot, "ÜBER äPFEL", mode)["results"] == []


# Which lines, and in what order.


def test_what_is_dead_or_filtered_out_is_not_found(make_project: MakeProject) -> None:
    project = make_project({f"f{n}.py": f"def f{n}():\n    return 'needle'\n" for n in range(9)})
    with nothing_tiny():
        indexed(project)
        write(project.root, "f3.py", "def f3():\n    return 'other'\n")
        write(project.root, "g.md", "needle\n")
        (project.root / "f4.py").unlink()
        indexed(project)
    with _loaded(project.root) as found:
        assert len(found.chunks.parts) > 1
        python = {f"f{n}.py" for n in range(9)} - {"f3.py", "f4.py"}
        assert {path for path, _ in told(ask(found, "needle"))} == python | {"g.md"}
        for filters, expected in [
            (Filters(languages=("python",)), python),
            (Filters(paths=("/f1.py", "/g.md")), {"f1.py", "g.md"}),
            (Filters(exclude_paths=("*.md",)), python),
            (Filters(paths=("nowhere/",)), set()),
        ]:
            for mode in "literal", "regex":
                answer = ask(found, "needle", mode, filters=filters)
                assert {path for path, _ in told(answer)} == expected
                assert answer["total_matches"] == len(expected)


def test_what_is_vendored_comes_after_own_lines(make_project: MakeProject) -> None:
    project = make_project({"third_party/a.py": "frobnicate(1)\n", "z.py": "frobnicate(2)\n"})
    build(project)
    with _loaded(project.root) as found:
        assert [*told(ask(found, "frobnicate"))] == [("z.py", 1), ("third_party/a.py", 1)]


def test_definitions_come_first_and_tests_last_and_of_a_file_three_lines_at_a_time(
    make_project: MakeProject,
) -> None:
    uses = "".join(f"print(frobnicate({n}))\n" for n in range(9))
    project = make_project(
        {
            "a/many.py": "from z import frobnicate\n" + uses,
            "b/few.py": "from z import frobnicate\n\nfrobnicate(0)\n",
            "tests/test_z.py": "def test_it():\n    assert frobnicate(2)\n",
            "z.py": "import os\n\n\ndef frobnicate(n):\n    return frobnicate(n - 1)\n",
        }
    )
    build(project)
    with _loaded(project.root) as found:
        every = ask(found, "frobnicate")
        assert every["total_matches"] == 15 == len(every["results"])
        scores = [hit["score"] for hit in every["results"]]
        assert scores == sorted(scores, reverse=True)
        places = [*told(every)]
        assert places[0] == ("z.py", 4)
        assert places[-1] == ("tests/test_z.py", 2)
        assert [line for path, line in places if path == "a/many.py"] == [*range(1, 11)]
        some = ask(found, "frobnicate", limit=6)
        assert some["total_matches"] == 15
        assert Counter(path for path, _ in told(some)) == {"z.py": 1, "a/many.py": 3, "b/few.py": 2}
        of_regex = ask(found, r"\bfrob\w+\(n\)", "regex")
        assert next(iter(told(of_regex))) == ("z.py", 4)


def test_it_is_answered_without_vectors_and_without_full_text(make_project: MakeProject) -> None:
    for engine, pattern_of_files in ("semantic", "s0*/vectors.*"), ("fts", "fulltext/*"):
        project = make_project({"a.py": "def needle():\n    return 1\n"}, engine)
        build(project)
        generations = Generations(project.generations)
        path = generations.path(generations.current())
        damaged = [file for file in path.glob(pattern_of_files) if file.stat().st_size]
        assert damaged
        for file in damaged:
            file.chmod(0o600)
            file.write_bytes(b"\0" * file.stat().st_size)
        with _loaded(project.root) as found:
            assert engine in found.unavailable
            assert told(ask(found, "needle")) == {("a.py", 1): 1}
            assert told(ask(found, r"^def \w+", "regex")) == {("a.py", 1): 1}


def test_a_hit_whose_file_has_changed_says_so(make_project: MakeProject) -> None:
    project = make_project({"a.py": "needle = 1\n", "b.py": "needle = 2\n"})
    build(project)
    service = CIDXDaemonService(project.root)
    write(project.root, "b.py", "something = 'else'\n")
    answer = service.exposed_query_literal(str(project.root), "needle")
    assert [(hit["path"], hit.get("stale", False)) for hit in answer["results"]] == [
        ("a.py", False),
        ("b.py", True),
    ]


# Bounds.


def test_so_many_lines_are_counted_and_the_answer_says_that_there_are_more(
    snapshot: IndexSnapshot,
) -> None:
    with patch.object(grep, "MAX_COUNTED", 100):
        for mode in "literal", "regex":
            some = ask(snapshot, "value", mode, limit=5)
            assert (some["total_matches"], some["more_matches"]) == (100, True)
            assert len(some["results"]) == 5
    rows = Filters(paths=("/data/windows.txt",))
    with patch.object(grep, "MAX_COUNTED", 500):
        all_of_them = ask(snapshot, "table", filters=rows)
    assert all_of_them["total_matches"] == 500
    assert "more_matches" not in all_of_them


def test_the_search_ends_when_its_time_is_over(snapshot: IndexSnapshot) -> None:
    runtime = FakeRuntime()

    class Hasty(FakeRuntime):
        reads = 0

        def monotonic(self) -> float:
            self.reads += 1
            return runtime.monotonic() + self.reads  # each look at the clock takes a second

    with patch.object(pattern, "_MAX_BLOCK", 1 << 14):
        found = grep.answer(snapshot, Search("return total", "literal", 1000), Hasty())
    assert found["more_matches"] is True
    assert found["total_matches"] < ask(snapshot, "return total")["total_matches"]


def _seconds(look: Any) -> float:
    began = SYSTEM.monotonic()
    look()
    return SYSTEM.monotonic() - began


@pytest.mark.parametrize(
    "text", [r"(a*)*b", r"(x+x+)+y", r"(a|aa)+$", r"^(\w+\s?)*!$", r".*.*.*=.*", r"[ab]*a[ab]{12}z"]
)
def test_a_pattern_that_makes_others_go_back_takes_time_that_is_linear_in_the_text(
    text: str,
) -> None:
    found = compiled("regex", text)

    def look(count: int) -> None:
        data = (b"a" * 200 + b"x" * 200 + b" ab\n") * count
        list(found.places(data, 0, len(data)))

    look(10)
    some = min(_seconds(lambda: look(100)) for _ in range(5))
    many = min(_seconds(lambda: look(800)) for _ in range(3))
    assert many < 40 * some + 0.05


def test_what_takes_more_steps_is_looked_at_in_smaller_pieces(snapshot: IndexSnapshot) -> None:
    small, large = compiled("regex", "a"), compiled("regex", r"[a-f]{900}")
    assert large.steps > 900
    assert large.block_bytes * large.steps <= 1 << 24
    assert small.block_bytes > 10 * large.block_bytes
    with patch.object(lines, "_LINE_BYTES_AND_STEPS", 1000):
        answer = ask(snapshot, r"^start .* end$", "regex")
        assert (answer["total_matches"], answer["more_matches"]) == (0, True)


@pytest.mark.parametrize("text", ["ab" * 50_000, "a" * 100_000, "\n".join(["ab"] * 33_000)])
def test_a_literal_of_100_000_characters_is_cheap(snapshot: IndexSnapshot, text: str) -> None:
    answer = ask(snapshot, text)
    assert answer["total_matches"] == 0
    data = b"ab" * 500_000
    assert _seconds(lambda: list(compiled("literal", text).places(data, 0, len(data)))) < 5


@pytest.mark.parametrize(
    ("mode", "text", "said"),
    [
        ("literal", "", "query: nothing to look for"),
        ("literal", "\n\n", "query: nothing to look for"),
        ("regex", "", "query: nothing to look for"),
        ("regex", "ab(c", r"query: not a regular expression: missing \): '\(?.*from character"),
        ("regex", "ab(?=c)", r"invalid perl operator: '\(\?='.*character 3.*look-around"),
        ("regex", r"(a)\1", r"invalid escape sequence.*character 4.*references"),
        ("regex", "a{2000}", "invalid repetition size.*character 2.*1000"),
        ("regex", "[z-a]", "invalid character class range: 'z-a'.*character 2"),
        ("regex", "*x", "no argument for repetition operator.*character 1"),
        ("regex", "x\\", "trailing.*character 2"),
        ("regex", r"\pL{1000}", "pattern too large"),
        ("regex", r"\pL{200}", "steps"),
        ("regex", "a\nb", "one line at a time"),
        ("regex", r"a\nb", "one line at a time"),
        ("regex", r"a\Cb", "bytes"),
        ("regex", "(?s)a.*b", r"query: \(\?s\): .*one line at a time"),
        ("regex", "x(?is-m:a.b)", r"query: \(\?is-m:: .*one line at a time"),
        ("regex", "\udcff", "not text"),
        ("regex", "a" * (MAX_PATTERN_CHARS + 1), "4097 characters are too many"),
    ],
)
def test_what_cannot_be_looked_for_is_refused_by_name_before_there_is_an_index(
    make_project: MakeProject, mode: str, text: str, said: str
) -> None:
    project = make_project({})
    service = CIDXDaemonService(project.root)
    with pytest.raises(BadArgumentError, match=said):
        getattr(service, f"exposed_query_{mode}")(str(project.root), text)


def test_case_is_ignored_where_it_is_asked_for_and_nowhere_else(make_project: MakeProject) -> None:
    project = make_project({"a.py": "Needle = 1\n"})
    build(project)
    service = CIDXDaemonService(project.root)
    root = str(project.root)
    assert service.exposed_query_literal(root, "nEEDLE", ignore_case=True)["total_matches"] == 1
    assert service.exposed_query_regex(root, "^n.*E", ignore_case=True)["total_matches"] == 1
    with pytest.raises(BadArgumentError, match="ignore_case: 1: must be true or false"):
        service.exposed_query_regex(root, "a", ignore_case=1)
    with pytest.raises(BadArgumentError, match="ignore_case: only in the modes"):
        service.exposed_query_fts(root, "a", ignore_case=True)
    for text in "a" * 4097, "\udcff":
        with pytest.raises(BadArgumentError, match="query"):
            service.exposed_query_literal(root, text, ignore_case=True)


@given(
    text=st.text(alphabet=st.sampled_from(r"ab^$.\[]()|*+?{}1,0-:AzZQEnsSbwpP<>'" + "é\n\udcff")),
    mode=st.sampled_from(["literal", "regex"]),
    ignore_case=st.booleans(),
)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_text_has_an_answer_or_is_refused_as_a_bad_argument(
    text: str, mode: str, ignore_case: bool
) -> None:
    data = "ab\n\nébA a^$.\\ \udcff\n[]{1,0}".encode("utf-8", "surrogatepass")
    try:
        found = compiled(mode, text, ignore_case=ignore_case)
    except BadArgumentError as error:
        said = str(error)
        found = None
    if found is None:
        assert said.startswith("query: ")
        return
    places = list(found.places(data, 0, len(data)))
    assert places == sorted(places)
    if mode == "literal" and not ignore_case and "\n" not in text.strip("\r\n"):
        wanted = text.strip("\n").encode("utf-8", "surrogatepass")
        assert bool(places) == (wanted in data)


def test_the_engine_is_imported_with_the_first_pattern(make_project: MakeProject) -> None:
    project = make_project({"a.py": "needle = 1\n"})
    build(project)
    code = (
        "import sys; from cidx_ref.daemon.service import CIDXDaemonService as S\n"
        f"root = {str(project.root)!r}; service = S(root); service.exposed_query_fts(root, 'x')\n"
        "assert 're2' not in sys.modules\n"
        "assert service.exposed_query_regex(root, '^n')['total_matches'] == 1\n"
        "assert 're2' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_no_compiled_pattern_stays_in_memory() -> None:
    import re2

    re2.purge()
    compiled("regex", "a+")
    compiled("literal", "abc")
    assert re2._Regexp._make.cache_info().currsize == 0


# Through the daemon, and on the command line.


def test_the_client_gets_exact_lines_through_the_daemon(make_project: MakeProject) -> None:
    project = make_project()
    build(project)
    with served(project), DaemonClient(project, start=False) as daemon:
        found = daemon.query("'\\r\\n'", mode="literal")
        assert [(hit.path, hit.line_start) for hit in found] == [("web/app.js", 2)]
        ((start, end),) = found[0].marks
        assert found[0].snippet[start:end] == "'\\r\\n'"
        assert (found.mode, found.total_matches, found.more_matches) == ("literal", 1, None)
        assert daemon.query("PARSEHTTP", mode="regex", ignore_case=True)[0].path == "web/app.js"
        write(project.root, "new.py", "brand_new_needle = 1\n")
        assert daemon.query("brand_new_needle", mode="literal", fresh=True)[0].line_start == 1
        with pytest.raises(BadArgumentError, match=r"missing \)"):
            daemon.query("(", mode="regex")
        calls = daemon.metrics()["calls"]
        assert calls["query_literal"]["ok"] == 2
        assert calls["query_regex"] == {"ok": 1, "bad_argument": 1}


def test_the_command_prints_lines_as_grep_does(
    make_project: MakeProject, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project({"a b.py": "x = 1\n\tneedle(x)  # \x1b[31m\n", "c.md": "needle\r\n" * 4})
    write(project.root, ".code-indexer/config.json", '{"daemon": {"enabled": false}}')
    build(project)
    monkeypatch.chdir(project.root)
    assert cli.main(["query", "--mode", "literal", "needle"]) == 0
    out, err = capsys.readouterr()
    assert out == (
        "a b.py:2:\tneedle(x)  # ·[31m\n"
        "c.md:1:needle\nc.md:2:needle\nc.md:3:needle\nc.md:4:needle\n"
    )
    assert "--limit" not in err
    assert cli.main(["query", "--mode", "regex", "-i", "^NEED", "--limit", "2"]) == 0
    out, err = capsys.readouterr()
    assert out == "c.md:1:needle\nc.md:2:needle\n"
    assert "2 of 4 lines: --limit N shows more" in err
    assert cli.main(["query", "--mode", "regex", "nothing$"]) == 1
    assert capsys.readouterr().err.startswith("no match")
    assert cli.main(["query", "--mode", "regex", "(", "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["kind"] == "bad_argument"
    assert "TEXT: not a regular expression: missing )" in err
    assert cli.main(["query", "--mode", "literal", "needle", "--json", "--limit", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["total_matches"] == 5
    assert told["results"][0]["marks"] == [[1, 7]]


@pytest.mark.promise("QRY-4")
def test_what_matches_nothing_but_the_end_of_a_line_is_found_in_every_line(
    make_project: MakeProject,
) -> None:
    project = make_project({"a.py": "x = 1\n", "b.txt": "one\ntwo"})
    build(project)
    service = CIDXDaemonService(project.root)
    for wanted in ("$", r"\b$", "^", "1?$"):
        assert service.exposed_query_regex(str(project.root), wanted)["total_matches"] == 3, wanted
    service.exposed_clear_cache()


@pytest.mark.promise("QRY-4")
def test_what_stands_as_it_is_needs_no_end(make_project: MakeProject) -> None:
    project = make_project({"a.py": "self.value(1)\nself_value(1)\n"})
    build(project)
    service = CIDXDaemonService(project.root)
    for wanted in (r"\Qself.value(", r"\Qself.value(\E1", r"^\Qself.value("):
        found = service.exposed_query_regex(str(project.root), wanted)
        assert [hit["line_start"] for hit in found["results"]] == [1], wanted
    service.exposed_clear_cache()


@pytest.mark.promise("QRY-4")
def test_a_program_is_as_long_as_that_which_marks() -> None:
    with pytest.raises(BadArgumentError, match="steps"):
        compiled("regex", ".?" * 2000)
    assert compiled("regex", ".?" * 1000).steps > 1000


@pytest.mark.promise("QRY-4")
def test_marks_are_made_for_a_second_at_most(make_project: MakeProject) -> None:
    project = make_project({"a.txt": "needle one\n" * 40})
    build(project)
    with _loaded(project.root) as snapshot:
        found = grep.answer(snapshot, Search("needle", "literal", 40), _Slow())
    marked = [bool(hit["marks"]) for hit in found["results"]]
    assert marked[0]
    assert not marked[-1]
    assert len(marked) == 40


class _Slow(FakeRuntime):
    """A tenth of a second goes by each time the clock is read."""

    def monotonic(self) -> float:
        self.advance(0.1)
        return super().monotonic()
