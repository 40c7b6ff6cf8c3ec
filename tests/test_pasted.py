"""What is pasted is found where it comes from: a place, a file, a line of code, a message.

Among thousands of chunks that have the same words.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loaded import loaded_of

from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.filters import Filters
from cidx_ref.index.pasted import Place, frames_in, place_in, runs_in
from cidx_ref.index.port import Search
from cidx_ref.index.search import answer
from cidx_ref.index.snapshot import IndexSnapshot
from cidx_ref.index.standing import standing, traced

pytestmark = pytest.mark.once

EMBEDDER = HashingEmbedder()
LINES = 240


def _functions(seed: int) -> str:
    made = random.Random(seed)
    says = ["jar", "lid", "proxy", "conn", "bits", "host", "resolve", "retry", "open", "count"]
    lines = []
    for n in range(LINES // 6):
        a, b, c = made.sample(says, 3)
        lines += [f"int {a}_{b}_{n}(struct {c} *{c})", "{", f"  if({c}->{a}.{b})"]
        lines += [f"    return {c}->{b}.{a};", f"  return {a}({b});", "}"]
    return "\n".join(lines) + "\n"


def _files() -> Iterator[tuple[str, str]]:
    for n in range(520):
        yield f"lib/part{n}.c", _functions(n)
    yield "lib/jar.c", _functions(100)
    yield "lib/deep/jar.c", _functions(101)
    yield "lib/jar.h", "int c;\nstruct h { int jar; };\n"
    yield (
        "lib/letters.c",
        "int c(int jar)\n{\n  return jar;\n}\nint h(int jar)\n{\n  return 1;\n}\n",
    )
    yield "app/main.js", "export function js(app) {\n  return app.main;\n}\n"
    yield "app/index.js", "module.exports = require('./main.js');\n"
    yield "app/util/index.js", "module.exports = {};\n"
    yield "docs/guide.md", "# main.js\n\nWhat `jar.c` and main.js are: see lib/jar.c:40.\n" * 9
    line = "  if(conn->bits.proxy && !retry)\n"
    yield "lib/pasted.c", _functions(102) + "int once(void)\n{\n" + line + "    stop();\n}\n"
    said = 'int said(void)\n{\n  failf("Could not resolve host: %s; jar %d", name, n);\n}\n'
    yield "lib/said.c", _functions(103) + said
    yield (
        "lib/short.c",
        _functions(104)
        + (
            'int early(void)\n{\n  die("early jar");\n  die("object file %s is empty", jar);\n'
            '  die("lid spec %s does not match any", spec);\n}\n'
        ),
    )
    env = "".join(f"  - name: SOME_{n}\n    value: it\n" for n in range(30))
    yield "deploy/app.yaml", f"env:\n{env}  - name: HOST_RETRY_LID\n    value: it\n"
    retry = "\n".join(
        f"int host_retry_lid_{n}(int lid)\n{{\n  retry(host, lid);\n}}" for n in range(9)
    )
    yield "host/retry/lids.c", retry
    yield "lib/once.c", _functions(105) + "int counted(void)\n{\n  i = 1;\n}\n"
    unwind = (
        "int unwind_the_jar(void)\n{\n  return 0;\n}\n\nstruct JarUnwinder {\n  int turns;\n};\n"
        "#define lidTurners 1\n"
    )
    yield "lib/unwind.c", _functions(109) + unwind
    yield "lib/[id].c", _functions(106)
    yield "lib/caf\u00e9.c", _functions(107)
    yield "tests/check_jar.c", _functions(108)
    yield "lib/check_jar_40.c", "int check_jar_40(void)\n{\n  check(jar, 40);\n}\n"
    yield "lib/blank.c", "\n\n\n\nint only(void)\n{\n}\n"
    yield "lib/long.js", "x = 1;\ny = [" + ", ".join(f"'word{n}'" for n in range(1500)) + "];\n"
    yield "web/Response.py", "class Response:\n    def json(self):\n        return 1\n"
    yield "tests/fixtures/Response.json", '{"jar": 1}\n'
    yield "lib/store.h", "struct store {\n  int jar;\n};\n"
    steps = "  step(store);\n" * 12
    yield "lib/store.c", f"int opened(struct store *store)\n{{\n{steps}}}\n"


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexSnapshot]:
    with loaded_of(tmp_path_factory.mktemp("pasted"), _files()) as snapshot:
        assert len(snapshot.chunks) > 2000
        yield snapshot


def ask(snapshot: IndexSnapshot, text: str, mode: str = "hybrid", **more: Any) -> list[Any]:
    found: list[Any] = answer(snapshot, Search(text, mode, **more), EMBEDDER)["results"]
    return found


BOTH = pytest.mark.parametrize("mode", ["hybrid", "fts"])


@pytest.mark.promise("QRY-3")
@BOTH
@pytest.mark.parametrize(
    ("pasted", "path", "line"),
    [
        ("lib/jar.c:40", "lib/jar.c", 40),
        ("lib/jar.c:151:7", "lib/jar.c", 151),
        ("lib/jar.c:151-160", "lib/jar.c", 151),
        ("./lib/jar.c:1", "lib/jar.c", 1),
        ("deep/jar.c:99:", "lib/deep/jar.c", 99),
        ("jar.c:200", "lib/jar.c", 200),
        ("/home/who/project/lib/jar.c:77", "lib/jar.c", 77),
        ("/home/who/elsewhere/part7.c:77", "lib/part7.c", 77),
        ("part7.c:120", "lib/part7.c", 120),
        ("lib/jar.c:40:3: error: expected 'lid' before 'proxy'", "lib/jar.c", 40),
        ("  at lib/jar.c:40", "lib/jar.c", 40),
        ("lib/jar.c(40,7): error TS2304: cannot find name jar", "lib/jar.c", 40),
        ('File "/usr/lib/who/lib/jar.c", line 40, in open_jar', "lib/jar.c", 40),
        ("at Jar.open (/home/who/lib/jar.c:40:25)", "lib/jar.c", 40),
        ("lib/jar.c#L40", "lib/jar.c", 40),
        ("what is lib/jar.c line 40 for", "lib/jar.c", 40),
        ("who/lib/jar.c:40", "lib/jar.c", 40),
        ("/usr/lib/python3/who/app/main.js:1:1", "app/main.js", 1),
        ("a/" * 400 + "lib/jar.c:40", "lib/jar.c", 40),
        ("LIB/Jar.C:40", "lib/jar.c", 40),
        ("lib/[id].c:40", "lib/[id].c", 40),
        ("lib/cafe\u0301.c:40", "lib/caf\u00e9.c", 40),
        ("check_jar.c:40", "tests/check_jar.c", 40),
    ],
)
def test_a_place_is_shown_as_it_is(
    snapshot: IndexSnapshot, pasted: str, path: str, line: int, mode: str
) -> None:
    answered = answer(snapshot, Search(pasted, mode, explain=True), EMBEDDER)
    first = answered["results"][0]
    assert answered["relaxed"] == []
    assert first["path"] == path
    assert first["line_start"] <= line <= first["line_end"]
    assert not first["signals"].keys() & {"test", "example", "document"}, "it is what is asked for"
    shown = range(first["snippet_start"], first["snippet_start"] + 5)
    assert line in shown
    [(start, _)] = first["marks"]
    assert first["snippet_start"] + first["snippet"].count("\n", 0, start) in (line, line + 1)


@pytest.mark.promise("QRY-3")
@BOTH
@pytest.mark.parametrize(
    ("pasted", "paths"),
    [
        ("jar.c", ["lib/jar.c", "lib/deep/jar.c"]),
        ("deep/jar.c", ["lib/deep/jar.c"]),
        ("jar.h", ["lib/jar.h"]),
        ("LIB/JAR.H", ["lib/jar.h"]),
        ("main.js", ["app/main.js"]),
        ("index.js", ["app/index.js", "app/util/index.js"]),
        ("lib/letters.c", ["lib/letters.c"]),
        ("jar.c:99999", ["lib/jar.c"]),
    ],
)
def test_a_file_that_is_there_is_meant_and_no_name_with_a_dot_in_it(
    snapshot: IndexSnapshot, pasted: str, paths: list[str], mode: str
) -> None:
    found = ask(snapshot, pasted, mode)
    assert [hit["path"] for hit in found[: len(paths)]] == paths
    if ":" not in pasted:
        assert [(hit["snippet_start"], hit["marks"]) for hit in found[: len(paths)]] == [
            (1, ())
        ] * len(paths)


@pytest.mark.promise("QRY-3")
@BOTH
def test_lines_before_the_first_piece_and_pieces_of_one_line_are_places(
    snapshot: IndexSnapshot, mode: str
) -> None:
    for line in (0, 1, 2, 5, 7, 99):
        first = ask(snapshot, f"blank.c:{line}", mode)[0]
        assert (first["path"], first["line_start"]) == ("lib/blank.c", 5)
        assert len(first["marks"]) == bool(line)
    assert "'word0'" in ask(snapshot, "lib/long.js:2", mode)[0]["snippet"]


@pytest.mark.promise("QRY-3")
@BOTH
def test_a_name_that_something_has_is_no_file(snapshot: IndexSnapshot, mode: str) -> None:
    assert ask(snapshot, "Response.json", mode)[0]["path"] == "web/Response.py"
    assert ask(snapshot, "response.json", mode)[0]["path"] == "web/Response.py"


@pytest.mark.promise("QRY-3")
@BOTH
def test_a_type_is_asked_for_with_the_word_for_it(snapshot: IndexSnapshot, mode: str) -> None:
    for asked in ("struct store", "struct store {"):
        first = ask(snapshot, asked, mode, explain=True)[0]
        assert first["path"] == "lib/store.h"
        assert "definition" in first["signals"]
    for asked in ("struct jar", "struct opened"):  # a struct is neither, and a function is
        found = ask(snapshot, asked, mode, explain=True)
        assert not any("definition" in hit["signals"] for hit in found)


@pytest.mark.promise("QRY-3")
def test_beside_a_file_nothing_is_meant_that_is_called_as_it_ends(snapshot: IndexSnapshot) -> None:
    found = ask(snapshot, "jar.h", explain=True)
    assert len(found) == 10
    assert not any("definition" in hit["signals"] for hit in found)
    assert "definition" in ask(snapshot, "letters.h", explain=True)[0]["signals"]


@pytest.mark.promise("QRY-3")
def test_what_is_no_file_is_a_name(snapshot: IndexSnapshot) -> None:
    assert "pasted" not in ask(snapshot, "elsewhere/part7.c", explain=True)[0]["signals"]
    assert ask(snapshot, "letters.h")[0]["path"] == "lib/letters.c"
    assert ask(snapshot, "app.js")[0]["path"] == "app/main.js"


@pytest.mark.promise("QRY-5")
def test_a_place_that_a_filter_stops_is_not_shown(snapshot: IndexSnapshot) -> None:
    found = ask(snapshot, "jar.c:40", filters=Filters(exclude_paths=("lib/jar.c",)))
    assert found[0]["path"] == "lib/deep/jar.c"
    assert "lib/jar.c" not in {hit["path"] for hit in found}


@pytest.mark.promise("QRY-3")
@BOTH
def test_a_name_that_nothing_defines_is_found_first_where_it_stands(
    snapshot: IndexSnapshot, mode: str
) -> None:
    first, second = ask(snapshot, "HOST_RETRY_LID", mode, explain=True)[:2]
    assert first["path"] == "deploy/app.yaml"
    assert "HOST_RETRY_LID" in first["snippet"]
    assert first["signals"]["pasted"] > 2
    assert "data" in first["signals"], "it is no more than others of its purpose"
    assert "pasted" not in second["signals"]


@pytest.mark.promise("QRY-3")
@BOTH
@pytest.mark.parametrize(
    ("pasted", "path"),
    [
        ("if(conn->bits.proxy && !retry)", "lib/pasted.c"),
        ("\t\tif(conn->bits.proxy   &&\n !retry)", "lib/pasted.c"),
        ("int said(void)", "lib/said.c"),
        ("Could not resolve host: jar.example", "lib/said.c"),
        ("app: (6) Could not resolve host: retry; conn", "lib/said.c"),
        ("fatal: early jar", "lib/short.c"),
        ("error: object file .git/ab/12 is empty", "lib/short.c"),
        ("error: lid spec jarr does not match any", "lib/short.c"),
        ("i = 1", "lib/once.c"),
        ("export function js(app) {", "app/main.js"),
    ],
)
def test_a_line_and_a_message_are_found_where_they_stand(
    snapshot: IndexSnapshot, pasted: str, path: str, mode: str
) -> None:
    assert ask(snapshot, pasted, mode)[0]["path"] == path


def test_a_line_stands_where_it_is_but_for_white_space(snapshot: IndexSnapshot) -> None:
    every = range(snapshot.chunks.places)

    def paths(text: str) -> set[str]:
        return {snapshot.chunks.read(n).path for n in standing(text, every, snapshot.chunks)}

    assert paths(" if(conn->bits.proxy\n&& !retry) ") == {"lib/pasted.c"}
    assert paths("if(conn->bits.proxy&& !retry)") == set()
    assert paths("If(conn->bits.proxy && !retry)") == set()


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize("mode", ["hybrid", "fts", "semantic"])
@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("wobble_jar", "wobble_jar"),
        ("jsFailf", "jsFailf"),
        ("Retry.jsFailf()", "jsFailf"),
        ("failf_of_js", "failf_of_js"),
        ("js", None),
        ("failf", None),
        ("bitsProxy", None),
        ("jar.c", None),
        ("retry a proxy", None),
        ('"js failf"', None),
    ],
)
def test_a_name_that_nothing_has_is_said_to_be_missing(
    snapshot: IndexSnapshot, name: str, missing: str | None, mode: str
) -> None:
    found = answer(snapshot, Search(name, mode), EMBEDDER)
    assert found["results"]
    assert found.get("missing") == missing


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize("mode", ["hybrid", "fts", "semantic"])
@pytest.mark.parametrize(
    ("typed", "meant", "path"),
    [
        ("unwind_the_jra", "unwind_the_jar", "lib/unwind.c"),
        ("unwind_the_ja", "unwind_the_jar", "lib/unwind.c"),
        ("unwindTheJjar()", "unwind_the_jar", "lib/unwind.c"),
        ("Jar.unwind_teh_jar", "unwind_the_jar", "lib/unwind.c"),
        ("JarUnwindr", "JarUnwinder", "lib/unwind.c"),
        ("lidTurnesr", "lidTurners", "lib/unwind.c"),
        ("jsFailf", None, ""),
        ("zwind_the_jar", None, ""),
    ],
)
def test_for_a_name_that_nothing_has_the_one_is_looked_for_that_it_is_most_like(
    snapshot: IndexSnapshot, typed: str, meant: str | None, path: str, mode: str
) -> None:
    found = answer(snapshot, Search(typed, mode), EMBEDDER)
    assert found.get("meant") == meant
    assert "missing" in found
    shown = [hit["path"] for hit in found["results"]]
    assert not meant or mode == "semantic" or shown[0] == path
    elsewhere = Filters(exclude_paths=("lib/unwind.c",))
    assert answer(snapshot, Search(typed, mode, filters=elsewhere), EMBEDDER).get("meant") == meant


def test_why_it_is_first_is_explained(snapshot: IndexSnapshot) -> None:
    for pasted in ("lib/jar.c:40", "if(conn->bits.proxy && !retry)"):
        assert ask(snapshot, pasted, explain=True)[0]["signals"]["pasted"] > 0
    assert "pasted" not in ask(snapshot, "retry a proxy", explain=True)[0]["signals"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a/b.py:12", Place("a/b.py", 12)),
        (" a/b.py:12:3: ", Place("a/b.py", 12)),
        ("./b.py", Place("b.py", 0)),
        ("b.py", Place("b.py", 0)),
        ("a/b", Place("a/b", 0)),
        ("Makefile:3", Place("Makefile", 3)),
        ("localhost:8080", Place("localhost", 8080)),
        ("os.path.join", None),
        ("Parser.parse", None),
        ("parse", None),
        ("std::vector", None),
        ("a b.py", None),
        ("https://a/b.py", None),
        ('"a/b.py"', None),
        ("src/*.py", None),
        ("/", None),
        ("", None),
        ("a/" * 600 + "b.py", None),
    ],
)
def test_a_place_is_told_from_a_name(text: str, place: Place | None) -> None:
    assert place_in(text) == place


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("retry a proxy that is slow", []),
        ("parse_config", []),
        ("open a jar (or a lid), and return it", []),
        ("f(x)", [["f", "x"]]),
        ("error: could not open it: no such", [
            ["could", "not", "open", "it", "no", "such"], ["could", "not", "open", "it"],
            ["no", "such"], ["could", "not", "open"], ["not", "open", "it"],
        ]),
        ("lid: object .git/ab/12 is empty", [
            ["lid", "object", "git", "ab", "12", "is", "empti"],
        ]),
        ("fatal: object .git/ab/12 is empty", [
            ["object", "git", "ab", "12", "is", "empti"], ["is", "empti"],
        ]),
        ("unknown lid: jar", [["unknown", "lid", "jar"], ["unknown", "lid"]]),
        ("jar: bad lid 'open'", [["jar", "bad", "lid", "open"], ["bad", "lid"]]),
        ("a; " * 100, []),
    ],
)  # fmt: skip
def test_what_has_signs_is_looked_for_in_a_row(text: str, runs: list[list[str]]) -> None:
    assert runs_in(text) == runs


TRACES = {
    "python": "Traceback (most recent call last):\n"
    '  File "/home/who/lib/part7.c", line 77, in run\n    open("lib/jar.c")\n'
    '  File "/usr/lib/site-packages/lib/jar.c", line 40, in open_jar\n    lid()\n'
    '  File "/usr/lib/python3/http/client.py", line 9, in connect\n'
    "JarError: the jar is not open",
    "node": 'JarError: cannot open the "jar"\n'
    "    at lid (/home/who/node_modules/it/lib/jar.c:40:9)\n"
    "    at run (file:///home/who/lib/part7.c:77:1)\n    at node:internal/main:1:1",
    "java": "JarError: the jar is not open\n\tat lib.Jar.open(jar.c:40)\n"
    "\tat java.base/java.util.List.get(List.java:3)\n\tat lib.Part.run(part7.c:77)",
    "go": "panic: the jar is not open\n\ngoroutine 1 [running]:\nlib.open(0x1)\n"
    "\t/home/who/it/lib/jar.c:40 +0x1d\nmain.main()\n\t/home/who/it/lib/part7.c:77 +0x5",
    "rust": "thread 'main' panicked at lib/jar.c:40:9:\nnot open\nstack backtrace:\n"
    "   0: rust_panic\n             at /rustc/9fc6/library/src/panicking.rs:665:5\n"
    "   1: it::open\n             at ./lib/jar.c:40:9\n             at ./lib/part7.c:77:3",
    "windows": "jar error\n  at lid (C:\\\\it\\\\lib\\\\jar.c:40:9)\n"
    "  at run (C:\\\\it\\\\lib\\\\part7.c:77:1)",
}


@pytest.mark.promise("QRY-3")
@BOTH
@pytest.mark.parametrize("kind", TRACES)
def test_of_a_trace_the_deepest_frame_in_here_comes_first_and_then_the_others(
    snapshot: IndexSnapshot, kind: str, mode: str
) -> None:
    found = ask(snapshot, TRACES[kind].replace("\\\\", "\\"), mode, explain=True)
    assert [hit["path"] for hit in found[:2]] == ["lib/jar.c", "lib/part7.c"]
    for hit, line in zip(found, (40, 77), strict=False):
        ((start, _),) = hit["marks"]
        assert hit["snippet_start"] + hit["snippet"].count("\n", 0, start) == line
    scores = [hit["score"] for hit in found]
    assert scores == sorted(scores, reverse=True)
    assert len(found) == 10


def test_a_trace_of_elsewhere_has_no_place_here(snapshot: IndexSnapshot) -> None:
    text = '  File "/usr/lib/python3/http/client.py", line 9, in connect\n'
    frames = frames_in(text * 2)
    assert frames == [Place("/usr/lib/python3/http/client.py", 9)]
    assert traced(frames, snapshot.chunks, None) == {}
    assert frames_in(text) == frames_in("one\ntwo(3)\n") == []


@pytest.mark.parametrize(
    ("files", "frames", "paths"),
    [
        # A name that anybody has, of a package elsewhere; and a file at the root, beside another.
        (["index.js", "src/app.js"], ["/app/express/index.js", "/app/src/app.js"], ["src/app.js"]),
        (
            ["index.js", "src/app.js"],
            ["/app/index.js", "/app/src/app.js"],
            ["index.js", "src/app.js"],
        ),
        (
            ["utils.py", "src/app.py"],
            ["/usr/lib/requests/utils.py", "/w/src/app.py"],
            ["src/app.py"],
        ),
        (["main.py"], ["/home/who/main.py"], ["main.py"]),
        (["main.py", "a/main.py"], ["main.py"], ["main.py"]),
        (["a/b/main.py", "c/b/main.py"], ["/w/c/b/main.py"], ["c/b/main.py"]),
        (["a/b/main.py", "c/b/main.py"], ["/w/d/b/main.py"], ["a/b/main.py"]),
        (["a/main.py"], ["/w/d/main.py"], []),
        (["a/b/main.py"], ["b/main.py", "main.py"], ["a/b/main.py"]),
    ],
)
def test_a_frame_is_of_the_file_that_its_path_surely_tells(
    tmp_path: Path, files: list[str], frames: list[str], paths: list[str]
) -> None:
    with loaded_of(tmp_path, [(path, "one()\ntwo()\n") for path in files]) as snapshot:
        found = traced([Place(path, 2) for path in frames], snapshot.chunks, None)
        assert [snapshot.chunks.read(chunk).path for chunk in found] == paths


def test_one_place_in_lines_that_are_no_trace_is_no_frame() -> None:
    assert frames_in("why does utils.py:3 do that?\nwhat about the boot") == []
    assert frames_in("services:\n    image: docs/nginx:12\n") == []
    assert frames_in("utils.py:3: error: no\n   that()") == [Place("utils.py", 3)]


def test_what_is_no_trace_is_looked_through_in_linear_time() -> None:
    def taken(count: int) -> float:
        began = time.process_time()
        frames_in("a.py:1: error" + "\n" * count + "b")
        return time.process_time() - began

    taken(2000)
    assert taken(30_000) < 10 * taken(8000) + 0.1
