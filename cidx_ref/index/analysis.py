"""What the engines are given of a chunk: the text that is embedded, and the terms that are looked
for.

The vectors of a chunk and its terms are made when its file is indexed, and its terms once more when
the full text is made anew of the texts that are stored; both must come to the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import PurePosixPath
from typing import NamedTuple, Protocol

from cidx_ref.index.chunk import definition
from cidx_ref.index.structure import INNER, OWNER
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

__all__ = ["Terms", "embedded_text", "names_of_file", "terms_of_chunk", "terms_of_file", "within"]

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


#: What files are called that are the package, or the module, that their folder is.
_PACKAGES = frozenset(("__init__", "index", "init", "mod"))
#: No heading, which would be several terms, and no file's name that is no text.
_ONE_TERM = re.compile(r"[^\s\ud800-\udfff]+")


def terms_of_file(path: str, chunks: Iterable[Piece]) -> list[Terms]:
    """The terms of all chunks of the file at `path`, in their order.

    The first one is called what the file is called: less so, if it defines something, or if it is
    called after its folder.
    """
    chunks = list(chunks)
    called = [each.defines for each in chunks]
    if called:
        stem, *package = names_of_file(path)
        is_named = any(not name.startswith(INNER) for name in called[0])
        called[0] = (INNER * is_named + stem, *(INNER + name for name in package), *called[0])
    return [
        terms_of_chunk(path, each.name, each.text, names)
        for each, names in zip(chunks, called, strict=True)
    ]


def names_of_file(path: str) -> list[str]:
    """What the file at `path` is called; then the folder, if the file is the package that it is."""
    *folders, name = path.split("/")
    stem = PurePosixPath(name).stem
    return [stem, *folders[-1:]] if stem in _PACKAGES else [stem]


def terms_of_chunk(path: str, name: str, text: str, called: Iterable[str]) -> Terms:
    """The terms of a chunk of the file at `path`, whose qualified name is `name`.

    `called` is what it would be asked for by: the simple names of what it defines.
    """
    title = words(f"{path} {definition(name)}")
    found, others = said(text)
    made = chain(compounds(chain(found, joined_words(text), title)), dotted(text))
    return Terms(
        " ".join(chain(terms_of(title * _TITLE_REPEATS), terms_of(found), terms_of(others))),
        " ".join(whole_identifiers(found)),
        " ".join(_symbols_of(called)),
        " ".join(dict.fromkeys(made)),
    )


def _symbols_of(names: Iterable[str]) -> list[str]:
    """What is asked for by `names` that are defined, each as one term."""
    names = [name for name in names if not name.startswith(OWNER)]
    inner = [name[len(INNER) :] for name in names if name.startswith(INNER)]
    own = [name for name in names if not name.startswith(INNER)] if inner else names
    return [*_symbols(own), *_exact(own), *within([*_symbols(inner), *_exact(inner)])]


def _exact(names: Iterable[str]) -> Iterator[str]:
    return (as_written(name) for name in dict.fromkeys(names) if _ONE_TERM.fullmatch(name))


def as_written(name: str) -> str:
    """The symbol of what is defined in just this way: many files may define a `celery`, and one the
    class `Celery`."""
    return f"={name}"


def within(found: Iterable[str]) -> Iterator[str]:
    """Each of the symbols `found` as it is where a function defines it within itself."""
    return (f".{symbol}" for symbol in found)


def _symbols(names: list[str]) -> list[str]:
    said = " ".join(names)
    return symbols(chain(words(said), joined_words(said))) if names else []


def embedded_text(path: str, name: str, text: str) -> str:
    """What is embedded of a chunk."""
    return f"{path} {definition(name)}\n{text}"
