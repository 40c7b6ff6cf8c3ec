"""The vocabulary: all terms of each segment as one text, in which parts of terms are found.

A file `words.txt` has the terms of the field "body", a zero byte, and those of "identifier", each
term between two ends of lines.  It is written once for each segment, so that a publish makes none:
half a million terms would take a new one a tenth of a second, with the interpreter's lock held.
tantivy's own way, a regular expression, takes 8 ms on a dictionary in which a part is found here in
0.2.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from cidx_ref.files import Directory
from cidx_ref.index.analysis import Terms

__all__ = ["WORDS", "Vocabulary", "WordFile", "WordWriter"]

WORDS = "words.txt"
_CODEC = ("utf-8", "surrogatepass")
_OFF_BY = 2  # letters that a mistyped name has more, or less
_ALIKE, _FEW = 0.85, 4
_MAX_LOOKED_THROUGH_BYTES = 16_000_000  # vocabulary times parts that are looked for: 10 ms


class WordWriter:
    """Collects the terms of a segment."""

    def __init__(self) -> None:
        self._body: set[str] = set()
        self._identifiers: set[str] = set()

    def add(self, terms: Terms) -> None:
        self._body.update(terms.body.split(" "))
        self._identifiers.update(terms.identifier.split(" "))

    def add_all(self, words: WordFile) -> None:
        """The terms of another segment, too."""
        self._body |= words.terms("body")
        self._identifiers |= words.terms("identifier")

    def save(self, directory: Directory) -> None:
        fields = ("\n".join(["", *sorted(f - {""}), ""]) for f in (self._body, self._identifiers))
        with directory.writer(WORDS) as file:
            file.write("\0".join(fields).encode(*_CODEC))


class WordFile:
    """The vocabulary of one segment.  Thread-safe."""

    def __init__(self, directory: Path) -> None:
        """Raises `OSError`."""
        with (directory / WORDS).open("rb") as file:
            self._text = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        self._middle = self._text.find(b"\0")

    def __len__(self) -> int:
        return len(self._text)

    def close(self) -> None:
        self._text.close()

    def terms(self, field: str) -> set[str]:
        """All terms of a field."""
        end, start = self._middle, self._middle + 1
        found = self._text[:end] if field == "body" else self._text[start:]
        return set(found.decode(*_CODEC).split("\n")) - {""}

    def around(self, part: str) -> Iterator[tuple[str, str]]:
        """The terms that hold `part`, each as (field, term)."""
        text = self._text
        wanted = part.encode(*_CODEC)
        at = text.find(wanted)
        while at >= 0:
            start, end = text.rfind(b"\n", 0, at) + 1, text.find(b"\n", at)
            yield "body" if at < self._middle else "identifier", text[start:end].decode(*_CODEC)
            at = text.find(wanted, end)

    def like(self, term: str) -> Iterator[str]:
        """The terms that begin as `term` does, and are about as long."""
        first, rest = term[:1].encode(*_CODEC), len(term.encode(*_CODEC)) - 1
        lengths = b"{%d,%d}" % (max(0, rest - _OFF_BY), rest + _OFF_BY)
        alike = re.compile(b"(?<=\\n)" + re.escape(first) + b"[^\\n]" + lengths + b"(?=\\n)")
        for met in alike.finditer(self._text):
            yield met[0].decode(*_CODEC)


class Vocabulary:
    """The vocabularies of a generation's segments.  Terms of what is in no file any more may be
    among them.  Thread-safe."""

    def __init__(self, files: Sequence[WordFile]) -> None:
        self._files = files

    def around(self, parts: Iterable[str]) -> Iterator[tuple[str, str]]:
        """The terms that hold any of `parts`, each as (field, term), some of them more than once.

        The larger the vocabulary is, the fewer of `parts` are looked for.
        """
        size = sum(map(len, self._files)) + 1
        for part in islice(parts, max(1, _MAX_LOOKED_THROUGH_BYTES // size)):
            for file in self._files:
                yield from file.around(part)

    def likest(self, term: str) -> list[str]:
        """The few terms that are most like `term`, the likest first; none where all of them would
        be too many to look through."""
        if sum(map(len, self._files)) > _MAX_LOOKED_THROUGH_BYTES:
            return []
        from difflib import get_close_matches  # only here: it is slow to import

        alike = {each for file in self._files for each in file.like(term)}
        return get_close_matches(term, sorted(alike - {term}), n=_FEW, cutoff=_ALIKE)
