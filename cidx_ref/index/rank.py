"""The ranking stage: which of some hundred candidates comes first, and why.

The engines say how well the words of a chunk fit those of the query.  Here is what else tells the
right place: what a chunk defines, what else was found in its file, what the file is called and
what it is there for.  Each signal is a function of its own, with a weight that switches it off;
what each brings stands in DECISIONS.md, and `tox -e ranking` prints it.

A chunk's own signals are added; those of its file multiply, so that they mean as much for a good
chunk as for a better one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

from cidx_ref.index.asked import Name
from cidx_ref.index.definitions import Definition, shares
from cidx_ref.index.filelist import StoredFile
from cidx_ref.index.purpose import asked_for, purpose
from cidx_ref.index.query import Query
from cidx_ref.index.ways import rarity

__all__ = ["POOL", "POOL_OF_WORDS", "SIGNALS", "WEIGHTS", "Files", "Found", "Ranked", "Weights"]

#: Candidates of each engine; of full text alone, which has to be quick: the last of its candidates
#: bring less than what ranking them costs.
POOL, POOL_OF_WORDS = 64, 24

#: How well chunks fit, best first.
Ranking = Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Weights:
    """What each signal weighs.  With 0 it is off; so are `repeat`, `again` and a purpose with 1."""

    fulltext: float = 1.0
    semantic: float = 0.25
    definition: float = 3.0  # where the query is a name: more than all else together
    pasted: float = 3.0  # so is the place that is asked for, or what stands there as it was pasted
    name: float = 0.3
    siblings: float = 0.1
    path: float = 0.15
    repeat: float = 0.75  # of all but the first hit of a file,
    again: float = 0.98  # and each further one counts so much of the one before it
    repeat_of_name: float = 0.2  # where the query is a name: who else uses it is next
    purpose: Mapping[str, float] = field(
        default_factory=lambda: {
            "test": 0.5,
            "example": 0.6,
            "document": 0.4,
            "declaration": 0.75,
            "data": 0.65,
            "vendored": 0.65,
            "generated": 0.5,
        }
    )

    def without(self, signal: str) -> Weights:
        """These, with one of `SIGNALS` switched off."""
        if signal == "repeat":
            return replace(self, repeat=1.0, again=1.0, repeat_of_name=1.0)
        if signal == "purpose":
            return replace(self, purpose=dict.fromkeys(self.purpose, 1.0))
        off: dict[str, Any] = {signal: 0.0}
        return replace(self, **off)


WEIGHTS = Weights()
#: What can be switched off; without the full text, there is little to rank.
SIGNALS = ("semantic", "definition", "pasted", "name", "siblings", "path", "repeat", "purpose")

# Words tell the file; which of its chunks comes first, names and neighbours tell better: so many
# times as much as among files.
_WITHIN = {"semantic": 2.4, "name": 5.0}
_OF_WORDS = ("fulltext", "definition", "pasted")
# What an engine leaves out is nearly as good as the last of its pool: so much of the score of that
# one tells nothing, for all have it.  The fewer it has, the less was left out.
_COMMON = 0.6
_MOST_REPEATS = 10  # so many hits of a file each count less than the one before
# Of the other chunks of a file so many count, each less than the one before it.
_SIBLINGS = 5
_FADE = 0.7
_LEAST_PART = 4  # letters of a term that counts as a part of a word


class Found(NamedTuple):
    """The candidates: what each engine found, the chunks that are called what is asked for, and
    those that are, or hold, what was pasted."""

    fulltext: Ranking = ()
    semantic: Ranking = ()
    definitions: Ranking = ()
    pasted: Ranking = ()


class Files(Protocol):
    """What is known of the files of the candidates."""

    def files_and_names(self, chunks: Sequence[int]) -> tuple[list[int], list[str]]: ...
    def file(self, number: int) -> StoredFile: ...
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
        self._said = _Said(_rarity(query, frequencies, len(files)))
        # Of a name such words are parts: `on_format_specs`, `parse_json`.
        terms = {"test"}.intersection(query.terms) if query.is_name else query.terms
        self._asked = asked_for(terms)
        if found.definitions and not query.is_name:
            found = found._replace(definitions=())
        self._parts = _own_signals(found, weights)
        if query.phrases:  # all have them, and how long they are says little
            words = self._parts["fulltext"]
            words.update((n, (weights.fulltext + score) / 2) for n, score in words.items())
        chunks = list(dict.fromkeys(chain.from_iterable(self._parts.values())))
        self._of_words = {n for each in _OF_WORDS for n in self._parts[each]}
        numbers, names = files.files_and_names(chunks)
        shares = self._said.shares([*map(str.lower, names)])
        said = zip(chunks, shares, strict=True)
        self._parts["name"] = {chunk: weights.name * share for chunk, share in said if share}
        self._file_of = dict(zip(chunks, numbers, strict=True))
        #: Whatever these are there for, they are what is asked for: more than a mention.
        self._meant = {self._file_of[chunk] for chunk, share in found.pasted if share >= 1}
        if self._parts["definition"]:
            self._prefer(query.name, dict(zip(chunks, names, strict=True)))
        self._own = _together(*self._parts.values())
        within = self._own if query.is_name else self._within()
        self._of_file: dict[int, list[int]] = {}
        # Within a file a lower number is an earlier line: ties do not depend on who found them.
        for chunk in sorted(sorted(chunks), key=within.__getitem__, reverse=True):
            self._of_file.setdefault(self._file_of[chunk], []).append(chunk)
        #: (chunk, score), best first.
        self.order = sorted(self._scored(), key=itemgetter(1), reverse=True)

    def _prefer(self, name: Name, names: Mapping[int, str]) -> None:
        """The definition that is asked for counts more than others of that name."""
        weighed = self._parts["definition"]
        definitions = {}
        for chunk in weighed:
            called, *defines = names[chunk].split("\n")
            path = self._files.file(self._file_of[chunk]).path
            definitions[chunk] = Definition(called.lower(), tuple(defines), path)
        for chunk, share in shares(name, definitions).items():
            weighed[chunk] *= share

    def _within(self) -> dict[int, float]:
        """The own scores as they count within a file."""
        within = dict(self._own)
        for signal, times in _WITHIN.items():
            for chunk, score in self._parts[signal].items():
                within[chunk] += (times - 1) * score
        return within

    def is_of_words(self, chunk: int) -> bool:
        """Whether more than the semantic search found it."""
        return chunk in self._of_words

    def signals(self, chunk: int) -> dict[str, float]:
        """What made the score of `chunk`: first what was added, then what multiplied that sum."""
        number = self._file_of[chunk]
        chunks = self._of_file[number]
        own = {name: part[chunk] for name, part in self._parts.items() if chunk in part}
        path = self._files.file(number).path
        factors = {
            "path": self._path_factors([path])[0],
            purpose(path) or "purpose": self._purpose_factor(number, path),
            "repeat": self._repeated(chunks.index(chunk)),
        }
        return {
            **own,
            "siblings": self._lift(chunks) + (self._ahead(chunks) if chunk == chunks[0] else 0.0),
            **{name: factor for name, factor in factors.items() if factor != 1},
        }

    def _scored(self) -> Iterator[tuple[int, float]]:
        own = self._own
        paths = [self._files.file(number).path for number in self._of_file]
        factors = self._path_factors(paths)
        of_file = zip(paths, factors, self._of_file.items(), strict=True)
        for path, factor, (number, chunks) in of_file:
            factor *= self._purpose_factor(number, path)
            if len(chunks) == 1:
                yield chunks[0], own[chunks[0]] * factor
                continue
            lift = self._lift(chunks)
            yield chunks[0], (own[chunks[0]] + lift + self._ahead(chunks)) * factor
            for place in range(1, len(chunks)):
                chunk = chunks[place]
                yield chunk, (own[chunk] + lift) * factor * self._repeated(place)

    def _repeated(self, place: int) -> float:
        """What the hit of a file counts that comes after so many others of it."""
        again = self._weights.again ** min(place - 1, _MOST_REPEATS)
        return self._repeat * again if place else 1.0

    def _ahead(self, chunks: Sequence[int]) -> float:
        """What the best chunk of a file has more than the one that comes first."""
        return max(map(self._own.__getitem__, chunks)) - self._own[chunks[0]]

    def _lift(self, chunks: Sequence[int]) -> float:
        """What the other chunks of a file that were found say for it."""
        others = islice(chunks, 1, 1 + _SIBLINGS)
        share, lift = self._weights.siblings, 0.0
        for chunk in others:
            lift += share * self._own[chunk]
            share *= _FADE
        return lift

    def _path_factors(self, paths: Sequence[str]) -> list[float]:
        """More where the words of the query stand in a file's name, or in that of a folder.

        As parts of words, too: `front` and `matter` in `frontmatter`.
        """
        weight = self._weights.path
        return [1 + weight * said for said in self._said.shares([*map(str.lower, paths)])]

    def _purpose_factor(self, number: int, path: str) -> float:
        what = purpose(path)
        is_asked = not what or what in self._asked or number in self._meant
        return 1.0 if is_asked else self._weights.purpose[what]


def _own_signals(found: Found, weights: Weights) -> dict[str, dict[int, float]]:
    """By signal and chunk, what adds to the scores."""
    return {
        "fulltext": _weighted(found.fulltext, weights.fulltext),
        "semantic": _weighted(found.semantic, weights.semantic),
        "definition": dict.fromkeys((chunk for chunk, _ in found.definitions), weights.definition),
        "pasted": {chunk: weights.pasted * share for chunk, share in found.pasted},
    }


def _weighted(ranking: Ranking, weight: float) -> dict[int, float]:
    """The scores as shares of the best one: BM25's own say nothing beside another query's.

    Of a long list only what is above `_COMMON` of its last counts.
    """
    if not ranking:
        return {}
    best, lowest = ranking[0][1], ranking[-1][1]
    # What was looked for as it stands has no scores, and far vectors have negative ones.
    base = _COMMON * _last(ranking) if best > 0 else lowest - 1
    share = weight / (best - base)
    return {chunk: max(0.0, share * (score - base)) for chunk, score in ranking}


def _last(ranking: Ranking) -> float:
    """The score of the last of the pool, whatever the limit; of fewer, less of it."""
    count = min(len(ranking), POOL)
    if count <= POOL_OF_WORDS:
        return 0.0
    part = (count - POOL_OF_WORDS) / (POOL - POOL_OF_WORDS)
    return part * max(0.0, ranking[count - 1][1])


def _together(first: Mapping[int, float], *others: Mapping[int, float]) -> dict[int, float]:
    sums = dict(first)
    for part in others:
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


class _Said:
    """How much of the query a name says: as parts of words, too, but for what is so short that it
    stands in any."""

    def __init__(self, rarity: Mapping[str, float]) -> None:
        """`rarity` has how much each of its terms says."""
        self._terms = [(term, share, len(term) < _LEAST_PART) for term, share in rarity.items()]

    def shares(self, texts: Sequence[str]) -> list[float]:
        """How much each of `texts` says, which have small letters."""
        said = [0.0] * len(texts)
        together = "\n".join(texts)
        for term, share, is_short in self._terms:
            if term in together:  # most are in none
                for place, text in enumerate(texts):
                    if term in text and not (is_short and not _is_by_itself(term, text)):
                        said[place] += share
        return said


def _is_by_itself(term: str, text: str) -> bool:
    at = text.find(term)
    while at >= 0:
        around = text[max(0, at - 1) : at] + text[at + len(term) : at + len(term) + 1]
        if not any(map(str.isalpha, around)):
            return True
        at = text.find(term, at + 1)
    return False
