"""What is promised of a daemon, as a model.  It knows nothing of the code it judges."""

from __future__ import annotations

from collections.abc import Iterator

from cidx_ref.testing.concurrency.history import Operation

__all__ = ["generation_model"]


def generation_model(live: str, operation: Operation) -> Iterator[str]:
    """How a whole daemon answers one by one: `index` -> g makes g live, `query` -> g finds it so
    (CACHE-5, CACHE-8), and `clear` changes nothing that a client could see."""
    if operation.name == "index":
        yield operation.result
    elif operation.name == "clear" or operation.result == live:
        yield live
