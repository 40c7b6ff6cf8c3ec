"""Which edition of the files an answer is from, as far as a target's answers tell.

Each edition has a word that is in two files (`corpus.CHANGING`) and in no other edition.  A hit
that shows the word is of that edition.  Where hits show no text, a full-text search that finds a
file by the word tells as much.  Whether one of the two is so is tried once (`find_reading`), and
not believed: what shows neither is not judged by its editions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cidx_ref.testing.conformance import corpus
from cidx_ref.testing.conformance.asking import Answer, Asker, Hit, Refused, dig
from cidx_ref.testing.conformance.target import Cap, Target

__all__ = ["BY_PATH", "BY_TEXT", "Found", "Reading", "by_what", "find_edition", "seen"]

BY_TEXT, BY_PATH = "text", "path"
_LIMIT = 8


@dataclass
class Reading:
    """How editions are told apart; by nothing: they are not.  And what its runs take."""

    by: str = ""
    writer_s: float = 1.0
    index_s: float = 1.0

    @property
    def is_known(self) -> bool:
        return bool(self.by)


@dataclass
class Found:
    """What a daemon answers from: one edition, or two; 0 is none."""

    oldest: int
    newest: int
    #: Why there is none, for who reads it,
    why: str = ""
    #: and the kind of the error that was the answer.
    refusal: str = ""
    #: Of an edition that hits show: whether they say that their file has changed since.
    stale: dict[int, bool] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        return self.oldest == self.newest


def by_what(target: Target) -> Reading:
    """By what a target declares."""
    if target.hits and target.path and target.text:
        return Reading(BY_TEXT)
    return Reading(BY_PATH if target.hits and target.path and target.offers(Cap.FTS) else "")


def seen(answer: Answer, edition: int, reading: Reading) -> dict[str, Hit]:
    """The hits that show an edition, by their file."""
    word = corpus.marker(edition)
    return {
        hit.path: hit
        for hit in answer.hits
        if hit.path in corpus.CHANGING and (reading.by == BY_PATH or word in hit.text.lower())
    }


def find_edition(
    asker: Asker,
    reading: Reading,
    wanted: Iterable[int],
    mode: str = "query",
    *,
    fresh: bool = False,
) -> Found:
    """Ask for each edition until one is found in both files.

    An edition that is in one of them is kept in mind: with two of those, half an index answers.
    """
    found = Found(0, 0)
    halves: list[int] = []
    for edition in wanted:
        if edition == 0:
            break
        try:
            answer = asker.query(corpus.marker(edition), mode, _LIMIT, fresh=fresh)
        except Refused as refused:  # that there is no index is an answer
            found.why, found.refusal = f" ({refused})", refused.kind
            break
        hits = seen(answer, edition, reading)
        _note_stale(found, edition, hits, asker.target.stale)
        if set(hits) == set(corpus.CHANGING):
            return Found(edition, edition, stale=found.stale)
        if hits:
            halves.append(edition)
            found.why = f" (of {', '.join(corpus.CHANGING)} it finds {', '.join(hits)} only)"
    found.newest = max(halves, default=0)
    found.oldest = min(halves) if len(halves) >= 2 else 0
    return found


def _note_stale(found: Found, edition: int, hits: dict[str, Hit], path: str) -> None:
    if path and hits:
        found.stale[edition] = all(bool(_dug(hit, path)) for hit in hits.values())


def _dug(hit: Hit, path: str) -> object:
    return dig(hit.raw, path) if path in (hit.raw or {}) else False
