"""How two rankings become one: reciprocal rank fusion (Cormack, Clarke & Büttcher 2009).

And what it means that chunks stand in files.  A file of which many chunks were found is likelier
the right one, so files are ranked, too.  It is kept from filling the list all the same: whoever
looks for the right file is better served with its best chunk and the next file than with five
chunks of the first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable

__all__ = ["best_of", "fuse", "rank_groups", "spread"]

#: Smaller trusts the first places more; 10 did best (DECISIONS.md, "Retrieval").
RANK_CONSTANT = 10
#: What all hits of a file but the best are worth of their scores.
_REPEAT = 0.85
#: What the ranking of the files weighs, in which the best few hits of each are counted together.
_GROUP_WEIGHT = 0.5
_GROUP_BEST = 5

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


def rank_groups(ranking: Ranking, group_of: Callable[[int], Hashable]) -> Ranking:
    """`ranking`, with the groups of its items fused into it as one more ranking."""
    scores: defaultdict[Hashable, list[float]] = defaultdict(list)
    for item, score in ranking:
        scores[group_of(item)].append(score)
    best = sorted(scores, key=lambda group: -sum(scores[group][:_GROUP_BEST]))
    share = {group: _GROUP_WEIGHT / (RANK_CONSTANT + rank) for rank, group in enumerate(best, 1)}
    return _best_first((item, score + share[group_of(item)]) for item, score in ranking)


def spread(ranking: Ranking, group_of: Callable[[int], Hashable]) -> Ranking:
    """`ranking`, in which all items of a group but its first count a little less."""
    met: set[Hashable] = set()
    scored = []
    for item, score in ranking:
        group = group_of(item)
        scored.append((item, score * _REPEAT if group in met else score))
        met.add(group)
    return _best_first(scored)


def best_of(one: Ranking, other: Ranking) -> Ranking:
    """Two rankings by the same measure as one: each item with the better of its scores."""
    if not other:
        return one
    scores = dict(one)
    for item, score in other:
        scores[item] = max(score, scores.get(item, score))
    return _best_first(scores.items())


def _best_first(pairs: Iterable[tuple[int, float]]) -> Ranking:
    return sorted(pairs, key=lambda pair: -pair[1])
