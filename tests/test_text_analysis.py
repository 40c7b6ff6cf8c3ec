"""The page on how text is analysed, row by row, and what must hold of any text."""

from __future__ import annotations

import random
import re
import time
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cidx_ref.index.analysis import terms_of_chunk
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.port import MODES, Search
from cidx_ref.index.query import Query
from cidx_ref.index.search import answer
from cidx_ref.index.snapshot import IndexSnapshot
from cidx_ref.index.source import GenerationSource
from cidx_ref.index.stems import singular
from cidx_ref.index.text import composed, compounds, joined_words, said, terms, words
from cidx_ref.project import Project
from cidx_ref.testing.own.fixtures import build

PAGE = Path(__file__).parents[1] / "docs/text-analysis.md"
_SPAN = re.compile(r"`([^`]+)`")

#: Of C, around each case.
CHUNKS = 3000


def _rows(title: str) -> list[tuple[str, list[str]]]:
    section = PAGE.read_text("utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    found = []
    for line in section.splitlines():
        if line.startswith("| `"):
            one, other = line.strip("| ").split(" | ")
            found.append((_SPAN.findall(one)[0], _SPAN.findall(other)))
    return found


TERMS, MEETS, APART = _rows("Terms"), _rows("What meets"), _rows("What stays apart")


@pytest.mark.promise("QRY-2")
@pytest.mark.parametrize(("text", "said_of_it"), TERMS, ids=[ascii(text) for text, _ in TERMS])
def test_a_row_of_the_page_says_which_terms_a_text_has(text: str, said_of_it: list[str]) -> None:
    assert terms(text) == said_of_it


def test_the_page_has_rows_of_each_kind() -> None:
    assert len(TERMS) > 25
    assert len(MEETS) > 40
    assert len(APART) > 3
    assert sum(text != unicodedata.normalize("NFC", text) for text, _ in MEETS) == 1
    assert sum(q != unicodedata.normalize("NFC", q) for _, asked in MEETS for q in asked) == 1


def _function(rng: random.Random, number: int) -> str:
    """Of some lines, full of `c` and of variables that are counted up."""
    name = "".join(rng.choices("bdfgklmprtv", k=2)) + "_" + "".join(rng.choices("aeiou", k=3))
    lines = [f"static int {name}_{number}(const char *c, int i)", "{"]
    lines += [
        rng.choice(
            [
                "    while (*c++ != 0 && i++ < n) c++;",
                "    if (c[i] == 'c' && node->net != NULL)",
                f"    for (c = s; *c; c++, i++) put(c, {rng.randrange(99)});",
                '    printf("%d c %s\\n", i, c);',
                f"    size_t {rng.choice('abcxyz')} = net_read(node, file, c);",
                "    return i++ + strlen(c); /* the name of a file, or of a node */",
            ]
        )
        for _ in range(12)
    ]
    return "\n".join([*lines, "}", ""])


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexSnapshot]:
    root = tmp_path_factory.mktemp("analysis")
    rng = random.Random(7)
    for number in range(380):
        functions = [_function(rng, 30 * number + n) for n in range(30)]
        (root / f"f{number}.c").write_text("\n\n".join(functions), "utf-8")
    for kind, rows in ("meet", MEETS), ("apart", APART):
        for number, (text, _) in enumerate(rows):
            (root / f"{kind}{number}.txt").write_text(f"{text}\n", "utf-8")
    for name, text in zip(NAMES, ("nothing\n", "naught\n"), strict=True):
        (root / f"{name}.txt").write_text(text, "utf-8")
    project = Project.at(root)
    build(project)
    source = GenerationSource(project.generations, HashingEmbedder())
    snapshot = source.load(source.current())
    assert len(snapshot.chunks) >= CHUNKS
    yield snapshot
    snapshot.close()


#: Two ways to write the letters of a file's name.
Form = Literal["NFC", "NFD"]
FORMS: tuple[Form, ...] = ("NFC", "NFD")
NAMES = [unicodedata.normalize(form, f"übersicht-{form}") for form in FORMS]


def _found(index: IndexSnapshot, mode: str, query: str, limit: int = 60) -> list[str]:
    answered: dict[str, Any] = answer(index, Search(query, mode, limit), HashingEmbedder())
    assert "unavailable" not in answered
    return [hit["path"] for hit in answered["results"]]


@pytest.mark.once
@pytest.mark.promise("QRY-2", "QRY-3")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("number", range(len(MEETS)), ids=[ascii(text) for text, _ in MEETS])
def test_a_row_of_the_page_says_by_what_a_text_is_found(
    index: IndexSnapshot, number: int, mode: str
) -> None:
    text, asked = MEETS[number]
    missed = [query for query in asked if f"meet{number}.txt" not in _found(index, mode, query)]
    assert missed == [], text


@pytest.mark.once
@pytest.mark.promise("QRY-2")
@pytest.mark.parametrize("number", range(len(APART)), ids=[ascii(text) for text, _ in APART])
def test_a_row_of_the_page_says_by_what_a_text_is_not_found(
    index: IndexSnapshot, number: int
) -> None:
    text, asked = APART[number]
    met = [query for query in asked if f"apart{number}.txt" in _found(index, "fts", query, 1000)]
    assert met == [], text


@pytest.mark.once
@pytest.mark.promise("QRY-2", "QRY-3")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("query", ["C++", "c++", "C#", "F#", ".NET", "node.js", "Node.js", "i18n"])
def test_text_about_what_has_a_sign_comes_first_among_thousands_of_chunks_of_c(
    index: IndexSnapshot, query: str, mode: str
) -> None:
    files = [*(("meet", n, text) for n, (text, _) in enumerate(MEETS)),
             *(("apart", n, text) for n, (text, _) in enumerate(APART))]  # fmt: skip
    about = {f"{kind}{n}.txt" for kind, n, text in files if query.lower() in text.lower()}
    assert about
    assert set(_found(index, mode, query)[: len(about)]) == about


@pytest.mark.once
@pytest.mark.promise("QRY-2", "QRY-3")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", FORMS)
def test_a_file_is_found_by_its_name_however_its_letters_are_written_and_is_called_as_on_disk(
    index: IndexSnapshot, mode: str, form: Form
) -> None:
    found = _found(index, mode, unicodedata.normalize(form, "übersicht"))
    assert {f"{name}.txt" for name in NAMES} <= set(found)


@pytest.mark.once
@pytest.mark.promise("QRY-4")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("place", ["first", "last", "middle"])
def test_of_a_pasted_log_the_rare_word_counts_wherever_it_stands(
    index: IndexSnapshot, mode: str, place: str
) -> None:
    common = ["while", "net_read", "const", "static", "char", "node"]
    pasted = [
        f"{word} 2026-01-{n % 28:02} 10:{n % 60} [{70000 + n}]"
        for n, word in enumerate(common * 60)
    ]
    # Words that are nowhere, in letters and not.
    pasted += ["".join(random.Random(n).choices("qxz", k=9)) for n in range(700)]
    at = {"first": 0, "last": len(pasted), "middle": len(pasted) // 2}[place]
    pasted.insert(at, "frobnicates")
    assert len(set(words(" ".join(pasted)))) > 1000
    wanted = {f"meet{n}.txt" for n, (text, _) in enumerate(MEETS) if "frobnicate" in text}
    assert wanted & set(_found(index, mode, " ".join(pasted), 10))


# of a query


@pytest.mark.promise("RPC-4", "QRY-4")
def test_of_a_long_query_the_rarest_words_count_and_no_more_are_looked_at_than_2048() -> None:
    said_of = [f"{one}{other}zq" for one in LETTERS for other in LETTERS]  # 676
    asked: list[list[str]] = []

    def frequencies(wanted: list[str]) -> dict[str, int]:
        asked.append(wanted)
        return dict.fromkeys(wanted[::2], 3) | {terms("rare")[0]: 2}

    query = Query(" ".join([*said_of, "rare"])).of_rarest(frequencies)
    assert query.words[0] == "rare"
    assert len(query.words) == 256
    assert set(query.terms) <= {*terms("rare"), *terms(" ".join(said_of[::2]))}
    assert len(asked) == 1
    many = [f"{word}{chr(97 + n % 26)}{n}" for word in said_of for n in range(12)]
    assert len(Query(" ".join(many))._said) == 2048
    assert len(Query(" ".join(map(str, range(9000))) + " needle")._said) == 2048
    assert "needle" in Query(" ".join(map(str, range(9000))) + " needle")._said


def test_a_query_of_256_words_is_asked_as_it_is() -> None:
    def refused(wanted: list[str]) -> dict[str, int]:
        raise AssertionError(wanted)

    words_ = [f"{one}{other}zq" for one in LETTERS for other in LETTERS][:256]
    query = Query(" ".join([*words_, "the", "of"]))
    assert query.of_rarest(refused) is query


def test_phrases_of_a_long_query_stay_and_what_is_beside_them_is_asked_by_its_rarest_words() -> (
    None
):
    words_ = [f"{one}{other}zq" for one in LETTERS for other in LETTERS]
    said = Query(f'"a phrase" {" ".join(words_)} rare')
    query = said.quoting(said.quotes.pieces, [["a", "phrase"]], [])

    def frequencies(wanted: list[str]) -> dict[str, int]:
        return {term: 2 if term == "rare" else 3 for term in wanted}

    narrowed = query.of_rarest(frequencies)
    assert narrowed.phrases == [["a", "phrase"]]
    assert narrowed.beside_phrases.words[0] == "rare"


def test_where_nothing_of_a_long_query_is_to_be_found_its_first_words_are_asked() -> None:
    query = Query(" ".join(f"{one}{other}zq" for one in LETTERS for other in LETTERS))
    assert query.of_rarest(lambda wanted: {}) is query


def test_in_a_sentence_neighbours_are_not_joined() -> None:
    assert Query("file name").neighbours == ["filename"]
    assert Query("the file name of it").neighbours == []
    assert Query("sha 256").neighbours == ["sha256"]
    assert Query("Jekyll::Hooks").neighbours == Query("errors.Fatalf").neighbours == []


def test_in_a_sentence_what_has_hyphens_is_asked_for_as_a_word_only() -> None:
    asked = Query("a sorted in-memory structure for recent writes")
    assert (asked.identifiers, asked.closed) == ([], ["inmemory"])
    assert Query("in-memory").identifiers == ["inmemory"]
    assert Query("in-memory").closed == []


def test_a_name_with_hyphens_is_asked_for_by_name_and_called_so() -> None:
    assert "ringbuffer" in Query("ring-buffer").symbols
    assert terms_of_chunk("a.el", "", "", ["ring-buffer"]).symbol.split() == [
        "ring",
        "buffer",
        "ringbuffer",
        "=ring-buffer",
    ]
    assert terms_of_chunk("a.md", "", "", ["How to ring"]).symbol.split() == ["how", "to", "ring"]


def test_letters_that_may_be_a_code_or_not_are_read_both_ways() -> None:
    assert said(r"\nfrob_it x") == (["frob_it", "x"], ["nfrob"])
    assert said(r"\table") == (["able"], ["table"])
    assert said(r"\new") == (["new"], [])
    assert said(r"\nUsage") == (["Usage"], [])
    assert terms_of_chunk("a.c", "", r"C:\nfrob", []).body.split()[-2:] == ["frob", "nfrob"]


LETTERS = "abcdefghijklmnopqrstuvwxyz"
_PART = st.text(st.sampled_from("abcdefghiklmnoprstuvwy"), min_size=3, max_size=7)
_PARTS = st.lists(_PART, min_size=2, max_size=5)
_ANY = st.text(max_size=80) | st.text("aBcS\\%nu0x1b[+#.-_e\u0301é \x1b{}2", max_size=80)


@pytest.mark.promise("QRY-2")
@settings(derandomize=True, deadline=None, max_examples=300)
@given(_PARTS)
def test_the_joints_and_the_case_of_a_name_say_nothing(parts: list[str]) -> None:
    apart = terms(" ".join(parts))
    camel = "".join(part.capitalize() for part in parts)
    ways = ["_".join(parts), "_".join(parts).upper(), camel, camel[0].lower() + camel[1:]]
    assert all(terms(way) == apart for way in (*ways, "-".join(parts)))
    made = {tuple(compounds([way])) for way in ways}
    made.add(tuple(compounds(joined_words("-".join(parts)))))
    assert len(made) == 1


@pytest.mark.promise("QRY-2")
@settings(derandomize=True, deadline=None, max_examples=300)
@given(_PARTS)
def test_a_name_has_its_whole_and_all_its_neighbours_as_compounds(parts: list[str]) -> None:
    found = list(compounds(["_".join(parts)]))
    wanted = {singular(f"{one}{other}") for one, other in pairwise(parts)}
    assert set(found) == wanted | {singular("".join(parts)[:64])}
    assert len(found) <= len(parts)


@pytest.mark.promise("QRY-2")
@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=2, max_size=5), _PART)
def test_an_acronym_in_the_plural_is_the_acronym(acronym: str, word: str) -> None:
    if f"{acronym}s" != "HTTPs":
        assert terms(f"{acronym}s") == terms(acronym.lower()) == terms(acronym)
        assert terms(f"get{acronym}s") == terms(f"get_{acronym}")
        capital = word.capitalize()
        assert terms(f"{acronym}s{capital}") == terms(f"{acronym}_{capital}")


@pytest.mark.promise("QRY-2", "QRY-4")
@settings(derandomize=True, deadline=None, max_examples=500)
@given(_ANY)
def test_a_term_is_one_term(text: str) -> None:
    """It is never taken apart again; its ending may be another one, as Snowball's are."""
    for term in terms(text):
        assert len(terms(term)) == 1, term


@pytest.mark.promise("QRY-2", "QRY-4")
@settings(derandomize=True, deadline=None, max_examples=500)
@given(_ANY, _ANY)
def test_a_text_has_the_terms_of_its_lines(one: str, other: str) -> None:
    assert terms(f"{one}\n\n{other}") == terms(one) + terms(other)


@pytest.mark.promise("QRY-2", "QRY-4")
@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.text(st.characters(categories=["L", "M", "Nd"]), max_size=40))
def test_composed_and_decomposed_letters_have_the_same_terms(text: str) -> None:
    forms = [unicodedata.normalize(form, text) for form in FORMS]
    assert terms(forms[0]) == terms(forms[1])
    assert composed(forms[1]) == forms[0] or not text.isalpha()


def test_every_letter_that_can_be_decomposed_is_one_word_either_way() -> None:
    for code in range(0x110000):
        decomposition = unicodedata.decomposition(chr(code))
        if decomposition and decomposition[0] != "<" and chr(code).isalpha():
            apart = f"a{unicodedata.normalize('NFD', chr(code))}b"
            assert words(apart) == [apart], hex(code)


HOSTILE = {
    "backslashes": "\\",
    "escapes": "\\na",
    "per cent": "%",
    "formats": "%(a",
    "widths": "%-0",
    "capitals": "A",
    "capitals and words": "ABc",
    "plurals": "ABs",
    "hyphens": "a-",
    "hyphens and digits": "a-1",
    "plus signs": "c+",
    "sharps": "c#",
    "dots": ".a",
    "marks": "\u0301\u0323",
    "spaces after a sign": "c++ ",
    "codes of a terminal": "\x1b[1",
    "underscores": "a_",
    "ideographs": "日本",
}


def _seconds(text: str) -> float:
    best = 9.0
    for _ in range(3):
        started = time.process_time()
        plain, _others = said(text)
        list(compounds([*plain, *joined_words(text)]))
        terms(text)
        composed(text)
        best = min(best, time.process_time() - started)
    return best


@pytest.mark.once
@pytest.mark.promise("QRY-4", "RPC-4")
@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_any_text_takes_time_in_proportion_to_its_length(kind: str) -> None:
    unit = HOSTILE[kind]
    small, large = ((unit * (count // len(unit))) for count in (20_000, 160_000))
    assert _seconds(large) < 24 * _seconds(small) + 0.05
