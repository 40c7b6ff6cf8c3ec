"""How a daemon is asked, and its answers are read as its target says.

Here belong connections (`RpycPeer`, or what `Target.connect` makes), answers in whatever shape they
come, and the turns that asking may take:

- `Gone`: nobody is there, or who is there is on the way out;
- `Refused`: the daemon answered with an error;
- `Unreadable`: the answer is not as the target says;
- `TimeoutError`: there is no answer in time.

Answers come by value, as references to objects of the daemon (netrefs, of which each look is a
round trip), or as text that `Target.decode` makes data of.  All become plain data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from cidx_ref.testing.conformance.netrefs import by_value, is_mapping, is_reference
from cidx_ref.testing.conformance.peer import RpycPeer, address_at, open_socket
from cidx_ref.testing.conformance.target import Peer, Target

__all__ = [
    "Answer",
    "Asker",
    "Gone",
    "Hit",
    "Refused",
    "RpycPeer",
    "Unreadable",
    "address_at",
    "connect",
    "dig",
    "open_socket",
    "plain",
]

#: What an answer may hold, so that reading it comes to an end.
_MAX_ITEMS = 10_000
_MAX_DEPTH = 12

_SCALARS = (bool, int, float, complex, str, bytes, type(None))


class Gone(Exception):  # noqa: N818 - a turn of events
    """Nobody is there, or who is there is on the way out."""

    def __init__(self, words: str, *, is_told: bool = False) -> None:
        super().__init__(words)
        #: The daemon said so; else the connection has ended, or there was none.
        self.is_told = is_told


class Refused(Exception):  # noqa: N818 - a turn of events
    """The daemon answered with an error: its kind (a class's name, or a word), and its message."""

    def __init__(self, kind: str, message: str, traceback: str = "") -> None:
        super().__init__(f"{kind}: {message}" if message else kind)
        self.kind = kind
        self.message = message
        #: What came with it of the daemon's own stack; empty if nothing did.
        self.traceback = traceback


class Unreadable(Exception):  # noqa: N818 - a turn of events
    """The answer is not as the target says."""


@dataclass(frozen=True)
class Hit:
    """One hit, as far as the target says how it is read."""

    #: Relative to the project where it lies there; empty where hits have none.
    path: str
    #: Counted from 1; None where hits have none.
    line: int | None
    text: str
    raw: Any = None


@dataclass(frozen=True)
class Answer:
    """The answer to a query."""

    hits: list[Hit]
    #: Plain data.
    raw: Any
    #: How many were sent until it was read; 0 where the peer does not count.
    messages: int = 0

    @property
    def paths(self) -> list[str]:
        return [hit.path for hit in self.hits]

    def __str__(self) -> str:
        return repr([f"{h.path}:{h.line}" if h.line else h.path for h in self.hits])


# Reading.


def dig(value: Any, path: str) -> Any:
    """What lies at a dotted path of keys, indexes and attributes; `[]` or nothing is all of it.

    Raises `Unreadable`, which names the part that is missing.
    """
    for part in path.split(".") if path not in ("", "[]") else ():
        value = _step_into(value, part, path)
    return value


def _step_into(value: Any, part: str, path: str) -> Any:
    failures: tuple[type[Exception], ...] = (LookupError, TypeError, AttributeError, ValueError)
    tries: list[Callable[[], Any]] = [lambda: value[part], lambda: getattr(value, part)]
    if re.fullmatch(r"-?\d+", part):
        tries.insert(1, lambda: value[int(part)])
    for attempt in tries[:-1] if part.startswith("_") else tries:
        try:
            return attempt()
        except failures:
            continue
    whole = "" if part == path else f" (of {path!r})"
    raise Unreadable(f"there is no {part!r}{whole} in {_shown(value)}")


def plain(value: Any, depth: int = 0) -> Any:
    """Plain data: all of it, read through whatever references it is made of.

    Tuples and sets become lists; an object becomes its public attributes, or its text.
    """
    if type(value) in _SCALARS:
        return value
    value = _here(value)
    if depth > _MAX_DEPTH:
        raise Unreadable(f"it is nested more than {_MAX_DEPTH} times")
    for base in (str, int, float):
        if isinstance(value, base):
            return base(value)
    if _is_mapping(value):
        return {_key(key): plain(value[key], depth + 1) for key in _items(value)}
    try:
        items = _items(value)
    except (TypeError, AttributeError):
        return _attributes(value, depth)
    return [plain(item, depth + 1) for item in items]


def _here(value: Any) -> Any:
    if not is_reference(value):
        return value
    try:
        return by_value(value)
    except ValueError as error:
        raise Unreadable(str(error)) from None


def _key(key: Any) -> Any:
    return key if type(key) is tuple else plain(key)


def _items(value: Any) -> list[Any]:
    items = list(islice(iter(value), _MAX_ITEMS + 1))
    if len(items) > _MAX_ITEMS:
        raise Unreadable(f"it has more than {_MAX_ITEMS} items")
    return items


def _is_mapping(value: Any) -> bool:
    if isinstance(value, (list, tuple, set, frozenset)):
        return False
    return is_mapping(value) if is_reference(value) else isinstance(value, Mapping)


def _attributes(value: Any, depth: int) -> Any:
    try:
        names = [name for name in dir(value) if not name.startswith("_")]
        found = {name: getattr(value, name) for name in names[:_MAX_ITEMS]}
    except AttributeError:
        found = {}
    data = {name: item for name, item in found.items() if not callable(item)}
    # Of a date, a path and the like the text says all; so does it of what has nothing to show.
    is_known = type(value).__module__.split(".")[0] in ("builtins", "datetime", "pathlib", "enum")
    if is_known or not data:
        return str(value)
    return {name: plain(item, depth + 1) for name, item in data.items()}


def _shown(value: Any) -> str:
    try:
        text = repr(plain(value))
    except Exception:
        text = object.__repr__(value)
    return text if len(text) <= 200 else text[:200] + "..."


# Asking.


@dataclass
class Asker:
    """A connection, as checks use it.  Not for several threads at once."""

    target: Target
    raw: Peer
    #: The project's directory, as its daemon is told.
    root: Path
    timeout_s: float = 10.0
    #: All that was asked, by role.
    asked: list[str] = field(default_factory=list)
    #: How many calls have returned, whether or not what they returned could be read then.
    returned: int = 0

    @property
    def pid(self) -> int:
        """The process at the other end; 0 where that is not known."""
        return int(getattr(self.raw, "pid", 0))

    @property
    def sent(self) -> int:
        """How many messages were sent; 0 where the peer does not count."""
        return int(getattr(self.raw, "sent", 0))

    def query(
        self, text: str, mode: str = "query", limit: int = 5, *, fresh: bool = False
    ) -> Answer:
        """The answer to a query, in one of the modes that `Methods` names.

        Raises `Gone`, `Refused`, `Unreadable`, `TimeoutError`.
        """
        before = self.sent
        call = self.target.methods.call(mode)
        roles: dict[str, Any] = {"query": text, "limit": limit}
        if fresh:
            if not call.takes("fresh"):
                raise ValueError(f"methods: {mode} does not take 'fresh'")
            roles["fresh"] = True
        answer = self._call(mode, roles, self._read)
        return Answer(answer.hits, answer.raw, self.sent - before)

    def ask(self, role: str, **roles: Any) -> Any:
        """What one of the methods answers, as plain data.  `project` is given by itself.

        Raises `Gone`, `Refused`, `Unreadable`, `TimeoutError`; `ValueError` where there is no
        such method.
        """
        return self._call(role, roles, plain)

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """What a method of that very name answers, as plain data.  Raises the same."""
        self.asked.append(method)
        with self._told_apart(method):
            answer = self.raw.call(method, *args, **kwargs)
            return self._whole(answer, plain)

    def status(self, name: str) -> Any:
        """What the status says of `name`, a key of `Target.status`.  Raises the same."""
        return dig(self.ask("status"), self.target.status[name])

    def close(self) -> None:
        self.raw.close()

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, role: str, roles: Mapping[str, Any], read: Callable[[Any], Any]) -> Any:
        call = self.target.methods.call(role)
        args, kwargs = call.fill(**{"project": str(self.root), **roles})
        self.asked.append(role)
        with self._told_apart(call.name):
            return self._whole(self.raw.call(call.name, *args, **kwargs), read)

    def _whole(self, answer: Any, read: Callable[[Any], Any]) -> Any:
        self.returned += 1
        if self.target.decode is not None:
            try:
                answer = self.target.decode(answer)
            except (EOFError, OSError):
                raise
            except Exception as error:
                raise Unreadable(f"{_shown(answer)} is not decoded: {error}") from error
        if self.target.error and _is_mapping(answer):
            said = None
            with suppress(Unreadable):
                said = dig(answer, self.target.error)
            if said:
                raise Refused(self.target.error, str(plain(said)))
        return read(answer)

    def _read(self, answer: Any) -> Answer:
        raw = plain(answer)
        if not self.target.hits:
            return Answer([], raw)
        try:
            return Answer(self._hits(raw), raw)
        except Unreadable:
            if raw is answer:
                raise
            # What is named may be an attribute that plain data has no more.
            return Answer(self._hits(answer), raw)

    def _hits(self, answer: Any) -> list[Hit]:
        found = dig(answer, self.target.hits)
        if isinstance(found, (str, bytes)) or _is_mapping(found):
            raise Unreadable(f"{self.target.hits!r} is no list of hits: {_shown(found)}")
        try:
            items = _items(found)
        except (TypeError, AttributeError):
            raise Unreadable(f"{self.target.hits!r} is no list of hits: {_shown(found)}") from None
        return [self._hit(item) for item in items]

    def _hit(self, item: Any) -> Hit:
        target = self.target
        path = self._relative(str(plain(dig(item, target.path)))) if target.path else ""
        line: int | None = None
        if target.line:
            said = plain(dig(item, target.line))
            try:
                line = int(said)
            except (TypeError, ValueError, OverflowError):
                raise Unreadable(f"{target.line!r} of a hit is {said!r}, not a line") from None
        text = str(plain(dig(item, target.text))) if target.text else ""
        return Hit(path, line, text, plain(item))

    def _relative(self, path: str) -> str:
        for root in {self.root, self.root.resolve()}:
            if Path(path).is_absolute() and Path(path).is_relative_to(root):
                return Path(path).relative_to(root).as_posix()
        return path.removeprefix("./")

    @contextmanager
    def _told_apart(self, method: str) -> Iterator[None]:
        try:
            yield
        except (Gone, Refused, Unreadable):
            raise
        except Exception as error:
            raise self._turn(error, method) from None

    def _turn(self, error: Exception, method: str) -> Exception:
        """What an error while asking means."""
        if not is_remote(error):
            if isinstance(error, TimeoutError):
                return TimeoutError(f"{method}: no answer within {self.timeout_s:g} s")
            if isinstance(error, (EOFError, ConnectionError, BrokenPipeError)):
                return Gone(f"{method}: {trimmed(error)}")
            if not _is_of_peer(error):
                return error
        refused = refusal(error)
        if self.target.leaving and re.search(self.target.leaving, str(refused), re.IGNORECASE):
            return Gone(str(refused), is_told=True)
        return refused


def is_remote(error: BaseException) -> bool:
    """Whether an error was raised at the other end, and not by the connection."""
    return hasattr(error, "_remote_tb")


def _is_of_peer(error: Exception) -> bool:
    """Whether a peer of the target's own raised it; else it is a fault of the kit's."""
    return not isinstance(error, (AttributeError, NameError, AssertionError, ImportError))


def refusal(error: BaseException) -> Refused:
    """An error of the daemon, as such."""
    said = getattr(error, "kind", "")
    kind = said if isinstance(said, str) and said else type(error).__name__.split(".")[-1]
    return Refused(kind, _message(error), str(getattr(error, "_remote_tb", "")))


def _message(error: BaseException) -> str:
    # RPyC's `str` of it has the remote traceback at its end.
    text = str(error.args[0]) if len(error.args) == 1 else str(error)
    return text.split("\n\n========= Remote Traceback", 1)[0].strip()


def trimmed(error: BaseException) -> str:
    """An error's class and message, in one line."""
    first = (_message(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}".removesuffix(": ")


def connect(target: Target, root: Path, timeout_s: float = 10.0) -> Asker:
    """A connection to the daemon of the project at `root`.  Raises `Gone`."""
    address = address_at(target, root)
    try:
        peer = (target.connect or RpycPeer)(address, timeout_s)
    except (OSError, EOFError) as error:
        raise Gone(f"nobody accepts at {address}: {trimmed(error)}") from None
    return Asker(target, peer, root, timeout_s)
