"""`sentence`: a small transformer encoder (BERT, MiniLM), computed by numpy.

The layout is that of sentence-transformers: `config.json` says how large the encoder is,
`modules.json` and `1_Pooling/config.json` what becomes of what it puts out,
`sentence_bert_config.json` how many tokens of a text count, and
`config_sentence_transformers.json` which words stand before a query or a document.  What is not
known of these is refused: it would be other vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cidx_ref.index.embedders.encoder import Encoder, Size
from cidx_ref.index.embedders.model import (
    CONFIG,
    TOKENIZER,
    Lazily,
    ModelFiles,
    Tokens,
    listed,
    named_directory,
    parsed,
    tensors_of,
    whole,
)
from cidx_ref.runtime import SYSTEM, Runtime

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SentenceEmbedder", "from_environment"]

_MODULES, _POOLING = "modules.json", "1_Pooling/config.json"
_LENGTH, _LEADS = "sentence_bert_config.json", "config_sentence_transformers.json"
_MAX_DIM = 1 << 14
_MAX_LEAD_CHARS = 1000
_AT_ONCE = 4096  # tokens: their attention takes some ten megabytes
#: Which words stand before a text: the first that there are.
_OF_QUERIES, _OF_DOCUMENTS = ("query",), ("document", "passage", "corpus")
_MODE = "pooling_mode_"


class SentenceEmbedder:
    """Thread-safe."""

    #: A chunk takes a tenth of a second or more.
    costly = True

    def __init__(self, directory: Path, runtime: Runtime = SYSTEM) -> None:
        """Raises `ConfigError` where there is no such model."""
        files = ModelFiles(directory, (CONFIG, _MODULES, _POOLING, _LENGTH, _LEADS), _dim)
        self.dim = files.dim
        self.id = files.id("sentence")
        self._model = Lazily(files, _Model, runtime)

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._model.get().vectors(texts, _OF_DOCUMENTS)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        (vector,) = self._model.get().vectors([text], _OF_QUERIES)
        found: NDArray[np.float32] = vector
        return found


class _Model:
    def __init__(self, files: Mapping[str, bytes]) -> None:
        size = Size.of(parsed(files, CONFIG))
        self._dim = size.dim
        self._encoder = Encoder(tensors_of(files), size)
        most = whole(parsed(files, _LENGTH), "max_seq_length", 1 << 20, size.positions)
        self._tokens = Tokens(files[TOKENIZER], min(most, size.positions))
        self._pooling, self._is_normalised = _after(files)
        leads = parsed(files, _LEADS).get("prompts")
        self._leads = leads if isinstance(leads, dict) else {}

    def vectors(self, texts: Sequence[str], kinds: Sequence[str]) -> NDArray[np.float32]:
        import numpy as np

        first = self._lead(kinds)
        rows = [self._tokens.of(first + text, special=True) for text in texts]
        found = np.zeros((len(texts), self._dim), np.float32)
        # Those of about one length together, so that little of a batch is padding.
        order = sorted(range(len(rows)), key=lambda place: -len(rows[place]))
        while order:
            longest = max(len(rows[order[0]]), 1)
            batch, order = order[: max(1, _AT_ONCE // longest)], order[_AT_ONCE // longest or 1 :]
            found[batch] = self._pooled([rows[place] for place in batch])
        if self._is_normalised:
            lengths = np.linalg.norm(found, axis=1, keepdims=True)
            found /= np.where(lengths > 0, lengths, 1)
        return found

    def _lead(self, names: Sequence[str]) -> str:
        known = [self._leads[name] for name in names if isinstance(self._leads.get(name), str)]
        return str(known[0])[:_MAX_LEAD_CHARS] if known else ""

    def _pooled(self, rows: list[list[int]]) -> NDArray[np.float32]:
        import numpy as np

        longest = max(map(len, rows))
        if longest == 0:
            return np.zeros((len(rows), self._dim), np.float32)
        ids = np.zeros((len(rows), longest), np.intp)
        mask = np.zeros((len(rows), longest), np.bool_)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
            mask[place, : len(row)] = True
        hidden = self._encoder.encode(ids, mask)
        if self._pooling == "cls_token":
            return hidden[:, 0]
        counted = hidden * mask[:, :, None]
        found: NDArray[np.float32] = counted.sum(axis=1) / np.maximum(mask.sum(axis=1), 1)[:, None]
        return found.astype(np.float32, copy=False)


def _after(files: Mapping[str, bytes]) -> tuple[str, bool]:
    """What is done with the encoder's output: the way to pool it, and whether it is normalised."""
    if _MODULES not in files:
        return "mean_tokens", True
    kinds = [
        str(each.get("type", "")).rpartition(".")[2] if isinstance(each, dict) else "?"
        for each in listed(files, _MODULES)
    ]
    if kinds[:2] != ["Transformer", "Pooling"] or kinds[2:] not in ([], ["Normalize"]):
        raise ValueError(f"{_MODULES}: {', '.join(kinds)}: must be Transformer, Pooling, Normalize")
    return _pooling(parsed(files, _POOLING)), "Normalize" in kinds


def _pooling(config: Mapping[str, Any]) -> str:
    modes = [name.removeprefix(_MODE) for name in config if name.startswith(_MODE) and config[name]]
    if modes not in (["mean_tokens"], ["cls_token"]):
        raise ValueError(f"{_POOLING}: {', '.join(modes) or 'no way'}: must be mean or cls tokens")
    return modes[0]


def _dim(files: Mapping[str, bytes]) -> int:
    size = Size.of(parsed(files, CONFIG))
    Encoder.check(tensors_of(files), size)
    _after(files)
    return size.dim


def from_environment() -> SentenceEmbedder:
    """Of the model that the environment names.  Raises `ConfigError`."""
    return SentenceEmbedder(named_directory())
