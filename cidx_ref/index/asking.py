"""The vectors of queries, by an embedder that may be slow, away or wrong: at the cost of the query
that wants one.

The embedder is asked in a thread of its own, for which a query waits so long and no longer; equal
queries share what is under way (single-flight), and some hundred vectors are kept.  What fails is
not kept.  One for which several in a row have waited in vain is left alone for some seconds, in
which queries do without it at once.  The default embedder needs nothing of this: it takes no time.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from math import ceil
from typing import TYPE_CHECKING, Any

from cidx_ref.errors import CidxError, EmbedderError, InternalError
from cidx_ref.index.embed import Embedder, HashingEmbedder, as_numbers
from cidx_ref.runtime import SYSTEM, Event, Runtime

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ALONE_S", "BESIDE_S", "QueryVectors", "failure"]

_log = logging.getLogger("cidx_ref")

#: For so long a query waits that can do without: full text answers a hybrid one, too.
BESIDE_S = 3.0
#: And for so long one that cannot.
ALONE_S = 30.0
_MAX_KEPT = 512
#: So many that nobody waits for any more may be under way; an embedder that hangs is asked no more.
_MAX_ABANDONED = 16
#: After so many queries in a row that waited in vain, so long at least each, an embedder is left
#: alone for a while; then one query asks, and what comes of that decides.
_IN_VAIN, _WAITED_S, _REST_S = 3, 0.25, 10.0


def failure(embedder: Embedder, error: BaseException) -> str:
    """What is said of an embedder's error: of one of ours its message, of any other its class, for
    its message may hold paths and keys; the log has it."""
    if isinstance(error, CidxError):
        return str(error)
    _log.error("embedder %s failed", embedder.id, exc_info=error)
    return f"{type(error).__name__}; see daemon.log"


class _Flight:
    """One text that the embedder is being asked for."""

    def __init__(self, done: Event, began: float) -> None:
        self.done = done
        self.began = began
        self.waiting = 0
        self.is_in_vain = False
        self.vector: NDArray[np.float32] | None = None
        #: The class of its error, and what that says: each query raises one of its own.
        self.error: tuple[type[CidxError], str] = (CidxError, "")


class _Breaker:
    """Whether an embedder is asked: closed, it is; open, it is not, until it has rested; then half
    open, for one query.  Under its owner's lock."""

    def __init__(self) -> None:
        self._in_vain = 0
        self._why = ""
        self._rests_until = 0.0

    def require(self, now: float) -> None:
        """Raises `EmbedderError` while it is left alone; else this query asks."""
        if self._in_vain < _IN_VAIN:
            return
        if now < self._rests_until:
            raise EmbedderError(
                f"{self._in_vain} queries in a row have waited in vain ({self._why}): not asked "
                f"for {ceil(self._rests_until - now)} s"
            )
        self._rests_until = now + _REST_S  # for all but this one

    def failed(self, flight: _Flight, why: str, now: float) -> None:
        """A query has no vector.  What fails at once costs nobody anything."""
        if now - flight.began < _WAITED_S:
            self._in_vain = 0
        elif not flight.is_in_vain:  # some may have waited for the same
            flight.is_in_vain = True
            self._in_vain += 1
            self._why, self._rests_until = why, now + _REST_S

    def answered(self) -> None:
        self._in_vain = 0


class QueryVectors:
    """What an embedder makes of queries.  Thread-safe; it is an `Embedder` itself."""

    def __init__(self, embedder: Embedder, runtime: Runtime = SYSTEM) -> None:
        self._embedder = embedder
        self._runtime = runtime
        self.lexical = bool(getattr(embedder, "lexical", False))
        self.costly = bool(getattr(embedder, "costly", False))
        self.collection = getattr(embedder, "collection", "")
        self._is_instant = type(embedder).embed_query is HashingEmbedder.embed_query
        self._lock = runtime.lock("query vectors")
        self._kept: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()
        self._flights: dict[bytes, _Flight] = {}
        self._breaker = _Breaker()

    @property
    def id(self) -> str:
        return self._embedder.id

    @property
    def dim(self) -> int:
        return self._embedder.dim

    @classmethod
    def of(cls, embedder: Embedder, runtime: Runtime = SYSTEM) -> QueryVectors:
        """`embedder` as one of these, which it may be already."""
        return embedder if isinstance(embedder, cls) else cls(embedder, runtime)

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._embedder.embed_documents(texts)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        return self.vector(text, ALONE_S)

    def is_at_hand(self, text: str) -> bool:
        """Whether the vector of `text` takes no time."""
        if self._is_instant:
            return True
        with self._lock:
            return _key(text) in self._kept

    def vector(self, text: str, patience_s: float) -> NDArray[np.float32]:
        """The vector of `text`, which is to be read only.

        Raises `EmbedderError` if there is none, or none within `patience_s` seconds.
        """
        if self._is_instant:
            return self._embedder.embed_query(text)
        key = _key(text)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            flight, is_new = self._joined(key)
        try:
            if is_new:
                self._begin(key, text, flight)
            is_done = flight.done.wait(patience_s)
        finally:
            with self._lock:
                flight.waiting -= 1
        if not is_done:
            why = f"no answer within {patience_s:g} s"
            with self._lock:
                if flight.vector is None:  # it may have come by now
                    self._breaker.failed(flight, why, self._runtime.monotonic())
            raise EmbedderError(f"embedder {self.id}: {why}")
        if flight.vector is None:
            kind, said = flight.error
            raise kind(said)
        return flight.vector

    def seconds(self) -> float:
        """The clock by which the time of an embedding is taken."""
        return self._runtime.monotonic()

    def _joined(self, key: bytes) -> tuple[_Flight, bool]:
        """What is under way for a text, or begins with this; under the lock."""
        now = self._runtime.monotonic()
        try:
            self._breaker.require(now)
        except EmbedderError as error:
            raise EmbedderError(f"embedder {self.id}: {error}") from None
        flight = self._flights.get(key)
        is_new = flight is None
        if flight is None:
            abandoned = sum(not each.waiting for each in self._flights.values())
            if abandoned >= _MAX_ABANDONED:
                raise EmbedderError(
                    f"embedder {self.id}: has not answered {abandoned} earlier queries yet"
                )
            flight = self._flights[key] = _Flight(self._runtime.event("embedded"), now)
        flight.waiting += 1
        return flight, is_new

    def _begin(self, key: bytes, text: str, flight: _Flight) -> None:
        try:
            self._runtime.thread(lambda: self._ask(key, text, flight), "embedding")
        except BaseException as error:  # no thread can be had
            self._land(key, flight, (InternalError, type(error).__name__))
            raise

    def _ask(self, key: bytes, text: str, flight: _Flight) -> None:
        error: tuple[type[CidxError], str] = (InternalError, "the embedder failed; see daemon.log")
        try:
            flight.vector = self._checked(self._embedder.embed_query(text))
        except CidxError as failed:
            error = type(failed), failure(self, failed)
        except BaseException as failed:  # a panic of a library is no `Exception`
            error = InternalError, f"embedder {self.id}: {failure(self, failed)}"
        finally:  # also where it has no id any more
            self._land(key, flight, error)

    def _land(self, key: bytes, flight: _Flight, error: tuple[type[CidxError], str]) -> None:
        flight.error = error
        with self._lock:
            del self._flights[key]
            if flight.vector is None:
                self._breaker.failed(flight, error[1], self._runtime.monotonic())
            else:
                self._breaker.answered()
                self._kept[key] = flight.vector
                if len(self._kept) > _MAX_KEPT:
                    self._kept.popitem(last=False)
        flight.done.set()

    def _checked(self, made: Any) -> NDArray[np.float32]:
        """A copy of what was made, which nobody can change.  Raises `EmbedderError`."""
        import numpy as np

        try:
            vector = np.array(as_numbers(made), np.float32)
        except EmbedderError as error:
            raise EmbedderError(f"embedder {self.id}: {error}") from None
        if vector.shape != (self.dim,):
            raise EmbedderError(
                f"embedder {self.id}: a vector of shape {vector.shape}, not ({self.dim},)"
            )
        if not np.isfinite(vector).all():
            raise EmbedderError(f"embedder {self.id}: a vector that is not finite")
        vector.setflags(write=False)
        return vector


def _key(text: str) -> bytes:
    """By which a text is known: it may be long, and is nobody's to keep."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
