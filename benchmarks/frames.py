"""Frames that a peer may send, put together by hand, and a connection without a socket for them.

Frozensets of equal hashes, say: RPyC's own `dump` would need the set, and hours to make it.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from time import thread_time
from typing import Any

from rpyc.core import brine, consts

from cidx_ref.daemon import transport
from cidx_ref.daemon.transport import ExposedService

__all__ = [
    "Raw",
    "Scripted",
    "equal_hashes",
    "in_brine",
    "nested",
    "references",
    "request",
    "value",
]

_PAIRS = {1: b"\x10", 2: b"\x11", 3: b"\x12", 4: b"\x13"}
#: The hash of an integer is what is left of it when divided by this.
_MODULUS = (1 << 61) - 1

#: What a client says when it is asked: from the handler and its boxed arguments, a boxed value.
Answer = Callable[[int, Any], Any]


class Raw(bytes):
    """Brine, to be put into a message as it is."""


def in_brine(content: Any) -> Raw:
    """`content` in brine, with what is `Raw` in its tuples as it is."""
    if isinstance(content, Raw):
        return content
    if type(content) is not tuple or not content:
        return Raw(brine.dump(content))
    tag = _PAIRS.get(len(content)) or b"\x15" + struct.pack("!L", len(content))
    return Raw(tag + b"".join(map(in_brine, content)))


def frozenset_of(items: tuple[Any, ...]) -> Raw:
    return Raw(b"\x1a" + in_brine(items))


def nested(depth: int, inner: Any) -> Raw:
    """`inner` in so many tuples of one."""
    return Raw(b"\x10" * depth + in_brine(inner))


def equal_hashes(count: int) -> tuple[int, ...]:
    """Different integers of the hash 0."""
    return tuple(number * _MODULUS for number in range(1, count + 1))


def references(count: int, name: str = "builtins.list") -> tuple[Any, ...]:
    """Boxed objects of the client's, with ids of equal hash."""
    return tuple((consts.LABEL_REMOTE_REF, (name, number, 0)) for number in equal_hashes(count))


def value(content: Any) -> Any:
    return consts.LABEL_VALUE, content


def request(handler: Any, *boxed: Any, sequence: int = 1) -> bytes:
    """A message, without the frame around it."""
    content = handler, (consts.LABEL_TUPLE, boxed)
    return bytes([consts.MSG_REQUEST]) + in_brine((sequence, content))


class Scripted:
    """A connection of the daemon's, without a socket: it is handed messages, and what it sends is
    kept.  What it asks is answered at once, by `answer`.  For one thread."""

    def __init__(
        self, service: ExposedService, answer: Answer = lambda handler, boxed: value(None)
    ):
        self.answer = answer
        #: The kind and the content of each message of the daemon's; its handlers, if it asked.
        self.said: list[tuple[int, Any]] = []
        self.asked: list[int] = []
        #: Of processor time, for the last message: the daemon's, without ours.
        self.took_s = 0.0
        self._ours_s = 0.0
        self.closed = False
        self._incoming: deque[bytes] = deque()
        self._connection = transport._Connection(service, self)

    def hand(self, message: bytes) -> tuple[int, Any] | None:
        """What is said to it in the end: kind and content.  None: that costs it the connection."""
        self.said.clear()
        self._ours_s = 0.0
        self._connection._recvlock.acquire()
        began = thread_time()
        try:
            self._connection._dispatch(message)
        except Exception:  # what the thread that serves a connection ends with
            self.close()
        self.took_s = thread_time() - began - self._ours_s
        answers = [(kind, content) for kind, content in self.said if kind != consts.MSG_REQUEST]
        return answers[-1] if answers and not self.closed else None

    def root(self) -> Any:
        """The service, as a boxed argument."""
        return self.given(consts.HANDLE_GETROOT)

    def given(self, handler: int, *boxed: Any) -> Any:
        """The reference that is answered with, as a boxed argument."""
        answer = self.hand(request(handler, *boxed))
        assert answer is not None
        kind, (label, id_pack) = answer
        assert (kind, label) == (consts.MSG_REPLY, consts.LABEL_REMOTE_REF)
        return consts.LABEL_LOCAL_REF, id_pack

    # A channel, for RPyC.

    def send(self, data: bytes) -> None:
        began = thread_time()
        kind, (sequence, content) = data[0], brine.load(data[1:])
        self.said.append((kind, content))
        if kind == consts.MSG_REQUEST:
            handler, (_, boxed) = content
            self.asked.append(handler)
            reply = bytes([consts.MSG_REPLY]) + in_brine((sequence, self.answer(handler, boxed)))
            self._incoming.append(reply)
        self._ours_s += thread_time() - began

    def poll(self, timeout: Any) -> bool:
        return bool(self._incoming)

    def recv(self) -> bytes:
        return self._incoming.popleft()

    def close(self) -> None:
        self.closed = True

    def serve(self) -> None:
        """Hand over what was answered meanwhile."""
        while self._incoming:
            self._connection._recvlock.acquire()
            self._connection._dispatch(self._incoming.popleft())
