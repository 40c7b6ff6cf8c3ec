"""Where in a module there are locks, threads and clocks of the library, and how to change that for
a while.

Looked at are the names of the module; default arguments and closures of its functions; attributes
and bases of its classes; and what its own objects, dictionaries and lists hold.
"""

from __future__ import annotations

import builtins
import functools
import sys
from collections.abc import Callable, Iterable
from types import FunctionType, ModuleType
from typing import Any

from cidx_ref.testing.concurrency.library import active
from cidx_ref.testing.concurrency.library.faces import (
    Held,
    Uncontrolled,
    facade,
    is_made_before,
    refusal,
    remade,
    replacement,
)
from cidx_ref.testing.concurrency.library.threads import Local

__all__ = ["Patch", "Uncontrolled"]

Put = Callable[[Any], None]

_IMPORT = builtins.__import__


class Patch:
    """What of some modules is to be changed, and how it was."""

    def __init__(self, modules: list[ModuleType], allowed: frozenset[str]) -> None:
        self._modules = modules
        self._names = {module.__name__ for module in modules}
        self._allowed = allowed
        self._changes: list[tuple[Put, Any]] = []
        #: What was made before, and is made anew each time.
        self._made: list[tuple[Put, Any, str]] = []
        self._undo: list[Callable[[], None]] = []
        self._problems: list[str] = []
        self._seen: set[int] = set()
        #: What was made anew, by the identity of what was there.
        self._remade: dict[int, Any] = {}

    def look(self) -> None:
        """Find out what is to be changed.  Raises `Uncontrolled`."""
        for module in self._modules:
            self._keep_dict(module.__dict__)
            for name, value in list(vars(module).items()):
                if not name.startswith("__"):
                    self._visit(value, f"{module.__name__}.{name}", _item(vars(module), name))
        if self._problems:
            raise Uncontrolled("\n".join(sorted(set(self._problems))))

    def apply(self) -> None:
        """Change it; again, after `undo`, if nothing was changed otherwise."""
        self._remade.clear()
        for put, value in self._changes:
            put(value)
        for put, value, name in self._made:
            made = self._again(value)
            if not isinstance(made, Local):  # whose attributes are the code's
                made.name = active.named(type(made).__name__, name)
            put(made)
        self._watch_imports()

    def undo(self) -> None:
        for undo in reversed(self._undo):
            undo()
        builtins.__import__ = _IMPORT

    # Looking.

    def _visit(self, value: Any, path: str, put: Put) -> None:
        found = replacement(value)
        if found is not None:
            self._changes.append((put, found))
        elif is_made_before(value):
            self._visit_made(value, path, put)
        elif self._is_refused(value, path):
            pass
        elif id(value) not in self._seen and not isinstance(value, ModuleType):
            self._seen.add(id(value))
            self._visit_inside(value, path, put)

    def _is_refused(self, value: Any, path: str) -> bool:
        refused = refusal(value)
        if refused is None:
            return False
        module, what, remedy = refused
        if not {module, path} & self._allowed:
            self._problems.append(
                f"{path}: {module} {what}, where no scheduler can help: {remedy}; or, if it does"
                f" no harm here, allow={module!r}"
            )
        return True

    def _visit_made(self, value: Any, path: str, put: Put) -> None:
        if path in self._allowed:
            return
        try:
            self._again(value)
        except Held as why:
            self._problems.append(
                f"{path}: a {type(value).__name__} that was made before, and {why}: make it in a"
                f" function that the scenario calls, or allow={path!r}"
            )
            return
        self._made.append((put, value, path.rpartition(".")[2]))

    def _again(self, value: Any) -> Any:
        if id(value) not in self._remade:
            self._remade[id(value)] = remade(value, self._again)
        return self._remade[id(value)]

    def _visit_inside(self, value: Any, path: str, put: Put) -> None:
        if isinstance(value, FunctionType):
            self._visit_function(value, path)
        elif isinstance(value, type):
            self._visit_class(value, path)
        elif isinstance(value, (staticmethod, classmethod, property, functools.partial)):
            self._visit_wrapper(value, path, put)
        elif isinstance(value, (dict, list)):
            self._visit_container(value, path)
        elif isinstance(value, (tuple, set, frozenset)):
            self._look_at(value, path)
        else:
            self._visit_instance(value, path)

    def _visit_wrapper(self, value: Any, path: str, put: Put) -> None:
        if isinstance(value, property):
            for part in (value.fget, value.fset, value.fdel):
                self._visit(part, path, _nowhere)
        elif isinstance(value, functools.partial):
            args, kwargs = value.args, value.keywords
            self._visit(value.func, path, lambda new: put(functools.partial(new, *args, **kwargs)))
        else:
            self._visit(value.__func__, path, lambda new: put(type(value)(new)))

    def _visit_function(self, function: FunctionType, path: str) -> None:
        if function.__module__ not in self._names:
            return
        for number, default in enumerate(function.__defaults__ or ()):
            self._visit(default, f"{path}({number})", _default(function, number))
        by_name: dict[str, Any] = function.__kwdefaults__ or {}
        self._keep_dict(by_name)
        for name, default in by_name.items():
            self._visit(default, f"{path}({name})", _item(by_name, name))
        self._undo.append(_restore_defaults(function, function.__defaults__))
        self._visit_wrapped(function, path)
        names = function.__code__.co_freevars
        for name, cell in zip(names, function.__closure__ or (), strict=True):
            try:
                content = cell.cell_contents
            except ValueError:  # empty
                continue
            self._visit(content, f"{path}.{name}", _attribute(cell, "cell_contents"))
            self._undo.append(_restore(cell, "cell_contents", content))

    def _visit_wrapped(self, value: Any, path: str) -> None:
        wrapped = getattr(value, "__dict__", {}).get("__wrapped__")
        if wrapped is not None:
            self._visit(wrapped, path, _nowhere)

    def _visit_class(self, cls: type, path: str) -> None:
        if cls.__module__ not in self._names:
            return
        bases = tuple(replacement(base) or base for base in cls.__bases__)
        if bases != cls.__bases__:
            self._change_bases(cls, bases, path)
        before = dict(vars(cls))
        self._undo.append(lambda: _restore_class(cls, before))
        for name, value in before.items():
            if name not in ("__dict__", "__weakref__", "__doc__", "__module__"):
                self._visit(value, f"{path}.{name}", _on_class(cls, name))

    def _change_bases(self, cls: type, bases: tuple[type, ...], path: str) -> None:
        before = cls.__bases__
        try:
            cls.__bases__ = bases
        except TypeError:
            self._problems.append(
                f"{path}: a subclass of {before[0].__name__} that cannot be given another base:"
                " have it hold one instead"
            )
            return
        cls.__bases__ = before
        self._changes.append((_attribute(cls, "__bases__"), bases))
        self._undo.append(_restore(cls, "__bases__", before))

    def _visit_container(self, value: dict[Any, Any] | list[Any], path: str) -> None:
        if isinstance(value, dict):
            self._keep_dict(value)
            pairs: Iterable[tuple[Any, Any]] = list(value.items())
        else:
            self._keep_list(value)
            pairs = list(enumerate(value))
        for key, inner in pairs:
            self._visit(inner, f"{path}[{key!r}]", _item(value, key))

    def _visit_instance(self, value: Any, path: str) -> None:
        self._visit_wrapped(value, path)
        inside = getattr(value, "__dict__", None)
        if not isinstance(inside, dict):
            self._visit_slots(value, path)
            return
        if type(value).__module__ in self._names or isinstance(value, _SIMPLE):
            self._keep_dict(inside)
            for name, inner in list(inside.items()):
                self._visit(inner, f"{path}.{name}", _attribute(value, name))
            self._visit_slots(value, path)
        elif not type(value).__module__.startswith("logging"):
            self._look_at(inside.values(), path, type(value).__module__)

    def _visit_slots(self, value: Any, path: str) -> None:
        if type(value).__module__ in self._names:
            for cls in type(value).__mro__:
                for name in cls.__dict__.get("__slots__", ()):
                    if hasattr(value, name):
                        inner = getattr(value, name)
                        self._visit(inner, f"{path}.{name}", _attribute(value, name))
                        self._undo.append(_restore(value, name, inner))

    def _look_at(self, values: Iterable[Any], path: str, module: str = "") -> None:
        """Where nothing can be replaced: there must be no lock."""
        for value in values:
            if path not in self._allowed and is_made_before(value):
                remedy = f"instrument {module}, too" if module else "keep it in a list"
                self._problems.append(
                    f"{path}: a {type(value).__name__} that was made before, and is out of reach:"
                    f" {remedy}, or make it in a function that the scenario calls, or"
                    f" allow={path!r}"
                )

    # Keeping.

    def _keep_dict(self, kept: dict[Any, Any]) -> None:
        before = dict(kept)

        def undo() -> None:
            for key in [key for key in kept if key not in before]:
                del kept[key]
            for key, value in before.items():
                if key not in kept or kept[key] is not value:
                    kept[key] = value

        self._undo.append(undo)

    def _keep_list(self, kept: list[Any]) -> None:
        before = list(kept)
        self._undo.append(lambda: kept.__setitem__(slice(None), before))

    # Imports within functions.

    def _watch_imports(self) -> None:
        def imported(
            name: str,
            globals: Any = None,  # noqa: A002 - its name in the library
            locals: Any = None,  # noqa: A002
            fromlist: Any = (),
            level: int = 0,
        ) -> Any:
            module = _IMPORT(name, globals, locals, fromlist, level)
            if globals is None or globals.get("__name__") not in self._names:
                return module
            self._problems.clear()
            where = f"{globals['__name__']}: import {name}"
            if self._is_refused(sys.modules.get(name, module), where) and self._problems:
                raise Uncontrolled(self._problems[0])
            return facade(module)

        builtins.__import__ = imported


#: Of other modules, and yet only holders of what they were given.
_SIMPLE = (functools.cached_property, functools.partialmethod)


def _nowhere(new: Any) -> None:
    """For what cannot be replaced, and is not: only its inside is looked at."""


def _item(container: Any, key: Any) -> Put:
    return lambda new: container.__setitem__(key, new)


def _attribute(owner: Any, name: str) -> Put:
    return lambda new: setattr(owner, name, new)


def _on_class(cls: type, name: str) -> Put:
    # The library's functions do not become methods, ours would.
    return lambda new: setattr(
        cls, name, staticmethod(new) if isinstance(new, FunctionType) else new
    )


def _default(function: FunctionType, number: int) -> Put:
    def put(new: Any) -> None:
        defaults = list(function.__defaults__ or ())
        defaults[number] = new
        function.__defaults__ = tuple(defaults)

    return put


def _restore(owner: Any, name: str, value: Any) -> Callable[[], None]:
    return lambda: setattr(owner, name, value)


def _restore_defaults(
    function: FunctionType, defaults: tuple[Any, ...] | None
) -> Callable[[], None]:
    return lambda: setattr(function, "__defaults__", defaults)


def _restore_class(cls: type, before: dict[str, Any]) -> None:
    now = dict(vars(cls))
    for name in now.keys() - before.keys():
        delattr(cls, name)
    for name, value in before.items():
        if now.get(name) is not value:
            setattr(cls, name, value)
