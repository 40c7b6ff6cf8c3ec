"""Broken ways over the wire (RPC-1 to RPC-6)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from rpyc.core import brine, consts

from cidx_ref import backend
from cidx_ref.daemon import framing, transport, values
from cidx_ref.daemon.cache import IndexCache
from cidx_ref.daemon.gate import Call, Gate
from cidx_ref.daemon.proxy import RemoteCallback, RemoteObject
from cidx_ref.daemon.semaphore import FairSemaphore
from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.daemon.transport import ExposedService
from cidx_ref.errors import CidxError, InternalError
from cidx_ref.testing.own.mutants.registry import mutant

_Connection = transport._Connection
#: What the connection refuses more than stock RPyC does is in our own class; below it is RPyC.
_STOCK = _Connection.__mro__[1]


@mutant("RPC-1")
def answers_by_reference() -> Iterator[None]:
    """The client is given a reference, and asks for each field of each hit (the story's own)."""
    call = backend.Remote.call

    def ask(self: Any, method: str, given: str, callback: Any, timeout_s: float | None) -> str:
        told: str = call(self, method, given, callback, timeout_s)
        if method.startswith("query"):
            for hit in json.loads(told).get("answer", {}).get("results", ()):
                for _ in hit:  # what a reference costs for each field
                    call(self, "ping", "{}", None, timeout_s)
        return told

    with patch.object(backend.Remote, "call", ask):
        yield


@mutant("RPC-1")
def asks_who_is_there_every_time() -> Iterator[None]:
    """The client makes sure that the daemon is alive before each question."""
    call = backend.Remote.call

    def ping_first(self: Any, method: str, *rest: Any) -> str:
        if method.startswith("query"):
            call(self, "ping", "{}", None, None)
        return call(self, method, *rest)

    with patch.object(backend.Remote, "call", ping_first):
        yield


@mutant("RPC-2")
def every_error_is_internal() -> Iterator[None]:
    """The client is told that something went wrong, and not what."""
    with patch.object(backend, "from_kind", lambda kind, message: InternalError(message)):
        yield


@mutant("RPC-2")
def tracebacks_are_sent() -> Iterator[None]:
    """An error comes with the server's traceback, as it does from stock RPyC (the story's own)."""
    protocol = {**transport._PROTOCOL, "include_local_traceback": True}
    with (
        patch.object(transport, "_PROTOCOL", protocol),
        patch.object(_Connection, "_box_exc", _STOCK._box_exc),
    ):
        yield


@mutant("RPC-2")
def bugs_are_told_in_full() -> Iterator[None]:
    """The message of an unexpected exception, and the paths in it, are told to the client."""
    counted = CIDXDaemonService._counted

    @contextmanager
    def tell(self: CIDXDaemonService, method: str) -> Iterator[None]:
        with counted(self, method):
            try:
                yield
            except CidxError:
                raise
            except Exception as error:
                raise InternalError(f"{method}: {error}") from None

    with patch.object(CIDXDaemonService, "_counted", tell):
        yield


@mutant("RPC-3")
def public_attributes_are_reachable() -> Iterator[None]:
    """Whatever does not begin with an underscore can be had (the story's own)."""
    access = _Connection._access_attr

    def allow(self: Any, obj: Any, name: Any, *rest: Any) -> Any:
        if type(name) is str and not name.startswith("_") and hasattr(obj, name):
            return getattr(obj, name)
        return access(self, obj, name, *rest)

    with patch.object(_Connection, "_access_attr", allow):
        yield


@mutant("RPC-3")
def answers_can_be_changed() -> Iterator[None]:
    """All methods of a list are as harmless as the others."""
    methods = frozenset(name for name in dir(list) if not name.startswith("_"))
    reachable = {**values.REACHABLE, list: values.REACHABLE[list] | methods}
    with patch.object(transport, "REACHABLE", reachable):
        yield


@mutant("RPC-3")
def whatever_is_sent_is_called() -> Iterator[None]:
    """A client may have the server call what it sent itself."""
    with patch.object(_Connection, "_handle_call", _STOCK._handle_call):
        yield


@mutant("RPC-3")
def the_name_is_believed() -> Iterator[None]:
    """A name is asked what it is, and it is the client who answers."""

    access = _Connection._access_attr

    def believe(self: Any, obj: Any, name: Any, *rest: Any) -> Any:
        if not isinstance(name, RemoteObject):
            return access(self, obj, name, *rest)
        told = self.sync_request(consts.HANDLE_CALLATTR, name, "__format__", ("",), ())
        return getattr(obj, f"exposed_{told}" if isinstance(obj, ExposedService) else told)

    with patch.object(_Connection, "_access_attr", believe):
        yield


@mutant("RPC-4", "one query at a time")
def queries_take_turns() -> Iterator[None]:
    """A query waits until nobody else uses the index."""
    begin_use, release = IndexCache._begin_use, IndexCache._release

    def wait_for_my_turn(self: IndexCache[Any], entry: Any) -> None:
        self._changed.wait_for(lambda: entry.pins == 0)
        begin_use(self, entry)

    def whose_turn_is_it(self: IndexCache[Any], entry: Any) -> None:
        release(self, entry)
        with self._changed:
            self._changed.notify_all()

    with (
        patch.object(IndexCache, "_begin_use", wait_for_my_turn),
        patch.object(IndexCache, "_release", whose_turn_is_it),
    ):
        yield


@mutant("RPC-4", "somebody waited too long")
def slow_answers_count_for_ever() -> Iterator[None]:
    """A permit is not taken back, however long it is held."""
    with patch.object(FairSemaphore, "_held_for_long", lambda self: []):
        yield


@mutant("RPC-5")
def left_only_in_good_order() -> Iterator[None]:
    """A call that ends in an error stays in the daemon's books for ever."""

    @contextmanager
    def call(self: Gate, method: str, *, is_use: bool) -> Iterator[None]:
        number = next(self._numbers)
        with self._left:
            self._calls[number] = Call(method, self._runtime.monotonic())
        yield
        with self._left:
            del self._calls[number]
            self._left.notify_all()

    with patch.object(Gate, "call", call):
        yield


@mutant("RPC-5")
def the_callbacks_error_ends_the_build() -> Iterator[None]:
    """A client that has gone takes its index run with it."""

    def tell(self: RemoteCallback, current: int, total: int, path: str, info: str) -> None:
        if self._is_free(wait=current == total):
            self._send((current, total, path, info) if info else (current, total, path))

    with patch.object(RemoteCallback, "__call__", tell):
        yield


@mutant("RPC-6")
def bombs_are_inflated() -> Iterator[None]:
    """A compressed frame may become as big as it likes."""

    def inflate(self: Any, data: bytes, most: int) -> bytes:
        return zlib.decompress(data)

    with (
        patch.object(framing.Channel, "_inflate", inflate),
        patch.object(framing, "Refused", lambda data, error: data),
    ):
        yield


@mutant("RPC-6")
def patient_with_every_byte() -> Iterator[None]:
    """The time that a frame may take begins anew with each of its bytes."""
    wait = framing.Stream._wait

    def restart(self: Any, deadline: float, ready: int) -> None:
        wait(self, self._runtime.monotonic() + framing.FRAME_TIMEOUT_S, ready)

    with patch.object(framing.Stream, "_wait", restart):
        yield


@mutant("RPC-6")
def made_up_errors_are_remembered() -> Iterator[None]:
    """A class is made, and kept, of each name of an error that a client claims to have had."""
    with patch.object(_Connection, "_unbox_exc", _STOCK._unbox_exc):
        yield


@mutant("RPC-6")
def what_is_sent_is_hashed() -> Iterator[None]:
    """A message is read by RPyC's own reader: sets are made of it, and it has no bounds."""
    with patch.object(transport, "load", brine.load):
        yield
