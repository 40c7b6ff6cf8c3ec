"""Marks: how well a ranking answers a question.

A file counts once, at its first hit; all files that answer the question count alike.  Two marks are
given, because an answer may show one file several times: by the places among the hits, as they
are read on a screen, and by the places among the files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from math import log2

__all__ = ["DEPTH", "distinct", "ndcg"]

DEPTH = 10


def ndcg(ranked: Sequence[str], wanted: Collection[str], depth: int = DEPTH) -> float:
    """NDCG of the paths `ranked`, the first `depth` of which are looked at: 1 where all that is
    `wanted` stands at the top."""
    gained = 0.0
    met = set()
    for place, path in enumerate(ranked[:depth], 1):
        if path in wanted and path not in met:
            met.add(path)
            gained += _gain(place)
    return gained / sum(_gain(place) for place in range(1, min(len(wanted), depth) + 1))


def distinct(ranked: Iterable[str]) -> list[str]:
    """Each path at its first place only."""
    return list(dict.fromkeys(ranked))


def _gain(place: int) -> float:
    return 1 / log2(place + 1)
