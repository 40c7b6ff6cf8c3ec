"""How a query is answered from one snapshot: candidates of both engines, ranked, made into hits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from cidx_ref.errors import CidxError, InternalError
from cidx_ref.index import grep
from cidx_ref.index.asking import QueryVectors
from cidx_ref.index.embed import Embedder
from cidx_ref.index.engines import PAGE, Engines, Hits, Order, Ranking, Snapshot
from cidx_ref.index.port import LINE_MODES, Search
from cidx_ref.index.query import parsed
from cidx_ref.index.rank import POOL, POOL_OF_WORDS, WEIGHTS, Found, Ranked, Weights
from cidx_ref.runtime import SYSTEM, Runtime

if TYPE_CHECKING:
    from cidx_ref.index.stale import Staleness

__all__ = ["Snapshot", "answer", "answered"]

_log = logging.getLogger("cidx_ref")

_SPARE = 8  # hits that may show again what another one shows
# Where copies of what is shown fill the pool, so many times as many are looked at, again and again,
# until the pool is of `_DEEPEST`: some 150 ms.
_DEEPER, _DEEPEST = 8, 4096


def answered(
    snapshot: Snapshot,
    search: Search,
    embedder: Embedder,
    runtime: Runtime,
    staleness: Staleness | None,
) -> dict[str, Any]:
    """What a snapshot answers in any mode: as `answer` has it, or `grep.answer`, and with the
    filters that match no file."""
    staleness = None if search.is_unchanged else staleness
    if search.mode in LINE_MODES:
        found = grep.answer(snapshot, search, runtime, staleness)
    else:
        found = answer(snapshot, search, embedder, runtime, staleness)
    if unmatched := snapshot.chunks.unmatched(search.filters):
        found["unmatched"] = unmatched
    return found


def answer(
    snapshot: Snapshot,
    search: Search,
    embedder: Embedder,
    runtime: Runtime = SYSTEM,
    staleness: Staleness | None = None,
    weights: Weights = WEIGHTS,
) -> dict[str, Any]:
    """The answer as a plain dictionary: see `results.Answer` for its fields; with `staleness`, it
    says of which hits the file has changed.  For a name that nothing has, the one that it is most
    like is looked for.

    Raises `IndexUnusableError` if the engine asked for is missing, in hybrid mode only if both
    are.
    """
    found = _answer(snapshot, search, embedder, runtime, staleness, weights)
    if meant := found.get("meant"):
        instead = replace(search, text=meant)
        told = {"missing": found["missing"], "meant": meant}
        found = _answer(snapshot, instead, embedder, runtime, staleness, weights) | told
    return found


def _answer(
    snapshot: Snapshot,
    search: Search,
    embedder: Embedder,
    runtime: Runtime,
    staleness: Staleness | None,
    weights: Weights,
) -> dict[str, Any]:
    started = runtime.monotonic()
    vectors = QueryVectors.of(embedder, runtime)
    engines = Engines(snapshot, search, vectors, parsed(search.text))
    pool = _pool(search)
    looked = _looked(engines, search, pool, runtime, weights)
    while looked.lacks(search.limit) and pool < _DEEPEST:
        pool = min(_DEEPER * pool, _DEEPEST)
        looked = _looked(engines, search, pool, runtime, weights)
    found, order = looked.hits, looked.order
    if lacking := looked.lacks(search.limit):
        found = engines.hits(order, search.limit, spared=lacking)
    best = found.found
    if search.explain:
        for chunk, hit in best:
            hit["signals"] = {name: round(value, 3) for name, value in order.signals(chunk).items()}
    hits = [hit for _, hit in best]
    if staleness is not None:
        _mark(snapshot, found, staleness)
    return {
        "results": hits,
        "mode": search.mode,
        "generation": snapshot.generation,
        **looked.extra,
        "relaxed": engines.phrases.relaxed,
        **({} if looked.found.definitions else engines.phrases.missing()),
        **({} if search.mode == "fts" else {"embedding_ms": _ms(engines.embedding_s)}),
        "took_ms": _ms(runtime.monotonic() - started),
    }


def _mark(snapshot: Snapshot, found: Hits, staleness: Staleness) -> None:
    """Say which hits are stale; a copy that is, or may be none by now, is not named."""
    chunks = snapshot.chunks

    def mark(hits: list[dict[str, Any]], numbers: Iterable[int]) -> None:
        staleness.mark(hits, [chunks.digest_of(chunks.file_of(number)) for number in numbers])

    mark([hit for _, hit in found.found], [number for number, _ in found.found])
    named = found.named
    copies: list[dict[str, Any]] = [{"path": each.place.rpartition(":")[0]} for each in named]
    mark(copies, [each.number for each in named])
    for each, copy in zip(named, copies, strict=True):
        if "stale" in copy:
            each.forget()


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


class _AsFound:
    """One engine's ranking as it is: nearest neighbours stay nearest neighbours."""

    def __init__(self, ranking: Ranking) -> None:
        self.order = ranking
        self._scores = dict(ranking)

    def is_of_words(self, chunk: int) -> bool:
        return True  # the engine has seen to it

    def signals(self, chunk: int) -> dict[str, float]:
        return {"semantic": self._scores[chunk]}


class _Traced:
    """The frames of a trace in their order, and then what is ranked."""

    def __init__(self, frames: list[int], ranked: Ranked) -> None:
        self._ranked = ranked
        best = max((score for _, score in ranked.order), default=0.0)
        self._scores = {n: best + len(frames) - at for at, n in enumerate(frames)}
        self.order = list(self._scores.items())
        self.order += [hit for hit in ranked.order if hit[0] not in self._scores]

    def is_of_words(self, chunk: int) -> bool:
        return chunk in self._scores or self._ranked.is_of_words(chunk)

    def signals(self, chunk: int) -> dict[str, float]:
        if chunk in self._scores:
            return {"pasted": self._scores[chunk]}
        return self._ranked.signals(chunk)


class _Looked(NamedTuple):
    """What one look at so many candidates comes to."""

    found: Found
    extra: dict[str, Any]
    order: Order
    hits: Hits
    is_full: bool  # a deeper look may find more

    def lacks(self, limit: int) -> int:
        """How many places of hits that a deeper look may find copies have taken."""
        may_have_more = self.is_full and self.hits.have_copies
        return max(0, limit - len(self.hits.found)) if may_have_more else 0


def _looked(
    engines: Engines, search: Search, pool: int, runtime: Runtime, weights: Weights
) -> _Looked:
    found, extra = _candidates(engines, search, pool, runtime)
    order: Order
    if search.mode == "semantic":
        order = _AsFound(list(found.semantic))
    else:
        order = ranked = engines.ranked(found, weights)
        if engines.frames:
            order = _Traced(list(engines.frames), ranked)
    return _Looked(
        found, extra, order, engines.hits(order, search.limit), _is_full(found, engines, pool)
    )


def _is_full(found: Found, engines: Engines, pool: int) -> bool:
    """Whether an engine has told as much as it was asked for, and not all that is of use: any text
    has neighbours, and where they are neighbours by their words, full text knows them."""
    if engines.is_lexical and len(found.fulltext) >= PAGE:
        found = found._replace(semantic=())
    return any(len(ranking) >= pool for ranking in found)


def _pool(search: Search) -> int:
    """Candidates of each engine; more than usual only where more hits are wanted."""
    if search.mode == "hybrid":
        return max(POOL, search.limit)
    spare = search.limit + _SPARE
    return max(POOL_OF_WORDS, spare) if search.mode == "fts" else spare


def _candidates(
    engines: Engines, search: Search, pool: int, runtime: Runtime
) -> tuple[Found, dict[str, Any]]:
    if search.mode == "semantic":
        return Found(semantic=engines.semantic(pool)), {}
    if search.mode == "hybrid":
        return _hybrid(engines, pool, runtime)
    return Found(engines.fulltext(pool), (), engines.definitions(pool)), {}


def _hybrid(engines: Engines, pool: int, runtime: Runtime) -> tuple[Found, dict[str, Any]]:
    """What both engines find, at once, the full text in a thread of its own: a slow embedder holds
    up nothing but its own query, which a shared pool of threads would not guarantee (RPC-4).

    Where the vector is at hand, to start a thread, and to wait for it, takes longer than what it
    would do meanwhile.  Where it is not there in time, full text answers alone.
    """
    fulltext, semantic = _Attempt(engines.fulltext), _Attempt(engines.nearest)
    definitions = _Attempt(engines.definitions)

    def both_of_tantivy() -> None:
        fulltext.run(pool)
        definitions.run(pool)

    if engines.are_instant:
        both_of_tantivy()
        semantic.run(pool)
    else:
        helper = runtime.thread(both_of_tantivy, "full text")
        semantic.run(pool)
        helper.join()
    if semantic.error is not None and fulltext.error is not None:
        raise semantic.error
    if semantic.error is None and len(fulltext.ranking) < PAGE:
        semantic = _Attempt(engines.semantic)  # where parts of words count, too
        semantic.run(pool)
    extra: dict[str, Any] = {
        "semantic_count": len(semantic.ranking),
        "fts_count": len(fulltext.ranking),
    }
    attempts = {"semantic": semantic, "fts": fulltext}
    failed = {engine: str(a.error) for engine, a in attempts.items() if a.error is not None}
    if failed:
        extra["unavailable"] = failed
    return Found(fulltext.ranking, semantic.ranking, definitions.ranking), extra


class _Attempt:
    """One engine's part of a hybrid search: its ranking, or its error."""

    def __init__(self, search: Callable[[int], Ranking]) -> None:
        self._search = search
        self.ranking: Ranking = []
        self.error: Exception | None = None

    def run(self, k: int) -> None:
        try:
            self.ranking = self._search(k)
        except CidxError as error:
            self.error = error
        except Exception as error:  # a bug: its message may hold paths, and goes to the log
            _log.exception("one engine of a hybrid search failed")
            self.error = InternalError(f"{type(error).__name__}; see daemon.log")
