"""Vectors that somebody else makes: a key that goes nowhere but where it belongs, and an embedder
whose words are not passed on.

They are among `own.conformance.TARGET.checks`, and run like the kit's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

from cidx_ref.testing.conformance.asking import Refused
from cidx_ref.testing.conformance.bench import Bench
from cidx_ref.testing.conformance.checks import Check, check
from cidx_ref.testing.conformance.daemons.refusing import tells_nothing
from cidx_ref.testing.conformance.processes import Process
from cidx_ref.testing.conformance.subject import Project
from cidx_ref.testing.ground import SYSTEM

__all__ = ["CHECKS"]

_KEY = "pa-0123456789abcdef"
_REFUSED_S = 20.0


class _Service(HTTPServer):
    """Notes what it is sent, and sends to another address."""

    def __init__(self, other: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.other = other
        self.seen: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: object, client_address: object) -> None:
        """Who goes before it has its answer is nobody's fault."""


class _Handler(BaseHTTPRequestHandler):
    server: _Service

    def do_POST(self) -> None:
        self.server.seen.append(str(self.headers))
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(307 if self.server.other else 404)
        if self.server.other:
            self.send_header("Location", f"{self.server.other}/embeddings")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Not on the terminal of who runs the kit."""


@contextmanager
def _serving(other: str = "") -> Iterator[_Service]:
    with _Service(other) as service:
        thread = SYSTEM.thread(lambda: service.serve_forever(0.01), "service")
        try:
            yield service
        finally:
            service.shutdown()
            thread.join()


@check("keys", "TRUST-1")
def keys(bench: Bench) -> None:
    """A provider's key goes to that provider alone, none over the network as it is, and nothing to
    where a service sends to."""
    with bench.showing("TRUST-1"), ExitStack() as stack:
        elsewhere = stack.enter_context(_serving())
        service = stack.enter_context(_serving(elsewhere.url))
        running = _index(bench, service.url)
        away = _index(bench, "http://service.invalid/v1")
        for process in (running, away):
            process.wait(_REFUSED_S)
            assert process.status, f"a service that is none is taken for one: {process.tail()}"
            assert _KEY not in process.output(), f"a key is shown: {process.tail()}"
        assert service.seen, f"a service was not asked: {running.tail()}"
        assert _KEY not in "".join(service.seen), "a provider's key goes to another address"
        assert not elsewhere.seen, "what a service is sent goes where it sends to"
        assert "https" in away.output(), (
            f"an address of the network without TLS is not refused: {away.tail()}"
        )
        bench.tried("TRUST-1", 2, "services")


def _index(bench: Bench, url: str) -> Process:
    project = _with(bench, bench.project(), _SERVICE | {"CIDX_REF_EMBEDDER_URL": url})
    return bench.launch(project, bench.target.writer)


_SERVICE = {
    "CIDX_REF_EMBEDDER": "http",
    "CIDX_REF_EMBEDDER_API": "voyage",
    "CIDX_REF_EMBEDDER_MODEL": "a-model",
    "CIDX_REF_EMBEDDER_DIM": "8",
    "VOYAGE_API_KEY": _KEY,
}


def _with(bench: Bench, project: Project, environment: dict[str, str]) -> Project:
    target = replace(bench.target, env={**bench.target.env, **environment})
    return replace(project, target=target)


@check("embedders-words", "RPC-2")
def embedders_words(bench: Bench) -> None:
    """What an embedder says that fails is not passed on."""
    environment = {"CIDX_REF_EMBEDDER": "cidx_ref.testing.own.wordy:wordy"}
    project = _with(bench, bench.project(), environment)
    with bench.daemon(project) as daemon, bench.showing("RPC-2"), daemon.connect(30.0) as asker:
        try:
            answer = asker.query("village")
        except Refused as refused:
            tells_nothing(asker, "an embedder", refused)
        else:
            raise AssertionError(f"without a vector for it, a query is answered: {answer}")
        bench.tried("RPC-2", 1, "errors")


CHECKS: tuple[Check, ...] = (keys, embedders_words)
