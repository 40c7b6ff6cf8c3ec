"""How a method of a daemon is called: `search(query, top=limit, kind="exact")`.

Here belongs how such a text is read, and filled with what a call is to be given.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cidx_ref.testing.promises.wording import shown

__all__ = ["Call", "TargetError", "call_of"]

#: What the methods may be given, beside `project`.  What the second has is not given each time.
_ASKED, _QUERY = ("query", "query_fts", "query_hybrid"), (("query", "limit"), ("fresh",))
_ROLES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    **dict.fromkeys(_ASKED, _QUERY),
    "index": ((), ("progress", "full")),
}


class TargetError(ValueError):
    """A target that contradicts itself, or says what is not understood."""


@dataclass(frozen=True)
class Call:
    """How a method is called: its name, and what it is given, by roles."""

    name: str
    args: tuple[tuple[str, Any], ...] = ()
    kwargs: tuple[tuple[str, tuple[str, Any]], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Call:
        """`search(query, top=limit, kind="exact")`: words are roles, the rest are constants.

        Raises `ValueError`, which says what is not understood.
        """
        try:
            call = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # NUL; nested too deeply
            call = None
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError("not of the form method(role, name=role)")
        names = [keyword.arg for keyword in call.keywords]
        if None in names:
            raise ValueError("** is not understood")
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{twice[0]!r} is given twice")
        return cls(
            call.func.id,
            tuple(_given(node) for node in call.args),
            tuple((str(k.arg), _given(k.value)) for k in call.keywords),
        )

    def fill(self, **roles: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and named arguments, with the values of the roles.  A named role that has no
        value is left out."""
        args = tuple(roles[role] if role else value for role, value in self.args)
        kwargs = {
            name: roles[role] if role else value
            for name, (role, value) in self.kwargs
            if not role or role in roles
        }
        return args, kwargs

    def takes(self, role: str) -> bool:
        return role in self.roles

    @property
    def roles(self) -> list[str]:
        """What it is given that is no constant."""
        given = (*self.args, *(value for _, value in self.kwargs))
        return [role for role, _ in given if role]


def _given(node: ast.expr) -> tuple[str, Any]:
    if isinstance(node, ast.Name):
        return node.id, None
    try:
        return "", ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError):
        raise ValueError(f"{ast.unparse(node)!r} is no role or constant") from None


@functools.lru_cache(maxsize=256)
def call_of(method: str, text: str) -> Call:
    """How one of `Methods` is called.  Raises `TargetError`, which names it.

    Once for each text, when its target is made.  A parser that several threads use at the same time
    has raised `SystemError: AST constructor recursion depth mismatch` (Python 3.11.7).
    """
    try:
        call = Call.parse(text)
        wrong = next(_misgiven(method, call), "")
    except ValueError as error:
        wrong = str(error)
    if wrong:
        raise TargetError(f"methods: {method}: {shown(text)}: {wrong}")
    return call


def _misgiven(method: str, call: Call) -> Iterator[str]:
    always, sometimes = _ROLES.get(method, ((), ()))
    known = ("project", *always, *sometimes)
    for role in call.roles:
        if role not in known:
            yield f"{role!r} is not one of its roles: {', '.join(known)}"
    for role, _ in call.args:
        if role in sometimes:
            yield f"{role!r} has no value each time, so it is given by name ({role}={role})"
    if "query" in always and not call.takes("query"):
        yield "the role 'query' is missing, so nothing is asked"
