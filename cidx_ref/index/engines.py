"""The engines of one snapshot, as one search asks them: what each finds, and what it need not show.

Each gives a ranking of chunks; how rankings become an answer is `search`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from heapq import merge
from itertools import accumulate, chain, groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from cidx_ref.errors import IndexUnusableError
from cidx_ref.index.asking import ALONE_S, BESIDE_S, QueryVectors
from cidx_ref.index.holder import called
from cidx_ref.index.phrases import Phrases
from cidx_ref.index.port import Search
from cidx_ref.index.query import Query
from cidx_ref.index.rank import Found, Ranked, Weights
from cidx_ref.index.showing import Named, Piece, Shown
from cidx_ref.index.snippet import Probes, line_of
from cidx_ref.index.standing import MENTIONED, mentioning, settled, standing, traced

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cidx_ref.index.live import LiveChunks
    from cidx_ref.index.searched import TextEngine, VectorEngine
    from cidx_ref.index.snippet import Snippet
    from cidx_ref.index.storing import StoredChunk

__all__ = ["PAGE", "Engines", "Hits", "Order", "Ranking", "Snapshot"]

# A search that looks at what it found, and drops some of it, needs more than are wanted.
_SURPLUS = 192
_MAX_LOOKS = 1 << 16  # a word looked for in one of them is a look: together some 20 ms
_RARE = 64  # chunks: the words that stand in no more, taken together, are rare
_WITHIN = 512  # chunks: more than so many are not looked at one by one
_MAX_WORDS = 256  # the rarest, of which all chunks are collected
_SCANNED_BYTES = 24 << 20  # text times words that it is read for: some 30 ms
_SCANNED_PARTS = 4  # of words, that all texts are read for however large they are
_SCANNED_HITS = 4096  # chunks that one reading of all texts collects
_LOOKED_AT = 24  # candidates: whether what was pasted stands in them
_TIES, _MOST_TIES = 8, 64  # asked for beyond what is wanted, of which some may be as good

#: Hits: a shorter list is made complete.
PAGE = 10

Ranking = list[tuple[int, float]]


class Snapshot(Protocol):
    """What is searched: a generation's chunks, and those of its engines that could be loaded."""

    @property
    def generation(self) -> str: ...
    @property
    def unavailable(self) -> Mapping[str, str]: ...
    @property
    def chunks(self) -> LiveChunks: ...
    @property
    def semantic(self) -> VectorEngine | None: ...
    @property
    def fulltext(self) -> TextEngine | None: ...


class Order(Protocol):
    """Chunks with their scores, best first, and why."""

    @property
    def order(self) -> Ranking: ...
    def is_of_words(self, chunk: int) -> bool: ...
    def signals(self, chunk: int) -> dict[str, float]: ...


class Hits(NamedTuple):
    """Hits with their chunks, best first; whether there are copies; and those that are named."""

    found: list[tuple[int, dict[str, Any]]]
    have_copies: bool
    named: list[Named]


class Engines:
    """The engines of one snapshot, and one search."""

    def __init__(
        self, snapshot: Snapshot, search: Search, vectors: QueryVectors, query: Query
    ) -> None:
        self._snapshot = snapshot
        self._asked = search.text
        self._alone = search.mode == "semantic"
        self._vectors = vectors
        self._vector: NDArray[np.float32] | None = None
        #: Whether texts are near each other by their words, or by collisions.
        self.is_lexical = vectors.lexical
        #: For how long the query has waited for its vector.
        self.embedding_s = 0.0
        self._mask = snapshot.chunks.mask(search.filters)
        #: The chunks of a trace, with the lines at which they are shown.
        self.frames = traced(query.frames, snapshot.chunks, self._mask)
        self._lines = self.frames
        if self.frames:
            query = query.unquoted()
        self.phrases = Phrases(query, snapshot.chunks, snapshot.fulltext, self._mask)
        if snapshot.fulltext is not None:
            self.phrases.query = self.phrases.query.of_rarest(snapshot.fulltext.frequencies)
        self._query, self._places = self.phrases.query, dict[int, float]()
        if not self.phrases.bind:
            known = snapshot.chunks, snapshot.fulltext, self._mask
            self._query, self._places = settled(self._query, *known)
        if self._places and self._query.place is not None:
            self.phrases.relaxed = []
            self._lines = dict.fromkeys(self._places, self._query.place.line)
        self._probes = Probes(self._query, quickly=search.mode == "fts")
        self._snippets: dict[int, Snippet] = {}  # of a deeper look, most are the same

    def semantic(self, k: int) -> Ranking:
        engine = self._snapshot.semantic
        if engine is None:
            raise IndexUnusableError(self._snapshot.unavailable["semantic"])
        near = self._near(engine)
        if self.phrases.bind:
            return self.phrases.nearest(near, k)
        if self.is_lexical:
            return self._sharing_words(near, max(k, PAGE))[:k]
        return near.search(k)

    def nearest(self, k: int) -> Ranking:
        """The `k` nearest, to be ranked among others: of a lexical embedder some may be collisions
        of hashes (`hits`)."""
        engine = self._snapshot.semantic
        if engine is None or self.phrases.bind or not self.is_lexical:
            return self.semantic(k)
        return self._near(engine).search(k)

    def _near(self, engine: VectorEngine) -> _Near:
        allowed = None if self._mask is None else self._mask.chunks
        if self._vector is None:  # a hybrid search may look twice
            self._vector = self._embedded(self._text)
        return _Near(engine, self._vector, allowed)

    @property
    def are_instant(self) -> bool:
        """Whether the query has its vector in no time."""
        return self._snapshot.semantic is None or self._vectors.is_at_hand(self._text)

    @property
    def _text(self) -> str:
        """Of a text that is too long, the default counts words; a model may know better."""
        return self._query.text if self.is_lexical else self._asked

    def _embedded(self, text: str) -> NDArray[np.float32]:
        began = self._vectors.seconds()
        try:
            return self._vectors.vector(text, ALONE_S if self._alone else BESIDE_S)
        finally:
            self.embedding_s += self._vectors.seconds() - began

    def _sharing_words(self, near: _Near, k: int) -> Ranking:
        """The `k` nearest that share a word with the query.  Any other is a collision of hashes.

        The graph may reach nothing but collisions, so an answer is not bounded by what it reaches:
        the chunks that hold rare words are ranked beside it, and there is "no match" only after
        all texts have been read.
        """
        fulltext = self._snapshot.fulltext
        if fulltext is None:
            every = near.rank(None, self._affordable_looks(k))
            return self._merged([], every, near.rank(self._literally(), _SCANNED_HITS), k=k)
        words = fulltext.frequencies(self._query.terms)
        rare = _rarest(words)
        looked_at = [near.search(self._affordable_looks(k))]
        if len(rare) == len(words):  # few chunks hold a word, so parts of words count, too
            within = fulltext.holding_within_words(self._query.words, _WITHIN)
            looked_at.append(near.rank(within, _WITHIN))
        otherwise = self._otherwise(near, fulltext, k)
        belonging = _better_of(near.rank(fulltext.holding(rare), k), otherwise)
        found = self._merged(belonging, *looked_at, k=k)
        if len(found) < PAGE and len(rare) < len(words):  # a filter lets little through
            some = islice(words, _MAX_WORDS)
            files = None if self._mask is None else self._mask.files
            belonging = _better_of(near.rank(fulltext.holding(some, files), k), otherwise)
            found = self._merged(belonging, *looked_at, k=k)
        return found or near.rank(self._literally(), k)

    def _otherwise(self, near: _Near, fulltext: TextEngine, k: int) -> Ranking:
        """The chunks in which a word of the query is written in another way.

        Of `GitHub` and `github` the vectors have nothing in common, so the query's is compared, and
        that of its names as one word.  Not for a sentence, nor where the full text is asked, too.
        """
        if not (self._alone and self._query.is_short):
            return []
        chunks = fulltext.spelling(self._query, _WITHIN)
        if not chunks:
            return []
        ranking = near.rank(chunks, k)
        if self._query.otherwise:
            vector = self._embedded(self._query.otherwise)
            ranking = _better_of(ranking, near.of(vector).rank(chunks, k))
        return ranking

    def _merged(self, belonging: Ranking, *others: Ranking, k: int) -> Ranking:
        """The best `k` of all; of `others` only what shares a word with the query."""
        met = {chunk for chunk, _ in belonging}

        def looked_at() -> Iterator[tuple[int, float]]:
            for chunk, score in merge(*others, key=_farness):
                if chunk not in met:
                    met.add(chunk)
                    if self._probes.touch(self._snapshot.chunks.read(chunk)):
                        yield chunk, score

        return list(islice(merge(belonging, looked_at(), key=_farness), k))

    def _literally(self) -> list[int]:
        """The chunks in whose text a word of the query stands, be it as a part of a word."""
        affordable = self._affordable_words()
        query = self._query.shortened(affordable)
        if not query.words:
            return []
        # A word may have dozens of parts, and each is a reading of all texts.
        probes = Probes(query, at_most=max(_SCANNED_PARTS, affordable))
        return self._snapshot.chunks.scan(probes.touch, _SCANNED_HITS, self._mask)

    def _affordable_words(self) -> int:
        """How many words all texts are read for: the more text, the fewer."""
        return max(1, _SCANNED_BYTES // (self._snapshot.chunks.size_bytes + 1))

    def _affordable_looks(self, k: int) -> int:
        """How many chunks are looked at, where `k` that pass are wanted."""
        return max(_SURPLUS, min(k, _MAX_LOOKS // len(self._probes)))

    def fulltext(self, k: int) -> Ranking:
        engine = self._snapshot.fulltext
        if engine is None:
            raise IndexUnusableError(self._snapshot.unavailable["fts"])
        if self.phrases.bind:
            return self._first(lambda more: self.phrases.in_fulltext(engine, more), k)
        if self._query.terms:
            files = None if self._mask is None else self._mask.files
            return self._first(lambda more: engine.search(self._query, more, files), k)
        needle = self._query.text.strip()
        needle = needle.strip('"') or needle
        if not needle:
            return []
        # Nothing but punctuation has no terms; it is looked for as it stands (QRY-4).
        find = self._snapshot.chunks.find_literally
        return self._first(
            lambda more: [(chunk, 1.0) for chunk in find(needle, more, self._mask)], k
        )

    def definitions(self, k: int) -> Ranking:
        """What the query asks for by name; nothing where there is no full text."""
        engine = self._snapshot.fulltext
        if engine is None or not self._query.is_name:
            return []
        files = None if self._mask is None else self._mask.files

        def called(more: int) -> Ranking:
            return engine.definitions(self._query, more, files)

        if self.phrases.bind:
            return self._first(lambda more: self.phrases.sift(called, more), k)
        return self._first(called, k)

    def pasted(self, found: Found) -> Ranking:
        """The place that was pasted; or of what the full text has found, what holds what was, or
        a name that nothing defines."""
        is_name = self._query.is_name
        is_asked = not found.definitions if is_name else self._query.is_pasted
        if self._places or self.phrases.bind or not is_asked:
            return list(self._places.items())
        chunks = [chunk for chunk, _ in found.fulltext[:_LOOKED_AT]]
        looks, share = (mentioning, MENTIONED) if is_name else (standing, 1.0)
        return [(n, share) for n in looks(self._asked, chunks, self._snapshot.chunks)]

    def ranked(self, found: Found, weights: Weights) -> Ranked:
        found = Found(found.fulltext, found.semantic, found.definitions, self.pasted(found))
        engine = self._snapshot.fulltext
        frequencies = {} if engine is None else engine.frequencies(self._query.terms)
        return Ranked(found, self._query, self._snapshot.chunks, frequencies, weights)

    def hits(self, order: Order, k: int, *, spared: int = 0) -> Hits:
        """The first `k` as hits, each with its chunk, without what a lexical embedder alone has
        found, by a collision, and without what shows again what is shown: windows overlap, and
        files are copied, of which the first so many are `spared`.  Of a place each file that has
        it is shown, for it was asked for."""
        shown = Shown(spared)
        found: list[tuple[int, dict[str, Any]]] = []
        for number, score in self.steady(order.order):
            if len(found) == k:
                break
            if order.is_of_words(number) or self._shares_a_word(number):
                chunk = self._snapshot.chunks.read(number)
                piece = Piece(number, chunk, may_be_copy=number not in self._lines)
                if shown.has(piece):
                    continue
                hit = self._hit(number, chunk, score)
                if shown.add(hit, piece):
                    found.append((number, hit))
        return Hits(found, shown.has_copies, shown.named)

    def _shares_a_word(self, chunk: int) -> bool:
        return not self.is_lexical or self._probes.touch(self._snapshot.chunks.read(chunk))

    def _first(self, search: Callable[[int], Ranking], k: int) -> Ranking:
        """The `k` best, and of equally good ones the first ones by path and line, unless there are
        very many: where files are copies of each other, all would cost more than the search."""
        found = search(k + _TIES)
        if len(found) == k + _TIES and found[-1][1] == found[k - 1][1]:
            found = search(k + _MOST_TIES)
        if len(found) <= k:
            return found
        last = found[k - 1][1]
        better = [hit for hit in found if hit[1] > last]
        return better + self._placed(hit for hit in found if hit[1] == last)[: k - len(better)]

    def steady(self, ranking: Ranking) -> Iterator[tuple[int, float]]:
        """`ranking`; what is equally good by path and line, and not by what was edited last."""
        if len({score for _, score in ranking}) == len(ranking):  # as most of the time
            return iter(ranking)
        tied = groupby(ranking, key=itemgetter(1))
        return chain.from_iterable(self._placed(hits) for _, hits in tied)

    def _placed(self, hits: Iterable[tuple[int, float]]) -> Ranking:
        found = list(hits)
        if len(found) > 1:
            place_of = self._snapshot.chunks.place_of
            found.sort(key=lambda hit: place_of(hit[0]))
        return found

    def _hit(self, number: int, chunk: StoredChunk, score: float) -> dict[str, Any]:
        snippet = self._snippets.get(number)
        if (line := self._lines.get(number)) is not None:
            snippet = line_of(chunk, line)
        elif snippet is None:
            snippet = self._snippets[number] = self._probes.cut(chunk)
        name, kind = called(chunk, snippet)
        return {
            "path": chunk.path,
            "line_start": chunk.line_start,
            "line_end": chunk.line_end,
            "language": chunk.language,
            "score": round(score, 6),
            "snippet": snippet.text,
            "snippet_start": snippet.start,
            "marks": snippet.marks,
            "name": name,
            "kind": kind,
        }


class _Near:
    """What lies around the vector of one query, behind its filters."""

    def __init__(
        self,
        engine: VectorEngine,
        vector: NDArray[np.float32],
        allowed: NDArray[np.bool_] | None,
    ) -> None:
        self._engine = engine
        self._vector = vector
        self._allowed = allowed

    def of(self, vector: NDArray[np.float32]) -> _Near:
        """What lies around another vector, behind the same filters."""
        return _Near(self._engine, vector, self._allowed)

    def search(self, k: int) -> Ranking:
        """The `k` nearest, as far as the graph reaches them."""
        return self._engine.search(self._vector, k, self._allowed)

    def rank(self, chunks: Collection[int] | None, k: int) -> Ranking:
        """The `k` nearest of `chunks` (None: of all), exactly."""
        return self._engine.rank(self._vector, k, chunks, self._allowed)


def _better_of(one: Ranking, other: Ranking) -> Ranking:
    """Two rankings by the same measure as one: each chunk with the better of its scores."""
    if not other:
        return one
    scores = dict(one)
    for item, score in other:
        scores[item] = max(score, scores.get(item, score))
    return sorted(scores.items(), key=_farness)


def _farness(hit: tuple[int, float]) -> float:
    return -hit[1]


def _rarest(words: dict[str, int]) -> list[str]:
    """The first of `words` that stand in no more than `_RARE` chunks, all taken together."""
    chunks = accumulate(words.values())
    return [word for word, so_far in zip(words, chunks, strict=True) if so_far <= _RARE]
