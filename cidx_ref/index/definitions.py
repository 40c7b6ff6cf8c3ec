"""Of several definitions of one name, which is the one that is asked for.

A chunk is called by a qualified name, in which there are no modules and packages: what those are,
its path says.  It may define more than it is called, such as the members of an interface.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from cidx_ref.index.purpose import purpose

__all__ = ["Definition", "shares"]

_OTHERWISE_WRITTEN = 0.5
_DECLARED = 0.6
# Of a qualified name: what is qualified by its path, by something else, and where nothing is.
_BY_PATH, _OTHERWISE_QUALIFIED, _UNQUALIFIED = 0.8, 0.1, 0.8
_HEADERS = (".h", ".hh", ".hpp", ".hxx")
#: What names of some languages begin or end with: `valid?`, `save!`, `name=`, `~Pool`, `$fields`.
_SIGNS = "?!=~$"


class Definition(NamedTuple):
    """A chunk that defines the name: what it is called, in small letters, and what it defines."""

    called: str
    defines: tuple[str, ...]
    path: str

    def is_written(self, name: str) -> bool:
        """Whether it defines what is written so, but for signs: `valid?` of `valid`."""
        return any(name in (each, each.strip(_SIGNS)) for each in self.defines)

    def qualifies(self, qualifier: str, name: str) -> float:
        """How much of it `qualifier` says, both in small letters."""
        called = self.called.split(".")
        if [qualifier, name] == called[-2:] or qualifier in called:
            return 1.0
        if qualifier in (each.lower() for each in self.defines):
            return 1.0
        *folders, file = self.path.lower().split("/")
        return _BY_PATH if qualifier in (*folders, file.partition(".")[0]) else 0.0


def shares(parts: Sequence[str], found: Mapping[int, Definition]) -> dict[int, float]:
    """How much each of the definitions that were `found` is what is asked for by a name of `parts`.

    What is written as it is asked for, rather than what differs in case or joints; what has a body,
    rather than a header's prototype; and of a qualified name, what has all of it, rather than its
    last part.  The best of them by the first two has all: somebody must be meant.
    """
    declaring = _declarations(parts[-1], found)
    share = {
        chunk: (1.0 if each.is_written(parts[-1]) else _OTHERWISE_WRITTEN)
        * (_DECLARED if chunk in declaring else 1.0)
        for chunk, each in found.items()
    }
    best = max(share.values(), default=1.0)
    qualified = _qualified(parts, {n: each for n, each in found.items() if n not in declaring})
    least = 1.0 if len(parts) == 1 else _OTHERWISE_QUALIFIED if qualified else _UNQUALIFIED
    return {chunk: each / best * qualified.get(chunk, least) for chunk, each in share.items()}


def _qualified(parts: Sequence[str], found: Mapping[int, Definition]) -> dict[int, float]:
    if len(parts) == 1:
        return {}
    qualifier, name = (part.lower() for part in parts[-2:])
    said = {chunk: each.qualifies(qualifier, name) for chunk, each in found.items()}
    return {chunk: share for chunk, share in said.items() if share}


def _declarations(name: str, found: Mapping[int, Definition]) -> Collection[int]:
    """Those that only declare what others define: of headers, and not called like it."""
    declaring = {
        chunk
        for chunk, each in found.items()
        if each.path.endswith(_HEADERS) and each.called.rpartition(".")[2] != name.lower()
    }
    is_defined = any(
        chunk not in declaring and purpose(each.path) != "test" and each.is_written(name)
        for chunk, each in found.items()
    )
    return declaring if is_defined else ()
