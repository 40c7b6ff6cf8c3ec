"""A service that makes vectors, as Voyage AI and OpenAI have their API: over a real socket, and
with the faults of real ones.

Vectors are those of the default embedder, in 64 dimensions, so that answers mean something.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.embedders.settings import KEY, PROVIDERS
from cidx_ref.runtime import SYSTEM

__all__ = ["DIM", "FAULTS", "KEYS", "Asked", "FakeService", "fake_service"]

DIM = 64
PATIENCE_S = 20.0
#: The variables that hold keys.
KEYS = (KEY, *(provider.key for provider in PROVIDERS.values()))


class Asked(NamedTuple):
    """A request: its path, its headers with small letters, and its body."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class FakeService:
    """What a test sees of it.  Each fault in `faults` is one request's, in their order."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.faults: list[str] = []
        #: For how long `slow` takes.
        self.freed = SYSTEM.event("freed")
        self.entered = SYSTEM.event("entered")
        self.connections: list[socket.socket] = []
        self.most_texts = 1000
        self.most_chars = 1 << 20
        #: Where `redirect` sends to.
        self.elsewhere = "http://127.0.0.1:1/v1/embeddings"
        self.url = ""

    def vectors(self, texts: list[str]) -> list[dict[str, Any]]:
        made = HashingEmbedder(DIM).embed_documents(texts)
        return [
            {"object": "embedding", "index": place, "embedding": row.tolist()}
            for place, row in enumerate(made)
        ]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: FakeService
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.service.connections.append(self.connection)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.path, headers, json.loads(body))
        self.service.asked.append(asked)
        fault = self.service.faults.pop(0) if self.service.faults else ""
        name, _, detail = fault.partition(" ")
        with suppress(ConnectionError):  # of a client that has had enough
            FAULTS[name](self, asked, detail)

    def do_GET(self) -> None:
        """Which nobody should send."""
        self.service.asked.append(Asked(f"GET {self.path}", dict(self.headers.items()), {}))
        self.send(200, {"data": []})

    def send(self, status: int, document: object, **headers: str) -> None:
        self.send_bytes(status, json.dumps(document).encode(), **headers)

    def send_bytes(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def _usual(handler: _Handler, asked: Asked, detail: str = "") -> None:
    texts = asked.body["input"]
    service = handler.service
    if len(texts) > service.most_texts or sum(map(len, texts)) > service.most_chars:
        handler.send(400, {"detail": f"too many tokens; key {asked.headers['authorization']}"})
        return
    handler.send(200, _document(asked, service.vectors(texts)))


def _document(asked: Asked, data: object) -> dict[str, object]:
    return {"object": "list", "data": data, "model": asked.body["model"], "usage": {}}


def _status(handler: _Handler, asked: Asked, detail: str) -> None:
    """`status CODE [Retry-After]`, with a message that repeats the key, as some services do."""
    code, _, after = detail.partition(" ")
    key = asked.headers.get("authorization", "")
    told = {"Retry-After": after} if after else {}
    handler.send(int(code), {"error": {"message": f"bad key {key}"}, "detail": key}, **told)


def _closing(handler: _Handler, asked: Asked, detail: str) -> None:
    """Says that this answer is the last on its connection."""
    data = handler.service.vectors(asked.body["input"])
    handler.send(200, _document(asked, data), Connection="close")


def _slow(handler: _Handler, asked: Asked, detail: str) -> None:
    handler.service.entered.set()
    handler.service.freed.wait(PATIENCE_S)
    _usual(handler, asked)


def _half(handler: _Handler, asked: Asked, detail: str) -> None:
    """Half of the body, and the end of the connection."""
    body = json.dumps(_document(asked, handler.service.vectors(asked.body["input"]))).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True


def _truncated(handler: _Handler, asked: Asked, detail: str) -> None:
    body = json.dumps(_document(asked, handler.service.vectors(asked.body["input"]))).encode()
    handler.send_bytes(200, body[:-20])


def _changed(change: Callable[[list[dict[str, Any]]], object]) -> Callable[..., None]:
    """An answer in which `change` has changed something; what it returns is sent, if it does."""

    def answer(handler: _Handler, asked: Asked, detail: str) -> None:
        data = handler.service.vectors(asked.body["input"])
        changed = change(data)
        handler.send(200, _document(asked, data if changed is None else changed))

    return answer


def _first(value: object) -> Callable[..., None]:
    """The first number of the first vector is something else."""

    def change(data: list[dict[str, Any]]) -> None:
        data[0]["embedding"][0] = value

    return _changed(change)


def _whole(value: object) -> Callable[..., None]:
    """All of the first vector is something else."""

    def change(data: list[dict[str, Any]]) -> None:
        data[0]["embedding"] = [value] * len(data[0]["embedding"])

    return _changed(change)


def _raw(body: bytes) -> Callable[..., None]:
    return lambda handler, asked, detail: handler.send_bytes(200, body)


def _index(place: object) -> Callable[..., None]:
    def change(data: list[dict[str, Any]]) -> None:
        data[0]["index"] = place

    return _changed(change)


def _shorter(data: list[dict[str, Any]]) -> None:
    del data[0]["embedding"][-1]


def _short(data: list[dict[str, Any]]) -> None:
    for each in data:
        del each["embedding"][-1]


def _without_index(data: list[dict[str, Any]]) -> None:
    for each in data:
        del each["index"]


def _redirect(handler: _Handler, asked: Asked, detail: str) -> None:
    handler.send(int(detail or 307), {}, Location=handler.service.elsewhere)


def _endless(handler: _Handler, asked: Asked, detail: str) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while True:
        handler.wfile.write(b"10000\r\n" + b" " * 65_536 + b"\r\n")


def _huge(handler: _Handler, asked: Asked, detail: str) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(1 << 50))
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * 65_536)


def _backward(handler: _Handler, asked: Asked, detail: str) -> None:
    """A piece of a length below zero, and no end of it; or one that ends at once."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(f"{detail}\r\n".encode())
    for _ in range(512 if detail == "-1" else 0):
        handler.wfile.write(b" " * 65_536)
    handler.close_connection = True


def _dripping(handler: _Handler, asked: Asked, detail: str) -> None:
    """A byte of a header again and again, each well within any time-out of its own."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not handler.service.freed.wait(0.0005):
        handler.wfile.write(b"x")
    handler.close_connection = True


def _gone(handler: _Handler, asked: Asked, detail: str) -> None:
    handler.close_connection = True


def _no_http(handler: _Handler, asked: Asked, detail: str) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2 " + asked.headers["authorization"].encode() + b"\r\n")
    handler.close_connection = True


FAULTS: dict[str, Callable[..., None]] = {
    "": _usual,
    "status": _status,
    "closing": _closing,
    "slow": _slow,
    "half": _half,
    "truncated": _truncated,
    "text": _raw(b"<html>Bad Gateway</html>"),
    "deep": _raw(b"[" * 100_000),
    "list": _raw(b"[]"),
    "empty": _raw(b'{"data": null}'),
    "words": _raw(b'{"data": ["a", "b"]}'),
    "fewer": _changed(lambda data: data[:-1]),
    "more": _changed(lambda data: [*data, data[0]]),
    "shorter": _changed(_shorter),
    "short": _changed(_short),
    "backwards": _changed(lambda data: data.reverse()),
    "twice": _index(1),
    "outside": _index(7),
    "oddly": _index("0"),
    "truly": _index(False),
    "unnumbered": _changed(_without_index),
    "nan": _first(float("nan")),
    "infinite": _first(float("inf")),
    "large": _first(1e300),
    "null": _first(None),
    "string": _first("x"),
    "number": _first("1.5"),
    "truth": _first(True),
    "numbers": _whole("1.5"),
    "truths": _whole(True),
    "nested": _first([1.0]),
    "redirect": _redirect,
    "endless": _endless,
    "huge": _huge,
    "backward": _backward,
    "dripping": _dripping,
    "gone": _gone,
    "nohttp": _no_http,
}


@contextmanager
def fake_service() -> Iterator[FakeService]:
    """Serves until the block is left."""
    service = FakeService()
    handler = type("Handler", (_Handler,), {"service": service})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = False  # so that all have ended when it is closed
        service.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = SYSTEM.thread(lambda: server.serve_forever(0.01), "fake service")
        try:
            yield service
        finally:
            service.freed.set()
            server.shutdown()
            thread.join(PATIENCE_S)
            for connection in service.connections:  # whose clients keep them for later
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
