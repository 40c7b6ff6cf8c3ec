"""Quotes in a query: what the user quotes is found as written, and what is pasted by its words.

The haystack has more chunks than most limits, full of the same words and signs in another order.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from loaded import loaded_of

from cidx_ref.index import phrases as phrases_module
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.filters import Filters
from cidx_ref.index.live import LiveChunks
from cidx_ref.index.phrases import Phrase, Phrases
from cidx_ref.index.port import Search
from cidx_ref.index.query import Query
from cidx_ref.index.quotes import MAX_PIECES, Piece, quotes_of
from cidx_ref.index.search import answer
from cidx_ref.index.snapshot import IndexSnapshot
from cidx_ref.results import Answer
from cidx_ref.terminal import relaxed_note

pytestmark = pytest.mark.once

EMBEDDER = HashingEmbedder()
MODES = ("hybrid", "fts", "semantic")
CHUNKS = 3000

#: What there is beside the haystack, by path.
PLANTED = {
    "c/log.c": 'void load(void)\n{\n    die("cannot open %s");\n}\n',
    "c/link.c": 'void up(void)\n{\n    fail("Could not connect to %s", host);\n}\n',
    "py/link.py": "def down(z1):\n    raise Gone(f'lost the peer {z1!r}')\n",
    "js/link.js": 'function off(z1) {\n  throw Error("no such gizmo " + z1)\n}\n',
    "etc/link.ini": "host = localgizmo\n",
    "c/arrow.c": "int step(struct list *p)\n{\n    return p->next;\n}\n",
    "c/dot.c": "int step(struct list p)\n{\n    return p.next;\n}\n",
    "zz/unequal.c": "void check(int alpha, int beta)\n{\n    if (alpha != beta) fail();\n}\n",
    "c/include.c": "#include   <stdio.h>\n#include <sys/quux.h>\nint done;\n",
    "cpp/vec.cpp": "std::vector<int> items;\nstd::vector<long> others;\n",
    "cpp/plain.cpp": "vector<int> std;\n",
    "py/call.py": "def caller(value):\n    return frobnicate()\n",
    "py/use.py": "def user(value):\n    return frobnicate(value)\n",
    "py/plus.py": "def plus(wibble):\n    wibble += 1\n    return wibble\n",
    "py/minus.py": "def minus(wibble):\n    wibble -= 1\n    return wibble\n",
    "py/say.py": 'def say():\n    print("hello \\"wide\\" world")\n    print("good bye")\n',
    "py/Spam.py": "class SpamEggs:\n    def spam_eggs(self):\n        return spameggs\n",
    "go/err.go": 'func f() error {\n\treturn fmt.Errorf("frob failed for %q: %w", n, err)\n}\n',
    "sql/find.sql": "SELECT zork, grue FROM dungeon WHERE lamp = ?;\n",
    "js/error.js": "function wrong() {\n  throw new ApiError('token_expired', 401)\n}\n",
    "docs/wrap.md": "# Peers\n\nIt waits until the far\npeer   disconnects again.\n",
    "docs/parse.md": "# Parsing\n\nIt parses header after header.\n",
    "docs/words.md": "# Words\n\nunfrobnicatable, and the peer that never disconnects\n",
    "docs/élan.md": "# Vif\n\nSans Élan vital, cafe\u0301 noir, straße.\n",
    "txt/cjk.txt": "日本語のテキスト、中文搜索。\n",
    "odd name/[id].ts": "export const zonk = 1\n",
}


def _haystack() -> Iterator[tuple[str, str]]:
    """Functions with the words and signs of what is planted, never as they stand there."""
    rng = random.Random(13)
    names = ["alpha", "beta", "next", "value", "open", "items", "step", "print", "SELECT", "error"]
    signs = ["==", "<=", ".", "||", "%"]
    for number in range(CHUNKS):
        a, b, c = rng.sample(names, 3)
        text = (
            f"def f_{number}({a}):\n"
            f"    if alpha == beta and {b} {rng.choice(signs)} {c} or gamma != delta:\n"
            f"        vector = int(std.{a}), {c}, open\n"
            f"    return beta - alpha, int, user_{number}\n"
        )
        yield f"hay/{number % 30}/h{number}.py", text


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexSnapshot]:
    files = {**dict(_haystack()), **PLANTED}
    with loaded_of(tmp_path_factory.mktemp("phrases"), files.items()) as snapshot:
        assert len(snapshot.chunks) > CHUNKS
        yield snapshot


def _ask(snapshot: IndexSnapshot, text: str, mode: str, **options: Any) -> dict[str, Any]:
    return answer(snapshot, Search(text, mode, **options), EMBEDDER)


def _paths(told: dict[str, Any]) -> list[str]:
    return [hit["path"] for hit in told["results"]]


# Which quotes are the user's.


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ('int "->"', ["->"]),
        ('"a != b"', ["a != b"]),
        ('"x" y "foo bar" "baz"', ["x", "foo bar", "baz"]),
        ('cannot open "/etc/frob.conf"', ["/etc/frob.conf"]),
        ("“a != b” «c d»", ["a != b", "c d"]),
        ('"a “b” c"', ["a “b” c"]),
        ('"say("hi")"', ['say("hi")']),
        ('"die(\\"x\\");" y', ['die(\\"x\\");']),
        ('"""Set it."""', ["Set it."]),
        ('"two\n  lines"', ["two\n  lines"]),
        ('std::vector "x += 1"', ["x += 1"]),
        ('C++ f() "g()"', ["g()"]),
        ('"never mind" "', ["never mind"]),
        ('5" disk "foo bar"', ["foo bar"]),
        ('"" " " x', []),
        ('"', []),
        ('never mind"', []),
        ("it's 'not one' `nor two`", []),
        ("", []),
    ],
)
def test_what_stands_by_itself_in_quotes_is_the_users_own(text: str, pieces: list[str]) -> None:
    found = quotes_of(text)
    assert found.are_own
    assert [piece.text for piece in found.pieces] == pieces


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ('{"a": "b", "c": 1}', ["a", "b", "c"]),
        ('{ "a" : "b" }', ["a", "b"]),
        ('{"a": {"b": ["c d", "e"]}}', ["a", "b", "c d", "e"]),
        ('{"msg": "cannot \\"open\\" x"}', ["msg", 'cannot \\"open\\" x']),
        ('SELECT * FROM users WHERE name = "bob"', ["bob"]),
        ('File "/a.py", line 3, in f\n    x = "abc"\nKeyError: "k"', ["/a.py", "abc", "k"]),
        ('frob: cannot open "/etc/frob.conf"', ["/etc/frob.conf"]),
        ('2024-01-02 ERROR "frob.conf": no such file', ["frob.conf"]),
        ('die("cannot open %s");', ["cannot open %s"]),
        ('title="Hello world" class="x"', ["Hello world", "x"]),
        ('one "two"\nthree', ["two"]),
        ('f("x") 5" "y"', ["x", "y"]),
    ],
)
def test_quotes_within_what_was_pasted_bind_nothing(text: str, pieces: list[str]) -> None:
    found = quotes_of(text)
    assert not found.are_own
    assert [piece.text for piece in found.pieces] == pieces


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.text('"“”«»\\ \nab:,{', max_size=40) | st.text(max_size=30))
@example('"' * 5000)
def test_a_piece_is_a_part_of_the_text_between_two_quotes(text: str) -> None:
    found = quotes_of(text)
    end = 0
    for piece in found.pieces:
        assert end <= piece.start < piece.end <= len(text) or not found.are_own
        assert piece.text == piece.text.strip() != ""
        assert piece.text in text[piece.start + 1 : piece.end - 1]
        end = piece.end
    assert len(found.pieces) <= MAX_PIECES


# W4: a quoted piece holds its punctuation.


@pytest.mark.promise("QRY-2")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ('int "->"', {"c/arrow.c"}),
        ('"->"', {"c/arrow.c"}),
        ("“->” step", {"c/arrow.c"}),
        ('"p.next"', {"c/dot.c"}),
        ('"alpha != beta"', {"zz/unequal.c"}),
        ('check "alpha  !=\tbeta"', {"zz/unequal.c"}),
        ('"ALPHA != beta"', {"zz/unequal.c"}),
        ('"#include <stdio.h>"', {"c/include.c"}),
        ('"<sys/quux.h>"', {"c/include.c"}),
        ('"std::vector<int>"', {"cpp/vec.cpp"}),
        ('"vector<int> std"', {"cpp/plain.cpp"}),
        ('"frobnicate()"', {"py/call.py"}),
        ('"frobnicate("', {"py/call.py", "py/use.py"}),
        ('"wibble += 1"', {"py/plus.py"}),
        ('return "+="', {"py/plus.py"}),
        ('"die("cannot open %s");"', {"c/log.c"}),
        ('"die(\\"cannot open %s\\");"', {"c/log.c"}),
        ('"hello \\"wide\\" world"', {"py/say.py"}),
        ('"far peer disconnects"', {"docs/wrap.md"}),
        ('"the far\npeer"', {"docs/wrap.md"}),
        ('"sans élan VITAL"', {"docs/élan.md"}),
        ('"cafÉ noir"', {"docs/élan.md"}),
        ('"cafe\u0301 noir"', {"docs/élan.md"}),
        ('"中文搜索。"', {"txt/cjk.txt"}),
        ('"docs/wrap.md"', {"docs/wrap.md"}),
        ('"name/[id].ts"', {"odd name/[id].ts"}),
        ('"wrap.m"', {"docs/wrap.md"}),
        ('"SpamEggs.spam_eggs"', {"py/Spam.py"}),
        ('"frobnicatab"', {"docs/words.md"}),
        ('"ranch.zyx" "->"', {"c/arrow.c"}),
    ],
)
def test_a_quoted_piece_is_found_as_written(
    many: IndexSnapshot, query: str, paths: set[str], mode: str
) -> None:
    told = _ask(many, query, mode)
    assert set(_paths(told)) == paths
    assert told["relaxed"] == (["ranch.zyx"] if "zyx" in query else [])


@pytest.mark.parametrize("mode", MODES)
def test_capitals_count_where_something_has_them(many: IndexSnapshot, mode: str) -> None:
    def names(query: str) -> set[str]:
        told = _ask(many, query, mode)
        assert told["relaxed"] == []
        return {hit["name"] for hit in told["results"]}

    assert names('"SPAM_EGGS"') == names('"spam_eggs"') == {"SpamEggs.spam_eggs"}
    assert "SpamEggs.spam_eggs" not in names('"SpamEggs:"')
    assert names('"spameggs:"') == names('"SPAMEGGS:"') == names('"SpamEggs:"') != set()
    everywhere = _ask(many, '"select"', mode, limit=50)
    assert len(everywhere["results"]) == 50
    assert "sql/find.sql" in _paths(_ask(many, '"SELECT zork"', mode))


# W3: what is pasted finds what its words find.


@pytest.mark.promise("QRY-4")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("query", "path", "relaxed"),
    [
        ('cannot open "/etc/frob.conf"', "c/log.c", ["/etc/frob.conf"]),
        ("die: cannot open “/etc/frob.conf”", "c/log.c", ["/etc/frob.conf"]),
        ('frobd[77]: frob failed for "eggs.yml": permission denied', "go/err.go", ["eggs.yml"]),
        ('SELECT zork, grue FROM dungeon WHERE lamp = "brass"', "sql/find.sql", ["brass"]),
        ('SELECT "zork", "grue" FROM "dungeon" WHERE "lamp" = 7', "sql/find.sql", []),
        ('{"error": "token_expired", "code": 401, "x": ""}', "js/error.js", ["code", "x"]),
        ('{ "detail" : { "kind" : "token_expired" } }', "js/error.js", ["detail", "kind"]),
        (
            'Traceback:\n  File "/srv/zap.py", line 2, in user\n    frobnicate("x y")\n',
            "py/use.py",
            ["/srv/zap.py", "x y"],
        ),
        ("wibble \"plus.minus\" 'x' `y`", "py/plus.py", ["plus.minus"]),
        ('"wibble += 2"', "py/plus.py", ["wibble += 2"]),
        ('zork "grue', "sql/find.sql", []),
        ('zork "" grue', "sql/find.sql", []),
        ('zork \\"grue\\"', "sql/find.sql", []),
        ('"zork" "nowhere at all"', "sql/find.sql", ["nowhere at all"]),
        ('"zork" "die(" grue', "sql/find.sql", ["die("]),
        ('"parsing headers"', "docs/parse.md", ["parsing headers"]),
        ('"disconnects peer"', "docs/wrap.md", ["disconnects peer"]),
        ('zork "<=>"', "sql/find.sql", ["<=>"]),
    ],
)
def test_what_no_chunk_has_as_written_is_found_by_its_words_and_the_answer_says_so(
    many: IndexSnapshot, query: str, path: str, relaxed: list[str], mode: str
) -> None:
    told = _ask(many, query, mode)
    # Thousands of vectors may be nearer, if few of the words tell a file from others.
    assert path in _paths(told)[:3] if mode != "semantic" else _paths(told)
    assert told["relaxed"] == relaxed


@pytest.mark.parametrize("mode", MODES)
def test_pasted_quotes_do_not_narrow_the_answer_to_where_one_of_them_stands(
    many: IndexSnapshot, mode: str
) -> None:
    """`good bye` stands in one file, which is not the one whose words these are."""
    told = _ask(many, '{"token_expired": 401, "ApiError": "good bye"}', mode)
    assert _paths(told)[0] == "js/error.js"
    assert _paths(_ask(many, 'token_expired "good bye"', mode)) == ["py/say.py"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("query", "path"),
    [
        ('could not connect to "localgizmo"', "c/link.c"),
        ('lost the peer "localgizmo"', "py/link.py"),
        ('no such gizmo "localgizmo"', "js/link.js"),
    ],
)
def test_a_value_within_a_message_that_a_program_makes_does_not_narrow_the_answer(
    many: IndexSnapshot, query: str, path: str, mode: str
) -> None:
    """It stands in a file of settings, too."""
    told = _ask(many, query, mode)
    assert path in _paths(told)[: 10 if mode == "semantic" else 2]
    assert told["relaxed"] == []
    assert _paths(_ask(many, 'connect "localgizmo"', mode)) == ["etc/link.ini"]
    assert _paths(_ask(many, 'peer host "localgizmo"', mode)) == ["etc/link.ini"]
    assert _paths(_ask(many, 'could not connect to "host);"', mode)) == ["c/link.c"]


@pytest.mark.parametrize("mode", MODES)
def test_of_phrases_that_stand_nowhere_together_the_first_is_kept(
    many: IndexSnapshot, mode: str
) -> None:
    told = _ask(many, '"wibble" "frobnicate()" "-= 1" "std::"', mode)
    assert (_paths(told), told["relaxed"]) == (["py/minus.py"], ["frobnicate()", "std::"])
    told = _ask(many, '"frobnicate()" "wibble"', mode)
    assert (_paths(told), told["relaxed"]) == (["py/call.py"], ["wibble"])


@pytest.mark.parametrize("mode", MODES)
def test_where_its_words_are_nowhere_either_there_is_no_match(
    many: IndexSnapshot, mode: str
) -> None:
    for query in ('"<=>"', '""', '"~~~" "<=>"'):
        assert (_paths(_ask(many, query, mode)), _ask(many, query, mode)["relaxed"]) == ([], [])
    told = _ask(many, '"qqzxv xqwvv"', mode)
    assert (_paths(told), told["relaxed"]) == ([], ["qqzxv xqwvv"])


@pytest.mark.parametrize("mode", MODES)
def test_a_phrase_that_the_filters_leave_out_is_relaxed_like_one_that_nothing_has(
    many: IndexSnapshot, mode: str
) -> None:
    only = Filters(paths=("py/",))
    told = _ask(many, '"std::vector<int>" wibble', mode, filters=only)
    assert set(_paths(told)[:2]) == {"py/plus.py", "py/minus.py"}
    assert told["relaxed"] == ["std::vector<int>"]
    for query, paths in ('"+="', ["py/plus.py"]), ('"frobnicate("', ["py/call.py", "py/use.py"]):
        told = _ask(many, query, mode, filters=only)
        assert (sorted(_paths(told)), told["relaxed"]) == (paths, [])
    none = Filters(paths=("nothing/",))
    assert _paths(_ask(many, '"+=" wibble', mode, filters=none)) == []


# Any text, any piece.


@pytest.mark.promise("QRY-4")
@pytest.mark.parametrize("mode", MODES)
@settings(derandomize=True, max_examples=120, deadline=None,
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(
    st.lists(
        st.sampled_from(
            [*'""""“”«»\\\'` \n:,{}()=', " ", "->", "!=", "alpha", "zork", "Frob", "é"]
        ),
        max_size=24,
    ).map("".join)
    | st.text(max_size=30).map(lambda text: f'"{text}"')
)
def test_any_text_with_any_quotes_has_an_answer_and_no_hit_lacks_what_was_not_let_go(
    many: IndexSnapshot, mode: str, text: str
) -> None:
    told = _ask(many, text, mode)
    quotes = quotes_of(text)
    said = [piece.text for piece in quotes.pieces]
    assert set(told["relaxed"]) <= {*said, *([quotes.whole.text] if quotes.whole else [])}
    words = Query(" ".join(said)).words
    if quotes.are_own and words:
        for hit in told["results"]:
            chunk = _chunk(many, hit)
            for piece in quotes.pieces:
                if piece.text not in told["relaxed"]:
                    phrase = Phrase(piece, any_case=True)
                    assert any(map(phrase.stands_in, (chunk.text, chunk.name, chunk.path)))
    if not told["results"]:  # its words find nothing either
        bare = "".join(" " if mark in '"“”«»' else mark for mark in text)
        if Query(bare).words:
            assert _paths(_ask(many, bare, mode)) == []


def _numbers(snapshot: IndexSnapshot) -> list[int]:
    found: list[int] = np.flatnonzero(snapshot.chunks.marks(None)).tolist()
    return found


def _chunk(snapshot: IndexSnapshot, hit: dict[str, Any]) -> Any:
    for number in _numbers(snapshot):
        chunk = snapshot.chunks.read(number)
        if (chunk.path, chunk.line_start) == (hit["path"], hit["line_start"]):
            return chunk
    raise AssertionError(hit)


@pytest.mark.promise("QRY-2")
@pytest.mark.parametrize("mode", MODES)
@settings(derandomize=True, max_examples=100, deadline=None,
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(st.data())
def test_a_piece_that_is_cut_out_of_a_text_is_found_there(
    many: IndexSnapshot, mode: str, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(sorted(PLANTED)))
    numbers = [n for n in _numbers(many) if many.chunks.place_of(n)[0] == path]
    chunk = many.chunks.read(data.draw(st.sampled_from(numbers)))
    start = data.draw(st.integers(0, len(chunk.text) - 1))
    piece = chunk.text[start : data.draw(st.integers(start + 1, len(chunk.text)))].strip()
    if piece.strip('"') == "":
        return
    told = _ask(many, '"{}"'.format(piece.replace('"', '\\"')), mode, limit=1000)
    assert told["relaxed"] == []
    if len(told["results"]) < 1000 and not _is_cut(chunk.text, start, piece):
        assert (path, chunk.line_start) in {(h["path"], h["line_start"]) for h in told["results"]}


def _is_cut(text: str, start: int, piece: str) -> bool:
    """Whether a word is cut at an end of `piece`: others may have it whole."""
    at = text.index(piece, start)
    before, after = text[at - 1 : at], text[at + len(piece) : at + len(piece) + 1]
    inside = [(before, piece[0]), (piece[-1], after)]
    return any(
        all((c.isalnum() or c == "_") for c in pair if c) and "" not in pair for pair in inside
    )


# Bounds, and an index without full text.


class _Counted:
    """How many chunks are looked at, and how many are read, one by one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looks = self.reads = self.scans = 0
        raw, read, find = LiveChunks.raw, LiveChunks.read, LiveChunks.marks_of

        def counted_raw(chunks: LiveChunks, number: int) -> bytes:
            self.looks += 1
            return raw(chunks, number)

        def counted_read(chunks: LiveChunks, number: int) -> Any:
            self.reads += 1
            return read(chunks, number)

        def counted_find(chunks: LiveChunks, *arguments: Any, **options: Any) -> Any:
            self.scans += 1
            return find(chunks, *arguments, **options)

        monkeypatch.setattr(LiveChunks, "raw", counted_raw)
        monkeypatch.setattr(LiveChunks, "read", counted_read)
        monkeypatch.setattr(LiveChunks, "marks_of", counted_find)


@pytest.mark.parametrize("mode", MODES)
def test_chunks_with_the_words_in_another_order_are_not_looked_at(
    many: IndexSnapshot, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = _Counted(monkeypatch)
    assert _paths(_ask(many, '"beta - alpha, int, user_99"', mode, limit=100))
    assert counted.looks <= 200
    counted.looks = 0
    assert _paths(_ask(many, '"lamp = ?"', mode)) == ["sql/find.sql"]
    assert (counted.looks, counted.scans) == (1, 0)


@pytest.mark.parametrize("mode", MODES)
def test_a_frequent_phrase_costs_as_many_reads_as_hits_are_looked_at(
    many: IndexSnapshot, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = _Counted(monkeypatch)
    for query in ('"alpha == beta"', '"return"', '"(" "):"', 'gamma "!="'):
        assert len(_paths(_ask(many, query, mode))) == 10
    assert counted.looks <= 4 * 400


@pytest.mark.parametrize("mode", MODES)
def test_work_is_bounded_and_what_was_not_looked_at_is_not_found(
    many: IndexSnapshot, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each chunk of the haystack has these words in a row, and the sign somewhere else."""
    counted = _Counted(monkeypatch)
    assert _paths(_ask(many, '"alpha != beta"', mode)) == ["zz/unequal.c"]
    assert counted.looks <= len(many.chunks)
    assert counted.reads <= len(many.chunks) + 400
    monkeypatch.setattr(phrases_module, "_MAX_READS", 100)
    counted.reads = 0
    told = _ask(many, '"alpha != beta"', mode)
    assert told["results"]
    assert counted.reads <= 100 + 400  # these are for hits that share a word
    monkeypatch.setattr(phrases_module, "_MAX_LOOKS", 50)
    counted.looks = 0
    assert _ask(many, '"alpha <= beta"', mode)["relaxed"] == ["alpha <= beta"]
    assert counted.looks <= 50


def test_more_is_asked_for_until_enough_of_what_is_found_holds_the_phrase(
    many: IndexSnapshot,
) -> None:
    phrases = Phrases(Query('"alpha != beta"'), many.chunks, many.fulltext, None)
    others = [n for n in _numbers(many) if not phrases.holds(n)]
    holder = next(n for n in _numbers(many) if phrases.holds(n))
    ranking = [(n, 1.0) for n in [*others, holder]]
    asked: list[int] = []

    def search(k: int) -> list[tuple[int, float]]:
        asked.append(k)
        return ranking[:k]

    assert phrases.sift(search, 1) == [(holder, 1.0)]
    assert len(asked) <= 4
    asked.clear()
    assert phrases.sift(search, 2) == [(holder, 1.0)]
    assert len(asked) <= 4


def test_of_very_many_candidates_all_texts_say_which_hold_the_piece(
    many: IndexSnapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phrases_module, "_BYTES_PER_LOOK", many.chunks.size_bytes // 1000)
    counted = _Counted(monkeypatch)
    assert _paths(_ask(many, '"alpha !=\nbeta"', "fts")) == ["zz/unequal.c"]
    assert _paths(_ask(many, '"alpha != beta) fail()"', "fts")) == ["zz/unequal.c"]
    assert _paths(_ask(many, '"return beta"', "fts", limit=1000))
    # Of the others, one has few candidates, and one is held by the first that are looked at.
    assert counted.scans == 1


def test_texts_are_read_through_for_few_pieces_however_many_there_are(
    many: IndexSnapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = _Counted(monkeypatch)
    monkeypatch.setattr(phrases_module, "_SCANNED_BYTES", 1)  # as if there were much text
    _ask(many, " ".join(f'"qq{n}zxv"' for n in range(100)), "fts")
    assert counted.scans == 1
    _ask(many, json.dumps({f"qq{n}zxv": n for n in range(100)}), "fts")
    assert counted.scans == 1, "none for what binds nothing"


def test_without_full_text_the_texts_say_where_a_phrase_stands(many: IndexSnapshot) -> None:
    with patch.object(many, "fulltext", None):
        for query, paths in [
            ('"alpha != beta"', ["zz/unequal.c"]),
            ('int "->"', ["c/arrow.c"]),
            ('"peer disconnects"', ["docs/wrap.md"]),
            ('"docs/wrap.md"', ["docs/wrap.md"]),
            ('"std::vector<INT>"', ["cpp/vec.cpp"]),
        ]:
            told = _ask(many, query, "semantic")
            assert (_paths(told), told["relaxed"]) == (paths, [])
        told = _ask(many, 'zork "qqzxv xqwvv"', "semantic")
        assert (_paths(told), told["relaxed"]) == (["sql/find.sql"], ["qqzxv xqwvv"])
        told = _ask(many, '{"zork": "qqzxv xqwvv"}', "semantic")
        assert (_paths(told), told["relaxed"]) == (["sql/find.sql"], [])


# What a person is told.


@pytest.mark.parametrize(
    ("relaxed", "note"),
    [
        ([], ""),
        (["cannot open"], 'no hit has "cannot open" as written: its words were looked for'),
        (["a", "\x1b[1mb"], 'no hit has "a", "\\x1b[1mb" as written: their words were looked for'),
        (
            [*"abcde"],
            'no hit has "a", "b", "c" and 2 more as written: their words were looked for',
        ),
    ],
)
def test_the_note_names_what_was_let_go(relaxed: list[str], note: str) -> None:
    assert relaxed_note(Answer((), "fts", "g", 1.0, relaxed=relaxed)) == note


def test_the_note_is_short_however_long_a_piece_is() -> None:
    assert len(relaxed_note(Answer((), "fts", "g", 1.0, relaxed=["x" * 10_000] * 9))) < 300


@pytest.mark.parametrize(
    ("piece", "text", "stands"),
    [
        ("a b", "x a\n\t b y", True),
        ("a b", "ab", False),
        ("straße", "STRASSE", True),
        ("straß", "straße", True),
        ("é", "e\u0301", True),
        ("e\u0301x", "éx", True),
        ("привет", "ПРИВЕТ", True),
        ('say \\"x\\"', 'say "x"', True),
        ('say \\"x\\"', 'say \\"x\\"', True),
        ("\udcff\udc80", "a\udcff\udc80b", True),
    ],
)
def test_a_piece_is_recognised_whatever_its_spaces_letters_and_escapes(
    piece: str, text: str, stands: bool
) -> None:
    phrase = Phrase(Piece(piece, 0, 0), any_case=True)
    assert phrase.stands_in(text) is stands
    if stands:
        assert phrase.may_stand_in(text.encode("utf-8", "surrogatepass"))


def test_marks_in_a_row_are_looked_for_in_a_time_that_grows_as_they_do() -> None:
    """To compose thousands of marks takes the square of their number, without the others."""
    spent = []
    for count in (4_000, 32_000):
        piece = "e" + "\u0301\u0316" * count
        began = time.process_time()
        phrase = Phrase(Piece(piece, 0, len(piece)), any_case=True)
        assert not phrase.stands_in("caf\u00e9")
        assert phrase.stands_in(f"x {piece} y")
        spent.append(time.process_time() - began)
    assert spent[1] < 0.5
