"""Which outline a file has: the one place that knows how each language's is found."""

from __future__ import annotations

from cidx_ref.index.headings import markdown_outline
from cidx_ref.index.heads_systems import SYSTEMS
from cidx_ref.index.heads_typed import TYPED
from cidx_ref.index.heads_web import WEB
from cidx_ref.index.heads_words import WORDS
from cidx_ref.index.patterns import outlined
from cidx_ref.index.pythonic import python_outline
from cidx_ref.index.structure import Outline

__all__ = ["OUTLINED", "outline_of"]

_SYNTAXES = {**SYSTEMS, **TYPED, **WEB, **WORDS}
#: The languages that have outlines.
OUTLINED = frozenset(("markdown", "python", *_SYNTAXES))


def outline_of(language: str, text: str, lines: list[str]) -> Outline | None:
    """The outline of `text`, which is `lines`; None where none is to be had."""
    if language == "python":
        return python_outline(text, lines)
    if language == "markdown":
        return markdown_outline(lines)
    syntax = _SYNTAXES.get(language)
    return outlined(syntax, lines) if syntax is not None else None
