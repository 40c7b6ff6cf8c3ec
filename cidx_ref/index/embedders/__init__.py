"""Which embedder there is: the environment names it, and nothing else does.

`CIDX_REF_EMBEDDER` is a name, of those in the box or of those that installed distributions offer in
the entry-point group `cidx_ref.embedders`, or else `package.module:callable`.  It is an environment
variable and not a key of config.json: a repository that somebody clones must not choose what runs
on their machine.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from cidx_ref.errors import CidxError, ConfigError
from cidx_ref.index.embed import Embedder, HashingEmbedder
from cidx_ref.shown import shown

__all__ = ["GROUP", "IN_THE_BOX", "VARIABLE", "collection_of", "configured"]

VARIABLE = "CIDX_REF_EMBEDDER"
GROUP = "cidx_ref.embedders"

#: Those of this package; pyproject.toml has the same.  No other distribution may take their names.
IN_THE_BOX = {
    "default": "cidx_ref.index.embed:HashingEmbedder",
    "http": "cidx_ref.index.embedders.service:from_environment",
    "sentence": "cidx_ref.index.embedders.sentence:from_environment",
    "static": "cidx_ref.index.embedders.static:from_environment",
}
_NEEDED = ("id", "dim", "embed_documents", "embed_query")


def configured() -> Embedder:
    """The embedder that the environment names, or the default.  Raises `ConfigError`."""
    name = os.environ.get(VARIABLE, "")
    if not name:
        return HashingEmbedder()
    where = f"{VARIABLE}: {shown(name)}"
    place = IN_THE_BOX.get(name) or (name if ":" in name else _offered(name, where))
    embedder = _made(_found(place, where), where)
    for needed in _NEEDED:
        if not hasattr(embedder, needed):
            raise ConfigError(f"{where}: what it makes has no {needed!r}")
    return embedder  # type: ignore[no-any-return]


def collection_of(embedder: Embedder) -> str:
    """What the full cidx calls the collection of this model's vectors; "" if it has none.

    It is the attribute `collection` of an embedder: the model's name, with `_` for `/` and `:`.
    """
    found = getattr(embedder, "collection", "")
    return found if isinstance(found, str) else ""


def _offered(name: str, where: str) -> str:
    """Where the embedder is that an installed distribution offers by that name."""
    # Here, and not at the top: to look through what is installed takes as long as a query.
    from importlib.metadata import entry_points

    every = entry_points(group=GROUP)
    places = sorted({point.value for point in every if point.name == name})
    if len(places) == 1:
        return places[0]
    if places:
        raise ConfigError(f"{where}: more than one is installed: {', '.join(places)}")
    names = sorted({*IN_THE_BOX, *every.names})
    raise ConfigError(
        f"{where}: no such embedder: must be one of {', '.join(names)}, or package.module:callable"
    )


def _found(place: str, where: str) -> Any:
    module, _, attribute = place.partition(":")
    try:
        found = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{where}: must be package.module:callable ({_why(error)})") from None
    return found


def _made(make: Any, where: str) -> Any:
    try:
        return make()
    except CidxError as error:  # which says what to do
        raise ConfigError(f"{where}: {error}") from None
    except (Exception, SystemExit) as error:  # the command would end with its status
        raise ConfigError(f"{where}: it cannot be made ({_why(error)})") from None


def _why(error: BaseException) -> str:
    """What an exception of somebody else's code is, without what it says: that may be a path or a
    key, and goes to whoever asks the daemon."""
    kind = type(error).__name__
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"{kind}: no module {error.name}"
    if isinstance(error, AttributeError) and error.name:
        return f"{kind}: nothing there is called {error.name}"
    return kind
