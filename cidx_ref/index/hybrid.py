"""How two rankings become one: reciprocal rank fusion (Cormack, Clarke & Büttcher 2009)."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["fuse"]

#: Smaller trusts the first places more; 10 did best in the measurements of design section 6.
RANK_CONSTANT = 10


def fuse(*rankings: Iterable[int]) -> list[tuple[int, float]]:
    """The items of all `rankings` with the sum of 1 / (constant + rank), best first.

    Ranks count from 1.  Ties keep the order in which the items are first met.
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, start=1):
            scores[item] = scores.get(item, 0.0) + 1.0 / (RANK_CONSTANT + rank)
    return sorted(scores.items(), key=lambda pair: -pair[1])
