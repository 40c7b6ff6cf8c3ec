"""Broken ways to have vectors made: an embedder that costs others their answers, and a key that
goes where it should not (QRY-3, RPC-2, TRUST-1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

from cidx_ref.index import asking
from cidx_ref.index.asking import QueryVectors
from cidx_ref.index.embedders import settings, web
from cidx_ref.index.embedders.web import Endpoint, Key, Reply, Web
from cidx_ref.testing.own.mutants.registry import mutant


@mutant("QRY-3")
def an_embedder_is_waited_for_as_long_as_it_takes() -> Iterator[None]:
    """A hybrid query has no answer before its embedder has one."""
    vector = QueryVectors.vector

    def patient(self: QueryVectors, text: str, patience_s: float) -> Any:
        return vector(self, text, 60.0)

    with patch.object(QueryVectors, "vector", patient):
        yield


@mutant("QRY-3")
def an_embedder_that_has_failed_is_asked_no_more() -> Iterator[None]:
    """What was wrong with one query is told to all later ones."""
    ask = QueryVectors._ask

    def once(self: QueryVectors, key: bytes, text: str, flight: Any) -> None:
        if failed := vars(self).get("has_failed"):
            self._land(key, flight, failed)
            return
        ask(self, key, text, flight)
        vars(self)["has_failed"] = flight.error if flight.vector is None else None

    with patch.object(QueryVectors, "_ask", once):
        yield


@mutant("QRY-3")
def whatever_an_embedder_makes_is_a_vector() -> Iterator[None]:
    """Vectors of another length, and such as are not finite, go to the search."""
    with patch.object(QueryVectors, "_checked", lambda self, made: made):
        yield


@mutant("RPC-2")
def an_embedders_words_are_passed_on() -> Iterator[None]:
    """A client is told what an embedder's exception says, paths and all."""

    def outspoken(embedder: Any, error: BaseException) -> str:
        return f"{type(error).__name__}: {error}"

    with patch.object(asking, "failure", outspoken):
        yield


@mutant("TRUST-1")
def redirects_are_followed() -> Iterator[None]:
    """The key goes wherever a service sends to."""
    post, read = Web.post, web._read

    def follow(self: Web, body: bytes, patience_s: float, most_bytes: int) -> Reply:
        place = ""

        def noting(response: Any, most: int) -> Reply:
            nonlocal place
            place = response.headers.get("Location", "")
            return read(response, most)

        with patch.object(web, "_read", noting):
            reply = post(self, body, patience_s, most_bytes)
        if not 300 <= reply.status < 400:
            return reply
        to = urlsplit(place)
        end = Endpoint(to.scheme == "https", to.hostname or "", to.port or 80, to.path)
        return post(Web(end, self._key), body, patience_s, most_bytes)

    with patch.object(Web, "post", follow):
        yield


@mutant("TRUST-1")
def a_providers_key_goes_to_any_address() -> Iterator[None]:
    """The key in VOYAGE_API_KEY goes to whatever address is named."""
    find = settings._key

    def anywhere(provider: Any, endpoint: Endpoint, *, is_providers: bool) -> Any:
        return find(provider, endpoint, is_providers=True)

    with patch.object(settings, "_key", anywhere):
        yield


@mutant("TRUST-1")
def keys_show_themselves() -> Iterator[None]:
    """What prints the settings, or a request, prints the key."""
    with patch.object(Key, "__repr__", lambda self: f"<key {self._text}>"):
        yield


@mutant("TRUST-1")
def any_address_may_be_without_tls() -> Iterator[None]:
    """A key goes over the network as it is."""
    with patch.object(Endpoint, "is_loopback", property(lambda self: True)):
        yield
