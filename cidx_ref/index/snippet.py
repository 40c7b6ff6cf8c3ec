"""The few lines of a chunk that a hit shows, and whether it shares a word with the query at all."""

from __future__ import annotations

from cidx_ref.index.store import StoredChunk
from cidx_ref.index.text import content_terms, content_words

__all__ = ["Probes"]

_LINES = 5
_MAX_PROBES = 256
_MAX_LINE_CHARS = 300


class Probes:
    """A query, as substrings to look for in lower-case text: far cheaper than analysing it."""

    def __init__(self, query: str) -> None:
        # Snowball ends some stems in an i or e that the word does not have: librari for library,
        # write for writing.  The words themselves are looked for, too.
        stems = [
            term[:-1] if len(term) > 3 and term[-1] in "ie" else term
            for term in content_terms(query)
        ]
        said = [word.lower() for word in content_words(query)]
        probes = list(dict.fromkeys([*stems, *said])) or [query.strip().lower()]
        self._probes = probes[:_MAX_PROBES]

    def touch(self, chunk: StoredChunk) -> bool:
        """True if the chunk, its name or its path holds any of the query's terms."""
        text = f"{chunk.path}\n{chunk.name}\n{chunk.text}".lower()
        return any(probe in text for probe in self._probes)

    def cut(self, chunk: StoredChunk) -> tuple[int, str]:
        """The number of the first line, and the consecutive lines with the most of the query."""
        lines = chunk.text.split("\n")
        scores = [self._score(line.lower()) for line in lines]
        windows = range(max(1, len(lines) - _LINES + 1))
        best = max(windows, key=lambda i: (sum(scores[i : i + _LINES]), -i))
        shown = [line[:_MAX_LINE_CHARS] for line in lines[best : best + _LINES]]
        return chunk.line_start + best, "\n".join(shown)

    def _score(self, line: str) -> int:
        return sum(probe in line for probe in self._probes)
