"""What decides how a file is indexed but the file itself: the rules.

They are known by the text of the modules that hold them: nobody has to count their versions.
"""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Iterable
from hashlib import blake2b

from cidx_ref._version import __version__

__all__ = ["cutting_rules", "recipe", "rules_of"]

#: Which text a file has, and whether it belongs.
_READING = ("scan.py", "decode.py", "notebook.py", "generated.py", "defaults.py")
#: What comes of it: pieces, their names, their terms, and the vectors of the default embedder.
_CUTTING = (
    *("decode.py", "notebook.py", "languages.py", "structure.py", "pythonic.py"),
    *("syntax.py", "above.py", "patterns.py"),
    *("purpose.py", "keys.py", "heads_config.py"),
    *("heads_scripts.py", "heads_systems.py", "heads_typed.py", "heads_web.py", "heads_words.py"),
    "headings.py",
    *("outlines.py", "layout.py", "chunk.py"),
    "cutting.py",
    *("stems.py", "codes.py", "text.py", "analysis.py", "embed.py", "rarity.txt"),
)


def recipe(max_bytes: int) -> str:
    """By what a file was read: the limit of its size, the codecs of this Python, and the rules."""
    return f"{max_bytes} {sys.hexversion:x} {rules_of(_READING)}"


def cutting_rules() -> str:
    """By what an index was made of the files that were read.

    The grammar of this Python, by which Python is cut, is not in it: two interpreters in turn would
    make each other's index anew.
    """
    return rules_of(_CUTTING)


def rules_of(names: Iterable[str]) -> str:
    """A digest of the text of these modules and tables of `cidx_ref.index`."""
    digest = blake2b(digest_size=16)
    for name in names:
        try:
            text = pkgutil.get_data(__package__, name)
        except OSError:  # an installation without sources
            text = None
        digest.update(text if text is not None else __version__.encode())
    return digest.hexdigest()
