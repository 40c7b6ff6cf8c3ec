"""What a search finds: held against the files, against brute force, against oddity."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from segments import segment

from cidx_ref import CIDXDaemonService
from cidx_ref.errors import IndexUnusableError, InternalError
from cidx_ref.files import Directory
from cidx_ref.index import engines as engines_module
from cidx_ref.index import query as query_module
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.live import LiveChunks
from cidx_ref.index.query import Query
from cidx_ref.index.semantic import SemanticIndex, VectorWriter
from cidx_ref.index.snapshot import IndexSnapshot
from cidx_ref.index.snippet import Probes
from cidx_ref.index.source import GenerationSource
from cidx_ref.index.storing import StoredChunk
from cidx_ref.index.text import words
from cidx_ref.project import Project
from cidx_ref.results import ADDED_SIGNALS
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.fixtures import MakeProject, build
from cidx_ref.testing.own.inside.asked import Meeting
from cidx_ref.testing.promises.report import RecordFigure

#: Within a tuple: to mypy it is of no type that could be equal to a number.
approx: Any = pytest.approx

PLAIN_WORDS = st.sampled_from(
    "class decorator parse HTTP getUrl naïve 7 42 x86 the how İstanbul 名前 at line error ﷺ".split()
) | st.text(st.characters(categories=["L", "Nd", "Zs"]), max_size=6)


@given(st.lists(PLAIN_WORDS, max_size=9).map(" ".join))
def test_where_there_are_only_words_no_signs_are_looked_for(text: str) -> None:
    looked, plain = Query(text), Query(text)
    looked.__dict__["_is_plain"] = False
    for each in ("name", "quotes", "preferred", "is_pasted", "identifiers", "with_endings"):
        assert getattr(plain, each) == getattr(looked, each), each


@given(st.text(st.characters(codec="utf-8"), max_size=260) | st.text("a .ﷺ", max_size=220))
def test_of_a_short_text_all_words_count(text: str) -> None:
    asked = Query(text)

    def unknown(terms: list[str]) -> dict[str, int]:
        raise AssertionError("it is not asked how rare they are")

    if len(text) <= query_module._FEW_LETTERS:
        assert asked.of_rarest(unknown) is asked
        said = [word for word in asked._said if word.lower() not in query_module._STOP_WORDS]
        assert asked.words == (said or list(asked._said))


MODES = {"semantic": "exposed_query", "fts": "exposed_query_fts", "hybrid": "exposed_query_hybrid"}

#: Lines with something in them that a query parser would trip over.
ODD = {
    "cpp/vec.cpp": "std::vector<int> v;\nfoo(1);\nif (a != b) { v->push(x); }\n",
    "js/arrow.js": "const f = (x) => x + 1;\nlet s = `${a}`;\n",
    "py/me.py": 'def set(self):\n    """Set it."""\n    self.x = {\n        "y": 2,\n    }\n',
    "sql/q.sql": "ALTER TABLE t MOVE IN PLACE;\nSELECT a AND b;\n",
    "yaml/c.yml": "x:y\n- a: [1]\n",
    "txt/cjk.txt": "日本語のテキスト\n中文搜索\n",
    "txt/emoji.txt": "ship it 🚀 today\n",
    "txt/quote.txt": "he said \"never mind\" and 'left'\nc:\\dir\\*.txt ~ ^ # @ % & | ;\n",
}

#: A query, and the file that must be found in full text and in hybrid mode.
FINDS = [
    ("=>", "js/arrow.js"),
    ("!=", "cpp/vec.cpp"),
    ("{", "py/me.py"),
    ("::", "cpp/vec.cpp"),
    ("->", "cpp/vec.cpp"),
    ("`${", "js/arrow.js"),
    ('"=>"', "js/arrow.js"),
    ("  =>  ", "js/arrow.js"),
    ('"""', "py/me.py"),
    ('"', "txt/quote.txt"),
    ("'", "txt/quote.txt"),
    (":\\", "txt/quote.txt"),
    ("~ ^ # @ % & | ;", "txt/quote.txt"),
    ("std::vector", "cpp/vec.cpp"),
    ("foo(", "cpp/vec.cpp"),
    ("v->push(", "cpp/vec.cpp"),
    ("a AND", "sql/q.sql"),
    ("IN PLACE", "sql/q.sql"),
    ("NOT PLACE", "sql/q.sql"),
    ("x:y", "yaml/c.yml"),
    ("body:vector", "cpp/vec.cpp"),
    ("self.x = {", "py/me.py"),
    ('"never mind', "txt/quote.txt"),
    ('never mind"', "txt/quote.txt"),
    ('"never mind" "', "txt/quote.txt"),
    ("vector^2~", "cpp/vec.cpp"),
    ("vect* +vector -nothing", "cpp/vec.cpp"),
    ("日本語", "txt/cjk.txt"),
    ("搜索", "txt/cjk.txt"),
    ("テキスト", "txt/cjk.txt"),
    ("🚀", "txt/emoji.txt"),
    ("🚀 today", "txt/emoji.txt"),
    ('push "no such words"', "cpp/vec.cpp"),
    ('{"push": "a == b", "x": ""}', "cpp/vec.cpp"),
    ('if "a != b"', "cpp/vec.cpp"),
    ("\0vector\0", "cpp/vec.cpp"),
    ("vector\udcff", "cpp/vec.cpp"),
]

CODE = {
    "src/parse.py": "def parse_http_headers(raw):\n    return raw.split()\n",
    "src/deep/user.js": "function getUserName(id) {\n  return connections[id].name\n}\n",
    "src/words.py": "user = 1\nname = 2\nget = 3\nheaders = 4\n",
    "tests/test_parse.py": "def test_parse_headers():\n    assert parse_http_headers('a b')\n",
    "docs/guide.md": "# Guide\n\nHow to parse headers, then parse the user name of a connection.\n",
    "docs/order.md": "# Order\n\nheaders first, and only then parse.\n",
    "payments/zebra.go": "package main\n\nfunc Run() { parse() }\n",
    "[odd] name/#1.py": "parse = 'headers'\n",
    "[odd] name/!x.py": "parse = 'name'\n",
}


def _ask(service: CIDXDaemonService, mode: str, text: str, **options: Any) -> dict[str, Any]:
    root = service.project.root if service.project is not None else ""
    answer: dict[str, Any] = getattr(service, MODES[mode])(str(root), text, **options)
    return answer


def _paths(answer: Mapping[str, Any]) -> list[str]:
    return [hit["path"] for hit in answer["results"]]


def _check_lines(root: Path, answer: Mapping[str, Any]) -> int:
    """How many hits there are, each of which points at lines of its file, and shows them."""
    for hit in answer["results"]:
        lines = (root / hit["path"]).read_bytes().decode("utf-8", "replace")
        lines = lines.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
        assert 1 <= hit["line_start"] <= hit["line_end"] <= len(lines)
        shown = hit["snippet"].split("\n")
        first, last = hit["snippet_start"], hit["snippet_start"] + len(shown) - 1
        assert hit["line_start"] <= first <= last <= hit["line_end"]
        assert shown == [line[:300] for line in lines[first - 1 : last]]
    return len(answer["results"])


@contextmanager
def _loaded(project: Project) -> Iterator[IndexSnapshot]:
    source = GenerationSource(project.generations, HashingEmbedder())
    with closing(source.load(source.current())) as snapshot:
        yield snapshot


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> CIDXDaemonService:
    return _service(tmp_path_factory.mktemp("odd"), ODD)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> CIDXDaemonService:
    return _service(tmp_path_factory.mktemp("code"), CODE)


def _service(root: Path, files: Mapping[str, str]) -> CIDXDaemonService:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    project = Project.at(root)
    build(project)
    return CIDXDaemonService(project.root)


# QRY-1


@pytest.mark.promise("QRY-1")
def test_the_nearest_vectors_come_first_and_with_their_similarity(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(400, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    writer = VectorWriter(32)
    writer.add(vectors)
    with Directory.open(tmp_path) as directory:
        name = writer.save(directory)
    index = SemanticIndex(tmp_path / name, dim=32, count=400)
    every_other = np.arange(400) % 2 == 0
    for number in range(0, 400, 20):
        wanted = vectors[number] * 3  # its length is no matter
        scores = vectors @ vectors[number]
        for allowed in (None, every_other):
            found = index.search(wanted, 10, allowed)
            assert found[0] == (number, approx(1.0, abs=1e-4)), "itself"
            for label, score in found:
                assert score == pytest.approx(float(scores[label]), abs=1e-4)
            assert [s for _, s in found] == sorted((s for _, s in found), reverse=True)
        best = np.argsort(np.where(every_other, -scores, 2.0))[:10]
        assert [label for label, _ in found] == best.tolist()


@pytest.mark.promise("QRY-1")
@pytest.mark.parametrize("mode", MODES)
def test_a_hit_points_at_the_lines_that_it_shows(code: CIDXDaemonService, mode: str) -> None:
    assert code.project is not None
    answer = _ask(code, mode, "parse headers user")
    assert _check_lines(code.project.root, answer) >= 3


@pytest.mark.once
@pytest.mark.promise("QRY-1")
def test_semantic_search_agrees_with_an_exact_search_over_the_same_vectors(
    stdlib: Project, figure: RecordFigure
) -> None:
    embedder = HashingEmbedder()
    queries = ["parse http headers", "retry when the connection is lost", "sort a list of numbers",
               "compile a regular expression", "wait for a thread", "temporary file"]  # fmt: skip
    found = expected = 0
    with _loaded(stdlib) as snapshot:
        chunks = [snapshot.chunks.read(number) for number in range(len(snapshot.chunks))]
        vectors = embedder.embed_documents([f"{c.path} {c.name}\n{c.text}" for c in chunks])
        assert snapshot.semantic is not None
        for query in queries:
            wanted = embedder.embed_query(query)
            scores = vectors @ wanted
            answer = snapshot.semantic.search(wanted, 10)
            assert [s for _, s in answer] == sorted((s for _, s in answer), reverse=True)
            for label, score in answer:
                assert score == pytest.approx(float(scores[label]), abs=1e-4)
            worst = np.sort(scores)[-10] - 1e-5  # whoever ties with the tenth is as good
            found += sum(bool(scores[label] >= worst) for label, _ in answer)
            expected += 10
            # Behind a filter that leaves little, the search is exact.
            allowed = np.zeros(len(chunks), dtype=np.bool_)
            allowed[::17] = True
            few = snapshot.semantic.search(wanted, 10, allowed)
            best = np.sort(scores[allowed])[::-1][:10]
            assert [s for _, s in few] == pytest.approx(best.tolist(), abs=1e-4)
            assert all(allowed[label] for label, _ in few)
        assert snapshot.semantic.search(np.zeros_like(wanted), 10) == []
    figure("QRY-1", "recall@10 against an exact search", found / expected)
    assert found / expected >= 0.95


@pytest.mark.once
@pytest.mark.promise("QRY-1")
@pytest.mark.parametrize("mode", MODES)
def test_every_hit_shows_lines_that_the_file_has(stdlib: Project, mode: str) -> None:
    service = CIDXDaemonService(stdlib.root)
    seen = 0
    for query in ("read a line of the file", "class", "encode utf8", '"the end of"'):
        answer = _ask(service, mode, query, limit=50)
        scores = [hit["score"] for hit in answer["results"]]
        assert scores == sorted(scores, reverse=True), "best first"
        assert answer["mode"] == mode
        seen += _check_lines(stdlib.root, answer)
        places = [(hit["path"], hit["line_start"]) for hit in answer["results"]]
        assert len(set(places)) == len(places), "no chunk twice"
    service.exposed_clear_cache()
    assert seen >= 50


@pytest.mark.promise("QRY-1")
def test_semantic_search_finds_the_one_place_where_a_word_stands(
    make_project: MakeProject,
) -> None:
    # Long chunks in which any single word weighs little, so that collisions come before it.
    rng = random.Random(1)
    vocabulary = ["".join(rng.choices("bcdfghklmnprtvz", k=7)) for _ in range(3000)]
    files = {
        f"f{n}.txt": "\n".join(" ".join(rng.choices(vocabulary, k=6)) for _ in range(40))
        for n in range(200)
    }
    wanted = [f"f{n}.txt" for n in range(0, 200, 10)]
    rare = {path: f"quixotic{chr(97 + n)}zebra" for n, path in enumerate(wanted)}
    for path, word in rare.items():
        files[path] += f"\n{word}\n"
    project = make_project(files)
    build(project)
    service = CIDXDaemonService(project.root)
    missed = [
        path
        for path, word in rare.items()
        if path not in _paths(_ask(service, "semantic", word, limit=3))
    ]
    service.exposed_clear_cache()
    assert missed == []


# QRY-2


@pytest.mark.promise("QRY-2")
@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("parseHTTPHeaders", "src/parse.py"),
        ("get_user_name", "src/deep/user.js"),
        ("getUserName", "src/deep/user.js"),
        ("connecting", "src/deep/user.js"),
        ("zebra", "payments/zebra.go"),
        ("payments", "payments/zebra.go"),
        ('"parse headers"', "docs/guide.md"),
        ('"first and only"', "docs/order.md"),
        ('"headers" "only then"', "docs/order.md"),
    ],
)
def test_full_text_search_reads_code_as_its_author_does(
    code: CIDXDaemonService, query: str, first: str
) -> None:
    assert first in _paths(_ask(code, "fts", query))[:3]


@pytest.mark.promise("QRY-2")
def test_a_phrase_must_be_there_word_for_word_if_anything_has_it(code: CIDXDaemonService) -> None:
    assert "docs/order.md" not in _paths(_ask(code, "fts", '"parse headers"'))
    assert "docs/order.md" in _paths(_ask(code, "fts", "parse headers"))
    assert _ask(code, "fts", '"http headers"')["relaxed"] == ["http headers"], "with _ between"
    answer = _ask(code, "fts", '"headers parse only"')
    assert "docs/order.md" in _paths(answer)
    assert answer["relaxed"] == ["headers parse only"]
    answer = _ask(code, "fts", '"only then" "no such words" parse')
    assert (_paths(answer), answer["relaxed"]) == (["docs/order.md"], ["no such words"])


GLOBS: dict[str, Callable[[str], bool]] = {
    "*.py": lambda path: path.endswith(".py"),
    "src/": lambda path: path.startswith("src/"),
    "src/*": lambda path: path.startswith("src/"),
    "/src/*.py": lambda path: path in ("src/parse.py", "src/words.py"),
    "src/**/*.js": lambda path: path == "src/deep/user.js",
    "**/test_*": lambda path: path.startswith("tests/"),
    "docs/guide.md": lambda path: path == "docs/guide.md",
    "guide.md": lambda path: path == "docs/guide.md",
    "*.??": lambda path: path.rpartition(".")[2] in ("py", "js", "md", "go"),
    "[st]*/*.py": lambda path: path in ("src/parse.py", "src/words.py", "tests/test_parse.py"),
    "#1.py": lambda path: path == "[odd] name/#1.py",
    "!x.py": lambda path: path == "[odd] name/!x.py",
    "nothing/at/all": lambda path: False,
    "*": lambda path: True,
}
LANGUAGES = {
    "python": ".py",
    "py": ".py",
    "javascript": ".js",
    "md": ".md",
    "GO": ".go",
    "rust": "?",
}


@pytest.mark.promise("QRY-2")
@pytest.mark.parametrize("mode", MODES)
@settings(derandomize=True, max_examples=80, deadline=None,
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(
    languages=st.lists(st.sampled_from(sorted(LANGUAGES)), max_size=2),
    paths=st.lists(st.sampled_from(sorted(GLOBS)), max_size=2),
    exclude_paths=st.lists(st.sampled_from(sorted(GLOBS)), max_size=2),
    query=st.sampled_from(["parse headers", "user name", "=", "parse"]),
)
def test_filters_let_through_exactly_what_they_say(
    code: CIDXDaemonService,
    mode: str,
    languages: list[str],
    paths: list[str],
    exclude_paths: list[str],
    query: str,
) -> None:
    def passes(path: str) -> bool:
        if languages and not any(path.endswith(LANGUAGES[name]) for name in languages):
            return False
        if paths and not any(GLOBS[glob](path) for glob in paths):
            return False
        return not any(GLOBS[glob](path) for glob in exclude_paths)

    everything = _ask(code, mode, query, limit=1000)["results"]
    filters = {"languages": languages, "paths": paths, "exclude_paths": exclude_paths}
    found = _ask(code, mode, query, limit=1000, **filters)["results"]
    expected = [hit for hit in everything if passes(hit["path"])]
    if mode != "semantic":  # scores are shares of the best that was found
        assert {hit["path"] for hit in found} == {hit["path"] for hit in expected}
    else:
        assert [hit["path"] for hit in found] == [hit["path"] for hit in expected]
        scores = [hit["score"] for hit in expected]
        assert [hit["score"] for hit in found] == pytest.approx(scores, abs=1e-5)
        if expected:  # the best of what passes, not what passes of the best
            best = _ask(code, mode, query, limit=1, **filters)["results"]
            assert best[0]["score"] == pytest.approx(scores[0], abs=1e-5)


# QRY-3


class _Embedder(HashingEmbedder):
    """The default, with something to do first."""

    def __init__(self, first: Callable[[], object]) -> None:
        super().__init__()
        self._first = first

    def embed_query(self, text: str) -> Any:
        self._first()
        return super().embed_query(text)


@pytest.mark.promise("QRY-3")
def test_a_hybrid_search_asks_both_engines_at_once(project: Project) -> None:
    runtime = Meeting()

    def first() -> None:
        runtime.embedding.set()
        runtime.met.append(runtime.reading.wait(10))

    service = CIDXDaemonService(project.root, embedder=_Embedder(first), runtime=runtime)
    answer = _ask(service, "hybrid", "retry on disconnect")
    assert runtime.met == [True, True], "one engine waited for the other"
    assert answer["semantic_count"] > 0
    assert answer["fts_count"] > 0
    assert answer["results"][0]["path"] == "net/retry.py"
    assert "unavailable" not in answer
    service.exposed_clear_cache()


def _damage(project: Project, *, vectors: bool = False, fulltext: bool = False) -> None:
    live = project.generations / "current"
    files = [segment(live) / "vectors.f32"] if vectors else []
    if fulltext:
        files += [path for path in (live / "fulltext").iterdir() if path.stat().st_size]
    assert files or not (vectors or fulltext)
    for path in files:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0x40
        path.write_bytes(data)


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize("broken", ["semantic", "fts"])
def test_where_one_engine_is_damaged_the_other_answers_and_says_so(
    project: Project, broken: str
) -> None:
    other = {"semantic": "fts", "fts": "semantic"}[broken]
    _damage(project, vectors=broken == "semantic", fulltext=broken == "fts")
    service = CIDXDaemonService(project.root)
    answer = _ask(service, "hybrid", "retry disconnect")
    assert answer["results"][0]["path"] == "net/retry.py"
    assert list(answer["unavailable"]) == [broken]
    assert "checksum" in answer["unavailable"][broken]
    assert answer[f"{broken}_count"] == 0
    assert _paths(_ask(service, other, "retry disconnect"))[0] == "net/retry.py"
    with pytest.raises(IndexUnusableError, match="checksum"):
        _ask(service, broken, "retry disconnect")
    status = service.exposed_get_status()
    assert status["semantic_cached"] is (broken != "semantic")
    assert status["fts_available"] is (broken != "fts")
    service.exposed_clear_cache()


@pytest.mark.promise("QRY-3")
def test_where_both_engines_are_damaged_every_mode_says_so(project: Project) -> None:
    _damage(project, vectors=True, fulltext=True)
    service = CIDXDaemonService(project.root)
    for mode in MODES:
        with pytest.raises(IndexUnusableError, match="cidx-ref index"):
            _ask(service, mode, "retry")


@pytest.mark.promise("QRY-3")
def test_an_embedder_that_fails_costs_a_hybrid_search_its_half_only(project: Project) -> None:
    def fail() -> None:
        raise RuntimeError("model server away")

    service = CIDXDaemonService(project.root, embedder=_Embedder(fail))
    answer = _ask(service, "hybrid", "retry disconnect")
    assert answer["results"][0]["path"] == "net/retry.py"
    assert "RuntimeError" in answer["unavailable"]["semantic"]
    with pytest.raises(InternalError, match=r"RuntimeError; see daemon\.log"):
        _ask(service, "semantic", "retry")
    service.exposed_clear_cache()


# QRY-4


@pytest.mark.promise("QRY-4")
@pytest.mark.parametrize(("query", "path"), FINDS, ids=[ascii(query) for query, _ in FINDS])
def test_whatever_stands_in_a_file_can_be_looked_for(
    odd: CIDXDaemonService, query: str, path: str
) -> None:
    for mode in ("fts", "hybrid"):
        assert path in _paths(_ask(odd, mode, query)), mode


@pytest.mark.promise("QRY-4")
def test_punctuation_alone_is_looked_for_as_it_stands(odd: CIDXDaemonService) -> None:
    def holding(needle: str) -> set[str]:
        return {path for path, text in ODD.items() if needle in text}

    for needle in ("=>", "!=", "{", "::", "->", "(", ")", ";", "+", "}", "<", "[", "= {", ":\\"):
        found = _ask(odd, "fts", needle)["results"]
        assert {hit["path"] for hit in found} == holding(needle), needle
        assert all(needle in hit["snippet"] for hit in found), needle
        assert len(_ask(odd, "fts", needle, limit=1)["results"]) == 1
    assert _paths(_ask(odd, "fts", "<=>")) == []
    assert _paths(_ask(odd, "fts", "{", languages=["javascript"])) == ["js/arrow.js"]


@pytest.mark.promise("QRY-4")
@pytest.mark.parametrize("mode", MODES)
@settings(derandomize=True, max_examples=150, deadline=None,
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(
    st.text(max_size=40)
    | st.text(st.characters(categories=["Cs", "Cc", "Po", "So", "Lo", "Mn"]), max_size=20)
    | st.text("\"'(){}[]:^~*+-!&|\\/.,;=<>\0 aAND\udcff\n", max_size=20)
)
def test_any_text_is_a_legal_query(odd: CIDXDaemonService, mode: str, text: str) -> None:
    answer = _ask(odd, mode, text)
    assert answer["generation"]
    assert "unavailable" not in answer
    for hit in answer["results"]:
        assert hit["path"] in ODD


@pytest.mark.promise("QRY-4")
@settings(derandomize=True, max_examples=150, deadline=None,
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(st.data())
def test_any_piece_of_a_line_finds_its_file(odd: CIDXDaemonService, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(ODD)))
    line = data.draw(st.sampled_from([line for line in ODD[path].split("\n") if line.strip()]))
    start = data.draw(st.integers(0, len(line) - 1))
    piece = line[start : data.draw(st.integers(start + 1, len(line)))]
    # A cut word is another word, and a quoted phrase with one in it is no phrase of the file.
    whole = " " + line + " "
    before, after = whole[start], whole[start + len(piece) + 1]
    cut = (before + piece[0]).replace("_", "a").isalnum()
    cut |= (piece[-1] + after).replace("_", "a").isalnum()
    if piece.strip() and not cut:
        assert path in _paths(_ask(odd, "fts", piece, limit=1000)), piece


@pytest.mark.promise("QRY-4")
@pytest.mark.parametrize("mode", MODES)
def test_a_query_as_long_as_may_be_is_answered(odd: CIDXDaemonService, mode: str) -> None:
    for text in ("vector " * 14_000, "v" * 100_000, '"' * 100_000, '"vector" ' * 11_000):
        _ask(odd, mode, text)
    words = " ".join(f"word{n}" for n in range(9_000)) + " vector"
    assert _ask(odd, mode, words)["mode"] == mode


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("files", [{}, {"empty.py": ""}, {"blank.py": "\n\n\n"}],
                         ids=["none", "empty", "blank"])  # fmt: skip
def test_an_index_of_nothing_answers_nothing(
    make_project: MakeProject, mode: str, files: dict[str, str]
) -> None:
    project = make_project(files)
    build(project)
    service = CIDXDaemonService(project.root)
    for text in ("vector", "=>", "", '"a phrase"'):
        answer = _ask(service, mode, text, languages=["rust"] if text == "vector" else [])
        assert answer["results"] == []
        assert "unavailable" not in answer
    service.exposed_clear_cache()


# OBS-1


@pytest.mark.promise("OBS-1")
def test_status_follows_what_happens(make_project: MakeProject, fake: FakeRuntime) -> None:
    from cidx_ref.index.build import bring_up_to_date

    project = make_project()
    service = CIDXDaemonService(project.root, runtime=fake)
    status = service.exposed_get_status()
    assert (status["running"], status["cache_empty"]) == (True, True)
    assert (status["generation"], status["index_age_seconds"]) == (None, None)
    assert (status["files"], status["chunks"], status["indexing"]) == (0, 0, False)
    assert "access_count" not in status

    first = bring_up_to_date(project, HashingEmbedder(), runtime=fake)
    fake.advance(90)
    _ask(service, "semantic", "retry")
    asked_at = fake.now()
    _ask(service, "fts", "retry")
    fake.advance(30)
    status = service.exposed_get_status()
    assert status["cache_empty"] is False
    assert status["project"] == str(project.root)
    assert status["semantic_cached"] is status["fts_available"] is status["fts_cached"] is True
    assert status["last_accessed"] == asked_at.isoformat()
    assert (status["access_count"], status["ttl_minutes"]) == (2, 10)
    assert status["generation"] == status["cached_generation"] == first["generation"]
    assert (status["files"], status["chunks"]) == (first["files"], first["chunks"])
    assert status["files"] == 4
    assert status["index_age_seconds"] == pytest.approx(120)
    assert status["uptime_seconds"] == pytest.approx(120)

    second = bring_up_to_date(project, HashingEmbedder(), full=True, runtime=fake)
    status = service.exposed_get_status()
    assert status["generation"] == second["generation"], "what is live"
    assert status["cached_generation"] == first["generation"], "and what is loaded"
    assert status["index_age_seconds"] == pytest.approx(0)

    fake.advance(600)
    assert service.evict_expired()
    assert service.exposed_get_status()["cache_empty"] is True
    _ask(service, "semantic", "retry")
    assert service.exposed_get_status()["access_count"] == 1
    service.exposed_clear_cache()
    assert service.exposed_get_status()["cache_empty"] is True
    status = service.exposed_get_status()
    assert "index_problem" not in status
    (project.generations / "current" / "manifest.json").write_text("{")
    status = service.exposed_get_status()
    assert status["generation"] is None
    assert (status["files"], status["chunks"], status["index_age_seconds"]) == (0, 0, None)
    assert status["index_problem"] == (
        f"the index here ('{second['generation']}') was not made by this account, or was changed "
        "since: `cidx-ref index` makes a new one, `cidx-ref adopt` checks this one and takes it"
    )


@pytest.mark.promise("OBS-1")
def test_diagnostics_say_which_files_are_not_what_they_were(make_project: MakeProject) -> None:
    project = make_project()
    service = CIDXDaemonService(project.root)
    nothing: dict[str, object] = {"generation": None, "matches_manifest": None, "damaged": {}}
    assert service.exposed_get_diagnostics()["index_files"] == nothing
    generation = build(project)
    whole = {"generation": generation, "matches_manifest": True, "damaged": {}}
    assert service.exposed_get_diagnostics()["index_files"] == whole
    _damage(project, vectors=True)
    told = service.exposed_get_diagnostics()["index_files"]
    assert (told["generation"], told["matches_manifest"]) == (generation, False)
    within = segment(project.generations / "current").name
    assert list(told["damaged"]) == [f"{within}/vectors.f32"]


@pytest.mark.promise("QRY-1")
def test_a_hit_that_shares_no_word_is_a_collision_and_left_out(odd: CIDXDaemonService) -> None:
    for hit in _ask(odd, "semantic", "vector push", limit=1000)["results"]:
        text = f"{hit['path']} {ODD[hit['path']]}".lower()
        assert "vector" in text or "push" in text


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize("mode", MODES)
def test_a_phrase_in_quotes_must_be_there_in_every_mode(project: Project, mode: str) -> None:
    service = CIDXDaemonService(project.root)
    answer = _ask(service, mode, '"peer disconnects"')
    assert (_paths(answer), answer["relaxed"]) == (["net/retry.py"], [])
    assert _ask(service, mode, '"disconnects peer"')["relaxed"] == ["disconnects peer"]
    assert _paths(_ask(service, mode, 'retry "authentication sessions"')) == ["auth/login.py"]
    service.exposed_clear_cache()


@pytest.mark.promise("QRY-3")
def test_who_asks_for_a_name_gets_what_is_called_so_first(make_project: MakeProject) -> None:
    uses = "\n".join(f"frobnicate(frobnicate({n}))" for n in range(5))
    files = {
        f"use{n}.py": f"def user{n}():\n    frobnicate = 1\n    return frobnicate\n{uses}\n"
        for n in range(20)
    }
    files["lib.py"] = "def frobnicate(value):\n" + "".join(
        f"    step{n} = {n}\n" for n in range(40)
    )
    project = make_project(files)
    build(project)
    service = CIDXDaemonService(project.root)
    first = _ask(service, "hybrid", "frobnicate")["results"][0]
    assert (first["path"], first["line_start"]) == ("lib.py", 1)
    service.exposed_clear_cache()


@pytest.mark.promise("QRY-1")
@pytest.mark.parametrize("mode", MODES)
def test_lines_that_stand_in_two_windows_are_shown_once(
    make_project: MakeProject, mode: str
) -> None:
    lines = [f"row {n} of the table" for n in range(1, 121)]
    lines[44] = "row 45 with a zebrafinch"  # windows are 1 to 50 and 41 to 90
    project = make_project({"table.txt": "\n".join(lines) + "\n"})
    build(project)
    service = CIDXDaemonService(project.root)
    (hit,) = _ask(service, mode, "zebrafinch")["results"]
    assert "row 45" in hit["snippet"]
    rows = _ask(service, mode, "row table", limit=5)["results"]
    assert len(rows) > 1, "other lines of the same file are shown"
    service.exposed_clear_cache()


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize("mode", MODES)
def test_a_hit_says_what_made_its_score_where_it_is_asked_to(
    code: CIDXDaemonService, mode: str
) -> None:
    plain = _ask(code, mode, "parse headers")["results"]
    explained = _ask(code, mode, "parse headers", explain=True)["results"]
    assert len(explained) > 1
    assert not any("signals" in hit for hit in plain)
    for hit in explained:
        signals = hit.pop("signals")
        score = sum(value for name, value in signals.items() if name in ADDED_SIGNALS)
        for name, factor in signals.items():
            score *= 1 if name in ADDED_SIGNALS else factor
        assert score == approx(hit["score"], rel=0.01, abs=0.01)
    assert explained == plain


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize("mode", ["fts", "hybrid"])
def test_what_functions_define_within_them_hides_no_definition(
    make_project: MakeProject, mode: str
) -> None:
    files = {
        f"tests/test_{n}.py": f"def test_{n}():\n    def index():\n        return {n}\n"
        for n in range(130)
    }
    fields = "".join(f"\tint\tfield{n};\n" for n in range(16))
    files["options.c"] = f"struct option {{\n{fields}\tint\tindex;\n}};\n"
    files["inner.py"] = "def outer():\n    def seldom_used():\n        return 1\n"
    files |= {f"use{n}.py": "print(seldom_used(seldom_used))\n" for n in range(20)}
    project = make_project(files)
    build(project)
    service = CIDXDaemonService(project.root)
    assert _ask(service, mode, "index")["results"][0]["path"] == "options.c"
    found = _ask(service, mode, "seldom_used")["results"]
    assert found[0]["path"] == "inner.py", "what nothing else defines"
    service.exposed_clear_cache()


@pytest.mark.promise("QRY-2")
def test_full_text_alone_is_ranked_by_all_but_neighbours(make_project: MakeProject) -> None:
    told = "# parse the headers of a message, parse all headers\n"
    body = "".join(f"    step{n} = {n}\n" for n in range(40))
    files = {
        "parser.py": f"def count(rows):\n    {told}{body}def parse_headers(message):\n{body}",
        "tests/test_parser.py": told,
        "notes.md": told,
    }
    project = make_project(files)
    build(project)
    service = CIDXDaemonService(project.root)
    hits = _ask(service, "fts", "how are headers parsed", explain=True)["results"]
    assert [hit["path"] for hit in hits[:1]] == ["parser.py"]
    assert hits[0]["name"] == "parse_headers", "of its file, what is called so"
    assert {"fulltext", "name", "siblings", "path"} <= hits[0]["signals"].keys()
    assert "semantic" not in hits[0]["signals"]
    service.exposed_clear_cache()


@pytest.mark.once
@pytest.mark.promise("QRY-3")
def test_a_shorter_list_is_the_beginning_of_a_longer_one(stdlib: Project) -> None:
    service = CIDXDaemonService(stdlib.root)
    for query in ("namedtuple", "parse the headers of an HTTP message"):
        long = _ask(service, "hybrid", query, limit=60)["results"]
        assert _ask(service, "hybrid", query, limit=4)["results"] == long[:4]
        assert _ask(service, "hybrid", query, limit=20)["results"] == long[:20]
        long = _ask(service, "fts", query, limit=16)["results"]
        assert _ask(service, "fts", query, limit=4)["results"] == long[:4]
    service.exposed_clear_cache()


@pytest.mark.promise("QRY-1")
def test_the_lines_shown_hold_the_identifier_rather_than_its_parts() -> None:
    lines = ["args = parse(x)", *["pass"] * 8, "def main():", "    parse_args()", *["pass"] * 8]
    chunk = StoredChunk("a.py", "python", "", 1, len(lines), "\n".join(lines))
    for query in "parse_args", "where is parse_args called":
        assert "parse_args()" in Probes(Query(query)).cut(chunk)[1]


@pytest.mark.promise("RPC-4")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("text", ["retry on disconnect {}", "xqzzyq {}", "parse_args {} retry"])
def test_the_text_of_a_query_is_analysed_once(
    project: Project, monkeypatch: pytest.MonkeyPatch, mode: str, text: str
) -> None:
    analysed: list[str] = []

    def counted(given: str) -> list[str]:
        analysed.append(given)
        return words(given)

    monkeypatch.setattr(query_module, "words", counted)
    service = CIDXDaemonService(project.root)
    asked = text.format(f"for {mode}")
    _ask(service, mode, asked)
    service.exposed_clear_cache()
    assert analysed == [asked]


@pytest.mark.promise("RPC-4", "QRY-4")
def test_the_last_look_reads_all_texts_for_few_parts_of_a_word_however_many_it_has(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part is a reading of all texts: one word of thirty took a fifth of a second."""
    looked_for: list[int] = []

    def scan(self: LiveChunks, holds: Any, k: int, mask: Any) -> list[int]:
        looked_for.append(len(holds.__self__))
        return []

    monkeypatch.setattr(LiveChunks, "scan", scan)
    monkeypatch.setattr(engines_module, "_SCANNED_BYTES", 1)  # as if there were much text
    service = CIDXDaemonService(project.root)
    _ask(service, "semantic", "_".join(f"{chr(97 + n)}qzxv" for n in range(26)))
    service.exposed_clear_cache()
    assert looked_for == [4]
