"""A directory of links, in which an engine can open what lies where nothing may be made.

tantivy makes and locks a file in the directory that it opens an index in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cidx_ref.files import Directory
from cidx_ref.places import make, state_directory
from cidx_ref.scratch import Scratch

__all__ = ["links_to"]


@contextmanager
def links_to(
    targets: Mapping[str, str], copies: Mapping[str, bytes] | None = None
) -> Iterator[Path]:
    """A directory, for as long as the block runs, in which each name of `targets` is a link to that
    path, and each of `copies` a file of that content.  Raises `OSError`."""
    with _make_scratch() as links:
        with Directory.open(links) as made:
            for name, target in targets.items():
                made.symlink(target, name)
            for name, content in (copies or {}).items():
                with made.writer(name) as file:
                    file.write(content)
        yield links


def _make_scratch() -> Scratch:
    try:
        return Scratch("cidx-ref-")
    except OSError:  # it is gone since this process was started, or nothing may be made there
        state = state_directory()
        make(state)
        return Scratch(".links-", state)
