"""What a search needs of the two engines of a generation, whoever has written it.

Chunks are called by their numbers in `live.LiveChunks`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cidx_ref.index.live import FileSet
    from cidx_ref.index.query import Query

__all__ = ["TextEngine", "VectorEngine"]


class VectorEngine(Protocol):
    """Vectors, ready to be searched.  Thread-safe; see `nearest.Nearest`."""

    def search(
        self, vector: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> list[tuple[int, float]]: ...

    def rank(
        self,
        vector: NDArray[np.float32],
        k: int,
        among: Collection[int] | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> list[tuple[int, float]]: ...


class TextEngine(Protocol):
    """Full text, ready to be searched.  Thread-safe; see `fulltext.FullTextIndex`."""

    def search(
        self, query: Query, k: int, allowed: FileSet | None = None
    ) -> list[tuple[int, float]]: ...

    def definitions(
        self, query: Query, k: int, allowed: FileSet | None = None
    ) -> list[tuple[int, float]]: ...

    def likest(self, symbol: str) -> tuple[str, list[int]]: ...
    def frequencies(self, wanted: Iterable[str]) -> dict[str, int]: ...
    def holding(self, wanted: Iterable[str], allowed: FileSet | None = None) -> list[int]: ...
    def spelling(self, query: Query, at_most: int) -> list[int]: ...
    def holding_within_words(self, found: Iterable[str], at_most: int) -> list[int]: ...
    def quoting(self, quoted: Iterable[list[str]]) -> list[int]: ...
