"""Why an engine does not answer from an index of the full cidx, in words, and what to do: it is not
there, it cannot be used, it is damaged, or it was made with another model.

No engine is loaded here: a status says this, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cidx_ref.index.cidx import tree
from cidx_ref.index.cidx.tree import Tree
from cidx_ref.index.embed import Embedder
from cidx_ref.index.embedders import collection_of

__all__ = ["model_of", "problems_of"]

_WHAT = {"semantic": ("vectors", "are"), "fts": ("full text", "is")}
_ANEW = {"semantic": "`cidx index`", "fts": "`cidx index --fts`"}


def model_of(embedder: Embedder) -> str:
    """The collection that has this model's vectors: what `embedder` says, else by its id."""
    return tree.collection_of(collection_of(embedder) or embedder.id)


def problems_of(found: Tree, record: Mapping[str, Any], embedder: Embedder) -> dict[str, str]:
    """By engine, why it does not answer; `record` is what was checked of what was `found`."""
    said = {engine: _said(found, record, engine) for engine in _WHAT}
    if not said["semantic"]:
        said["semantic"] = _mismatch(found, record, embedder)
    return {engine: why for engine, why in said.items() if why}


def _said(found: Tree, record: Mapping[str, Any], engine: str) -> str:
    problem = record["problems"].get(engine)
    if not problem:
        return ""
    what, is_ = _WHAT[engine]
    anew = f"have it made anew there ({_ANEW[engine]})"
    if engine in record["passing"]:
        return f"the full cidx's {what} could not be checked ({problem}): it is tried again"
    if engine in found.refused:
        return f"the full cidx's {what} cannot be used ({found.refused[engine]}): {anew}"
    if not (found.has_text if engine == "fts" else found.collection):
        return (
            f"the full cidx has no {what} here: have it made there ({_ANEW[engine]}), or run "
            "`cidx-ref index`, which makes an index of ours"
        )
    return f"the full cidx's {what} {is_} damaged ({problem}): {anew}"


def _mismatch(found: Tree, record: Mapping[str, Any], embedder: Embedder) -> str:
    model = model_of(embedder)
    if found.collection == model and record["dim"] == embedder.dim:
        return ""
    return (
        f"the full cidx's vectors were made with the model {found.collection!r} ({record['dim']} "
        f"dimensions), the embedder here is {model!r} ({embedder.dim}): name that model where the "
        "daemon is started (CIDX_REF_EMBEDDER), or run `cidx-ref index`, which makes an index of "
        "ours"
    )
