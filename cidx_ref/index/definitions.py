"""Of several definitions of one name, which is the one that is asked for.

A chunk is called by a qualified name, in which there are no modules and packages: what those are,
its path says.  It may define more than it is called, such as the members of an interface.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from cidx_ref.index import languages
from cidx_ref.index.analysis import names_of_file
from cidx_ref.index.asked import Name
from cidx_ref.index.purpose import purpose
from cidx_ref.index.structure import INNER, OWNER

__all__ = ["Definition", "shares"]

_OTHERWISE_WRITTEN, _WITHOUT_SIGNS = 0.5, 0.8
_DECLARED = 0.6
_INNER = 0.4  # what is defined within a function, and may be called so in many
_CONSTRUCTOR, _BESIDE_ITS_CLASS = 0.9, 0.6
# Of a qualified name: what is a part of something that is called so, among others; what is
# qualified by something beside it, or by its path; by something else; and where nothing is.
_OWNED, _AROUND, _OTHERWISE_QUALIFIED, _UNQUALIFIED = 0.95, 0.85, 0.1, 0.8
_OF_ANOTHER = 0.65
_FURTHER = 0.1  # what the qualifiers before the last one say, all together
#: What says again what the code says: by what it is called itself, it qualifies nothing.
_COPYING = frozenset(("declaration", "document", "vendored", "generated"))
#: In which what is called so configures the code that is called so, or builds it.
_CONFIGURING = frozenset("cmake dockerfile hcl ini json makefile toml yaml".split())
_KEY = 0.4  # also of a plain word, which many have as a key, and which says something of code
_HEADERS = (".h", ".hh", ".hpp", ".hxx")
#: What names of some languages begin or end with: `valid?`, `save!`, `name=`, `~Pool`, `$fields`.
_SIGNS = "?!=~$"


class Definition(NamedTuple):
    """A chunk that defines the name: what it is called, in small letters, and what it defines."""

    called: str
    defines: tuple[str, ...]
    path: str

    def written_share(self, name: Name) -> float:
        """How much it defines what is written so: `valid?` is nearly what `valid` asks for."""
        if name.written in self.defines:
            return 1.0
        if INNER + name.written in self.defines:
            return _INNER
        if self._is_module(name) == 1:
            return 1.0
        bare = name.parts[-1]
        if any(bare == each.strip(_SIGNS) for each in self.defines):
            return _WITHOUT_SIGNS
        wanted = _letters(bare)
        is_inner = any(
            each.startswith(INNER) and not each.startswith(OWNER) and _letters(each) == wanted
            for each in self.defines
        )
        return _OTHERWISE_WRITTEN * (_INNER if is_inner else 1.0)

    def qualified_share(self, name: Name) -> float:
        """How much of a qualified name it has, or what it is a part of."""
        if share := self._is_module(name):
            return share
        *further, qualifier, last = (part.lower() for part in name.parts)
        called = self.called.split(".")
        *folders, file = self.path.lower().split("/")
        own = {*called, *(each[len(OWNER) :].lower() for each in self.defines if each[:2] == OWNER)}
        around = {*own, *(each.lower() for each in self.defines), *folders, *file.split(".")[:1]}
        if [qualifier, last] == called[-2:]:
            share = 1.0
        elif qualifier in own:
            share = _OWNED
        elif qualifier in around:
            share = _AROUND
            if len(called) > 1:  # by a path, and of something else
                share *= _OF_ANOTHER
        else:
            return 0.0
        missing = [part for part in further if part not in around]
        return share * (1 - _FURTHER * len(missing) / max(1, len(further)))

    def _is_module(self, name: Name) -> float:
        """How much the file is the module that is called so: 1 where its folders have all that
        qualifies it, less where they have some of it, and 0 where it is no module, or none."""
        *qualifiers, last = name.parts
        if name.written in self.defines or INNER + name.written in self.defines:
            return 0.0
        own, *package = names_of_file(self.path)
        folders = self.path.split("/")[:-1]
        if last in package:
            folders.pop()
        elif last != own:
            return 0.0
        if not qualifiers or folders[-len(qualifiers) :] == qualifiers:
            return float(bool(qualifiers))
        missing = sum(part not in folders for part in qualifiers)
        return _AROUND * (1 - missing / len(qualifiers))


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def shares(name: Name, found: Mapping[int, Definition]) -> dict[int, float]:
    """How much each of the definitions that were `found` is what is asked for by `name`.

    What is written as it is asked for, rather than what differs in signs, case or joints; what has
    a body, rather than a header's prototype; a class, rather than what makes one; and of a
    qualified name, what has all of it, rather than its last part.  The best of them by all but the
    last has all: somebody must be meant.
    """
    if not name.parts:
        return dict.fromkeys(found, 1.0)
    declaring = _declarations(name, found)
    last = name.parts[-1].lower()
    share: dict[int, float] = {}
    classes: set[tuple[str, str]] = set()  # where there is one of that name: pieces are in order
    for chunk, each in sorted(found.items()):
        share[chunk] = each.written_share(name) * (_DECLARED if chunk in declaring else 1.0)
        if len(name.parts) == 1 and each.called.split(".")[-1] == last:
            # A further piece of the class that defines what it is called has its constructor.
            around = each.called.removesuffix(last).removesuffix(f"{last}.")
            if (each.path, around) in classes:
                share[chunk] *= _BESIDE_ITS_CLASS
            elif each.called.split(".")[-2:] == [last, last]:
                share[chunk] *= _CONSTRUCTOR
            classes.add((each.path, around))
    _cap(share, name, found)
    best = max(share.values(), default=1.0)
    if len(name.parts) == 1:
        keyed = _KEY if name.written.islower() and name.written.isalpha() else 1.0
        return {
            chunk: each / best * (keyed if _configures(found[chunk].path) else 1.0)
            for chunk, each in share.items()
        }
    said = {n: each.qualified_share(name) for n, each in found.items() if n not in declaring}
    qualified = {chunk: each for chunk, each in said.items() if each}
    is_defined = any(
        each > _AROUND or purpose(found[n].path) not in _COPYING for n, each in qualified.items()
    )
    least = _OTHERWISE_QUALIFIED if is_defined else _UNQUALIFIED
    share = {chunk: each / best * qualified.get(chunk, least) for chunk, each in share.items()}
    _cap(share, name, {n: found[n] for n in qualified})
    return share


def _cap(share: dict[int, float], name: Name, found: Mapping[int, Definition]) -> None:
    """What tests, declarations and documents call so is no more than what the code calls so that
    they are about, be it within a function; and keys of what configures come after all of it."""
    beside = {n for n, each in found.items() if purpose(each.path)}
    settings = {n for n, each in found.items() if _configures(each.path)}
    inner = INNER + name.written
    coded = [
        share[n]
        for n, each in found.items()
        if n not in beside | settings and (name.written in each.defines or inner in each.defines)
    ]
    if coded:
        share.update((n, min(share[n], max(coded))) for n in beside)
        share.update((n, min(share[n], _KEY * max(coded))) for n in settings)


def _configures(path: str) -> bool:
    return languages.of(path) in _CONFIGURING


def _declarations(name: Name, found: Mapping[int, Definition]) -> Collection[int]:
    """Those that only declare what others define: of headers, and not called like it."""
    last = name.parts[-1].lower()
    declaring = {
        chunk
        for chunk, each in found.items()
        if each.path.endswith(_HEADERS) and each.called.rpartition(".")[2] != last
    }
    is_defined = any(
        chunk not in declaring
        and purpose(each.path) != "test"
        and each.written_share(name) > _OTHERWISE_WRITTEN
        for chunk, each in found.items()
    )
    return declaring if is_defined else ()
