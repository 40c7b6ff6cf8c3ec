"""A directory of links, in which an engine can open what lies where nothing may be made.

tantivy makes and locks a file in the directory that it opens an index in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

from cidx_ref.files import Directory
from cidx_ref.places import make, state_directory

__all__ = ["links_to"]

_TRIES = 100


@contextmanager
def links_to(
    targets: Mapping[str, str], copies: Mapping[str, bytes] | None = None
) -> Iterator[Path]:
    """A directory, for as long as the block runs, in which each name of `targets` is a link to that
    path, and each of `copies` a file of that content.  Raises `OSError`."""
    links = _make_scratch()
    try:
        with Directory.open(links) as made:
            for name, target in targets.items():
                made.symlink(target, name)
            for name, content in (copies or {}).items():
                with made.writer(name) as file:
                    file.write(content)
        yield links
    finally:
        _remove(links)


def _make_scratch() -> Path:
    try:
        return Path(mkdtemp(prefix="cidx-ref-"))
    except OSError:  # it is gone since this process was started, or nothing may be made there
        state = state_directory()
        make(state)
        return Path(mkdtemp(prefix=".links-", dir=state))


def _remove(links: Path) -> None:
    """Remove a directory that tantivy has just opened, and in which a thread of it may be making a
    lock, for a moment."""
    with suppress(OSError), Directory.open(links.parent) as above:
        for _ in range(_TRIES):
            above.remove(links.name)
            if above.status(links.name) is None:
                return
