"""An embedder that takes its time for each query, as a sentence model does for one that is new;
without the interpreter's lock.

The default one is done in a fraction of a millisecond, so that queries which wait for each other
would hardly show.  A session asks few questions again and again, so no vector is kept.  Answers are
the same: it is the default embedder, and has its id.
"""

from __future__ import annotations

from typing import Any

from cidx_ref.index.asking import QueryVectors
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.runtime import SYSTEM

__all__ = ["LONG_S", "PATIENTLY", "THINKING_S", "patient"]

#: How long a query's embedding takes;
THINKING_S = 0.02
#: and how long if the query has this word in it.
PATIENTLY = "patiently"
LONG_S = 1.5


class _PatientVectors(QueryVectors):
    def is_at_hand(self, text: str) -> bool:
        return False

    def vector(self, text: str, patience_s: float) -> Any:
        SYSTEM.sleep(LONG_S if PATIENTLY in text else THINKING_S)
        return super().vector(text, patience_s)


def patient() -> QueryVectors:
    """For `CIDX_REF_EMBEDDER`."""
    return _PatientVectors(HashingEmbedder())
