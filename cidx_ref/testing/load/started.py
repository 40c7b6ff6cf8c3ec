"""Which daemon a session has: one that is there, or one of its own, and what it is asked.

By what the command line says: `--host` (a daemon that has the story's methods), `--daemon` (a
command that starts one), `--target` (what a target says), or nothing (our own).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from cidx_ref.testing.conformance import corpus as plain_words
from cidx_ref.testing.conformance.named import target_named
from cidx_ref.testing.conformance.target import Attach, Cap, Target
from cidx_ref.testing.load import place
from cidx_ref.testing.load.corpus import STDLIB, Question
from cidx_ref.testing.load.kept import KeptDaemon

__all__ = ["NO_OWN", "Plan", "is_own", "planned", "questions", "target_of"]

_KEEPER = "cidx_ref.testing.load.keeper"
_OWN_KEEPER = "cidx_ref.testing.own.keeper"
NO_OWN = (
    "our own daemon is not installed: pip install cidx-ref, or name another one "
    "with --target MODULE:TARGET"
)


@dataclass(frozen=True)
class Plan:
    """What daemon there is to be."""

    target: Target
    #: Empty where the daemon is there already.
    keeper: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    #: Of our own: what makes clients that start it.
    make_client: Callable[..., Any] | None = None
    #: Where it is, if it is there already.
    there: place.Place | None = None

    def reached(self, kept: KeptDaemon | None) -> place.Place:
        """Where it is.  Raises `OSError`, `EOFError`, `ValueError`."""
        if kept is None:
            assert self.there is not None
            return self.there
        found = place.Place(self.target, kept.host, kept.root)
        return place.able(found) if "command" in self.given and not self.make_client else found

    def as_told(self, brief: Mapping[str, Any]) -> place.Place:
        """Where it is, by what the leading process says."""
        target = self.target
        if self.there is None and not self.make_client and "command" in self.given:
            target = replace(target, capabilities={Cap[name] for name in brief["caps"]})
        return place.Place(target, brief["host"], Path(brief["root"]))


def target_of(options: Any, host: str | None) -> Target:
    """The daemon that is to be asked.  Raises `ValueError`, `OSError`, `EOFError`."""
    return planned(options, None, host).target


def planned(
    options: Any, scenario: Any, host: str | None, brief: Mapping[str, Any] | None = None
) -> Plan:
    """Raises `ValueError`, `OSError`, `EOFError`."""
    if brief is not None and not brief["owns_daemon"] and not options.target:
        caps = [Cap[name] for name in brief["caps"]]
        there = place.story(brief["host"], brief["root"], caps)
        return Plan(there.target, there=there)
    if host:
        there = place.story(host, options.project)
        return Plan(there.target, there=there)
    values = dict(scenario.values) if scenario else {}
    if options.daemon:
        given = {"command": options.daemon, "values": values}
        return Plan(place.spawned(options.daemon), _KEEPER, given)
    if options.target:
        target = target_named(options.target)
        if isinstance(target.start, Attach):
            return Plan(target, there=place.attached(target))
        if not is_own(target):
            given = {"target": options.target, "path": str(Path.cwd()), "values": values}
            return Plan(target, _KEEPER, given)
        return _own(options, scenario, target)
    return _own(options, scenario, None)


def is_own(target: Target) -> bool:
    """Whether it is this package's daemon, which `own` knows more of than a target says."""
    return hasattr(target, "command")


def _own(options: Any, scenario: Any, target: Any) -> Plan:
    try:
        own = import_module("cidx_ref.testing.own.load")
    except ImportError as error:
        if (error.name or "").startswith("cidx_ref.testing"):
            raise
        raise ValueError(NO_OWN) from None
    target = target or own.OWN
    environment = getattr(scenario, "daemon_environment", None)
    environment = own.ENVIRONMENT if environment is None else environment
    given = {
        "source": str(Path(options.source).resolve()) if options.source else None,
        "config": dict(getattr(scenario, "config", {})),
        "environment": dict(environment),
        "command": list(target.command),
    }
    launch = own.launching(target.command, environment)
    return Plan(target, _OWN_KEEPER, given, partial(_shipped, own.ShippedClient, launch))


def _shipped(make: Any, launch: Any, where: place.Place, timeout_s: float) -> Any:
    return make(where.root, timeout_s, launch)


def questions(options: Any, target: Target, *, is_own: bool) -> Sequence[Question]:
    """What is known to be asked; nothing where questions are to be made of the project."""
    if target.questions:
        return [Question(text, path) for text, path in target.questions]
    if is_own:
        return () if options.source else STDLIB
    if isinstance(target.start, Attach):
        return ()
    return [Question(text, path) for text, path in plain_words.QUESTIONS]
