"""The ranking stage: which of some hundred candidates comes first, and why.

The engines say how well the words of a chunk fit those of the query.  Here is what else tells the
right place: what a chunk defines, what else was found in its file, what the file is called and
what it is there for.  Each signal is a function of its own, with a weight that switches it off;
what each brings stands in DECISIONS.md, and `tox -e ranking` prints it.

A chunk's own signals are added; those of its file multiply, so that they mean as much for a good
chunk as for a better one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from math import prod
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

from cidx_ref.index.asked import Name
from cidx_ref.index.definitions import Definition, shares
from cidx_ref.index.filelist import StoredFile
from cidx_ref.index.purpose import asked_for, purpose
from cidx_ref.index.query import Query
from cidx_ref.index.ways import rarity

__all__ = ["SIGNALS", "WEIGHTS", "Files", "Found", "Lightly", "Ranked", "Weights"]

#: How well chunks fit, best first.
Ranking = Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Weights:
    """What each signal weighs.  With 0 it is off; so are `repeat` and a purpose with 1."""

    fulltext: float = 1.0
    semantic: float = 0.3
    definition: float = 3.0  # where the query is a name: more than all else together
    name: float = 0.4
    siblings: float = 0.1
    path: float = 0.3
    repeat: float = 0.72
    repeat_of_name: float = 0.2  # where the query is a name: who else uses it is next
    purpose: Mapping[str, float] = field(
        default_factory=lambda: {
            "test": 0.5,
            "example": 0.6,
            "document": 0.5,
            "declaration": 0.75,
            "data": 0.65,
            "generated": 0.5,
        }
    )

    def without(self, signal: str) -> Weights:
        """These, with one of `SIGNALS` switched off."""
        if signal == "repeat":
            return replace(self, repeat=1.0, repeat_of_name=1.0)
        if signal == "purpose":
            return replace(self, purpose=dict.fromkeys(self.purpose, 1.0))
        off: dict[str, Any] = {signal: 0.0}
        return replace(self, **off)


WEIGHTS = Weights()
#: What can be switched off; without the full text, there is little to rank.
SIGNALS = ("semantic", "definition", "name", "siblings", "path", "repeat", "purpose")

# Of the other chunks of a file so many count, each less than the one before it.
_SIBLINGS = 5
_FADE = 0.7
_STEEP = 1.2  # the best stand out a little more than their scores say
_LEAST_PART = 4  # letters of a term that counts as a part of a word


class Found(NamedTuple):
    """The candidates: what each engine found, and the chunks that are called what is asked for."""

    fulltext: Ranking = ()
    semantic: Ranking = ()
    definitions: Ranking = ()


class Files(Protocol):
    """What is known of the files of the candidates."""

    def files_and_names(self, chunks: Sequence[int]) -> tuple[list[int], list[str]]: ...
    def file_of(self, chunk: int) -> int: ...
    def file(self, number: int) -> StoredFile: ...
    def defines_of(self, chunk: int) -> tuple[str, ...]: ...
    def __len__(self) -> int: ...


class Ranked:
    """The candidates of one query in their order, and what made it."""

    def __init__(
        self,
        found: Found,
        query: Query,
        files: Files,
        frequencies: Mapping[str, int],
        weights: Weights = WEIGHTS,
    ) -> None:
        """`frequencies` says in how many chunks each term of the query stands."""
        self._weights = weights
        self._repeat = weights.repeat_of_name if query.is_name else weights.repeat
        self._files = files
        self._rarity = _rarity(query, frequencies, len(files))
        self._asked = asked_for(query.terms)
        if not query.is_name:
            found = found._replace(definitions=())
        self._parts = _own_signals(found, weights)
        chunks = list(dict.fromkeys(chain.from_iterable(self._parts.values())))
        numbers, names = files.files_and_names(chunks)
        called = {n: name.lower() for n, name in zip(chunks, names, strict=True) if name}
        self._parts["name"] = {
            chunk: weights.name * share
            for chunk, name in called.items()
            if (share := _said_in(name, self._rarity))
        }
        self._file_of = dict(zip(chunks, numbers, strict=True))
        if self._parts["definition"]:
            self._prefer(query.name, called)
        self._own = _together(self._parts.values())
        self._of_file: dict[int, list[int]] = {}
        # Within a file a lower number is an earlier line: ties do not depend on who found them.
        for chunk in sorted(sorted(chunks), key=self._own.__getitem__, reverse=True):
            self._of_file.setdefault(self._file_of[chunk], []).append(chunk)
        #: (chunk, score), best first.
        self.order = sorted(self._scored(), key=itemgetter(1), reverse=True)

    def _prefer(self, name: Name, called: Mapping[int, str]) -> None:
        """The definition that is asked for counts more than others of that name."""
        weighed, files = self._parts["definition"], self._files
        definitions = {
            chunk: Definition(
                called.get(chunk, ""),
                files.defines_of(chunk),
                files.file(self._file_of[chunk]).path,
            )
            for chunk in weighed
        }
        for chunk, share in shares(name, definitions).items():
            weighed[chunk] *= share

    def is_of_words(self, chunk: int) -> bool:
        """Whether more than the semantic search found it."""
        return chunk in self._parts["fulltext"] or chunk in self._parts["definition"]

    def signals(self, chunk: int) -> dict[str, float]:
        """What made the score of `chunk`: first what was added, then what multiplied that sum."""
        number = self._file_of[chunk]
        chunks = self._of_file[number]
        own = {name: part[chunk] for name, part in self._parts.items() if chunk in part}
        path = self._files.file(number).path
        factors = {
            "path": _path_factor(path, self._rarity, self._weights),
            purpose(path) or "purpose": self._purpose_factor(path),
            "repeat": 1.0 if chunk == chunks[0] else self._repeat,
        }
        return {
            **own,
            "siblings": self._lift(chunks),
            **{name: factor for name, factor in factors.items() if factor != 1},
        }

    def _scored(self) -> Iterator[tuple[int, float]]:
        for number, chunks in self._of_file.items():
            path = self._files.file(number).path
            factor = _path_factor(path, self._rarity, self._weights) * self._purpose_factor(path)
            lift = self._lift(chunks)
            for chunk in chunks:
                yield chunk, (self._own[chunk] + lift) * factor
                if chunk == chunks[0]:
                    factor *= self._repeat

    def _lift(self, chunks: Sequence[int]) -> float:
        """What the other chunks of a file that were found say for it."""
        others = islice(chunks, 1, 1 + _SIBLINGS)
        share, lift = self._weights.siblings, 0.0
        for chunk in others:
            lift += share * self._own[chunk]
            share *= _FADE
        return lift

    def _purpose_factor(self, path: str) -> float:
        what = purpose(path)
        return 1.0 if not what or what in self._asked else self._weights.purpose[what]


class Lightly:
    """The order of full text alone, where no name is asked for: by BM25, what files are there for,
    and hits of one file apart.  These two bring most; the rest would cost as much as the search."""

    def __init__(
        self, ranking: Ranking, query: Query, files: Files, weights: Weights = WEIGHTS
    ) -> None:
        asked = asked_for(query.terms)
        met: set[int] = set()
        self._signals: dict[int, dict[str, float]] = {}
        for chunk, score in ranking:
            number = files.file_of(chunk)
            what = purpose(files.file(number).path)
            signals = {"fulltext": score or 1.0}  # what is found as it stands has no score
            if what and what not in asked:
                signals[what] = weights.purpose[what]
            if number in met:
                signals["repeat"] = weights.repeat
            met.add(number)
            self._signals[chunk] = signals
        products = [(chunk, prod(each.values())) for chunk, each in self._signals.items()]
        products.sort(key=itemgetter(1), reverse=True)
        self.order = products

    def is_of_words(self, chunk: int) -> bool:
        return True

    def signals(self, chunk: int) -> dict[str, float]:
        return self._signals[chunk]


def _own_signals(found: Found, weights: Weights) -> dict[str, dict[int, float]]:
    """By signal and chunk, what adds to the scores."""
    return {
        "fulltext": _weighted(found.fulltext, weights.fulltext),
        "semantic": _weighted(found.semantic, weights.semantic),
        "definition": dict.fromkeys((chunk for chunk, _ in found.definitions), weights.definition),
    }


def _weighted(ranking: Ranking, weight: float) -> dict[int, float]:
    """The scores as shares of the best one: BM25's own say nothing beside another query's."""
    scores = [score for _, score in ranking]
    best = max(scores, default=0.0)
    if best <= 0:  # what was looked for as it stands has no scores, and far vectors have such
        lowest = min(scores, default=0.0)
        ranking = [(chunk, score - lowest + 1) for chunk, score in ranking]
        best += 1 - lowest
    return {chunk: weight * (max(score, 0.0) / best) ** _STEEP for chunk, score in ranking}


def _together(parts: Iterable[Mapping[int, float]]) -> dict[int, float]:
    sums: dict[int, float] = {}
    for part in parts:
        for chunk, score in part.items():
            sums[chunk] = sums.get(chunk, 0.0) + score
    return sums


def _rarity(query: Query, frequencies: Mapping[str, int], count: int) -> dict[str, float]:
    """How much each term of the query says, all together 1: BM25's weight of a term."""
    said = {term: rarity(often, count) for term, often in frequencies.items()}
    if not said:
        return dict.fromkeys(query.terms, 1 / max(1, len(query.terms)))
    together = sum(said.values())
    return {term: share / together for term, share in said.items()}


def _path_factor(path: str, rarity: Mapping[str, float], weights: Weights) -> float:
    """More where the words of the query stand in the file's name, or in that of a folder.

    As parts of words, too: `front` and `matter` in `frontmatter`.
    """
    return 1 + weights.path * _said_in(path.lower(), rarity)


def _said_in(text: str, rarity: Mapping[str, float]) -> float:
    """How much of the query stands in `text`, which has small letters: as parts of words, too, but
    for what is so short that it stands in any."""
    said = 0.0
    for term, share in rarity.items():
        if term in text and (len(term) >= _LEAST_PART or _is_by_itself(term, text)):
            said += share
    return said


def _is_by_itself(term: str, text: str) -> bool:
    at = text.find(term)
    while at >= 0:
        around = text[max(0, at - 1) : at] + text[at + len(term) : at + len(term) + 1]
        if not any(map(str.isalpha, around)):
            return True
        at = text.find(term, at + 1)
    return False
