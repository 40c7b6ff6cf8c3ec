"""The full cidx's full text, searched with our queries: the second module that imports tantivy, and
it only reads.

Its tokenizer knows no stems and no parts of names: a token is what stands between two characters
that are neither letters nor digits, in small letters.  So each term of a query is looked for as the
tokens there are of which it is the term: `retries` and `retry`, where either is asked for.  A
document is one chunk or, of other writers, several.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import suppress
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import tantivy

from cidx_ref.errors import IndexUnusableError
from cidx_ref.index.cidx.forms import TOKEN, Forms
from cidx_ref.index.cidx.rows import Document
from cidx_ref.index.cidx.words import TextFiles
from cidx_ref.index.query import Query
from cidx_ref.index.text import terms_of

if TYPE_CHECKING:
    from cidx_ref.index.cidx.catalogue import Catalogue
    from cidx_ref.index.live import FileSet, LiveChunks

__all__ = ["TheirText", "documents", "opened_index", "probe"]

#: The tokenizer leaves out what is longer.
_MAX_TOKEN_BYTES = 39
_PATH_SHARE = 0.5
_WHOLE_SHARE = 1.5  # what a name counts for that stands there as it was typed
#: For all names of a query together: documents with the rarest token of one, in which it is looked
#: where they stand.  Some 3 ms.
_MOST_IN_A_ROW = 20_000
_MORE = 4
_FEW_FILES, _SPARE = 256, 32
_PROBED, _PROBED_CHARS, _MOST_PROBED_HITS = 16, 2000, 1000
_ANY_PAIR = 4  # one in so many is looked for by words however frequent: of many, that takes long
_MOST_WORDS = 4
_PER_DOCUMENT = 3  # chunks of a document of many that are found by it
_DIRECTORIES = re.compile(r"""(?<=["'])/[^"']*/""")

T = TypeVar("T")
Ranking = list[tuple[int, float]]


def opened_index(files: TextFiles) -> Any:
    """A searcher; all files are open, or mapped, by the time it is there.

    Raises `IndexUnusableError`.
    """
    with files.links() as links:
        index = _guarded(lambda: tantivy.Index.open(str(links)))
        searcher = _guarded(index.searcher)
    if searcher.num_docs != files.meta.documents:
        raise IndexUnusableError(
            f"full text: {searcher.num_docs} documents, not {files.meta.documents}"
        )
    return index, searcher


def documents(searcher: Any) -> Iterator[tuple[int, int, Document]]:
    """All documents: segment and number within it, and what is kept of each.

    Raises `IndexUnusableError`, `ValueError` for one that is none.
    """
    every = tantivy.Query.all_query()
    count = searcher.num_docs
    hits = _guarded(lambda: searcher.search(every, count, count=False).hits) if count else []
    for number, (_, address) in enumerate(hits):
        # One by one: of all that is kept, which is three times as much, objects would be made.
        kept = _guarded(lambda address=address: searcher.doc(address).get_first)  # type: ignore[misc]
        path, text = kept("path"), kept("content_raw")
        if path is None or text is None:
            raise ValueError("full text: a document without its text")
        lines = kept("line_start") or 0, kept("line_end") or 0
        yield address.segment_ord, address.doc, _document(number, path, text, *lines)


def _document(number: int, path: str, text: str, start: int, end: int) -> Document:
    """Where no lines are told, as of a whole file, it has those of its text."""
    if not 1 <= start <= end:
        start, end = 1, 1 + text.removesuffix("\n").count("\n")
    if end >= 1 << 31:
        raise ValueError("full text: lines that do not exist")
    return Document(number, path, start, end, text)


def probe(index: Any, searcher: Any, read: Sequence[tuple[int, int, Document]]) -> None:
    """Look for some words of some documents of each segment, as a search does: files that were
    exchanged have right checksums.

    Raises `IndexUnusableError` where that fails, or none of a segment's is found by them.
    """
    by_segment: dict[int, list[tuple[int, Document]]] = {}
    for segment, number, document in read:
        by_segment.setdefault(segment, []).append((number, document))
    for segment, own in by_segment.items():
        sample = own[:: max(1, len(own) // _PROBED)][: 2 * _PROBED]
        found = [
            _is_found(index, searcher, segment, *each, by_rare=bool(n % _ANY_PAIR))
            for n, each in enumerate(sample)
        ]
        if found and not any(each is not False for each in found):
            raise IndexUnusableError("full text: its documents are not found by their words")


def _is_found(
    index: Any, searcher: Any, segment: int, number: int, document: Document, *, by_rare: bool
) -> bool | None:
    """Whether a document is found by two words that follow each other, its longest or, `by_rare`,
    its rarest; None if it has none."""
    tokens = TOKEN.findall(document.text[:_PROBED_CHARS].lower())
    pairs = [(a, b) for a, b in pairwise(tokens) if a != b and len(a + b) < _MAX_TOKEN_BYTES]
    if not pairs:
        return None
    if by_rare:
        often = {t: _guarded(lambda t=t: searcher.doc_freq("content", t)) for t in set(tokens)}  # type: ignore[misc]
        one, other = min(pairs, key=lambda pair: min(often[pair[0]], often[pair[1]]))
    else:
        one, other = max(pairs, key=lambda pair: len(pair[0]) + len(pair[1]))
    _guarded(lambda: searcher.terms_with_prefix("content", one, limit=1))
    _guarded(lambda: searcher.doc_freq("path", one))
    in_a_row = tantivy.Query.phrase_query(index.schema, "content", [one, other])
    both = [(tantivy.Occur.Should, tantivy.Query.term_query(index.schema, "content", each))
            for each in (one, other)]  # fmt: skip
    both.append((tantivy.Occur.Must, in_a_row))
    asked = tantivy.Query.boolean_query(both)
    hits = _guarded(lambda: searcher.search(asked, _MOST_PROBED_HITS, count=False).hits)
    places = {(address.segment_ord, address.doc) for _, address in hits}
    return (segment, number) in places or len(hits) == _MOST_PROBED_HITS


class TheirText:
    """The full text, ready to be searched.  Thread-safe; never writes."""

    def __init__(self, index: Any, searcher: Any, catalogue: Catalogue, chunks: LiveChunks) -> None:
        """`catalogue` knows which chunks a document is, `chunks` are those."""
        self._schema = index.schema
        self._searcher = searcher
        self._catalogue = catalogue
        self._chunks = chunks
        self.count: int = searcher.num_docs
        self._forms = Forms(self._frequency, self._begun, self.count)

    def close(self) -> None:
        """Let go of the files; nothing may be searched afterwards."""
        self._forms.forget()
        del self._searcher

    def search(self, query: Query, k: int, allowed: FileSet | None = None) -> Ranking:
        """See `FullTextIndex.search`."""
        if not k or not self.count or (allowed is not None and not allowed.count):
            return []
        tokens = self._tokens(query)
        clauses = self._clauses(query)
        found = self._ranked(clauses, tokens, k, allowed) if clauses is not None else []
        return found or self._within_words(query, k, allowed)

    def definitions(self, query: Query, k: int, allowed: FileSet | None = None) -> Ranking:
        """See `FullTextIndex.definitions`: by what the structure of the files has told."""
        found = self._catalogue.called(query.symbols)
        if allowed is not None:
            found = [chunk for chunk in found if allowed.chunks[chunk]]
        return [(chunk, 1.0) for chunk in found[:k]]

    def frequencies(self, wanted: Iterable[str]) -> dict[str, int]:
        """See `FullTextIndex.frequencies`."""
        counts = sorted((self._forms.count(term), term) for term in set(wanted))
        return {term: min(count, self.count) for count, term in counts if count}

    def holding(self, wanted: Iterable[str], allowed: FileSet | None = None) -> list[int]:
        """See `FullTextIndex.holding`."""
        tokens = [form for term in wanted for form in self._forms.of(term)]
        return self._holding(self._any_of(tokens), tokens)

    def likest(self, symbol: str) -> tuple[str, list[int]]:
        return "", []  # it has no table of names

    def spelling(self, query: Query, at_most: int) -> list[int]:
        """The chunks that have a name of the query as one token."""
        names = (*query.identifiers, *query.neighbours)
        few = [name for name in names if 0 < self._forms.frequency(name) <= at_most]
        return self._holding(self._any_of(few), few)

    def holding_within_words(self, found: Iterable[str], at_most: int) -> list[int]:
        """See `FullTextIndex.holding_within_words`."""
        words = [t for word in islice(found, _MOST_WORDS) for t in TOKEN.findall(word.lower())]
        chunks = self._holding(self._containing(words), words)
        return chunks if len(chunks) <= at_most else []

    def quoting(self, quoted: Iterable[list[str]]) -> list[int]:
        """The chunks that hold the terms of each phrase, and maybe not in a row: the text decides
        for who asks."""
        every = [term for phrase in quoted for term in phrase]
        parts = [self._any_of(self._forms.of(term)) for term in dict.fromkeys(every)]
        must = [(tantivy.Occur.Must, part) for part in parts if part is not None]
        if not parts or len(must) < len(parts):
            return []
        return self._holding(tantivy.Query.boolean_query(must), None)

    # Terms and tokens.

    def _begun(self, start: str, limit: int) -> list[str]:
        found = _guarded(lambda: self._searcher.terms_with_prefix("content", start, limit=limit))
        return [token for token, _ in found]

    def _frequency(self, field: str, token: str) -> int:
        return int(_guarded(lambda: self._searcher.doc_freq(field, token)))

    def _tokens(self, query: Query) -> list[str]:
        """All tokens that count as a word of `query`."""
        return list(dict.fromkeys(form for term in query.terms for form in self._forms.of(term)))

    # Queries.

    def _clauses(self, query: Query) -> Any:
        occur = tantivy.Occur
        clauses = []
        for phrase in query.phrases:
            parts = [self._any_of(self._forms.of(term)) for term in phrase]
            clauses += [(occur.Must, part) for part in parts if part is not None]
        rest = query.beside_phrases
        typed = {token for word in rest.words for token in TOKEN.findall(word.lower())}
        for term in rest.terms:
            forms = self._forms.of(term)
            clauses += [(occur.Should, part) for part in self._each_of(forms, typed)]
            if forms or self._forms.in_paths(term):
                part = tantivy.Query.term_query(self._schema, "path", term)
                clauses.append((occur.Should, tantivy.Query.boost_query(part, _PATH_SHARE)))
        left = _MOST_IN_A_ROW
        for word in rest.words:
            tokens = TOKEN.findall(word.lower())
            cost = min(map(self._forms.frequency, tokens), default=0) if len(tokens) > 1 else 0
            if cost <= left and (whole := self._as_typed(word, tokens)) is not None:
                clauses.append((occur.Should, tantivy.Query.boost_query(whole, _WHOLE_SHARE)))
                left -= cost
        return tantivy.Query.boolean_query(clauses) if clauses else None

    def _as_typed(self, word: str, tokens: Sequence[str]) -> Any:
        """A name of several parts as it stands in a text: as one token, or as several in a row."""
        if len(tokens) > 1:
            return tantivy.Query.phrase_query(self._schema, "content", list(tokens))
        is_made_of_parts = len(list(islice(terms_of([word]), 2))) > 1
        if tokens and is_made_of_parts and self._forms.frequency(tokens[0]):
            return tantivy.Query.term_query(self._schema, "content", tokens[0])
        return None

    def _each_of(self, forms: Sequence[str], typed: Set[str]) -> Iterator[Any]:
        """The forms of one word.  Not the best of them: a union of unions takes twice as long."""
        for form, share in self._forms.shares(forms, typed):
            part = tantivy.Query.term_query(self._schema, "content", form)
            yield part if share == 1 else tantivy.Query.boost_query(part, share)

    def _any_of(self, tokens: Sequence[str]) -> Any:
        if not tokens:
            return None
        parts = [tantivy.Query.term_query(self._schema, "content", token) for token in tokens]
        return tantivy.Query.boolean_query([(tantivy.Occur.Should, part) for part in parts])

    def _containing(self, words: Sequence[str]) -> Any:
        """What has a token with one of `words` in it: all of the vocabulary is looked through."""
        parts = []
        for word in words[:_MOST_WORDS]:
            with suppress(IndexUnusableError):
                pattern = f".*{word}.*"
                part = _guarded(
                    lambda p=pattern: tantivy.Query.regex_query(self._schema, "content", p)  # type: ignore[misc]
                )
                parts.append((tantivy.Occur.Should, part))
        return tantivy.Query.boolean_query(parts) if parts else None

    def _within_words(self, query: Query, k: int, allowed: FileSet | None) -> Ranking:
        """Where no token is a word of `query`: what has them as parts of its words, then as parts
        of what the tokenizer leaves out, by all texts."""
        words = [t for word in query.words[:_MOST_WORDS] for t in TOKEN.findall(word.lower())]
        short = [word for word in words if len(word.encode()) <= _MAX_TOKEN_BYTES]
        clauses = self._containing(short)
        found = self._ranked(clauses, words, k, allowed) if clauses is not None else []
        if found or len(short) == len(words):
            return found
        rest = [word for word in words if word not in short]
        every = self._chunks.scan(
            lambda one: any(w in one.text.lower() for w in rest), self._chunks.places, None
        )
        return [(n, 1.0) for n in every if allowed is None or allowed.chunks[n]][:k]

    # Documents and chunks.

    def _ranked(
        self, clauses: Any, tokens: Sequence[str], k: int, allowed: FileSet | None
    ) -> Ranking:
        """The `k` best chunks, by as many documents as it takes."""
        more, marks = k, None
        if allowed is not None:
            marks = allowed.chunks
            if (within := self._within(allowed)) is not None:
                clauses = tantivy.Query.boolean_query(
                    [(tantivy.Occur.Must, clauses), (tantivy.Occur.Must, within)]
                )
                more = _MORE * k
            else:  # what is dropped afterwards was ranked all the same
                more = 2 * -(-k * len(self._chunks) // allowed.count) + _SPARE
        while True:
            limit = min(more, self.count)
            hits = _guarded(
                lambda limit=limit: self._searcher.search(clauses, limit, count=False).hits  # type: ignore[misc]
            )
            found: dict[int, float] = {}
            for score, address in hits:
                for chunk, share in self._of_document(address, tokens):
                    if marks is None or marks[chunk]:
                        found.setdefault(chunk, float(score) * share)
            if len(found) >= k or len(hits) < limit or limit == self.count:
                best = sorted(found.items(), key=lambda hit: -hit[1])
                return best[:k]
            more *= _MORE

    def _within(self, allowed: FileSet) -> Any:
        """The documents of these files, and maybe some more, where there are not too many files:
        by the words of their paths, in a row."""
        if len(allowed) > _FEW_FILES:
            return None
        parts = []
        for id_ in allowed.ids.tolist():
            tokens = TOKEN.findall(self._chunks.file(id_ - 1).path.lower())
            if not tokens or max(len(token.encode()) for token in tokens) > _MAX_TOKEN_BYTES:
                return None
            parts.append(
                tantivy.Query.term_query(self._schema, "path", tokens[0])
                if len(tokens) == 1
                else tantivy.Query.phrase_query(self._schema, "path", list(tokens))
            )
        any_of = tantivy.Query.boolean_query([(tantivy.Occur.Should, part) for part in parts])
        return tantivy.Query.const_score_query(any_of, 0.0)

    def _of_document(self, address: Any, tokens: Sequence[str]) -> list[tuple[int, float]]:
        """The chunks of a document by which it was found, each with its share of the score."""
        chunks = self._catalogue.chunks_of(address.segment_ord, address.doc)
        if len(chunks) <= 1:
            return [(chunk, 1.0) for chunk in chunks]
        counted = []
        for chunk in chunks:
            read = self._chunks.read(chunk)
            text = f"{read.path}\n{read.text}".lower()
            counted.append((sum(token in text for token in tokens), chunk))
        counted.sort(key=lambda one: (-one[0], one[1]))
        most = counted[0][0]
        return [(chunk, n / most) if most else (chunk, 1.0)
                for n, chunk in counted[:_PER_DOCUMENT] if n or not most]  # fmt: skip

    def _holding(self, clauses: Any, tokens: Sequence[str] | None) -> list[int]:
        """All chunks of what fits; of a document of several, those with one of `tokens`."""
        if clauses is None or not self.count:
            return []
        unscored = tantivy.Query.const_score_query(clauses, 0.0)
        hits = _guarded(lambda: self._searcher.search(unscored, self.count, count=False).hits)
        found: list[int] = []
        for _, address in hits:
            chunks = self._catalogue.chunks_of(address.segment_ord, address.doc)
            if len(chunks) > 1 and tokens is not None:
                chunks = [chunk for chunk, _ in self._of_document(address, tokens)]
            found += chunks
        return list(dict.fromkeys(found))


def _guarded(call: Callable[[], T]) -> T:
    """What `call` returns, with tantivy's ways to fail made into `IndexUnusableError`."""
    try:
        return call()
    except BaseException as problem:
        # A panic of the Rust code comes as a BaseException that no module exports.
        is_its_own = isinstance(problem, ValueError | OSError)
        if not is_its_own and type(problem).__name__ != "PanicException":
            raise
        raise IndexUnusableError(f"full text: {_DIRECTORIES.sub('', str(problem))}") from None
