"""An embedder that fails for each query, and has much to say then: for `CIDX_REF_EMBEDDER`."""

from __future__ import annotations

from typing import Any

from cidx_ref.index.embed import HashingEmbedder

__all__ = ["wordy"]


class _Wordy(HashingEmbedder):
    """Has the id of the default one, so that its index is as good."""

    def embed_query(self, text: str) -> Any:
        raise OSError(5, "cannot read the weights", __file__)


def wordy() -> _Wordy:
    return _Wordy()
