"""`static`: a table of one vector a token, and of a text their mean.

The layout is that of model2vec and of sentence-transformers' `StaticEmbedding`: the table is the
tensor `embeddings` or `embedding.weight`; `weights` says how much each token counts, and `mapping`
which row of the table it has, where there are these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cidx_ref.index.embedders.model import (
    CONFIG,
    TENSORS,
    TOKENIZER,
    Lazily,
    ModelFiles,
    Tokens,
    named_directory,
    parsed,
    tensors_of,
)
from cidx_ref.runtime import SYSTEM, Runtime

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["StaticEmbedder", "from_environment"]

_TABLES = ("embeddings", "embedding.weight")
_MAX_DIM = 1 << 14
_MAX_TOKENS = 1 << 15  # all there are: characters are counted before


class StaticEmbedder:
    """Thread-safe."""

    def __init__(self, directory: Path, runtime: Runtime = SYSTEM) -> None:
        """Raises `ConfigError` where there is no such model."""
        files = ModelFiles(directory, (CONFIG,), _dim)
        self.dim = files.dim
        self.id = files.id("static")
        self._table = Lazily(files, _Table, runtime)

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import numpy as np

        table = self._table.get()
        found = np.zeros((len(texts), self.dim), np.float32)
        for place, text in enumerate(texts):
            found[place] = table.mean(text)
        return found

    def embed_query(self, text: str) -> NDArray[np.float32]:
        return self._table.get().mean(text)


class _Table:
    def __init__(self, files: Mapping[str, bytes]) -> None:
        tensors = tensors_of(files)
        self._vectors = tensors.array(_table_of(files))
        if not len(self._vectors):
            raise ValueError(f"{TENSORS}: a table without rows")
        self._rows: NDArray[np.intp] | None = None
        self._count = len(self._vectors)
        if "mapping" in tensors:
            self._count = tensors.shape("mapping")[0]
            self._rows = tensors.places("mapping", self._count, len(self._vectors))
        self._weights: NDArray[np.float32] | None = None
        if "weights" in tensors:
            self._weights = tensors.array("weights", self._count)
        self._is_normalised = parsed(files, CONFIG).get("normalize", True) is not False
        self._tokens = Tokens(files[TOKENIZER], _MAX_TOKENS)
        about = parsed(files, TOKENIZER).get("model")
        unknown = about.get("unk_token") if isinstance(about, dict) else None
        self._unknown = self._tokens.id_of(unknown if isinstance(unknown, str) else None)

    def mean(self, text: str) -> NDArray[np.float32]:
        """The mean of the tokens that are known; of none, nothing but zeros."""
        import numpy as np

        every = self._tokens.of(text, special=False)
        # A tokenizer may have words that were added later, and have no vector.
        known = [each for each in every if each != self._unknown and each < self._count]
        if not known:
            return np.zeros(self._vectors.shape[1], np.float32)
        rows = np.asarray(known) if self._rows is None else self._rows[known]
        vectors = self._vectors[rows]
        if self._weights is not None:
            vectors = vectors * self._weights[known][:, None]
        found: NDArray[np.float32] = vectors.mean(axis=0, dtype=np.float32)
        length = float(np.linalg.norm(found))
        if self._is_normalised and length > 0:
            found /= length
        return found


def _table_of(files: Mapping[str, bytes]) -> str:
    tensors = tensors_of(files)
    for name in _TABLES:
        if name in tensors and len(tensors.shape(name)) == 2:
            return name
    raise ValueError(f"{TENSORS}: no tensor {' or '.join(_TABLES)}: this is no static model")


def _dim(files: Mapping[str, bytes]) -> int:
    dim = tensors_of(files).shape(_table_of(files))[1]
    if not 1 <= dim <= _MAX_DIM:
        raise ValueError(f"{TENSORS}: vectors of {dim} dimensions")
    return dim


def from_environment() -> StaticEmbedder:
    """Of the model that the environment names.  Raises `ConfigError`."""
    return StaticEmbedder(named_directory())
