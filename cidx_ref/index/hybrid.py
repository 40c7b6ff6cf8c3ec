"""How two rankings become one: reciprocal rank fusion (Cormack, Clarke & Büttcher 2009).

And how one file is kept from filling the list: whoever looks for the right file is better served
with its best chunk and the next file than with five chunks of the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable

__all__ = ["fuse", "spread"]

#: Smaller trusts the first places more; 10 did best in the measurements of design section 6.
RANK_CONSTANT = 10
#: What each further hit of the same file is worth of its score.
_REPEAT = 0.85

Ranking = list[tuple[int, float]]


def fuse(*weighted: tuple[float, Iterable[int]]) -> Ranking:
    """The items of all rankings with the sum of weight / (constant + rank), best first.

    Ranks count from 1.  Ties keep the order in which the items are first met.
    """
    scores: dict[int, float] = {}
    for weight, ranking in weighted:
        for rank, item in enumerate(ranking, start=1):
            scores[item] = scores.get(item, 0.0) + weight / (RANK_CONSTANT + rank)
    return _best_first(scores.items())


def spread(ranking: Ranking, group_of: Callable[[int], Hashable]) -> Ranking:
    """`ranking`, in which each further item of a group counts a little less than the one before."""
    met: Counter[Hashable] = Counter()
    scored = []
    for item, score in ranking:
        group = group_of(item)
        scored.append((item, score * _REPEAT ** met[group]))
        met[group] += 1
    return _best_first(scored)


def _best_first(pairs: Iterable[tuple[int, float]]) -> Ranking:
    return sorted(pairs, key=lambda pair: -pair[1])
