"""One exchange with a service: JSON is posted by HTTP/1.1, and what comes back is bounded in time
and size.

The library's own module is enough for that, and imported in a third of the time that a client with
pools and redirects takes.  No redirect is followed, so the key goes to no other host; proxies are
those of the user's environment (`HTTPS_PROXY`, `NO_PROXY`), which see a tunnel and no key.
"""

from __future__ import annotations

import io
import ssl
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from ipaddress import ip_address
from socket import create_connection, gaierror, socket
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import SplitResult, unquote

from cidx_ref._version import __version__
from cidx_ref.errors import EmbedderError
from cidx_ref.runtime import SYSTEM, Runtime

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["AwayError", "Endpoint", "Key", "Proxy", "Reply", "Web"]

_READ_BYTES = 1 << 16
_MAX_TUNNEL_BYTES = 1 << 14
#: What comes may be so much more than what it holds: headers, and the lengths of pieces.
_TIMES, _HEADER_BYTES = 4, 1 << 20
#: Connections that wait for the next exchange, and for how long: TLS takes longer than an answer.
_MAX_IDLE = 4
_IDLE_S = 30.0
_MAX_KEY_CHARS = 4096


class AwayError(EmbedderError):
    """The service does not answer; another try may help."""


class Key:
    """What a service knows the user by.  It shows itself to nobody."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Raises `ValueError` for what no header can hold, without showing it."""
        plain = text.strip()
        is_plain = plain.isascii() and plain.isprintable() and " " not in plain
        if not is_plain or not 0 < len(plain) <= _MAX_KEY_CHARS:
            raise ValueError("not a key: it must be of letters, digits and signs, without spaces")
        self._text = plain

    def header(self, scheme: str = "Bearer") -> str:
        return f"{scheme} {self._text}"

    def __repr__(self) -> str:
        return "<key>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service is."""

    is_tls: bool
    host: str
    port: int
    path: str

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


@dataclass(frozen=True, slots=True)
class Proxy:
    """What tunnels are dug through; it may have a password, which nobody is shown."""

    host: str
    port: int
    password: Key | None = None

    @classmethod
    def at(cls, place: SplitResult) -> Proxy:
        """Raises `ValueError`, without showing the place."""
        if place.scheme != "http" or not place.hostname:
            raise ValueError("must be http://host:port")
        password = None
        if place.username is not None:
            both = f"{unquote(place.username)}:{unquote(place.password or '')}"
            password = Key(b64encode(both.encode()).decode("ascii"))
        return cls(place.hostname, place.port or 80, password)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a service has answered."""

    status: int
    body: bytes
    #: The header `Retry-After`, or "".
    retry_after: str = ""


class Web:
    """A service at one endpoint.  Thread-safe."""

    def __init__(
        self,
        endpoint: Endpoint,
        key: Key | None,
        proxy: Proxy | None = None,
        runtime: Runtime = SYSTEM,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Raises `OSError` for certificates that cannot be read."""
        self._endpoint = endpoint
        self._key = key
        self._proxy = proxy
        self._runtime = runtime
        self._tls = (tls or ssl.create_default_context()) if endpoint.is_tls else None
        self._lock = runtime.lock("connections")
        self._idle: list[tuple[float, _Connection]] = []

    def post(self, body: bytes, patience_s: float, most_bytes: int) -> Reply:
        """Post `body`, and return what comes of it within `patience_s` seconds.

        Raises `AwayError` if that is nothing, or not whole; `EmbedderError` if it is too much.
        """
        clock = _Clock(self._runtime, patience_s)
        kept = self._kept()
        if kept is not None:
            try:
                return self._exchange(kept, body, clock, most_bytes)
            except (ConnectionError, HTTPException):
                pass  # the other end had closed it meanwhile
            except OSError as error:
                raise _away(error, patience_s) from None
        try:
            return self._exchange(self._connected(clock), body, clock, most_bytes)
        except (OSError, HTTPException) as error:
            raise _away(error, patience_s) from None

    def close(self) -> None:
        """Let go of connections that wait."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.end()

    def _exchange(
        self, connection: _Connection, body: bytes, clock: _Clock, most_bytes: int
    ) -> Reply:
        try:
            connection.timed.clock = clock
            connection.timed.left_bytes = _TIMES * most_bytes + _HEADER_BYTES
            connection.request("POST", self._endpoint.path, body, self._headers())
            response = connection.getresponse()
            reply = _read(response, most_bytes)
            is_over = response.will_close
        except BaseException:
            connection.end()
            raise
        if is_over:
            connection.end()
        else:
            self._keep(connection)
        return reply

    def _headers(self) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"cidx-ref/{__version__}",
        }
        if self._key is not None:
            headers["Authorization"] = self._key.header()
        return headers

    def _kept(self) -> _Connection | None:
        """A connection that waits, and may still be open."""
        with self._lock:
            while self._idle:
                since, connection = self._idle.pop()
                if self._runtime.monotonic() - since < _IDLE_S:
                    return connection
                connection.end()
        return None

    def _keep(self, connection: _Connection) -> None:
        with self._lock:
            if len(self._idle) < _MAX_IDLE:
                self._idle.append((self._runtime.monotonic(), connection))
                return
        connection.end()

    def _connected(self, clock: _Clock) -> _Connection:
        end = self._endpoint
        place = self._proxy or end
        sock = create_connection((place.host, place.port), timeout=clock.left_s())
        try:
            if self._proxy is not None:
                self._dig(sock, self._proxy, clock)
            if self._tls is not None:
                sock.settimeout(clock.left_s())
                sock = self._tls.wrap_socket(sock, server_hostname=end.host)
        except BaseException:
            sock.close()
            raise
        return _Connection(end, _Timed(sock, clock))

    def _dig(self, sock: socket, proxy: Proxy, clock: _Clock) -> None:
        """Have `proxy` connect `sock` with the endpoint."""
        host = f"[{self._endpoint.host}]" if ":" in self._endpoint.host else self._endpoint.host
        lines = [f"CONNECT {host}:{self._endpoint.port} HTTP/1.1", f"Host: {host}"]
        if proxy.password is not None:
            lines.append(f"Proxy-Authorization: {proxy.password.header('Basic')}")
        sock.settimeout(clock.left_s())
        sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
        said = b""
        # Byte by byte, for what comes behind it is TLS.
        while not said.endswith(b"\r\n\r\n"):
            sock.settimeout(clock.left_s())
            more = sock.recv(1)
            if not more or len(said) > _MAX_TUNNEL_BYTES:
                raise _TunnelError
            said += more
        if said.split(b" ", 2)[1:2] != [b"200"]:
            raise _TunnelError


class _Connection(HTTPConnection):
    """HTTP on a socket that is connected already, and connects none itself."""

    auto_open = 0

    def __init__(self, endpoint: Endpoint, timed: _Timed) -> None:
        super().__init__(endpoint.host, endpoint.port)
        self.default_port = 443 if endpoint.is_tls else 80
        self.timed: _Timed = timed
        self.sock = timed

    def end(self) -> None:
        self.close()
        self.timed.end()


class _TunnelError(OSError):
    """The proxy does not connect."""


class _Clock:
    """The time that is left of an exchange."""

    def __init__(self, runtime: Runtime, patience_s: float) -> None:
        self._runtime = runtime
        self._until = runtime.monotonic() + patience_s

    def left_s(self) -> float:
        """Raises `TimeoutError` if there is none."""
        left_s = self._until - self._runtime.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s


class _Timed:
    """A socket each operation of which has the time that is left of the exchange: a time-out of its
    own for each byte would be one for ever."""

    def __init__(self, sock: socket, clock: _Clock) -> None:
        self._sock = sock
        self.clock = clock
        #: So many may still come: the library reads a piece of a length below zero to its end.
        self.left_bytes = 0

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self.clock.left_s())
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Raw(self._receive), _READ_BYTES)

    def close(self) -> None:
        """Nothing: the library calls it before it has read an answer that is the last."""

    def end(self) -> None:
        self._sock.close()

    def _receive(self, buffer: WriteableBuffer) -> int:
        if self.left_bytes <= 0:
            raise EmbedderError("it answers with more than was asked for")
        self._sock.settimeout(self.clock.left_s())
        size = self._sock.recv_into(buffer)
        self.left_bytes -= size
        return size


class _Raw(io.RawIOBase):
    def __init__(self, receive: Callable[[WriteableBuffer], int]) -> None:
        self._receive = receive

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        return self._receive(buffer)


def _read(response: HTTPResponse, most_bytes: int) -> Reply:
    wanted, parts, size = response.length, [], 0
    try:
        while size <= most_bytes and (part := response.read(_READ_BYTES)):
            parts.append(part)
            size += len(part)
    except ValueError:  # of a piece whose length is below zero
        raise AwayError("it answers with something else than HTTP") from None
    if size > most_bytes or (wanted or 0) > most_bytes:
        raise EmbedderError(f"it answers with more than {most_bytes} bytes")
    if wanted is not None and size != wanted:
        raise AwayError("it ends in the middle of its answer")
    return Reply(response.status, b"".join(parts), response.headers.get("Retry-After", ""))


def _away(error: OSError | HTTPException, patience_s: float) -> EmbedderError:
    """What to say of an error, without what the other end has said."""
    if isinstance(error, TimeoutError):
        return AwayError(f"no answer within {patience_s:g} s")
    if isinstance(error, ssl.SSLCertVerificationError):
        return EmbedderError("its certificate is not one to be trusted")
    if isinstance(error, gaierror):
        return AwayError("its name cannot be looked up")
    if isinstance(error, _TunnelError):
        return AwayError("the proxy does not connect")
    said = getattr(error, "strerror", None) if not isinstance(error, ssl.SSLError) else None
    return AwayError(f"cannot be reached: {said or type(error).__name__}")
