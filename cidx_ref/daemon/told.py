"""What a client is told of what is refused or fails: in words, bounded, and with what it can do.

An error goes to a client as its class and its arguments, and nothing else of it: no traceback, no
attributes, and of an argument that the client itself sent no more than its beginning.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

from cidx_ref.daemon.values import REACHABLE, encodable, shown
from cidx_ref.errors import CidxError
from cidx_ref.project import DIRECTORY, Project
from cidx_ref.shown import bounded

__all__ = ["NOT_LENT", "error", "instead", "message", "of_the_client", "request"]

_MAX_CHARS, _END_CHARS = 1000, 100
_MAX_BITS = 100

NOT_LENT = "an object that this connection was not given, or has let go of: ask for it again"
#: What to do instead of what a request asks for, by its name in RPyC.
_INSTEAD = {
    "pickle": "nothing is pickled (copy, obtain): dict(answer) and list(results) are copies of one"
    " level, and root.call(method, arguments as JSON) gives a whole answer as JSON",
    "ctxexit": "there is nothing to be left: it can be used without a `with`",
    "setattr": "no attribute can be set: what a client is given can be read only",
    "delattr": "no attribute can be deleted: what a client is given can be read only",
}
_READ_ONLY = "what a client is given can be read, and neither changed nor copied"

#: An error as RPyC sends it: module and name of its class, arguments, attributes, traceback.
Sent = tuple[tuple[str, str], tuple[Any, ...], tuple[tuple[str, str], ...], str]


def request(name: str) -> str:
    """That a request of this name is not taken."""
    return f"request {name}: not taken here: {_INSTEAD.get(name, _READ_ONLY)}"


def instead(obj: Any) -> str:
    """What can be done with `obj`, for a client that was refused something else."""
    kind = type(obj)
    if exposed := getattr(kind, "EXPOSED", None):
        return f"the service offers {', '.join(sorted(exposed))}"
    if kind is MethodType:
        return "a method can be called, and nothing else"
    if kind not in REACHABLE:
        return "it is a value, or the client's own"
    copy = "dict(it)" if kind is dict else "list(it)"
    names = ", ".join(sorted(name for name in REACHABLE[kind] if name[0] != "_"))
    return (
        f"a {kind.__name__} that a client was given can be read (by `[]`, `in`, `len`, `==`, in a"
        f" loop{names and ', by '}{names}) and not changed: {copy} is a copy of your own"
    )


def message(raised: CidxError, project: Project | None) -> str:
    """What an error of ours says, without the places that the project and its index have here."""
    text = str(raised)
    if project is not None and "/" in text:
        text = text.replace(str(project.directory), DIRECTORY).replace(f"{project.root}/", "")
    return bounded(text, _MAX_CHARS)


def error(kind: type[BaseException], raised: BaseException) -> Sent:
    """An error as it is sent: the repr of a method, say, would tell an address."""
    attributes = (("kind", raised.kind),) if isinstance(raised, CidxError) else ()
    arguments = tuple(map(_said, raised.args))
    return (kind.__module__, kind.__name__), arguments, attributes, "<traceback denied>"


def of_the_client(raw: Any) -> Exception:
    """What a client raised, in its callback or its lists.

    RPyC would make a class of that name and keep it for ever, or raise its SystemExit in our
    thread.  Raises `LookupError`, `TypeError` and `ValueError` where `raw` is no error.
    """
    name = raw[0][1]
    if type(name) is not str:
        raise TypeError("the name of an error must be a string")
    known: dict[str, type[Exception]] = {
        "AttributeError": AttributeError,
        "TypeError": TypeError,
    }
    return known.get(name, RuntimeError)(f"the client raised {shown(name)}")


def _said(argument: Any) -> Any:
    """A number or a text that is not long, as it is; of anything else, what it is like."""
    if type(argument) is str:
        return encodable(_shortened(argument))
    if type(argument) in (bool, float, type(None)):
        return argument
    is_short = type(argument) is int and argument.bit_length() < _MAX_BITS
    return argument if is_short else shown(argument)


def _shortened(text: str) -> str:
    # What Python says of a long value stands behind it: "'xxx' is not in list".
    return text if len(text) <= _MAX_CHARS else f"{text[:_MAX_CHARS]} ... {text[-_END_CHARS:]}"
