"""`http`: a service that makes vectors, with the API of Voyage AI or of OpenAI.

Texts go in batches, by number and by size.  What may pass (too many requests, a service that is
restarted, half an answer) is tried again, later and later and with jitter, for so long and no
longer; `Retry-After` is heeded.  An answer is believed when there is one vector for each text, of
the right length and finite, by the index that it gives.  Nothing that the service says is passed
on: it may repeat a part of the key.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from email.utils import parsedate_to_datetime
from random import random
from typing import TYPE_CHECKING, Any, NamedTuple

from cidx_ref.errors import ConfigError, EmbedderError
from cidx_ref.index.embedders.settings import DIM, PROVIDERS, Settings
from cidx_ref.index.embedders.web import AwayError, Reply, Web
from cidx_ref.runtime import SYSTEM, Runtime

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ServiceEmbedder", "from_environment"]

_log = logging.getLogger("cidx_ref")

#: Of a batch.  Services take 120,000 tokens at least, and code has three bytes and more to a token.
_MAX_TEXTS = 128
_MAX_BYTES = 240_000
#: A text of more is cut: no model reads so many tokens.
_MAX_CHARS = 24_000
_FEW_CHARS = 1000  # a text that is refused is cut in half, until it has no more
_MAX_VECTOR_BYTES = 40  # of a number, in JSON
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.5, 20.0
_MAX_RETRY_AFTER_S = 90.0
_NUMBERS = frozenset((int, float))
_AGAIN = frozenset((408, 409, 425, 429))
_TOO_MUCH = frozenset((400, 413, 422))


class _Patience(NamedTuple):
    """For how long one try may take, and all together."""

    once_s: float
    all_s: float
    tries: int


#: A query gives up before who asked for it does (`asking.ALONE_S`).
_OF_QUERY = _Patience(10.0, 25.0, 3)
_OF_DOCUMENTS = _Patience(60.0, 300.0, 8)


class ServiceEmbedder:
    """Thread-safe."""

    #: Each vector takes time, and money.
    costly = True

    def __init__(
        self,
        settings: Settings,
        web: Web,
        runtime: Runtime = SYSTEM,
        jitter: Callable[[], float] = random,
    ) -> None:
        """`jitter` gives numbers from 0 to 1."""
        self._settings = settings
        self._provider = PROVIDERS[settings.api]
        self._web = web
        self._runtime = runtime
        self._jitter = jitter
        self.dim = settings.dim
        #: What the full cidx calls the collection of this model's vectors.
        self.collection = settings.model.replace("/", "_").replace(":", "_")
        # The same name somewhere else may be another model.
        where = "" if settings.is_providers else f"@{settings.endpoint.host}"
        self.id = f"{settings.api}-{settings.model}-{settings.dim}{where}"

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Raises `EmbedderError`."""
        import numpy as np

        found = [self._vectors(batch, "document", _OF_DOCUMENTS) for batch in _batches(texts)]
        return np.concatenate([np.empty((0, self.dim), np.float32), *found])

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Raises `EmbedderError`."""
        import numpy as np

        if not text.strip():  # which services refuse
            return np.zeros(self.dim, np.float32)
        (vector,) = self._vectors([_plain(text)], "query", _OF_QUERY)
        found: NDArray[np.float32] = vector
        return found

    def _vectors(self, texts: Sequence[str], kind: str, patience: _Patience) -> NDArray[np.float32]:
        import numpy as np

        reply = self._answer(texts, kind, patience)
        if isinstance(reply, Reply):  # that the texts are too much for it
            if len(texts) > 1:
                half = len(texts) // 2
                parts = [texts[:half], texts[half:]]
                return np.concatenate([self._vectors(each, kind, patience) for each in parts])
            if len(texts[0]) <= _FEW_CHARS:
                raise EmbedderError(f"the service refuses the request (status {reply.status})")
            return self._vectors([texts[0][: len(texts[0]) // 2]], kind, patience)
        return reply

    def _answer(
        self, texts: Sequence[str], kind: str, patience: _Patience
    ) -> NDArray[np.float32] | Reply:
        """The vectors of `texts`; or the answer that says that these are too much."""
        body = json.dumps(self._request(texts, kind)).encode("ascii")
        most_bytes = (1 << 20) + len(texts) * self.dim * _MAX_VECTOR_BYTES
        until = self._runtime.monotonic() + patience.all_s
        for tries in range(1, patience.tries + 1):
            pause_s = None
            try:
                left_s = until - self._runtime.monotonic()
                reply = self._web.post(body, min(patience.once_s, left_s), most_bytes)
                pause_s = self._told_pause(reply)
                return self._judged(reply, len(texts))
            except AwayError as error:
                self._pause(error, tries, pause_s, until, is_last=tries == patience.tries)
            except EmbedderError as error:
                raise EmbedderError(f"the service: {error}") from None
        raise AssertionError("the last try raises")

    def _request(self, texts: Sequence[str], kind: str) -> dict[str, Any]:
        request: dict[str, Any] = {"input": list(texts), "model": self._settings.model}
        if self._provider.tells_kind:
            request["input_type"] = kind
        if self._settings.asks_dim:
            request[self._provider.dim_field] = self.dim
        return request

    def _judged(self, reply: Reply, count: int) -> NDArray[np.float32] | Reply:
        status = reply.status
        if status == 200:
            return _vectors_of(reply.body, count, self.dim)
        if status in _TOO_MUCH:
            return reply
        if status in _AGAIN or status >= 500:
            raise AwayError(f"status {status}")
        if status in (401, 403):
            raise EmbedderError(f"the key in {self._settings.key_from} is not taken ({status})")
        if 300 <= status < 400:
            raise EmbedderError(f"it sends to another address ({status}), which is not followed")
        if status == 404:
            raise EmbedderError("it has no such address, or no such model (404)")
        raise EmbedderError(f"status {status}")

    def _told_pause(self, reply: Reply) -> float | None:
        """How long a service wants to be left alone, in seconds; None if it does not say."""
        said = reply.retry_after.strip()
        if said.isascii() and said.isdecimal():
            return float(said[:9])
        try:
            at = parsedate_to_datetime(said)
            return max(0.0, at.timestamp() - self._runtime.now().timestamp())
        except (TypeError, ValueError, OverflowError):
            return None

    def _pause(
        self, error: AwayError, tries: int, told_s: float | None, until: float, *, is_last: bool
    ) -> None:
        """Wait before another try; raise `EmbedderError` where there is none."""
        most_s = min(_MAX_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** (tries - 1))
        jitter = self._jitter()  # not all at the same moment
        pause_s = most_s * (0.5 + 0.5 * jitter)
        if told_s is not None:
            pause_s = told_s + _FIRST_PAUSE_S * jitter
        left_s = until - self._runtime.monotonic()
        if is_last or pause_s >= left_s or pause_s > _MAX_RETRY_AFTER_S:
            again = f", and wants {told_s:g} s of rest" if told_s is not None else ""
            raise EmbedderError(f"the service: {error}{again} ({tries} tries)") from None
        _log.info("embedder %s: %s; again in %.1f s", self.id, error, pause_s)
        self._runtime.sleep(pause_s)


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in map(_plain, texts):
        more = len(text.encode())
        if batch and (len(batch) == _MAX_TEXTS or size + more > _MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += more
    if batch:
        yield batch


def _plain(text: str) -> str:
    """A text as a service takes it: half a surrogate pair is no character."""
    return text[:_MAX_CHARS].encode("utf-8", "replace").decode("utf-8")


def _vectors_of(body: bytes, count: int, dim: int) -> NDArray[np.float32]:
    """What an answer holds.  Raises `AwayError` for what is no JSON, which half an answer is not;
    `EmbedderError` for what is wrong in it."""
    import numpy as np

    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise AwayError("it answers with something else than JSON") from None
    rows = _in_order(document, count)
    # Of a text or a truth numpy makes a number, too.
    if not all(isinstance(row, list) and _NUMBERS.issuperset(map(type, row)) for row in rows):
        raise EmbedderError("it answers with something else than vectors")
    try:
        with np.errstate(over="ignore"):
            found = np.array(rows, np.float32)
    except (TypeError, ValueError, OverflowError):
        raise EmbedderError("it answers with something else than vectors") from None
    if found.shape != (count, dim):
        size = found.shape[1] if found.ndim == 2 else "?"
        raise EmbedderError(f"its vectors have {size} dimensions, not {dim} (see {DIM})")
    if not np.isfinite(found).all():
        raise EmbedderError("it answers with numbers that are not finite")
    return found


def _in_order(document: Any, count: int) -> list[Any]:
    """The vectors of an answer, in the order of the texts."""
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, list) or not all(isinstance(each, dict) for each in data):
        raise EmbedderError("it answers with something else than vectors")
    if len(data) != count:
        raise EmbedderError(f"it answers with {len(data)} vectors for {count} texts")
    places = [each.get("index") for each in data]
    if all(place is None for place in places):  # of one that has no index, in order
        places = list(range(count))
    rows = dict(zip(map(_place, places), (each.get("embedding") for each in data), strict=True))
    if set(rows) != set(range(count)):
        raise EmbedderError("its vectors are not of the texts that it was given")
    return [rows[place] for place in range(count)]


def _place(value: Any) -> int:
    return value if type(value) is int else -1


def from_environment() -> ServiceEmbedder:
    """The service that the environment names.  Raises `ConfigError`."""
    settings = Settings.of_environment()
    try:
        web = Web(settings.endpoint, settings.key, settings.proxy)
    except OSError:
        raise ConfigError("SSL_CERT_FILE: these certificates cannot be read") from None
    return ServiceEmbedder(settings, web)
