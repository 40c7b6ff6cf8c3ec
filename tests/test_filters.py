"""Filters: what people type is what is meant, and what passes is exactly that, at any share."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from loaded import loaded
from segments import graphs

from cidx_ref.braces import alternatives
from cidx_ref.daemon.arguments import search_options
from cidx_ref.errors import BadArgumentError
from cidx_ref.globs import escape
from cidx_ref.index import fulltext
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.filelist import StoredFile
from cidx_ref.index.filters import Filters
from cidx_ref.index.live import FileSet
from cidx_ref.index.matching import PathSet
from cidx_ref.index.named import Names, Unmatched
from cidx_ref.index.port import Search
from cidx_ref.index.query import parsed
from cidx_ref.index.search import answer
from cidx_ref.index.snapshot import IndexSnapshot
from cidx_ref.index.store import ChunkStore
from cidx_ref.index.storing import StoredChunk
from cidx_ref.project import Project
from cidx_ref.testing.own.fixtures import build, write
from cidx_ref.typed import from_root

pytestmark = pytest.mark.once

ALL = list(HealthCheck)

# Braces.


@pytest.mark.parametrize(
    ("pattern", "stands_for"),
    [
        ("*.py", ["*.py"]),
        ("*.{ts,js}", ["*.ts", "*.js"]),
        ("{src,lib}/*.{c,h}", ["src/*.c", "src/*.h", "lib/*.c", "lib/*.h"]),
        ("src/{api/{v1,v2},web}/*", ["src/api/v1/*", "src/api/v2/*", "src/web/*"]),
        ("{a/b,c}/", ["a/b/", "c/"]),
        ("src{,/api}/x", ["src/x", "src/api/x"]),
        ("{a,a,b}", ["a", "b"]),
        ("{id}.ts", ["{id}.ts"]),
        ("{}", ["{}"]),
        ("a,b", ["a,b"]),
        ("{a,b", ["{a,b"]),
        ("a,b}", ["a,b}"]),
        ("{a,{b,c}", ["{a,b", "{a,c"]),
        ("{{a,b}}", ["{a}", "{b}"]),
        ("{a,b}}", ["a}", "b}"]),
        (r"\{a,b}", [r"\{a,b}"]),
        (r"{a\,b,c}", [r"a\,b", "c"]),
        (r"{a,b\}", [r"{a,b\}"]),
        ("a\\", ["a\\"]),
        ("{a,b}\\", ["a\\", "b\\"]),
    ],
)
def test_braces_are_those_of_a_shell(pattern: str, stands_for: list[str]) -> None:
    assert alternatives(pattern, 1000) == stands_for


@pytest.mark.parametrize(
    "pattern",
    [
        "{" + ",".join(f"name{n}" for n in range(10_000)) + "}",
        "{a,b}" * 800,
        "{" * 500 + "a,b" + "}" * 500 + "{c,d}" * 100,
        "{" + "," * 20_000 + "}",
        "{a,b}{" * 500,
        "x" * 2000 + "{a,b,c,d,e,f,g,h,i}",
    ],
    ids=lambda pattern: pattern[:12],
)
@pytest.mark.promise("QRY-5")
def test_what_braces_stand_for_is_bounded_before_it_is_made(pattern: str) -> None:
    began = time.thread_time()
    with pytest.raises(ValueError, match="more than 16384 characters"):
        alternatives(pattern, 16_384)
    assert time.thread_time() - began < 1


@pytest.mark.promise("QRY-5")
@settings(derandomize=True, deadline=None, max_examples=300, suppress_health_check=ALL)
@given(st.text("{},ab\\/*", max_size=40))
@example("{" * 40)
@example("{," * 20)
@example("{a," * 13 + "}")
def test_of_any_braces_what_they_stand_for_has_its_letters_in_order(pattern: str) -> None:
    try:
        found = alternatives(pattern, 2000)
    except ValueError:
        return
    assert found
    assert sum(map(len, found)) <= 2000
    for each in found:
        letters = iter(pattern)
        assert all(letter in letters for letter in each), each


# What a pattern means beside the names that are there.

PATHS = [
    "app/[id]/page.tsx", "app/[id]/[slug].tsx", "app/i/page.tsx", "app/(group)/page.tsx",
    "app/[[...all]]/x.ts", "docs/a b.md", "docs/what?.md", "docs/*.md", "docs/end ", "src/box.c",
    "src/box.h", "src/deep/tool.py", "src/deep/tool.py:7", "lib/{a,b}.js", "lib/a.js", "lib/b.ts",
    "lib/odd\\name.c", "tests/test_tool.py", "README.md", "Makefile", "caf\udce9/menu.txt",
    "x*/a.zig", "xy/a.zig",
]  # fmt: skip
LANGUAGES = {"py": "python", "c": "c", "h": "c", "tsx": "typescript", "md": "markdown"}


def names(paths: Sequence[str]) -> Names:
    return Names(
        StoredFile(n, path, LANGUAGES.get(path.rpartition(".")[2], "text"), "", False, 1)
        for n, path in enumerate(paths)
    )


def let_through(pattern: str) -> list[str]:
    """The paths that `pattern` lets through, as a program passes it to the daemon."""
    filters = search_options("x", 10, {"paths": [pattern]}, project_path="/home/me/project")[
        "filters"
    ]
    understood, _ = names(PATHS).understood(filters)
    return [p for p, is_in in zip(PATHS, PathSet(understood.paths).select(PATHS), strict=True)
            if is_in]  # fmt: skip


@pytest.mark.promise("QRY-2")
@pytest.mark.parametrize("path", PATHS, ids=ascii)
def test_the_path_of_any_hit_lets_just_that_file_through(path: str) -> None:
    assert let_through(path) == [path]
    assert let_through(f"./{path}") == [path]
    assert let_through(f"/home/me/project/{path}") == [path]
    assert let_through(escape(path)) == [path], "or escaped"
    if not path.startswith("src/deep/tool.py"):  # of which two lines are names
        assert let_through(f"{path}:12") == let_through(f"{path}:12:5") == [path]
        assert let_through(f"{path}:12-20") == let_through(f"{path}:12:") == [path]


APP = [path for path in PATHS if path.startswith("app/")]


@pytest.mark.promise("QRY-2")
@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("src/deep/tool.py:7", ["src/deep/tool.py:7"]),
        ("src/deep/tool.py:8", ["src/deep/tool.py"]),
        ("tool.py:8", ["src/deep/tool.py"]),
        ("test_tool.py:8", ["tests/test_tool.py"]),
        ("app/[id]", APP[:2]),
        ("app/[id]/", APP[:2]),
        ("app/[id]/*.tsx", APP[:2]),
        ("app/[id]/[s]*", []),
        ("app/[id]/[[]s*", ["app/[id]/[slug].tsx"]),
        ("app/[h-j]/*", ["app/i/page.tsx"]),
        ("[id]/", APP[:2]),
        ("[slug].tsx", ["app/[id]/[slug].tsx"]),
        ("(group)", ["app/(group)/page.tsx"]),
        ("[[...all]]", ["app/[[...all]]/x.ts"]),
        ("docs/*.md", ["docs/*.md"]),
        ("docs/*", ["docs/a b.md", "docs/what?.md", "docs/*.md", "docs/end "]),
        ("docs/*.m?", ["docs/a b.md", "docs/what?.md", "docs/*.md"]),
        ("*.{c,h}", ["src/box.c", "src/box.h", "lib/odd\\name.c"]),
        ("{src,lib}/*.{c,js}", ["src/box.c", "lib/{a,b}.js", "lib/a.js", "lib/odd\\name.c"]),
        ("lib/{a,b}.*", ["lib/a.js", "lib/b.ts"]),
        ("lib/{a,b}.js", ["lib/{a,b}.js"]),
        ("./src", PATHS[9:13]),
        ("./src/./deep//tool.py", ["src/deep/tool.py"]),
        ("src/../lib/a.js", ["lib/a.js"]),
        ("src/deep/../box.c", ["src/box.c"]),
        ("./{src,lib}/../Makefile", ["Makefile"]),
        (r"src\deep\tool.py", ["src/deep/tool.py"]),
        (r".\src\box.c", ["src/box.c"]),
        (r"docs/\*.md", ["docs/*.md"]),
        (".", PATHS),
        ("./", PATHS),
        ("/", PATHS),
        ("src/..", PATHS),
        ("/home/me/project", PATHS),
        ("/home/me/project/", PATHS),
        ("/home/me/project/{src,lib}/box.*", ["src/box.c", "src/box.h"]),
        ("/home/me/projects/src", []),
        ("Src", []),
        ("x*/*.zig", ["x*/a.zig", "xy/a.zig"]),
    ],
)  # fmt: skip
def test_what_is_there_is_meant_first_and_a_pattern_else(pattern: str, found: list[str]) -> None:
    assert let_through(pattern) == found


@pytest.mark.promise("QRY-2")
@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("src/dee", "src/deep"),
        ("sr/dep/zz", "src/deep"),
        ("mak", "Makefile"),
        ("READ", "README.md"),
        ("tol.py", "tool.py"),
        ("deepp/", "deep"),
        ("bx.c/", "box.c"),
        ("/deepp/", "deep"),
        ("t", None),
    ],
)
def test_what_begins_so_or_is_a_name_at_any_depth_is_likest(typed: str, meant: str | None) -> None:
    _, unmatched = names(PATHS).understood(Filters(paths=(typed,)))
    assert unmatched == {"paths": {typed: meant}}


@pytest.mark.promise("QRY-5")
@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("..", "'..': its .. leads to nowhere in the project"),
        ("../lib", "'../lib': its .. leads"),
        ("src/../../lib", "its .. leads"),
        ("**/../lib", "its .. leads"),
        ("{src,../lib}", "its .. leads"),
        ("{,}", "'{,}': not a pattern as in .gitignore: its braces stand for nothing"),
        ("{a,b[}", "not a pattern as in .gitignore: it has a [ without its ]"),
        ("{a,b}" * 500, "braces stand for more than 16384 characters"),
        ("*.{" + ",".join(f"x{n}" for n in range(25)) + "}", "more than 24 endings"),
        ("a?{" + ",".join(f"{n}" for n in range(5)) + "}", "more than 4 names with several"),
        ("{" + ",".join(f"{n:0100}" for n in range(40)) + "}{a,b,c,d,e}", "more than 16384 char"),
    ],
    ids=lambda text: text[:20],
)
def test_what_leads_out_or_is_too_much_is_refused_by_name(pattern: str, said: str) -> None:
    for name in ("paths", "exclude_paths"):
        with pytest.raises(BadArgumentError) as caught:
            search_options("x", 10, {name: [pattern]})
        assert str(caught.value).startswith(f"{name}: ")
        assert said in str(caught.value)


@pytest.mark.promise("QRY-2")
def test_a_filter_that_no_file_matches_is_named_with_what_is_likest_to_it() -> None:
    def unmatched(**filters: tuple[str, ...]) -> Unmatched:
        return names(PATHS).understood(Filters(**filters))[1]

    assert unmatched() == {}
    assert unmatched(paths=("src/", "/src", "*.py", "box.c", "src/*.c"), languages=("c",)) == {}
    assert unmatched(languages=("python", "cpp", "objective-c")) == {}, "a header may be either"
    assert unmatched(languages=("rust", "c", "rust")) == {"languages": {"rust": None}}
    assert unmatched(paths=("srx",), exclude_paths=("tets/", "lib/")) == {
        "paths": {"srx": "src"}, "exclude_paths": {"tets/": "tests"},
    }  # fmt: skip
    assert unmatched(paths=("src/deep/tol.py",)) == {
        "paths": {"src/deep/tol.py": "src/deep/tool.py"}
    }
    assert unmatched(paths=("SRC/box.c", "src/box.c/", "zzz", "*.rs", "a/b")) == {
        "paths": {
            "SRC/box.c": "src/box.c",
            "src/box.c/": None,
            "zzz": None,
            "*.rs": None,
            "a/b": None,
        }
    }
    there = (
        "READ*",
        "*.md",
        "Makefile",
        "deep",
        "deep/",
        "src/",
        "/Makefile",
        "*ep",
        "box*",
        "[id]/",
    )
    assert unmatched(paths=there) == {}
    gone = ("EAD*", "*.m", "akefile", "Make", "ee", "box.c/", "/deep/", "/*.c", "ook*/", "*.c/")
    for each in gone:
        assert list(unmatched(paths=(each,))) == ["paths"], each
    # Of those that take a pass over all paths each, so many are looked at; one that is looked up,
    # always.
    many = tuple(f"x{n}*.x" for n in range(9))
    assert unmatched(paths=(*many, "no/where")) == {"paths": dict.fromkeys([*many[:4], "no/where"])}


@pytest.mark.promise("QRY-4", "QRY-5")
@settings(derandomize=True, deadline=None, max_examples=400, suppress_health_check=ALL)
@given(
    st.lists(st.text("ab/.*?[]{},\\!:1~ \n\udce9é", max_size=12) | st.text(max_size=8), max_size=4),
    st.lists(st.sampled_from([*PATHS, "..", "./", "{" * 30, "[" * 9, "a" * 5000]), max_size=2),
)
def test_any_filter_is_refused_by_name_or_taken(given_: list[str], excluded: list[str]) -> None:
    try:
        asked = search_options(
            "x", 10, {"paths": given_, "exclude_paths": excluded}, project_path="/a"
        )
    except BadArgumentError as error:
        assert str(error).startswith(("paths", "exclude_paths"))  # noqa: PT017
        return
    understood, unmatched = names(PATHS).understood(asked["filters"])
    for globs in (understood.paths, understood.exclude_paths):
        assert len(list(PathSet(globs).select(PATHS))) == len(PATHS)
    assert set(unmatched) <= {"paths", "exclude_paths"}


@pytest.mark.promise("RPC-4", "QRY-5")
@pytest.mark.parametrize(
    "pattern",
    [
        "{" * 2,
        "{a,",
        "{a,b}",
        "{}",
        "[{]",
        "../",
        "./",
        "a/",
        "[a]/",
        "\\{",
        ":1",
        "{,",
        "*{",
        "a ",
    ],
)
def test_the_time_of_a_filter_grows_with_its_length_at_most(pattern: str) -> None:
    paths = names([f"folder{n // 40}/file{n}.py" for n in range(2000)])

    def steps(size: int) -> float:
        best = []
        for _ in range(3):
            began = time.thread_time()
            try:
                text = (pattern * size)[:size]
                asked = search_options("x", 10, {"paths": [text, text + "x"]})
                paths.understood(asked["filters"])
            except BadArgumentError:
                pass
            best.append(time.thread_time() - began)
        return min(best)

    assert steps(4096) < 12 * steps(1024) + 0.02


# What is typed in a shell.


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for path in ("src/api/a.ts", "lib/b.py", "pkg/src/c.py", "pkg/lib/d.py", "app/[id]/page.tsx",
                 "app/i/page.tsx", "pkg/[x.c", "pkg/a b.c", "etc/x", "pkg/tests/t.py"):  # fmt: skip
        write(tmp_path / "proj", path, "x")
    write(tmp_path, "elsewhere/x.c", "x")
    (tmp_path / "link").symlink_to("proj")
    return tmp_path / "proj"


@pytest.mark.promise("QRY-2")
@pytest.mark.parametrize(
    ("typed", "here", "meant"),
    [
        ("./src", "", "/src"),
        ("./src/", "pkg", "/pkg/src/"),
        ("../lib", "pkg", "/lib"),
        ("../lib", "pkg/src", "/pkg/lib"),
        ("../*.py", "pkg/src", "/pkg/*.py"),
        (".", "pkg", "/pkg/"),
        ("..", "pkg", "/"),
        ("src/", "", "src/"),
        ("src/", "pkg", "src/"),
        ("src/c.py", "pkg", "/pkg/src/c.py"),
        ("src/c.py:3", "pkg", "/pkg/src/c.py"),
        ("src/*.py", "pkg", "/pkg/src/*.py"),
        ("src/api", "pkg", "src/api"),
        ("lib/b.py", "pkg", "lib/b.py"),
        ("pkg/lib/d.py", "pkg", "pkg/lib/d.py"),
        ("tests/{t,u}.py", "pkg", "/pkg/tests/{t,u}.py"),
        ("*.{ts,js}", "pkg", "*.{ts,js}"),
        ("**/*.py", "pkg", "**/*.py"),
        ("app/[id]/page.tsx", "", r"app/\[id]/page.tsx"),
        ("./page.tsx", "app/[id]", r"/app/\[id]/page.tsx"),
        ("./*.tsx:4", "app/[id]", r"/app/\[id]/*.tsx:4"),
        ("app/[a-z]/page.tsx", "", "app/[a-z]/page.tsx"),
        ("./[x.c", "pkg", r"/pkg/\[x.c"),
        ("./a b.c:12", "pkg", "/pkg/a b.c"),
        ("{root}/src", "pkg", "/src"),
        ("{root}/src/", "", "/src/"),
        ("{root}/pkg/../lib/*.py", "", "/lib/*.py"),
        ("{root}", "pkg", "/"),
        ("{above}/link/src", "", "/src"),
        ("~/proj/src", "pkg", "/src"),
        ("/etc/x", "", "/etc/x"),
        ("/no-such-thing/x", "", "/no-such-thing/x"),
        ("/", "pkg", "/"),
    ],
)
def test_what_is_typed_is_meant_from_where_one_is(
    tree: Path, monkeypatch: pytest.MonkeyPatch, typed: str, here: str, meant: str
) -> None:
    monkeypatch.setenv("HOME", str(tree.parent))
    typed = typed.replace("{root}", str(tree)).replace("{above}", str(tree.parent))
    assert from_root(typed, str(tree), str(tree / here).rstrip("/")) == meant


@pytest.mark.promise("QRY-5")
@pytest.mark.parametrize(
    "typed", ["../elsewhere", "../../x", "{above}/elsewhere", "/usr", "/proc/self", "~", "../proj2"]
)
def test_what_is_typed_and_leads_out_of_the_project_is_refused(
    tree: Path, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    monkeypatch.setenv("HOME", str(tree.parent))
    typed = typed.replace("{above}", str(tree.parent))
    with pytest.raises(BadArgumentError, match="not in the project"):
        from_root(typed, str(tree), str(tree))


@pytest.mark.promise("QRY-5")
def test_outside_of_the_project_only_the_root_is_meant(tree: Path) -> None:
    elsewhere = str(tree.parent / "elsewhere")
    assert from_root("src/api", str(tree), elsewhere) == "src/api"
    assert from_root("x.c", str(tree), elsewhere) == "x.c"
    with pytest.raises(BadArgumentError, match="not in the project"):
        from_root("./x.c", str(tree), elsewhere)


@settings(derandomize=True, deadline=None, max_examples=200, suppress_health_check=ALL)
@given(st.text("ab/.*[{~:1\0\\é ", max_size=12) | st.text(max_size=5))
@example("/\0")
def test_anything_may_be_typed(typed: str) -> None:
    try:
        assert isinstance(from_root(typed, "/usr/share", "/usr/share/doc"), str)
    except BadArgumentError as error:
        assert ("zero byte" if "\0" in typed else "not in the project") in str(error)  # noqa: PT017


# Among thousands of chunks.

FOLDERS = ["src/", "src/core/", "lib/", "tests/", "app/[id]/", "docs/", "inc/", "vendor/x/"]
ENDINGS = [".py", ".py", ".py", ".c", ".h", ".md", ".js", ".v"]
FILES, EACH = 1100, 3
WORDS = [f"{a}{b}{c}" for a in "bdfgk" for b in "aiou" for c in ("lt", "rn", "mp", "sk", "nd")]
QUERIES = ["balt", "balt dirn fomp", "kund", "gask fund", "the value of balt", "return value"]
SHARES = [1 / FILES, 0.01, 0.05, 0.3, 0.5, 0.9, 0.99, 1 - 1 / FILES]
EMBEDDER = HashingEmbedder()


def _text(made: random.Random, number: int) -> str:
    common = made.choices(WORDS, [1 / n for n in range(1, len(WORDS) + 1)], k=12 * EACH)
    parts = [" ".join(common[12 * n : 12 * n + 12]) for n in range(EACH)]
    # One file in nine is a copy of another: many are as good as each other.
    return "\n\n".join(
        f"def f{number % 5}_{n}():\n    return '{part} value'\n" + "    # fill\n" * 40
        for n, part in enumerate(parts)
    )


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexSnapshot]:
    """More than 3,000 chunks, in a graph."""
    root = tmp_path_factory.mktemp("many")
    for number in range(FILES):
        made = random.Random(number if number % 9 else number // 18)
        folder, ending = FOLDERS[number % len(FOLDERS)], ENDINGS[number % len(ENDINGS)]
        write(root, f"{folder}f{number}{ending}", _text(made, number))
    write(root, "inc/box.h", "class Box {\npublic:\n  int wobble() const;\n};\n")
    write(root, "rtl/alu.v", "module alu(input wobble);\nendmodule\n")
    with graphs():
        build(Project.at(root))
    with loaded(Project.at(root)) as snapshot:
        assert len(snapshot.chunks) >= 3000
        yield snapshot


def paths_of(snapshot: IndexSnapshot) -> list[str]:
    return [file.path for part in snapshot.chunks.parts for file in part.files()]


def some(snapshot: IndexSnapshot, share: float) -> list[str]:
    every = paths_of(snapshot)
    return random.Random(share).sample(every, max(1, round(share * len(every))))


Ranking = list[tuple[int, float]]


def assert_is_the_beginning(found: Ranking, expected: Ranking, k: int) -> None:
    """`found` are the best `k` of `expected`; of those as good as the last, any."""
    assert len(found) == min(k, len(expected))
    assert [score for _, score in found] == pytest.approx([s for _, s in expected[:k]], abs=1e-4)
    if found:
        last = found[-1][1]
        sure = {chunk for chunk, score in expected if score > last + 1e-4}
        maybe = {chunk for chunk, score in expected if score > last - 1e-4}
        assert sure <= {chunk for chunk, _ in found} <= maybe


#: Which way is forced: tantivy is told of all, or more are asked for, or either as it comes.
WAYS = {"told": (10_000, 0), "asked for more": (0, 100_000), "as it comes": (4, 64)}


@pytest.mark.promise("QRY-2")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("share", SHARES)
def test_full_text_behind_a_filter_is_what_filtering_afterwards_leaves(
    many: IndexSnapshot, share: float, way: str
) -> None:
    engine = many.fulltext
    assert engine is not None
    mask = many.chunks.mask(Filters(paths=tuple(some(many, share))))
    assert mask is not None
    assert mask.files.count == np.count_nonzero(mask.chunks) > 0
    few, most = WAYS[way]
    with patch.multiple(fulltext, _FEW_FILES=few, _MOST=most):
        for text in QUERIES:
            query = parsed(text)
            expected = [hit for hit in engine.search(query, 10_000) if mask.chunks[hit[0]]]
            for k in (1, 10, 108):
                assert_is_the_beginning(engine.search(query, k, mask.files), expected, k)


@pytest.mark.promise("QRY-2")
@pytest.mark.parametrize("mode", ["fts", "hybrid"])
def test_an_answer_is_the_best_of_what_passes_and_not_what_passes_of_the_best(
    many: IndexSnapshot, mode: str
) -> None:
    assert many.fulltext is not None
    tried = 0
    for text in QUERIES:
        every = many.fulltext.search(parsed(text), 10_000)
        for number, _ in every[300::400]:
            path = many.chunks.read(number).path
            filters = Filters(paths=(f"/{escape(path)}",))
            hits = answer(many, Search(text, mode, filters=filters), EMBEDDER)["results"]
            assert {hit["path"] for hit in hits} == {path}
            tried += 1
    assert tried


@pytest.mark.promise("QRY-2")
def test_full_text_finds_what_a_filter_leaves_where_all_of_the_best_are_behind_it(
    many: IndexSnapshot,
) -> None:
    engine, chunks = many.fulltext, many.chunks
    assert engine is not None
    for text in QUERIES:
        query = parsed(text)
        every = engine.search(query, 10_000)
        for stopped in (5, 60, 400, len(every)):
            hidden = {chunks.read(number).path for number, _ in every[:stopped]}
            mask = chunks.mask(Filters(exclude_paths=tuple(hidden)))
            assert mask is not None
            expected = [hit for hit in every if mask.chunks[hit[0]]]
            with patch.multiple(fulltext, _FEW_FILES=4, _MOST=256):
                assert_is_the_beginning(engine.search(query, 10, mask.files), expected, 10)


@pytest.mark.promise("PERF-2")
def test_full_text_behind_a_filter_tells_tantivy_of_few_files_and_asks_for_few_hits(
    many: IndexSnapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of files are tens of milliseconds, and so are tens of thousands of hits."""
    engine = many.fulltext
    assert engine is not None
    asked: list[int] = []
    told: list[int] = []
    run, restricted = engine._run, engine._restricted

    def noted_run(query: Any, k: int) -> Any:
        asked.append(k)
        return run(query, k)

    def noted_restricted(query: Any, allowed: FileSet) -> Any:
        told.append(min(len(allowed), len(allowed.others)))
        return restricted(query, allowed)

    monkeypatch.setattr(engine, "_run", noted_run)
    monkeypatch.setattr(engine, "_restricted", noted_restricted)
    for share in SHARES:
        mask = many.chunks.mask(Filters(paths=tuple(some(many, share))))
        assert mask is not None
        for text in QUERIES:
            engine.search(parsed(text), 18, mask.files)
    assert max(told) <= 300
    assert max(asked) <= 10_000


@pytest.mark.promise("QRY-1", "QRY-2")
@pytest.mark.parametrize("share", SHARES)
def test_semantic_search_behind_a_filter_finds_the_nearest_of_what_passes(
    many: IndexSnapshot, share: float
) -> None:
    engine = many.semantic
    assert engine is not None
    mask = many.chunks.mask(Filters(paths=tuple(some(many, share))))
    assert mask is not None
    right = wanted = 0
    for text in QUERIES:
        vector = EMBEDDER.embed_query(text)
        exact = [hit for hit in engine.rank(vector, 10_000) if mask.chunks[hit[0]]][:10]
        found = engine.search(vector, 10, mask.chunks)
        assert all(mask.chunks[number] for number, _ in found)
        assert len(found) == len(exact)
        right += sum(score >= exact[-1][1] - 1e-5 for _, score in found)
        wanted += len(exact)
    assert right >= 0.95 * wanted


@pytest.mark.promise("QRY-2")
@pytest.mark.parametrize("mode", ["fts", "semantic", "hybrid"])
@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        (Filters(paths=("*.{c,js}",)), lambda p: p.endswith((".c", ".js"))),
        (Filters(paths=("/app/[id]/",)), lambda p: p.startswith("app/[id]/")),
        (Filters(paths=("/src",)), lambda p: p.startswith("src/")),
        (Filters(paths=("app/[id]/f4.h:12",)), lambda p: p == "app/[id]/f4.h"),
        (Filters(exclude_paths=("/tests", "docs/")), lambda p: p[:5] not in ("tests", "docs/")),
        (Filters(languages=("cpp",)), lambda p: p.endswith(".h")),
        (Filters(languages=("verilog", "c")), lambda p: p.endswith((".v", ".c", ".h"))),
        (Filters(languages=("rust",)), lambda p: False),
    ],
    ids=["braces", "brackets", "top", "line", "excluded", "header", "two languages", "none"],
)
def test_each_kind_of_filter_lets_through_what_it_says(
    many: IndexSnapshot, mode: str, filters: Filters, passes: object
) -> None:
    assert callable(passes)
    mask = many.chunks.mask(filters)
    assert mask is not None
    passing = {path for path in paths_of(many) if passes(path)}
    assert mask.files.count == sum(
        many.chunks.read(n).path in passing for n in range(len(many.chunks))
    )
    found = answer(many, Search("value balt", mode, 50, filters), EMBEDDER)["results"]
    assert {hit["path"] for hit in found} <= passing
    assert len(found) >= min(50, len(passing))


@pytest.mark.promise("QRY-2")
def test_a_header_is_found_as_either_of_its_languages_and_shown_as_what_it_is(
    many: IndexSnapshot,
) -> None:
    for language in ("c", "cpp", "objective-c"):
        filters = Filters(languages=(language,), paths=("box.h",))
        [hit] = answer(many, Search("wobble", "fts", 5, filters), EMBEDDER)["results"]
        assert (hit["path"], hit["language"]) == ("inc/box.h", "cpp")
    filters = Filters(languages=("verilog",))
    [hit] = answer(many, Search("wobble", "fts", 5, filters), EMBEDDER)["results"]
    assert (hit["path"], hit["language"]) == ("rtl/alu.v", "verilog")


def _says(needle: str, chunk: StoredChunk) -> bool:
    return needle in f"{chunk.name}{chunk.text}"


@pytest.mark.promise("QRY-4")
@pytest.mark.parametrize("share", SHARES)
def test_what_is_looked_for_in_the_text_itself_is_found_behind_a_filter(
    many: IndexSnapshot, share: float
) -> None:
    chunks = many.chunks
    mask = chunks.mask(Filters(paths=tuple(some(many, share))))
    assert mask is not None
    texts = {number: chunks.read(number) for number in range(chunks.places)}
    for needle in ("('", "balt kund", "():\n", "f1_2", "no such text"):
        holding = [n for n, c in texts.items() if needle in c.name + c.text and mask.chunks[n]]
        for k in (1, 7, 10_000):
            assert chunks.find_literally(needle, k, mask) == holding[:k]
            found = chunks.scan(partial(_says, needle), k, mask)
            assert set(found) <= set(holding)
            assert len(found) == min(k, len(holding))


@pytest.mark.promise("PERF-1")
def test_the_last_look_reads_little_of_what_a_filter_stops(
    many: IndexSnapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is stopped holds the word everywhere, and what passes nowhere: no chunk of it is read
    by itself."""
    mask = many.chunks.mask(Filters(paths=("*[024].py",)))  # beside them lie those of 6 and 8
    assert mask is not None
    read: list[int] = []
    reading = ChunkStore.read

    def noted(self: ChunkStore, number: int) -> StoredChunk:
        read.append(number)
        return reading(self, number)

    monkeypatch.setattr(ChunkStore, "read", noted)
    assert many.chunks.scan(lambda chunk: "6.py" in chunk.path, 10, mask) == []
    assert read == []
    one = many.chunks.mask(Filters(paths=("docs/f5.md",)))
    assert many.chunks.scan(lambda chunk: "f0_1" in chunk.text, 10, one)
    assert len(read) <= 8


def test_a_filter_that_lets_everything_through_is_none_and_says_what_it_is_not_about(
    many: IndexSnapshot,
) -> None:
    for filters in (Filters(paths=("*",)), Filters(exclude_paths=("/testz",))):
        assert many.chunks.mask(filters) is None
    assert many.chunks.unmatched(Filters(paths=("*",))) == {}
    asked = Search("balt", "fts", 1, Filters(exclude_paths=("/testz",)))
    assert many.answer(asked)["unmatched"] == {"exclude_paths": {"/testz": "tests"}}
    assert "unmatched" not in many.answer(Search("balt", "fts", 1, Filters(paths=("src/",))))
