"""Text as terms, terms as vectors: what both engines and both sides of a search agree on."""

from __future__ import annotations

import base64
import os
import random
import subprocess
import sys
import sysconfig
import tracemalloc
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cidx_ref.index import stems as stems_module
from cidx_ref.index import text as text_module
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.query import Query
from cidx_ref.index.snippet import Probes
from cidx_ref.index.storing import StoredChunk
from cidx_ref.index.text import MAX_TERM_CHARS, terms, whole_identifiers, words

#: Text with what code and its reader may throw in: surrogates, NUL, quotes, scripts, emoji.
ANY_TEXT = st.text(
    st.characters()
    | st.characters(categories=["Cs", "Lo", "Mn", "So"])
    | st.sampled_from("\0\"'_"),
    max_size=60,
)

LIBRARY = Path(sysconfig.get_path("stdlib"))

SAME = [
    ("parseHTTPHeaders", "parse_http_headers"),
    ("parseHTTPHeaders", "parsing HTTP header"),
    ("getUserName", "get_user_name"),
    ("XMLHttpRequest", "xml http request"),
    ("utf8Decode", "utf 8 decode"),
    ("__init__", "init"),
    ("MAX_RETRY_COUNT", "maxRetryCount"),
    ("größenÄnderung", "größen änderung"),
    ("日本語", "日 本 語"),
    ("\uff21\uff22\uff23", "abc"),
]


@pytest.mark.promise("QRY-2")
@pytest.mark.parametrize(("one", "other"), SAME)
def test_two_ways_to_write_it_are_the_same_terms(one: str, other: str) -> None:
    assert terms(one) == terms(other)


@pytest.mark.promise("QRY-2")
def test_case_boundaries_digits_and_endings_are_where_a_reader_sees_them() -> None:
    assert terms("parseHTTPHeaders2x") == ["pars", "http", "header", "2", "x"]
    assert terms("connections connected connecting") == ["connect"] * 3
    assert whole_identifiers(words("getUserName get_user_name name")) == ["getusername"] * 2


@pytest.mark.promise("QRY-2")
def test_stop_words_are_left_out_of_a_query_only_where_something_remains() -> None:
    assert Query("how to parse the header of a request").terms == ["pars", "header", "request"]
    assert Query("what is it").terms == ["what", "is", "it"]
    assert Query("parse Parse parsing").terms == ["pars"]


@pytest.mark.promise("QRY-4")
@settings(derandomize=True, deadline=None)
@given(ANY_TEXT)
def test_any_text_has_terms_that_both_engines_can_take(text: str) -> None:
    for term in terms(text):
        assert 0 < len(term) <= MAX_TERM_CHARS * 4, "casefold may lengthen, stemming not"
        assert not any(char.isspace() for char in term), "tantivy sees terms between spaces"
    assert set(Query(text).terms) <= set(terms(text))
    if any(char.isalnum() for char in text if char.isascii()):
        assert terms(text), "a letter or a digit is always something to look for"


@pytest.mark.promise("QRY-1", "QRY-4")
@settings(derandomize=True, deadline=None)
@given(ANY_TEXT, ANY_TEXT)
def test_any_text_has_a_vector_of_length_one_or_nothing_to_say(text: str, other: str) -> None:
    embedder = HashingEmbedder(64)
    documents = embedder.embed_documents([text, other])
    queries = np.array([embedder.embed_query(text), embedder.embed_query(other)])
    for vectors in (documents, queries):
        assert vectors.shape == (2, 64)
        assert vectors.dtype == np.float32
        assert np.isfinite(vectors).all()
        norms = np.linalg.norm(vectors, axis=1)
        assert all(norm == 0 or abs(norm - 1) < 1e-4 for norm in norms)
    for vector, said in zip(documents, (text, other), strict=True):
        assert terms(said) or not vector.any()
    assert np.array_equal(documents[:1], embedder.embed_documents([text])), "alone or in company"


def test_the_vectors_are_the_same_in_every_process() -> None:
    program = (
        "import hashlib; from cidx_ref.index.embed import HashingEmbedder as E; e = E();"
        "v = e.embed_documents(['def parseHeaders(x): return x.split()', 'größe 日本'] * 3);"
        "print(e.id, hashlib.sha256(v.tobytes() + e.embed_query('parse it').tobytes()).hexdigest())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-P", "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(said) == 1


def _stored(text: str, path: str = "a.py", name: str = "") -> StoredChunk:
    return StoredChunk(path, "python", name, 10, 10 + text.count("\n"), text)


@pytest.mark.promise("QRY-1", "QRY-2")
@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    st.sampled_from(
        "write writing dying lying skies using typing hoping Straße \uff21\uff22 İstanbul "
        "日本語 größe parseHTTPHeaders early naïve ŁÓDŹ".split()
    )
    | st.text(st.characters(categories=["Lu", "Ll", "Lo", "Nd"]), min_size=1, max_size=12)
)
def test_whoever_looks_for_a_word_meets_the_chunk_that_holds_it(word: str) -> None:
    if terms(word):
        assert Probes(Query(word)).touch(_stored(f"x = {word}(y)"))


def test_a_chunk_that_shares_nothing_is_not_touched() -> None:
    assert not Probes(Query("parse the header")).touch(_stored("x = compute(y)"))
    assert Probes(Query("login")).touch(_stored("x", path="auth/login.py"))
    assert Probes(Query("SessionStore")).touch(_stored("x", name="SessionStore.expire"))


@pytest.mark.promise("QRY-1")
def test_the_snippet_is_the_lines_that_say_most_of_the_query() -> None:
    lines = [f"line {n}" for n in range(30)]
    lines[17], lines[19] = "the header is", "parsed here"
    chunk = _stored("\n".join(lines))
    first, snippet, _ = Probes(Query("parsed header")).cut(chunk)
    shown = snippet.split("\n")
    assert shown == lines[first - 10 : first - 10 + len(shown)]
    assert {"the header is", "parsed here"} <= set(shown)
    assert len(shown) == 5
    assert Probes(Query("nothing of it")).cut(_stored("one\ntwo")) == (10, "one\ntwo", ())


@pytest.mark.promise("RPC-4")
def test_of_a_query_so_many_letters_count_as_its_words_become() -> None:
    """The ligature of a whole sentence is one character, and 18 letters in four words."""
    assert len(Query(" ".join("ab" * n for n in range(1, 100))).words) == 63
    ligatures = [f"{chr(0xFDFA) * n}x" for n in range(1, 100)]
    assert len(Query(" ".join(ligatures)).words) == 22
    assert len(Query("\ufdfa" * 100_000).words) == 1


@pytest.mark.promise("QRY-4", "RPC-4")
def test_a_long_query_is_looked_for_in_its_first_hits_and_not_in_a_thousand() -> None:
    words = [f"{chr(97 + n // 26)}{chr(97 + n % 26)}zq" for n in range(200)]
    hidden = _stored("\n" * 20 + "needle")
    probes = Probes(Query(" ".join(["needle", *words])))
    assert probes.cut(hidden)[0] > 20, "the first hits show the lines that say most"
    cuts = [probes.cut(hidden)[0] for _ in range(1000)]
    assert cuts[0] > 20
    assert cuts[-1] == 10, "200 words in a thousand hits: the last ones show their first lines"
    few = Probes(Query("needle in a haystack"))
    assert all(few.cut(hidden)[0] > 20 for _ in range(1000)), "of an ordinary query all do"


@pytest.mark.promise("QRY-2")
@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("9c2b49bd0f7d3a18a9f7b1c2d3e4f5a6b7c8d9e0", ["9c2b49bd0f7d3a18a9f7b1c2d3e4f5a6b7c8d9e0"]),
        ("9C2B49BD", ["9c2b49bd"]),
        ("1abc2345", ["1abc2345"]),
        ("abc123def456", ["abc123def456"]),
        ("deadbee1f2a3", ["deadbee1f2a3"]),
        ("commit_9c2b49b", ["commit", "9c2b49b"]),
        ("550e8400-e29b-41d4", ["550e8400", "e29b", "41", "d", "4"]),
        ("iVBORw0KGgoAAAANSUhEUgAAB3x9", ["ivborw0kggoaaaansuheugaab3x9"]),
        ("ghp_a8F3kQ9zLm2Xv7Tn1Rw5", ["ghp", "a8f3kq9zlm2xv7tn1rw5"]),
        ("first.last+tag@example.org", ["first", "last", "tag", "exampl", "org"]),
        ("0.123456,7e-10", ["0", "123456", "7", "e", "10"]),
    ],
)
def test_what_a_person_pastes_of_data_is_few_terms(data: str, said: list[str]) -> None:
    assert terms(data) == said
    assert whole_identifiers(words(HASH)) == [], "it has no parts that could be found apart"


@pytest.mark.promise("QRY-2")
@pytest.mark.parametrize(
    "name",
    [
        "AbstractSingletonProxyFactoryBean",
        "pbeWithSHA1AndRC2",
        "toUTF8String",
        "decade2",
        "face2face",
        "FACE2FACE",
        "add2add",
        "dead4beef",
        "bad2bad2",
        "decade2cafe",
        "cafe2024cafe",
        "bad4bad5bad6",
        "2face4bed",
        "defaced",
        "SO_J1939_FILTER",
        "utf8Decode2Bytes",
        "a1_b2_c3_d4_e5_f6_g7",
        "test_a_name_of_many_words_is_none_the_less_code",
    ],
)
def test_a_name_is_no_data_however_long_it_is(name: str) -> None:
    assert len(terms(name)) > 1 or terms(name) == ["defac"]
    assert max(map(len, terms(name))) < 12


HASH = "9c2b49bd0f7d3a18a9f7b1c2d3e4f5a6b7c8d9e0"
KINDS: dict[str, Callable[[random.Random], str]] = {
    "base64": lambda r: base64.encodebytes(r.randbytes(150_000)).decode(),
    "base64 in one line": lambda r: base64.b64encode(r.randbytes(150_000)).decode(),
    "hex": lambda r: "\n".join(r.randbytes(32).hex() for _ in range(3000)),
    "uuids": lambda r: "\n".join(str(uuid.UUID(int=r.getrandbits(128))) for _ in range(5000)),
    "numbers": lambda r: "\n".join(
        f"{n},{r.random():.6f},{r.gauss(0, 9):.4f}" for n in range(9000)
    ),
}


@pytest.mark.once
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_data_has_about_as_many_terms_as_code_and_next_to_none_is_stemmed(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stemmed: list[str] = []
    real = stems_module._stemmer_class()

    class Counting:
        def stemWord(self, word: str) -> str:
            stemmed.append(word)
            return str(real().stemWord(word))

    monkeypatch.setattr(stems_module, "_stemmer_class", lambda: Counting)
    text_module._KEPT_TERMS.clear()
    stems_module.stem.cache_clear()
    data = KINDS[kind](random.Random(3))
    found = len(terms(data)) / len(data)
    code = "".join(path.read_text("utf-8") for path in sorted(LIBRARY.glob("[a-d]*.py")))
    assert found < 2.2 * len(terms(code)) / len(code)
    text_module._KEPT_TERMS.clear()
    stems_module.stem.cache_clear()
    stemmed.clear()
    terms(data)
    assert len(stemmed) < len(data) / 40


@pytest.mark.promise("QRY-1")
@pytest.mark.parametrize("where", [0, 299, 300, 1234, 1990])
def test_the_part_of_a_long_line_that_is_shown_has_the_match_in_it(where: int) -> None:
    line = f"{';' * where}needle(){';' * (1990 - where)}"
    for text in (line, f"first\n{line}\nlast"):
        first, snippet, _ = Probes(Query("needle")).cut(_stored(text))
        shown = next(part for part in snippet.split("\n") if "needle" in part)
        assert shown in line
        assert len(shown) <= 300
        assert first == 10


@pytest.mark.parametrize("dotted", ["İİİ", "İ" * 400, "x" * 900 + "İ"])
@pytest.mark.parametrize("word", ["needleword", "İstanbul"])
def test_the_match_is_shown_where_a_letter_has_a_longer_small_one(dotted: str, word: str) -> None:
    line = f"{dotted}{'.' * 900}{word}{'.' * 900}"
    shown = Probes(Query(word)).cut(_stored(line))[1]
    assert word in shown
    assert shown in line
    assert len(shown) <= 300


def test_of_a_long_line_the_part_that_says_most_is_shown() -> None:
    line = "parse " + "x" * 900 + " parse the header " + "y" * 900
    assert "parse the header" in Probes(Query("parse header")).cut(_stored(line))[1]


@pytest.mark.promise("QRY-4", "RPC-4")
def test_long_lines_are_looked_at_no_longer_than_other_hits() -> None:
    probes = Probes(Query(" ".join(f"{chr(97 + n // 26)}{chr(97 + n % 26)}zq" for n in range(250))))
    line = _stored(";" * 1900 + "aazq" + ";" * 90)
    shown = ["aazq" in probes.cut(line)[1] for _ in range(1000)]
    assert shown[0]
    assert not any(shown[121:]), "30,000 looks: each of 250 words once in each hit"


@pytest.mark.promise("PERF-4", "RPC-6")
def test_of_a_long_word_that_is_asked_for_its_beginning_is_kept() -> None:
    """A query may be one word of 100,000 letters, and thousands of words are remembered."""

    def ask(number: int) -> None:
        query = Query(f"w{number}{'qX' * 49_000}")
        assert query.terms
        assert query.spelled

    ask(0)
    tracemalloc.start()
    try:
        for number in range(1, 101):
            ask(number)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 8_000_000
