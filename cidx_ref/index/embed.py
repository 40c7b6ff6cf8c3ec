"""How text becomes vectors: the `Embedder` protocol, and the default that needs no download.

The default is lexical and says so in its id: it hashes terms into a fixed number of dimensions
(Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning"), weighted by how
rare each term is in code at large.  It knows no synonyms; a sentence model plugged in here does.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from math import hypot, log1p
from typing import TYPE_CHECKING, Any, Protocol

from cidx_ref.errors import EmbedderError
from cidx_ref.index.query import parsed
from cidx_ref.index.stems import rarities
from cidx_ref.index.text import terms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LEXICAL", "Embedder", "HashingEmbedder", "as_numbers", "rarity"]

#: How the ids of the default embedder begin, in each version: it costs nothing to ask it again.
LEXICAL = "lexical-hashing-"

# Each term goes to four places, so that two terms never look alike for sharing one.  The figures
# here are for docstring -> function, with all docstrings taken out of the index.
_SEEDS = (0, 7919, 15838, 23757)
_RARITY = 0.5  # the power with which it counts

# What the parts of a document weigh against its text.  Each is brought to length one first, or a
# long function drowns its own name.  MRR@10, mean of four packages: .446 counted together, .489 so.
_PATH = 0.3
_NAME = 0.7
_FIRST_LINE = 0.3  # of a function that is its signature, most of the time


class Embedder(Protocol):
    """Turns texts into vectors whose cosine says how near they are.

    Used from many threads at once.  The same `id` must always give the same vectors: an index
    made with another id is refused (`IndexUnusableError`).  What cannot be done is an
    `EmbedderError`, the message of which a client is told; of any other exception it is told the
    class.

    There may be three attributes more: `lexical`, whether a hit must share a word with the query;
    `costly`, whether vectors of documents take so long, or cost so much, that they are kept where
    an index run fails, and not made again for a check; `collection`, what the full cidx calls the
    collection of this model's vectors.
    """

    @property
    def id(self) -> str: ...
    @property
    def dim(self) -> int: ...

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (len(texts), dim), float32, finite.

        A text is a line "path name", in which the name may be empty, and then the lines of the
        chunk.
        """

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Shape (dim,), float32; all zero where the text says nothing to this embedder."""


def as_numbers(made: Any) -> NDArray[Any]:
    """What an embedder has made, as an array.  Raises `EmbedderError` where that is no numbers: of
    texts and truths numpy would make some."""
    import numpy as np

    found = np.asarray(made)
    if found.dtype.kind not in "fiu":
        raise EmbedderError("something else than numbers")
    return found


class HashingEmbedder:
    """The default: term hashing, deterministic across processes and machines.  Thread-safe.

    It finds about what BM25 finds, but not the same things first, which is what makes the two
    worth fusing.
    """

    #: It matches words and nothing else, so a hit that shares no term with the query is a
    #: collision of two hashes, and the search drops it.
    lexical = True

    def __init__(self, dim: int = 512) -> None:
        self.dim = dim
        self.id = f"{LEXICAL}{dim}-v3"

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import numpy as np

        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            self._fill(vector, _document_weights(text))
        return vectors

    def embed_query(self, text: str) -> NDArray[np.float32]:
        import numpy as np

        vector = np.zeros(self.dim, dtype=np.float32)
        self._fill(vector, _weights(parsed(text).terms))
        return vector

    def _fill(self, vector: NDArray[np.float32], weights: dict[str, float]) -> None:
        import numpy as np

        if not weights:
            return
        hashes = np.frombuffer(b"".join(map(_hashes, weights)), dtype="<u4")
        values = np.repeat(np.fromiter(weights.values(), np.float32, len(weights)), len(_SEEDS))
        # The lowest bit is the sign, the rest the slot.
        np.add.at(vector, (hashes >> 1) % self.dim, np.where(hashes & 1, values, -values))
        norm = float(np.linalg.norm(vector))
        if norm > 0.0:  # two terms can cancel out
            vector /= norm


def rarity(term: str) -> float:
    """How much `term` says, by how rare it is in code at large: from .8 to 2.7."""
    known = _rarity()
    return known.get(term, known[""])


def _document_weights(text: str) -> dict[str, float]:
    title, _, body = text.partition("\n")
    path, _, name = title.rpartition(" ")
    total = _weights(terms(body))
    length = hypot(*total.values()) or 1.0
    for share, part in (_PATH, path), (_NAME, name), (_FIRST_LINE, body.partition("\n")[0]):
        weights = _weights(terms(part))
        scale = share * length / (hypot(*weights.values()) or 1.0)
        for term, weight in weights.items():
            total[term] = total.get(term, 0.0) + weight * scale
    return total


def _weights(found: Iterable[str]) -> dict[str, float]:
    """How often and how rare each of the terms `found` is."""
    known = _rarity()
    other = known[""]
    return {term: log1p(n) * known.get(term, other) for term, n in Counter(found).items()}


@lru_cache(maxsize=1 << 14)
def _hashes(term: str) -> bytes:
    """Four hashes of four bytes each: joined, those of many terms are one array."""
    # crc32, because Python's own hash() is another one in every process.
    data = term.encode("utf-8", "surrogatepass")
    return b"".join(zlib.crc32(data, seed).to_bytes(4, "little") for seed in _SEEDS)


@cache
def _rarity() -> dict[str, float]:
    """Inverse document frequency of the commonest terms of code, damped; the rest under ""."""
    return {term: weight**_RARITY for term, weight in rarities().items()}
