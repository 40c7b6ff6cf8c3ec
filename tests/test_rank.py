"""The ranking stage by itself: each signal does what it says, and can be switched off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from operator import itemgetter

import pytest

from cidx_ref.index.filelist import StoredFile
from cidx_ref.index.purpose import ASKED_BY, asked_for, purpose
from cidx_ref.index.query import Query
from cidx_ref.index.rank import SIGNALS, WEIGHTS, Found, Ranked, Weights
from cidx_ref.index.structure import INNER
from cidx_ref.results import ADDED_SIGNALS

OFF = reduce(Weights.without, SIGNALS, WEIGHTS)


class _Tree:
    """Files with a chunk for each name: chunks are numbered through all of them.

    A chunk defines the last part of its name, or what stands behind a colon; with a dot before it,
    within a function.
    """

    def __init__(self, files: dict[str, list[str]]) -> None:
        self._paths = list(files)
        self._chunks = [
            (n, *name.partition(": ")[::2])
            for n, names in enumerate(files.values())
            for name in names
        ]

    def __len__(self) -> int:
        return len(self._chunks)

    def files_and_names(self, chunks: Sequence[int]) -> tuple[list[int], list[str]]:
        return [self._chunks[n][0] for n in chunks], [*map(self._names, chunks)]

    def _names(self, chunk: int) -> str:
        _, name, told = self._chunks[chunk]
        defined = [INNER * each.startswith(".") + each.lstrip(".") for each in told.split()]
        return "\n".join([name, *(defined or [name.rpartition(".")[2]])])

    def file(self, number: int) -> StoredFile:
        return StoredFile(number, self._paths[number], "python", "", False, 1)


def _order(
    files: dict[str, list[str]], query: str, found: Found, weights: Weights, often: int = 1
) -> list[int]:
    asked = Query(query)
    frequencies = dict.fromkeys(asked.terms, often)
    ranked = Ranked(found, asked, _Tree(files), frequencies, weights)
    scores = [score for _, score in ranked.order]
    assert scores == sorted(scores, reverse=True)
    for chunk, score in ranked.order:
        assert _product(ranked.signals(chunk)) == pytest.approx(score), "what explains it makes it"
    return [chunk for chunk, _ in ranked.order]


def _product(signals: dict[str, float]) -> float:
    score = sum(signals.get(name, 0.0) for name in ADDED_SIGNALS)
    for name, factor in signals.items():
        if name not in ADDED_SIGNALS:
            score *= factor
    return score


@pytest.mark.promise("QRY-3")
def test_without_any_signal_the_order_is_that_of_the_full_text() -> None:
    files = {"tests/test_a.py": ["a"], "a.py": ["b"], "docs/a.md": ["c"]}
    found = Found([(2, 9.0), (0, 3.0), (1, 1.0)], [(1, 0.9)], [(1, 0.0)])
    assert _order(files, "a", found, OFF) == [2, 0, 1]


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize(
    ("signal", "files", "query", "found"),
    [
        ("semantic", {"a.py": [""], "b.py": [""]}, "x", Found([(0, 2.0), (1, 1.9)], [(1, 0.5)])),
        ("definition", {"a.py": [""], "b.py": [""]}, "x", Found([(0, 2.0), (1, 1)], (), [(1, 1)])),
        ("name", {"a.py": [""], "b.py": ["Box.open_lid"]}, "open lid", Found([(0, 2.0), (1, 1.5)])),
        ("name", {"a.py": [""], "b.py": [": openLatch"]}, "open latch", Found([(0, 2), (1, 1.5)])),
        (
            "siblings",
            {"a.py": [""], "b.py": ["", "", ""]},
            "x",
            Found([(0, 2.0), (1, 1.9), (2, 1.8), (3, 1.7)]),
        ),
        ("path", {"a.py": [""], "cookies.py": [""]}, "a cookie", Found([(0, 2.0), (1, 1.9)])),
        ("path", {"a.py": [""], "cookie/b.py": [""]}, "cookie", Found([(0, 2.0), (1, 1.9)])),
        ("repeat", {"a.py": ["", ""], "b.py": [""]}, "x y", Found([(0, 2.0), (1, 1.9), (2, 1.8)])),
        ("purpose", {"tests/a.py": [""], "b.py": [""]}, "x", Found([(0, 2.0), (1, 1.5)])),
    ],
)  # fmt: skip
def test_each_signal_lifts_what_it_is_for_and_nothing_where_it_is_off(
    signal: str, files: dict[str, list[str]], query: str, found: Found
) -> None:
    as_found = [chunk for chunk, _ in found.fulltext]
    assert _order(files, query, found, OFF) == as_found
    on = replace(OFF, **{signal: getattr(WEIGHTS, signal)})
    assert _order(files, query, found, on) != as_found


@pytest.mark.promise("QRY-3")
def test_what_is_called_as_asked_for_comes_first_however_often_others_use_it() -> None:
    files = {f"use{n}.py": [""] for n in range(9)} | {"lib.py": ["", "frob"]}
    uses = [(n, 9.0 - n / 10) for n in range(9)]
    found = Found([*uses, (10, 0.5)], [(n, 0.9) for n in range(9)], [(10, 1.0)])
    assert _order(files, "frob", found, WEIGHTS)[0] == 10
    assert _order(files, "why does frob_it fail", found, WEIGHTS)[0] != 10, "a mention in passing"


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize("query", ["SourceCode", "eslint.SourceCode", "sourceCode"])
def test_of_what_is_called_alike_comes_first_what_is_written_as_asked_for(query: str) -> None:
    files = {"a.py": ["source_code"], "b.py": ["sourceCode"], "c.py": ["eslint.SourceCode"]}
    found = Found([(0, 2.0), (1, 1.9), (2, 1.0)], (), [(n, 1.0) for n in range(3)])
    first = 1 if query == "sourceCode" else 2
    assert _order(files, query, found, WEIGHTS)[0] == first


@pytest.mark.promise("QRY-3")
def test_what_two_classes_of_a_file_call_so_is_no_class_and_its_constructor() -> None:
    files = {"a.py": ["Jar.refill", "Pot.refill"], "b.py": ["Cup.refill"]}
    found = Found([(1, 2.0), (2, 1.9), (0, 1.0)], (), [(n, 1.0) for n in range(3)])
    assert _order(files, "refill", found, WEIGHTS)[0] == 1


@pytest.mark.promise("QRY-3")
def test_of_a_qualified_name_comes_first_what_has_all_of_it() -> None:
    files = {"a.py": ["Reader.parse"], "b.py": ["Parser.parse"], "c.py": ["parse"]}
    found = Found([(0, 2.0), (2, 1.9), (1, 1.0)], (), [(n, 1.0) for n in range(3)])
    assert _order(files, "Parser.parse", found, WEIGHTS)[0] == 1
    assert _order(files, "Reader::parse()", found, WEIGHTS)[0] == 0


@pytest.mark.promise("QRY-3")
def test_modules_before_a_qualified_name_do_no_harm() -> None:
    files = {"app/task.py": ["Task.apply_async"], "canvas.py": ["chunks.apply_async"]}
    found = Found([(1, 2.0)], [(0, 0.3)], [(0, 1.0), (1, 1.0)])
    for query in ("Task.apply_async", "celery.app.task.Task.apply_async", "Task::apply_async()"):
        assert _order(files, query, found, WEIGHTS)[0] == 0


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize(
    ("query", "files", "first"),
    [
        # Its module, by the folder or the file.
        ("fs.open", {"net/a.py": ["Net.open"], "lib/fs/b.py": ["open"]}, 1),
        ("make.options", {"cmd/remake.lua": ["x.options"], "cmd/make.lua": [": options"]}, 1),
        # An interface that has it among others, beside what implements it.
        (
            "IBuffer.drop",
            {"buffer.ts": ["Buffer.drop"], "types.d.ts": ["IBuffer: IBuffer grow drop"]},
            1,
        ),
        # A class and what is in it, in a chunk of several definitions.
        ("Pool.start", {"a.h": ["Pool: Pool start"], "a.cc": [": kSize Pool start"]}, 1),
        # What makes it is called as it is.
        ("Reader.Reader", {"states.java": ["ReaderState"], "reader.java": ["Reader"]}, 1),
        # Names that end with a sign.
        ("ready?", {"a.rb": ["Made.READY"], "b.rb": ["Task: stop ready?"]}, 1),
        ("Task.ready?", {"a.rb": ["Made.ready?"], "b.rb": ["Task: stop ready?"]}, 1),
        # A package, and not what else is called so in it.
        ("embed.Config", {"embed/etcd.go": ["Etcd.Config"], "embed/config.go": ["Config"]}, 1),
        # A package that nothing here tells.
        ("cobra.Command", {"root.go": [": command"], "a.go": ["Command: Command Use"]}, 1),
    ],
)
def test_what_a_qualified_name_is_part_of_may_be_told_in_several_ways(
    query: str, files: dict[str, list[str]], first: int
) -> None:
    # The other one has more of the words.
    found = Found([(0, 2.0), (1, 1.0)], [(0, 0.5)], [(0, 1.0), (1, 1.0)])
    assert _order(files, query, found, WEIGHTS)[0] == first


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize(
    ("query", "worse", "better"),
    [
        ("Server.serve", ["Server.Handler.serve"], ["Server.serve"]),
        ("Server.serve", [": server serve"], ["Server.serve"]),
        ("valid?", ["Parcel.valid"], ["Ticket: valid?"]),
        ("save!", ["Doc.save"], ["Sheet: save!"]),
        ("valid", ["Ticket: valid?"], ["Parcel.valid"]),
        ("~Pool", ["Pool.Pool"], ["Pool.~Pool"]),
        ("Pool", ["Pool.Pool: Pool"], ["Pool: Pool start"]),
        ("A\\Mail\\Courier", ["B.Mail.Courier"], ["A.Mail.Courier"]),
        ("utils.io.read", ["other.io.read"], ["utils.io.read"]),
    ],
)
def test_what_has_all_of_a_name_comes_before_what_has_most_of_it(
    query: str, worse: list[str], better: list[str]
) -> None:
    found = Found([(0, 1.02), (1, 1.0)], (), [(0, 1.0), (1, 1.0)])
    assert _order({"one.py": worse, "two.py": better}, query, found, WEIGHTS)[0] == 1


@pytest.mark.promise("QRY-3")
def test_a_definition_comes_first_that_is_not_among_those_with_most_words() -> None:
    """Of a word that stands everywhere, the longer texts are not candidates."""
    files = {f"request/use{n}.py": ["Used.request_it"] for n in range(9)}
    files |= {"errors.py": ["RequestError: RequestError request"], "models.py": ["Request"]}
    found = Found([(n, 9.0) for n in range(10)], [(9, 1.0)], [(9, 1.0), (10, 1.0)])
    assert _order(files, "Request", found, WEIGHTS)[0] == 10


@pytest.mark.promise("QRY-3")
def test_after_the_definition_of_a_name_who_uses_it_comes_before_the_rest_of_its_file() -> None:
    files = {"pool.py": ["Pool", "Pool.start", "Pool.stop"], "use.py": ["run"]}
    found = Found([(0, 9.0), (1, 8.9), (2, 8.8), (3, 6.0)], (), [(0, 1.0)])
    assert _order(files, "Pool", found, WEIGHTS)[:2] == [0, 3]
    assert _order(files, "what does a pool start", found, WEIGHTS)[-1] == 3, "not of a sentence"


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize("names", [["Box: Box", "Box: size Box"], ["Box: Box", "Box.Box"]])
def test_a_class_comes_before_its_constructor(names: list[str]) -> None:
    found = Found([(1, 2.0), (0, 0.5)], (), [(1, 1.0), (0, 1.0)])
    assert _order({"box.java": names}, "Box", found, WEIGHTS) == [0, 1]


@pytest.mark.promise("QRY-3")
def test_of_all_that_have_a_phrase_code_comes_before_tests_however_long_it_is() -> None:
    files = {"tests/a.py": [""], "b.py": [""]}
    found = Found([(0, 2.0), (1, 0.8)])
    asked = Query("x y")
    of_words = Ranked(found, asked, _Tree(files), {}, WEIGHTS)
    of_phrase = Ranked(found, asked.quoting([], [["x", "y"]], []), _Tree(files), {}, WEIGHTS)
    assert [chunk for chunk, _ in of_words.order] == [0, 1]
    assert [chunk for chunk, _ in of_phrase.order] == [1, 0]


@pytest.mark.promise("QRY-3")
def test_a_prototype_comes_after_what_has_a_body() -> None:
    files = {"a.h": [": spin_crank"], "a.c": ["spin_crank"]}
    found = Found([(0, 2.0), (1, 1.0)], [(0, 0.9)], [(0, 1.0), (1, 1.0)])
    assert _order(files, "spin_crank", found, WEIGHTS)[0] == 1


@pytest.mark.promise("QRY-3")
def test_a_declaration_is_one_only_beside_a_definition_that_is_no_test() -> None:
    files = {"list.h": ["SnapshotList"], "db.h": [": kMajor Snapshot"]}
    tests = {"db_test.cc": ["DBTest.Snapshot"], "options.h": ["Options: fill snapshot"]}
    found = Found(
        [(0, 9.0), (2, 8.0), (1, 4.0)], [(0, 0.9)], [(2, 1.0), (3, 1.0), (1, 1.0)]
    )  # fmt: skip
    assert _order(files | tests, "Snapshot", found, WEIGHTS)[0] == 1


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize("beside", ["types/route.tst.test.ts", "types/route.d.ts", "docs/route.md"])
def test_what_a_function_defines_comes_before_tests_and_declarations_of_it(beside: str) -> None:
    files = {beside: ["handle_route"], "route.js": ["build: build .handle_route"]}
    found = Found([(0, 2.0), (1, 1.9)], (), [(0, 1.0), (1, 1.0)])
    assert _order(files, "handle_route", found, WEIGHTS)[0] == 1


@pytest.mark.promise("QRY-3")
def test_within_functions_too_what_is_written_as_asked_for_comes_first() -> None:
    files = {"a.js": ["build: ._handleRoute"], "b.js": ["build: .handleRoute"]}
    found = Found([(0, 2.0), (1, 1.9)], (), [(0, 1.0), (1, 1.0)])
    assert _order(files, "handleRoute", found, WEIGHTS)[0] == 1


@pytest.mark.promise("QRY-3")
def test_what_is_written_otherwise_is_first_where_nothing_is_written_as_asked_for() -> None:
    files = {f"use{n}.py": ["Used.get_user"] for n in range(3)} | {"lib.py": ["getUser"]}
    found = Found([(n, 9.0) for n in range(3)], [(0, 1.0)], [(3, 1.0)])
    assert _order(files, "get_user", found, WEIGHTS)[0] == 3


@pytest.mark.parametrize(
    ("text", "parts", "symbols"),
    [
        ("parse", ["parse"], ["parse"]),
        ("Parser.parse", ["Parser", "parse"], ["parse"]),
        ("std::vector::push_back()", ["std", "vector", "push_back"], ["pushback"]),
        ("p->next", ["p", "next"], ["next"]),
        ("maxmemory-samples", ["maxmemory-samples"], ["maxmemorysamples"]),
        ("--limit-rate", ["limit-rate"], ["limitrate"]),
        ("@decorator", ["decorator"], ["decorator"]),
        ("save!", ["save"], ["save"]),
        ("Monolog\\Handler\\Socket", ["Monolog", "Handler", "Socket"], ["socket"]),
        ("\\Monolog\\Logger", ["Monolog", "Logger"], ["logger"]),
        ("Cache<K, V>::get", ["Cache", "get"], ["get"]),
        ("Vec<T>", ["Vec"], ["vec"]),
        ("std::map<int, std::string>", ["std", "map"], ["map"]),
        ("(*Server).Serve", ["Server", "Serve"], ["serve"]),
        ("Enum.map/2", ["Enum", "map"], ["map"]),
        ("valid?/1", ["valid"], ["valid"]),
        ("\\App\\x86\\next", ["App", "x86", "next"], ["next"]),
        ("\\Exception", ["Exception"], ["exception"]),
        ("A\\B::c()", ["A", "B", "c"], ["c"]),
        ("Vec<Option<T>>::new", ["Vec", "new"], ["new"]),
        ("HashMap<String, Vec<u8>>", ["HashMap"], ["hashmap"]),
        ("(s *Server).Serve", ["Server", "Serve"], ["serve"]),
        ("(*http.Server).Serve()", ["Server", "Serve"], ["serve"]),
        ("func (s *Server) Serve", ["Server", "Serve"], ["serve"]),
        ("~Pool", ["Pool"], ["pool"]),
        ("ring-buffer?", ["ring-buffer"], ["ringbuffer"]),
        ("enum class TokenKind {", ["TokenKind"], ["tokenkind"]),
        ("export class HttpClient {", ["HttpClient"], ["httpclient"]),
        ("async def read_all():", ["read_all"], ["readall"]),
        ("Cafe\u0301.run", ["Caf\xe9", "run"], ["run"]),
        *(
            (phrase, [], [])
            for phrase in (
                *("HTTP/2", "page/2", "24/7", "protocol TCP", "type Error", "class A", "module 3"),
                *("#123", "#TODO", "~user", "~5", "\\n", "foo\\n", "and\\or", "__", "gettext._"),
            )
        ),
        ("file::~file", ["file", "file"], ["file"]),
        ("struct format_tree", ["format_tree"], ["formattree"]),
        ("class Task", ["Task"], ["task"]),
        ("class Task:", ["Task"], ["task"]),
        ("interface Reader {", ["Reader"], ["reader"]),
        ("def revoked(self):", ["revoked"], ["revoked"]),
        ("async def run(a, b=(1, 2)) -> int:", ["run"], ["run"]),
        ("function open(path: string): Promise<void> {", ["open"], ["open"]),
        ("func main()", ["main"], ["main"]),
        ("fn new(a: u8) -> Self", ["new"], ["new"]),
        ("def open(self): return self.x(1)", [], []),
        ("class and function", [], []),
        ("function call (a)", [], []),
        ("class HTTPServer", ["HTTPServer"], ["httpserver"]),
        ("def parse_config()", ["parse_config"], ["parseconfig"]),
        ("fn Vec<T>::push_all", ["Vec", "push_all"], ["pushall"]),
        ("#define MAX_SIZE", ["MAX_SIZE"], ["maxsize"]),
        ("class decorator", [], []),
        ("type inference", [], []),
        ("object pool size_t", [], ["sizet"]),
        ("class A class B", [], []),
        ("a < b", [], []),
        ("a <b> c", [], []),
        ("src/2/x", [], []),
        ("<div>", [], []),
        ("a/b.py", [], []),
        ("x = 1", [], []),
        ("two words", [], []),
        ("a-b c", [], ["ab"]),
        ("", [], []),
        ("a." * 200 + "b", [], []),
    ],
)
def test_one_name_is_told_from_what_is_more(
    text: str, parts: list[str], symbols: list[str]
) -> None:
    assert list(Query(text).name.parts) == parts
    assert Query(text).is_name is bool(parts)
    if parts or " " in text:
        assert Query(text).symbols == symbols


@pytest.mark.promise("QRY-3")
def test_a_test_comes_first_where_tests_are_asked_for() -> None:
    files = {"cookies.py": [""], "tests/test_cookies.py": [""]}
    found = Found([(1, 2.0), (0, 1.5)])
    assert _order(files, "how are cookies read", found, WEIGHTS) == [0, 1]
    assert _order(files, "tests of cookies", found, WEIGHTS) == [1, 0]


@pytest.mark.promise("QRY-3")
def test_what_names_are_made_of_asks_for_no_tests_and_no_data() -> None:
    found = Found([(1, 2.0), (0, 1.5)], (), [(0, 1.0), (1, 1.0)])
    for name in ("on_format_specs", "parse_json_sample", "load_script"):
        files = {"core.cc": [name], "test/scan.h": [name]}
        assert _order(files, name, found, WEIGHTS) == [0, 1]
    files = {"core.cc": ["test_scan"], "test/scan.h": ["test_scan"]}
    assert _order(files, "test_scan", found, WEIGHTS) == [1, 0]


@pytest.mark.promise("QRY-3")
def test_of_one_file_equally_good_chunks_come_by_their_lines() -> None:
    files = {"a.py": ["", "", ""]}
    for ranking in ([(2, 1.0), (0, 1.0), (1, 1.0)], [(1, 1.0), (2, 1.0), (0, 1.0)]):
        assert _order(files, "x", Found(ranking), WEIGHTS)[0] == 0


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize("told", [Found([(0, 2.0), (1, 1.0)]), Found([(0, 2.0)], [(1, 0.9)])])
def test_words_tell_the_file_and_names_and_neighbours_the_place_in_it(told: Found) -> None:
    files = {"a.py": ["", "Box.open_lid"], "b.py": [""]}
    found = told._replace(fulltext=sorted([*told.fulltext, (2, 1.9)], key=lambda hit: -hit[1]))
    assert _order(files, "open the lid", found, WEIGHTS)[0] == 1, "what is called so, of its file"
    assert _order(files, "open the lid", found, OFF)[:2] == [0, 2]
    signals = Ranked(found, Query("open the lid"), _Tree(files), {}).signals(1)
    assert signals["siblings"] > 0.2, "what its file says, it is shown for"


@pytest.mark.promise("QRY-3")
def test_of_its_file_comes_first_what_is_nearer_though_words_say_it_less_well() -> None:
    files = {"a.py": ["", ""], "b.py": [""]}
    found = Found([(0, 2.0), (1, 1.5), (2, 1.4)], [(1, 0.9)])
    assert _order(files, "open the lid", found, WEIGHTS)[0] == 1
    assert _order(files, "open the lid", found, WEIGHTS.without("semantic"))[0] == 0


def _told(signal: str, count: int) -> float:
    """What `signal` says of a hit that has 1.8 of 2, where the 64th has half of it."""
    scores = [(0, 2.0), (1, 1.8), *((n, 2.0 - n / 63) for n in range(2, count))]
    found = Found(**{signal: sorted(scores, key=itemgetter(1), reverse=True)})
    files = {f"{n}.py": [""] for n in range(count)}
    return Ranked(found, Query("x y"), _Tree(files), {}).signals(1)[signal]


@pytest.mark.promise("QRY-3")
@pytest.mark.parametrize("signal", ["fulltext", "semantic"])
def test_of_many_candidates_counts_by_how_much_they_are_better_than_the_last(signal: str) -> None:
    weight = getattr(WEIGHTS, signal)
    assert _told(signal, 24) == pytest.approx(0.9 * weight), "nothing was left out"
    assert _told(signal, 64) == pytest.approx((1.8 - 0.6) / (2.0 - 0.6) * weight)
    told = [_told(signal, count) for count in range(24, 65)]
    assert told == sorted(told, reverse=True)
    steps = [one - other for one, other in pairwise(told)]
    assert max(steps) < 0.01 * weight, "one hit more turns nothing round"
    assert _told(signal, 64) == _told(signal, 300), "a longer list begins as the shorter one"


@pytest.mark.promise("QRY-3")
def test_negative_scores_add_nothing() -> None:
    scores = [(n, 0.3 - n / 100) for n in range(64)]
    files = {f"{n}.py": [""] for n in range(64)}
    ranked = Ranked(Found(scores, scores), Query("x y"), _Tree(files), {})
    assert ranked.signals(30)["fulltext"] == pytest.approx(0.0)


@pytest.mark.promise("QRY-3")
def test_what_is_vendored_comes_after_own_code_and_before_what_is_generated() -> None:
    files = {"api.pb.go": [""], "vendor/api.go": [""], "api.go": [""]}
    assert _order(files, "x", Found([(0, 2.0), (1, 1.9), (2, 1.8)]), WEIGHTS) == [2, 1, 0]


@pytest.mark.promise("QRY-3")
def test_each_further_hit_of_a_file_counts_less() -> None:
    files = {"a.py": ["", "", "", ""], "b.py": [""]}
    found = Found([(0, 9.0), (1, 9.0), (2, 9.0), (3, 9.0), (4, 1.0)])
    ranked = Ranked(found, Query("x y"), _Tree(files), {})
    repeats = [ranked.signals(chunk).get("repeat", 1.0) for chunk in range(4)]
    assert repeats == sorted(repeats, reverse=True)
    assert len(set(repeats)) == 4
    assert ranked.signals(4).get("repeat", 1.0) == 1.0
    off = Ranked(found, Query("x y"), _Tree(files), {}, WEIGHTS.without("repeat"))
    assert not any("repeat" in off.signals(chunk) for chunk in range(4))


@pytest.mark.promise("QRY-3")
def test_the_last_of_very_many_hits_of_a_file_has_a_score() -> None:
    files = {"a.py": [""] * 900, "b.py": [""]}
    found = Found([(chunk, 9.0) for chunk in range(900)] + [(900, 0.01)])
    ranked = Ranked(found, Query("x y"), _Tree(files), {})
    assert ranked.order[-1][0] == 900
    assert ranked.order[-2][1] > ranked.order[0][1] / 4


@pytest.mark.promise("QRY-3")
def test_a_short_word_counts_in_a_path_only_by_itself() -> None:
    files = {"utils/translation/widgets.py": [""], "gis/geos/io.py": [""], "id_map.py": [""]}
    found = Found([(0, 2.0), (1, 1.98), (2, 1.96)])
    assert _order(files, "io of files", found, WEIGHTS)[0] == 1
    assert _order(files, "an id of files", found, WEIGHTS)[0] == 2


@pytest.mark.promise("QRY-3")
def test_what_is_dead_and_counted_still_turns_no_signal_round() -> None:
    files = {"value.py": [""], "reader.py": ["decode"]}
    found = Found([(0, 2.0), (1, 1.9)])
    asked = Query("decode value")
    for dead in range(10, 200, 10):
        often = {"decod": 1, "valu": 1 + dead}
        ranked = Ranked(found, asked, _Tree(files), often, WEIGHTS)
        assert ranked.order[0][0] == 1
        assert all(value >= 0 for value in ranked.signals(1).values())


@pytest.mark.promise("QRY-3")
def test_without_scores_it_is_what_files_are_there_for_that_decides() -> None:
    files = {"a_tests/test_x.py": [""], "docs/b.md": [""], "src/z.py": [""]}
    found = Found([(0, 0.0), (1, 0.0), (2, 0.0)])
    assert _order(files, '"=>>"', found, WEIGHTS)[0] == 2
    nearest = Found((), [(0, -0.1), (2, -0.2), (1, -0.3)])
    assert _order(files, "ooba", nearest, WEIGHTS)[0] == 2


@pytest.mark.promise("QRY-3")
def test_nothing_found_is_nothing_ranked_and_odd_scores_do_no_harm() -> None:
    files = {"a.py": ["", ""]}
    assert _order(files, "x", Found(), WEIGHTS) == []
    assert _order(files, "x", Found((), [(1, -0.5), (0, -0.7)]), WEIGHTS) == [1, 0]
    assert _order(files, "", Found([(1, 0.0)]), WEIGHTS) == [1]
    assert _order(files, "x", Found([(1, 1.0)]), WEIGHTS, often=10_000) == [1]


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("src/flask/sessions.py", ""),
        ("lib/jekyll/cleaner.rb", ""),
        ("tests/test_sessions.py", "test"),
        ("pkg/server_test.go", "test"),
        ("src/app/app.component.spec.ts", "test"),
        ("src/main/java/org/x/LatestTest.java", "test"),
        ("src/main/java/org/x/Contest.java", ""),
        ("src/main/java/org/x/Latest.java", ""),
        ("spec/parser_spec.rb", "test"),
        ("conftest.py", "test"),
        ("attestation.go", ""),
        ("examples/chat/main.rs", "example"),
        ("scripts/release.sh", "example"),
        ("src/main/java/com/book/Guide.java", ""),
        ("django/contrib/auth/hashers.py", ""),
        ("docs/topics/jobs.rst", "document"),
        ("README", "document"),
        ("CHANGES", "document"),
        ("CHANGELOG-2.x.md", "document"),
        ("tmux.1", "document"),
        ("history.c", ""),
        ("t/unit/app.py", "test"),
        ("packages/core/dist/app.js", "generated"),
        ("packages/core/src/dist/app.js", ""),
        ("src/core/dist/app.js", ""),
        ("lib/t/app.py", ""),
        ("typings/xterm.d.ts", "declaration"),
        ("lib/index.d.ts", "declaration"),
        ("pkg/x.pyi", "declaration"),
        ("languages.toml", "data"),
        ("Makefile", ""),
        (".gitignore", ""),
        ("api/v1/api.pb.go", "generated"),
        ("vendor/x/y.go", "vendored"),
        ("a/b_pb2.py", "generated"),
        ("jquery.min.js", "generated"),
        ("deps/jemalloc/src/arena.c", "vendored"),
        ("src/deps/graph.py", ""),
        ("lib.esm/wallet/json.js", "generated"),
        ("cjs/index.js", "generated"),
        ("debian/patches/fix-build.patch", "document"),
        ("lib/sqlalchemy/testing/assertions.py", ""),
        ("lib/sqlalchemy/testing/suite/test_insert.py", "test"),
        ("src/Illuminate/Foundation/Testing/RefreshDatabase.php", ""),
        ("django/test/test_client.py", "test"),
        ("backend/test/helpers.py", "test"),
        ("pkg/test/client.go", "test"),
        ("unittest/case.py", ""),
        ("unittest/strings.cc", "test"),
        ("test/support/os_helper.py", "test"),
        ("tests/support/os_helper.py", "test"),
        ("src/main/java/com/example/demo/Basket.java", ""),
        ("app/src/commonMain/kotlin/org/x/test/Clock.kt", ""),
        ("src/test/java/com/example/demo/Basket.java", "test"),
        ("examples/shop/src/main/java/com/shop/Basket.java", "example"),
        ("src/main/resources/examples/basket.json", "example"),
        ("examples/shop/src/integrationTest/java/com/shop/Basket.java", "example"),
        ("core/src/main/scala-2.13/org/x/test/Clock.scala", ""),
        ("src/integrationTest/java/org/x/Basket.java", "test"),
        ("lib/src/testFixtures/kotlin/org/x/Baskets.kt", "test"),
        ("src/iosTest/kotlin/org/x/Baskets.kt", "test"),
        ("src/latest/kotlin/org/x/Basket.kt", ""),
        ("src/test/python/support.py", "test"),
        ("src/it/java/org/x/Helpers.java", "test"),
        ("src/main/java9/com/example/Basket.java", ""),
        ("src/main/java/com/shop/generated/Basket.java", "generated"),
        ("Lib/unittest/mock.pyi", "declaration"),
        ("unittest/perf/loader.py", ""),
        ("app/unittest/helpers.py", "test"),
        ("vendor/x/README.md", "document"),
        ("third_party/x/x_test.go", "test"),
        ("vendor/lib.min.js", "generated"),
        ("third_party/x/config.yml", "vendored"),
        ("node_modules/x/dist/x.js", "vendored"),
        ("packages/core/test/a.py", "test"),
        ("polls/tests.py", "test"),
        ("src/parser/tests.rs", "test"),
        ("src/cmd/test.lua", ""),
        ("CMakeLists.txt", ""),
        ("src/meson_options.txt", ""),
        ("requirements.txt", "data"),
        ("requirements-dev.txt", "data"),
        ("notes.txt", "document"),
    ],
)
def test_a_path_tells_what_a_file_is_there_for(path: str, what: str) -> None:
    assert purpose(path) == what


def test_each_purpose_has_a_weight_and_words_to_ask_for_it() -> None:
    assert WEIGHTS.purpose.keys() == ASKED_BY.keys()
    for what, words in ASKED_BY.items():
        for word in words.split():
            assert what in asked_for(Query(f"zebra {word}").terms)
    assert not asked_for(Query("how does it open").terms)
