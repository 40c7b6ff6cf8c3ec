"""The full-text engine: the only module that imports tantivy.

Text is analysed by `text`, not by tantivy, so that both engines agree on what a term is; tantivy
sees terms with spaces between them.  Queries are built, never parsed: any text is legal (QRY-4).
Ranking is BM25 over two fields, the sum of which counts.  A third has other ways to write what is
in them, and a fourth what each chunk is called.

A full text belongs to one generation, and is written on in the next: tantivy has segments of its
own, whose files never change.  It counts what is deleted until its segment is merged, the same for
all documents.  A chunk is called by its file's id and its place in the file (`live.key_of`), which
stay the same when its vectors come to lie in another segment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import tantivy

from cidx_ref.errors import IndexingError, IndexUnusableError
from cidx_ref.files import Directory
from cidx_ref.index.analysis import Terms, as_written, within
from cidx_ref.index.live import FileSet, LiveChunks
from cidx_ref.index.query import Query
from cidx_ref.index.stems import singular
from cidx_ref.index.vocabulary import Vocabulary
from cidx_ref.index.ways import OTHERWISE, Ways, parts_of

__all__ = ["META", "FullTextIndex", "FullTextWriter", "count_documents"]

META = "meta.json"

_WRITER_HEAP_BYTES = 64_000_000
#: So many files tantivy is told of in as little time as the search itself takes.
_FEW_FILES = 256
#: Hits that are asked for beyond what a filter should leave of them; and at most.
_SPARE, _MOST = 32, 8192
_REMEMBERED = 1 << 12  # terms, with the number of chunks that each stands in

#: What makes any score more than all others that do not have it; its square is within what a score
#: is exact to.
_FAR_BETTER = 1e3

#: Of a quoted path, all but the last name.
_DIRECTORIES = re.compile(r"""(?<=["'])/[^"']*/""")

T = TypeVar("T")


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("body", tokenizer_name="whitespace", index_option="position")
    builder.add_text_field("identifier", tokenizer_name="whitespace", index_option="freq")
    builder.add_text_field("compound", tokenizer_name="whitespace", index_option="basic")
    builder.add_text_field("symbol", tokenizer_name="whitespace", index_option="basic")
    builder.add_unsigned_field("file", indexed=True)
    builder.add_unsigned_field("chunk", fast=True)
    return builder.build()


class FullTextWriter:
    """Writes full text: a new one, or on in one that has been begun.

    A context manager, which lets go of the directory.
    """

    def __init__(self, directory: Directory) -> None:
        """Write into `directory`, which is empty, or has the files of another full text: those
        stay as they are, and may be shared.  Raises `IndexingError`."""
        is_new = directory.status("meta.json") is None
        with ExitStack() as stack:
            self._directory = directory
            self._path = _EncodablePath(directory.engine_writes(META).parent)
            stack.callback(self._path.close)
            index = _guarded(
                lambda: (
                    tantivy.Index(_schema(), self._path.text)
                    if is_new
                    else tantivy.Index.open(self._path.text)
                ),
                IndexingError,
            )
            self._schema = index.schema
            # One thread: it keeps up with us, and segments come out the same every time.
            heap = _WRITER_HEAP_BYTES
            self._writer = _guarded(lambda: index.writer(heap, 1), IndexingError)
            self._stack = stack.pop_all()

    def __enter__(self) -> FullTextWriter:
        return self

    def __exit__(self, *error: object) -> None:
        del self._writer  # it has a lock file open, and an error's traceback would keep it
        self._stack.close()

    def add(self, *, key: int, file: int, terms: Terms) -> None:
        """Add one chunk: `key` is what searches call it, `file` the id of its file."""
        document = tantivy.Document()
        document.add_text("body", terms.body)
        document.add_text("identifier", terms.identifier)
        document.add_text("symbol", terms.symbol)
        document.add_text("compound", terms.compound)
        document.add_unsigned("file", file)
        document.add_unsigned("chunk", key)
        _guarded(lambda: self._writer.add_document(document), IndexingError)

    def drop(self, files: Sequence[int]) -> None:
        """Delete all chunks of the files with these ids."""
        # `delete_documents_by_term` deletes nothing by an unsigned field (tantivy 0.27).
        gone = tantivy.Query.term_set_query(self._schema, "file", list(files))
        _guarded(lambda: self._writer.delete_documents_by_query(gone), IndexingError)

    def commit(self) -> None:
        """Write everything out, and wait until it is."""
        _guarded(self._writer.commit, IndexingError)
        _guarded(self._writer.wait_merging_threads, IndexingError)
        # No part of the index: tantivy makes them anew when it opens it.
        for name in self._directory.names():
            if name.startswith(".tantivy-") and name.endswith(".lock"):
                self._directory.unlink(name)


def count_documents(directory: Path) -> int:
    """How many chunks the full text in `directory` has.  Raises `IndexUnusableError`."""
    path = _EncodablePath(directory)
    try:
        index = _guarded(lambda: tantivy.Index.open(path.text), IndexUnusableError)
        return int(_guarded(index.searcher, IndexUnusableError).num_docs)
    finally:
        path.close()


class FullTextIndex:
    """The full text of one generation, ready to be searched.  Thread-safe; never writes."""

    def __init__(self, directory: Path, chunks: LiveChunks) -> None:
        """`chunks` are those of the same generation.  Raises `IndexUnusableError`."""
        self._path = _EncodablePath(directory)
        self._index = _guarded(lambda: tantivy.Index.open(self._path.text), IndexUnusableError)
        self._schema = self._index.schema  # asked for it, tantivy makes another one
        self._searcher = _guarded(self._index.searcher, IndexUnusableError)
        self._located = chunks.located
        self._vocabulary = Vocabulary([part.segment.words for part in chunks.parts])
        self.count = len(chunks)
        self._count = _counting(self._searcher)
        self._ways = Ways(self._count, self.count)
        if self._searcher.num_docs != self.count:
            raise IndexUnusableError(
                f"full-text index: {self._searcher.num_docs} chunks, expected {self.count}"
            )

    def close(self) -> None:
        """Let go of the directory; nothing may be searched afterwards."""
        self._path.close()

    def search(
        self, query: Query, k: int, allowed: FileSet | None = None
    ) -> list[tuple[int, float]]:
        """The `k` best as (chunk, BM25 score), best first.

        The phrases of `query` must be there; of the rest, the more the better.
        `allowed` are the files that may be found.
        """
        clauses = _guarded(lambda: self._clauses(query), IndexUnusableError)
        return self._search(clauses, k, allowed)

    def definitions(
        self, query: Query, k: int, allowed: FileSet | None = None
    ) -> list[tuple[int, float]]:
        """The `k` best of those chunks that are called what `query` asks for by name: first those
        that define it as it is written there, last those that do so within a function, and in
        another way."""
        symbols = query.symbols
        if not symbols:
            return []
        should = []
        exact = [as_written(query.name.written)]
        for better, found in enumerate((within(symbols), [*symbols, *within(exact)], exact)):
            any_of = self._any_of([("symbol", symbol) for symbol in found])
            should += [tantivy.Query.boost_query(any_of, _FAR_BETTER**better)] if any_of else []
        clauses = [(tantivy.Occur.Should, each) for each in should]
        return self._search(tantivy.Query.boolean_query(clauses), k, allowed)

    def likest(self, symbol: str) -> tuple[str, list[int]]:
        """What is called nearly `symbol`, which nothing is, and the chunks that are called so; ""
        and none where nothing is."""
        for each in self._vocabulary.likest(singular(symbol)):
            for form in (each, f"{each}s"):  # the vocabulary has no plurals
                if found := self._all(self._any_of([("symbol", form)])):
                    return form, found
        return "", []

    def frequencies(self, wanted: Iterable[str]) -> dict[str, int]:
        """How many chunks each of the terms `wanted` stands in, the rarest term first.

        Terms that stand in none are left out.
        """
        counts = sorted((self._count("body", term), term) for term in set(wanted))
        return {term: count for count, term in counts if count}

    def holding(self, wanted: Iterable[str], allowed: FileSet | None = None) -> list[int]:
        """All chunks that hold any of the terms `wanted`, in no order; where `allowed` is little,
        not all of those that are not in it."""
        query = self._any_of([("body", term) for term in wanted])
        if query is not None and allowed is not None and len(allowed) <= _FEW_FILES:
            query = self._restricted(query, allowed)
        return self._all(query)

    def spelling(self, query: Query, at_most: int) -> list[int]:
        """The chunks in which a word of `query` is written in another way, in no order: those of
        each way that has no more than `at_most`."""
        return self._all(_guarded(lambda: self._otherwise(query, at_most), IndexUnusableError))

    def _otherwise(self, query: Query, at_most: int) -> tantivy.Query | None:
        ways = {form for forms in self._ways.forms(query) for form in forms if form[2] <= at_most}
        plain = set(query.terms)
        few = [(f, t) for f, t, _ in sorted(ways) if f != "body" or t not in plain]
        clauses = [self._phrase(each) for each, _ in self._ways.beside(query)]
        if (any_of := self._any_of(few)) is not None:
            clauses.append(any_of)
        should = [(tantivy.Occur.Should, each) for each in clauses]
        return tantivy.Query.boolean_query(should) if should else None

    def holding_within_words(self, found: Iterable[str], at_most: int) -> list[int]:
        """The chunks that hold any of the words `found` as a part of a word, in no order.

        Those are `github` in `MyGitHub`, and `log` in `catalog`.  None are returned where they
        could be more than `at_most`.
        """
        wanted: set[tuple[str, str]] = set()
        together = 0
        for field, term in self._vocabulary.around(parts_of(found)):
            if (field, term) not in wanted:
                wanted.add((field, term))
                together += self._count(field, term)
                if together > at_most:
                    return []
        return self._all(self._any_of(sorted(wanted)))

    def quoting(self, quoted: Iterable[list[str]]) -> list[int]:
        """All chunks that hold each of the phrases `quoted`, in no order."""
        must = [(tantivy.Occur.Must, self._phrase(phrase)) for phrase in quoted]
        return self._all(tantivy.Query.boolean_query(must) if must else None)

    def _all(self, query: tantivy.Query | None) -> list[int]:
        if query is None or self.count == 0:
            return []
        # Scores would take most of the time.
        unscored = tantivy.Query.const_score_query(query, 0.0)

        def run() -> Any:
            hits = self._searcher.search(unscored, self.count, count=False).hits
            return self._searcher.fast_field_values("chunk", [address for _, address in hits])

        return self._located(_guarded(run, IndexUnusableError))

    def _search(
        self, query: tantivy.Query | None, k: int, allowed: FileSet | None
    ) -> list[tuple[int, float]]:
        if (
            query is None
            or k == 0
            or self.count == 0
            or (allowed is not None and not allowed.count)
        ):
            return []
        if allowed is None:
            return self._ranked(query, k)
        found = None if len(allowed) <= _FEW_FILES else self._best_of_more(query, k, allowed)
        return self._ranked(self._restricted(query, allowed), k) if found is None else found

    def _best_of_more(
        self, query: tantivy.Query, k: int, allowed: FileSet
    ) -> list[tuple[int, float]] | None:
        """The `k` best of what is `allowed`, from among more of the best than that; None if too few
        of these are allowed.

        To tell tantivy of thousands of files takes ten times as long as the search.  What is
        dropped afterwards was ranked all the same, so what is left is what a filter would leave.
        """
        more = 2 * -(-k * self.count // allowed.count) + _SPARE
        while more <= _MOST:
            found = self._ranked(query, more)
            kept = [hit for hit in found if allowed.chunks[hit[0]]]
            if len(kept) >= k or len(found) < more:
                return kept[:k]
            # The best may be where the filter lets little through: so as many more as it takes.
            more = max(2 * more, 2 * -(-k * more // (len(kept) + 1)))
        return None

    def _restricted(self, query: tantivy.Query, allowed: FileSet) -> tantivy.Query:
        """`query`, by tantivy, of nothing but what is `allowed`."""
        schema, occur = self._schema, tantivy.Occur
        if len(allowed.others) < len(allowed):
            others = tantivy.Query.term_set_query(schema, "file", allowed.others.tolist())
            return tantivy.Query.boolean_query([(occur.Must, query), (occur.MustNot, others)])
        files = tantivy.Query.term_set_query(schema, "file", allowed.ids.tolist())
        unscored = tantivy.Query.const_score_query(files, 0.0)
        return tantivy.Query.boolean_query([(occur.Must, query), (occur.Must, unscored)])

    def _ranked(self, query: tantivy.Query, k: int) -> list[tuple[int, float]]:
        return _guarded(lambda: self._run(query, k), IndexUnusableError)

    def _run(self, query: tantivy.Query, k: int) -> list[tuple[int, float]]:
        hits = self._searcher.search(query, min(k, self.count), count=False).hits
        keys = self._searcher.fast_field_values("chunk", [address for _, address in hits])
        found = self._located(keys)  # type: ignore[arg-type]  # an unsigned field, always set
        return [(chunk, float(score)) for chunk, (score, _) in zip(found, hits, strict=True)]

    def _clauses(self, query: Query) -> tantivy.Query | None:
        clauses = [(tantivy.Occur.Must, self._phrase(phrase)) for phrase in query.phrases]
        clauses += [(tantivy.Occur.Should, self._phrase(phrase)) for phrase in query.preferred]
        rest = query.beside_phrases
        clauses += [(tantivy.Occur.Should, self._either(forms)) for forms in self._ways.forms(rest)]
        for each, share in self._ways.beside(rest):
            phrase = self._phrase(each)
            if share != 1:
                phrase = tantivy.Query.boost_query(phrase, share)
            clauses.append((tantivy.Occur.Should, phrase))
        return tantivy.Query.boolean_query(clauses) if clauses else None

    def _either(self, forms: list[tuple[str, str, int]]) -> tantivy.Query:
        """The first of the `forms` of one word, or else another one, which counts less: not what
        it would as a word by itself, that is as rare as it happens to be written so."""
        schema = self._schema
        first, *others = [tantivy.Query.term_query(schema, field, term) for field, term, _ in forms]
        if not others:
            return first
        together = sum(count for _, _, count in forms)
        weight = OTHERWISE * self._ways.rarity(together)
        shares = [weight / self._ways.rarity(count) for _, _, count in forms[1:]]
        boosted = list(map(tantivy.Query.boost_query, others, shares))
        return tantivy.Query.disjunction_max_query([first, *boosted] if forms[0][2] else boosted)

    def _phrase(self, phrase: list[str]) -> tantivy.Query:
        if len(phrase) == 1:  # tantivy panics on a phrase of one word
            return tantivy.Query.term_query(self._schema, "body", phrase[0])
        return tantivy.Query.phrase_query(self._schema, "body", list(phrase))

    def _any_of(self, wanted: list[tuple[str, str]]) -> tantivy.Query | None:
        schema = self._schema
        terms_ = [tantivy.Query.term_query(schema, field, term) for field, term in wanted]
        return (
            tantivy.Query.boolean_query([(tantivy.Occur.Should, t) for t in terms_])
            if terms_
            else None
        )


def _counting(searcher: tantivy.Searcher) -> Callable[[str, str], int]:
    """In how many chunks a term stands in a field: a search asks several times, and the next one
    for the same words."""

    @lru_cache(maxsize=_REMEMBERED)
    def count(field: str, term: str) -> int:
        return _guarded(lambda: searcher.doc_freq(field, term), IndexUnusableError)

    return count


class _EncodablePath:
    """A directory under a name that tantivy takes: only UTF-8.  Where the path is not, that is the
    open descriptor's name, so it stays open."""

    def __init__(self, directory: Path) -> None:
        self.text = str(directory)
        self._fd = -1
        try:
            self.text.encode()
        except UnicodeEncodeError:
            self._fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self.text = f"/proc/self/fd/{self._fd}"

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _guarded(call: Callable[[], T], error: type[IndexUnusableError] | type[IndexingError]) -> T:
    """What `call` returns, with tantivy's ways to fail made into `error`."""
    try:
        return call()
    except BaseException as problem:
        # A panic of the Rust code comes as a BaseException that no module exports.
        is_its_own = isinstance(problem, ValueError | OSError)
        if not is_its_own and type(problem).__name__ != "PanicException":
            raise
        # Without the directories that it names: whoever asked need not know where an index lies.
        raise error(f"full-text index: {_DIRECTORIES.sub('', str(problem))}") from None
