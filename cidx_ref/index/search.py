"""How a query is answered from one snapshot: the three modes, fused and turned into hits."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from cidx_ref.errors import CidxError, IndexUnusableError, InternalError
from cidx_ref.index.embed import Embedder
from cidx_ref.index.filters import Filters
from cidx_ref.index.hybrid import fuse, rank_groups, spread
from cidx_ref.index.snapshot import IndexSnapshot
from cidx_ref.index.snippet import Probes
from cidx_ref.index.text import phrases, terms
from cidx_ref.runtime import SYSTEM, Runtime

__all__ = ["MODES", "Search", "answer"]

_log = logging.getLogger("cidx_ref")

MODES = ("hybrid", "semantic", "fts")
_SEMANTIC_WEIGHT = 0.6  # of BM25's in the fusion; the default embedder is the weaker of the two
_SYMBOL_WEIGHT = 2.0  # of a chunk that is called what the query says
_SURPLUS = 256
_POOL = 100  # hits of each engine that are fused; more only where more are wanted

Ranking = list[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked: checked, and complete."""

    text: str
    mode: str = "hybrid"
    limit: int = 10
    filters: Filters = field(default_factory=Filters)


def answer(
    snapshot: IndexSnapshot, search: Search, embedder: Embedder, runtime: Runtime = SYSTEM
) -> dict[str, Any]:
    """The answer as a plain dictionary: see `results.Answer` for its fields.

    Raises `IndexUnusableError` if the engine asked for is missing, in hybrid mode only if both
    are.
    """
    started = runtime.monotonic()
    engines = _Engines(snapshot, search, embedder, Probes(search.text))
    extra: dict[str, Any] = {}
    if search.mode == "semantic":
        ranking = engines.semantic(search.limit)
    elif search.mode == "fts":
        ranking = engines.fulltext(search.limit)
    else:
        ranking, extra = _hybrid(engines, search.limit, runtime)
    return {
        "results": [engines.hit(chunk, score) for chunk, score in ranking],
        "mode": search.mode,
        "generation": snapshot.generation,
        **extra,
        "took_ms": round((runtime.monotonic() - started) * 1000, 3),
    }


class _Engines:
    """The engines of one snapshot, and one search."""

    def __init__(
        self, snapshot: IndexSnapshot, search: Search, embedder: Embedder, probes: Probes
    ) -> None:
        self._snapshot = snapshot
        self._text = search.text
        self._embedder = embedder
        self._probes = probes
        self._phrases = phrases(search.text)
        self._mask = snapshot.chunks.mask(search.filters)

    def semantic(self, k: int) -> Ranking:
        engine = self._snapshot.semantic
        if engine is None:
            raise IndexUnusableError(self._snapshot.unavailable["semantic"])
        try:
            vector = self._embedder.embed_query(self._text)
        except CidxError:
            raise
        except Exception as error:
            name = self._embedder.id
            # Without its message: that may hold paths, and the log has it.
            _log.exception("embedder %s failed", name)
            raise InternalError(f"embedder {name}: {type(error).__name__}") from None
        allowed = None if self._mask is None else self._mask.chunks
        is_lexical = getattr(self._embedder, "lexical", False)
        if not is_lexical and not self._phrases:
            return engine.search(vector, k, allowed)
        # What is found must be looked at, so many more are fetched than are wanted: one that shares
        # no word with the query is a collision of hashes, and can come before the one long chunk
        # in which a rare word stands; and one without the quoted phrase was not asked for.
        found = engine.search(vector, max(_SURPLUS, k), allowed)
        return list(islice((hit for hit in found if self._belongs(hit[0], is_lexical)), k))

    def _belongs(self, number: int, is_lexical: bool) -> bool:
        chunk = self._snapshot.chunks.read(number)
        if is_lexical and not self._probes.touch(chunk):
            return False
        if not self._phrases:
            return True
        found = f" {' '.join(terms(f'{chunk.path} {chunk.name} {chunk.text}'))} "
        return all(f" {' '.join(phrase)} " in found for phrase in self._phrases)

    def fulltext(self, k: int) -> Ranking:
        engine = self._snapshot.fulltext
        if engine is None:
            raise IndexUnusableError(self._snapshot.unavailable["fts"])
        if terms(self._text):
            return engine.search(self._text, k, None if self._mask is None else self._mask.files)
        needle = self._text.strip()
        needle = needle.strip('"') or needle
        if not needle:
            return []
        # Nothing but punctuation has no terms; it is looked for as it stands (QRY-4).
        literally = self._snapshot.chunks.find_literally(needle, k, self._mask)
        return [(chunk, 1.0) for chunk in literally]

    def definitions(self, k: int) -> Ranking:
        """What the query asks for by name; nothing where there is no full text."""
        engine = self._snapshot.fulltext
        if engine is None:
            return []
        return engine.definitions(self._text, k, None if self._mask is None else self._mask.files)

    def file_of(self, number: int) -> int:
        return self._snapshot.chunks.file_of(number)

    def hit(self, number: int, score: float) -> dict[str, Any]:
        chunk = self._snapshot.chunks.read(number)
        snippet_start, snippet = self._probes.cut(chunk)
        return {
            "path": chunk.path,
            "line_start": chunk.line_start,
            "line_end": chunk.line_end,
            "language": chunk.language,
            "score": round(score, 6),
            "snippet": snippet,
            "snippet_start": snippet_start,
            "name": chunk.name,
        }


def _hybrid(engines: _Engines, limit: int, runtime: Runtime) -> tuple[Ranking, dict[str, Any]]:
    """Both engines at once, the full text in a thread of its own: a slow embedder holds up
    nothing but its own query, which a shared pool of threads would not guarantee (RPC-4)."""
    pool = max(_POOL, limit)
    fulltext, semantic = _Attempt(engines.fulltext), _Attempt(engines.semantic)
    symbols = _Attempt(engines.definitions)

    def both_of_tantivy() -> None:
        fulltext.run(pool)
        symbols.run(pool)

    helper = runtime.thread(both_of_tantivy, "full text")
    semantic.run(pool)
    helper.join()
    if semantic.error is not None and fulltext.error is not None:
        raise semantic.error
    extra: dict[str, Any] = {
        "semantic_count": len(semantic.ranking),
        "fts_count": len(fulltext.ranking),
    }
    attempts = {"semantic": semantic, "fts": fulltext}
    failed = {engine: str(a.error) for engine, a in attempts.items() if a.error is not None}
    if failed:
        extra["unavailable"] = failed
    fused = fuse(
        (1.0, fulltext.items()),
        (_SEMANTIC_WEIGHT, semantic.items()),
        (_SYMBOL_WEIGHT, symbols.items()),
    )
    files = {chunk: engines.file_of(chunk) for chunk, _ in fused}
    return spread(rank_groups(fused, files.__getitem__), files.__getitem__)[:limit], extra


class _Attempt:
    """One engine's part of a hybrid search: its ranking, or its error."""

    def __init__(self, search: Callable[[int], Ranking]) -> None:
        self._search = search
        self.ranking: Ranking = []
        self.error: Exception | None = None

    def items(self) -> list[int]:
        return [chunk for chunk, _ in self.ranking]

    def run(self, k: int) -> None:
        try:
            self.ranking = self._search(k)
        except CidxError as error:
            self.error = error
        except Exception as error:  # a bug: its message may hold paths, and goes to the log
            _log.exception("one engine of a hybrid search failed")
            self.error = InternalError(f"{type(error).__name__}; see daemon.log")
