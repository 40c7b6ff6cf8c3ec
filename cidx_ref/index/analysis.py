"""What the engines are given of a chunk: the text that is embedded, and the terms that are looked
for.

The vectors of a chunk and its terms are made when its file is indexed, and its terms once more when
the full text is made anew of the texts that are stored; both must come to the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import PurePosixPath
from typing import NamedTuple, Protocol

from cidx_ref.index.chunk import definition
from cidx_ref.index.text import (
    compounds,
    dotted,
    joined_words,
    said,
    symbols,
    terms_of,
    whole_identifiers,
    words,
)

__all__ = ["Terms", "embedded_text", "terms_of_chunk", "terms_of_file"]

# Path and qualified name count as text that is there twice.  In a field of their own they are so
# short that BM25 takes one word of a path for more than a sentence of the text.
_TITLE_REPEATS = 2


class Terms(NamedTuple):
    """The terms of a chunk, with spaces between them.

    `body` is its text, and what it is called; `identifier` has each name that is made of parts as a
    whole; `symbol` has what the chunk itself defines.  `compound` has once what else may be written
    as one word: parts of a name that stand beside each other, words with hyphens, names of files.
    """

    body: str
    identifier: str
    symbol: str
    compound: str = ""


class Piece(Protocol):
    """What is looked at of a chunk, stored or not."""

    @property
    def name(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def defines(self) -> tuple[str, ...]: ...


def terms_of_file(path: str, chunks: Iterable[Piece]) -> list[Terms]:
    """The terms of all chunks of the file at `path`, in their order.

    The first one is called what the file is called, if it defines nothing.
    """
    stem = PurePosixPath(path).stem
    return [
        terms_of_chunk(path, each.name, each.text, each.defines or ((stem,) if not place else ()))
        for place, each in enumerate(chunks)
    ]


def terms_of_chunk(path: str, name: str, text: str, called: Iterable[str]) -> Terms:
    """The terms of a chunk of the file at `path`, whose qualified name is `name`.

    `called` is what it would be asked for by: the simple names of what it defines.
    """
    title = words(f"{path} {definition(name)}")
    names = " ".join(called)
    found, others = said(text)
    made = chain(compounds(chain(found, joined_words(text), title)), dotted(text))
    return Terms(
        " ".join(chain(terms_of(title * _TITLE_REPEATS), terms_of(found), terms_of(others))),
        " ".join(whole_identifiers(found)),
        " ".join(symbols(chain(words(names), joined_words(names)))),
        " ".join(dict.fromkeys(made)),
    )


def embedded_text(path: str, name: str, text: str) -> str:
    """What is embedded of a chunk."""
    return f"{path} {definition(name)}\n{text}"
