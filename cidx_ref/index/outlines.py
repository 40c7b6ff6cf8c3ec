"""Which outline a file has: the one place that knows how each language's is found."""

from __future__ import annotations

from functools import cache
from itertools import chain

from cidx_ref.index.headings import markdown_outline
from cidx_ref.index.keys import KEYED, keys_outline
from cidx_ref.index.patterns import outlined
from cidx_ref.index.pythonic import python_outline
from cidx_ref.index.structure import Outline
from cidx_ref.index.syntax import Syntax

__all__ = ["OUTLINED", "WRITTEN_IN", "outline_of", "syntax_of"]

#: Which module has the patterns of a language.
_HOMES = {
    "config": "cmake dockerfile graphql hcl makefile protobuf".split(),
    "scripts": ["perl"],
    "systems": "c cpp cuda go rust zig".split(),
    "typed": "csharp java kotlin scala swift".split(),
    "web": "javascript php typescript".split(),
    "words": "elixir haskell lua ruby shell sql".split(),
}
#: What is written in another language, but for what is around it: components of pages have their
#: scripts, and their markup defines nothing.
WRITTEN_IN = {
    **dict.fromkeys(("astro", "svelte", "vue"), "typescript"),
    "starlark": "python",
}
#: The languages that have outlines of their own.
OUTLINED = frozenset(("markdown", "python", *chain.from_iterable(_HOMES.values())))


def outline_of(language: str, text: str, lines: list[str], path: str = "") -> Outline | None:
    """The outline of `text`, which is `lines`; None where none is to be had.

    `path` tells what keys are there for.
    """
    language = WRITTEN_IN.get(language, language)
    if language == "python":
        return python_outline(text, lines)
    if language in KEYED:
        return keys_outline(language, path, lines)
    if language == "markdown":
        return markdown_outline(lines)
    syntax = syntax_of(language)
    return outlined(syntax, lines) if syntax is not None else None


@cache
def syntax_of(language: str) -> Syntax | None:
    """How the definitions of `language` look; None if nobody has said it."""
    # Not at the top: a daemon cuts no file, and all patterns take 40 ms to be compiled.
    if language in _HOMES["config"]:
        from cidx_ref.index.heads_config import CONFIG as SYNTAXES
    elif language in _HOMES["scripts"]:
        from cidx_ref.index.heads_scripts import SCRIPTS as SYNTAXES
    elif language in _HOMES["systems"]:
        from cidx_ref.index.heads_systems import SYSTEMS as SYNTAXES
    elif language in _HOMES["typed"]:
        from cidx_ref.index.heads_typed import TYPED as SYNTAXES
    elif language in _HOMES["web"]:
        from cidx_ref.index.heads_web import WEB as SYNTAXES
    elif language in _HOMES["words"]:
        from cidx_ref.index.heads_words import WORDS as SYNTAXES
    else:
        return None
    return SYNTAXES[language]
