"""The results of a search, as the client sees them: value objects, without a connection.

What the daemon says of itself and of an index run is in `reports`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, overload

__all__ = ["ADDED_SIGNALS", "Answer", "Hit", "best_line"]

#: The signals that a score adds up; all others multiply the sum.
ADDED_SIGNALS = ("fulltext", "semantic", "definition", "pasted", "name", "siblings")


_NUMBER = int | float
#: What the parts of a hit and of an answer are, without which they are of no use.
_OF_HITS = {"path": str, "line_start": int, "line_end": int, "language": str, "score": _NUMBER,
            "snippet": str, "snippet_start": int, "name": str, "kind": str,
            "signals": dict, "also": list | tuple, "also_count": int}  # fmt: skip
_OF_ANSWERS = {"results": list, "mode": str, "generation": str, "took_ms": _NUMBER,
               "unavailable": dict, "relaxed": list, "missing": str | None, "meant": str | None,
               "unmatched": dict, "pending": int | None, "total_matches": int | None,
               "fresh_problem": str | None, "source": str | None,
               "embedding_ms": _NUMBER | None}  # fmt: skip


def best_line(snippet: str, marks: Sequence[tuple[int, int]]) -> int:
    """The line of `snippet`, the first being 0, that an editor had best jump to: of a whole name,
    or the first mark."""
    said = {start: snippet[start:stop] for start, stop in marks}
    names = [at for at, each in said.items() if _is_joined(each)]
    return snippet.count("\n", 0, [*names, *said, 0][0])


def _is_joined(text: str) -> bool:
    """Whether it is a name of several parts, or with a digit, and not a word: `parseUrl`."""
    has_joint = not text.isupper() and text[1:].lower() != text[1:]
    return text.isidentifier() and (has_joint or not text.isalpha())


def _checked(known: dict[str, Any], kinds: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in known.items():
        if name in kinds and not isinstance(value, kinds[name]):
            raise TypeError(f"{name} is a {type(value).__name__}")
    return known


def _each_is(kind: type, name: str, values: Iterable[object]) -> None:
    for value in values:
        if not isinstance(value, kind):
            raise TypeError(f"{name} has a {type(value).__name__}")


@dataclass(frozen=True, slots=True)
class Hit:
    """One chunk of one file.

    `path` is relative to the project, with `/` (bytes that are not UTF-8 as lone surrogates, so
    `open()` takes it).  `line_start` and `line_end` are 1-based and inclusive, `snippet_start` is
    the number of the snippet's first line.  `score` orders the hits of one answer, and
    says nothing beyond it (semantic: cosine similarity).
    `name` is the qualified name of what the chunk holds, or "", and `kind` what that is: a
    "function", "method", "class", "heading" and so on, or "".  `stale`: the file has changed, or
    gone, since it was indexed; what is shown is what it held then.

    `signals` says what made the score, where it was asked for (`explain`): what was added by its
    name ("fulltext", "semantic", "definition", "pasted", "name", "siblings"), then the factors of
    the sum ("path", "repeat", and what the file is there for, such as "test").

    `marks` says where in `snippet` the words of the query stand: from which character to before
    which, in order, and apart from each other.  A mark is a part of an identifier that is a word of
    the query in any of its forms, or all of an identifier that was asked for.  Where no such word
    stands in what was found, marks may be letters of other words; there are none where only the
    name or the path is a match.

    `also` names other places (`path:line`) that have the same text but for white space, or of which
    the same lines would be shown: the hit stands for them.  There are five at most, and
    `also_count` says how many there are; what comes after the last hit of the answer is not known.
    A named place whose file has changed, or gone, since it was indexed is left out of both; of the
    others that are counted that is not asked.

    In the modes literal and regex a hit is one line, and stands for no other one: `snippet` is that
    line, or of a very long one the part with the match.
    """

    path: str
    line_start: int
    line_end: int
    language: str
    score: float
    snippet: str
    snippet_start: int = 0
    name: str = ""
    stale: bool = False
    kind: str = ""
    signals: Mapping[str, float] = field(default_factory=dict, hash=False)
    marks: tuple[tuple[int, int], ...] = ()
    also: tuple[str, ...] = ()
    also_count: int = 0

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Hit:
        """The hit in `data`; keys this version does not know are left out."""
        known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        known = _checked(known, _OF_HITS)
        marks = [(start, end) for start, end in data.get("marks", ())]
        _each_is(int, "marks", chain.from_iterable(marks))
        _each_is(str, "also", also := tuple(known.get("also", ())))
        known |= {"marks": tuple(marks), "also": also}
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Answer(Sequence[Hit]):
    """The hits of one query, best first, and how they came about.

    `generation` is the index that answered.  `unavailable` says, engine by engine, why a hybrid
    answer had to do without it (QRY-3).  `took_ms` is the daemon's share of the time; for
    `embedding_ms` of it the query waited for its vector, in the modes semantic and hybrid.

    `relaxed` has the quoted pieces of the query that were let go, because nothing has them as
    written, or not together with the others: their words were looked for.  `missing` is a name that
    was asked for and that nothing has, in whatever joints and case, and `meant` the one that it is
    most like, which was looked for; None where there is no such.

    The index holds every change made before `indexed_at` (ISO 8601).  `pending` is how many files
    are known to have changed since; None while that is not known.  `fresh` says of a query that
    wanted it whether the index holds every change made before the call, and is None of any other;
    `fresh_problem` says why it does not, and of any query that index runs fail, and why.

    `unmatched` says which filters no file of the index matches, by the name of the argument
    ("paths", "exclude_paths", "languages"), each with the path that is likest to it, or None.
    `total_matches` is in how many lines something was found, shown or not, in the modes literal and
    regex; None in the others.  `more_matches`: it is at least so many, counting went no further.

    `source` is "cidx" where the full cidx's index has answered, and None where ours has.
    """

    results: tuple[Hit, ...]
    mode: str
    generation: str
    took_ms: float
    semantic_count: int | None = None
    fts_count: int | None = None
    unavailable: Mapping[str, str] = field(default_factory=dict)
    indexed_at: str | None = None
    pending: int | None = None
    fresh: bool | None = None
    fresh_problem: str | None = None
    relaxed: Sequence[str] = field(default_factory=list)
    missing: str | None = None
    meant: str | None = None
    unmatched: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    total_matches: int | None = None
    more_matches: bool | None = None
    embedding_ms: float | None = None
    source: str | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Answer:
        """The answer in `data`, as the daemon's `query` methods return it."""
        known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        known = _checked({"results": data["results"], **known}, _OF_ANSWERS)
        return cls(**{**known, "results": tuple(Hit.from_dict(hit) for hit in data["results"])})

    def as_dict(self) -> dict[str, Any]:
        """The answer as plain data, as the daemon has it."""
        from dataclasses import asdict

        found = asdict(self)
        for hit in found["results"]:
            for name in ("stale", "signals", "also", "also_count"):
                if not hit[name]:
                    del hit[name]
        always = ("indexed_at", "pending")
        return {key: value for key, value in found.items() if value is not None or key in always}

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Hit]: ...
    def __getitem__(self, index: int | slice) -> Hit | Sequence[Hit]:
        return self.results[index]

    def __len__(self) -> int:
        return len(self.results)
