"""Where the archives come from: the registries that this machine is set up for, and a cache.

Which hosts those are, pip, npm and apt know.  An archive counts by its checksum alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, urldefrag, urljoin, urlsplit
from urllib.request import Request, urlopen

from ranking.questions import Repository

__all__ = ["CACHE", "UnavailableError", "default_cache", "fetched"]

#: The environment's variable that says where archives are kept.
CACHE = "CIDX_REF_RANKING_CACHE"
_MAX_BYTES = 256 << 20
_TIMEOUT_S = 120
_LISTING = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"


class UnavailableError(Exception):
    """An archive cannot be had here, and why."""


def default_cache() -> Path:
    """Where archives are kept, out of every tree."""
    if named := os.environ.get(CACHE):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cidx-ref-ranking"


def fetched(repository: Repository, cache: Path) -> Path:
    """The archive of `repository` in `cache`, fetched if it is not there.

    Raises `UnavailableError`.
    """
    kept = cache / repository.archive
    if kept.is_file() and _digest(kept) == repository.sha256:
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        try:
            got = _FROM[repository.source](repository, Path(folder))
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise UnavailableError(f"{type(error).__name__}: {error}") from error
        if _digest(got) != repository.sha256:
            raise UnavailableError(f"{got.name} is not what was pinned")
        got.replace(kept)
    return kept


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _from_pypi(repository: Repository, folder: Path) -> Path:
    """From the index of pip.  `pip download` itself would run what it fetched, to ask it what it
    needs."""
    name = re.sub(r"[-_.]+", "-", repository.name).lower()
    listing = urljoin(f"{_index().rstrip('/')}/", f"{name}/")
    with _opened(listing, _LISTING) as response:
        page = response.read(_MAX_BYTES)
        kind = response.headers.get_content_type()
    links = _json_links(page) if kind.endswith("json") else _html_links(page)
    for file, link in links:
        if file == repository.archive:
            return _downloaded(urldefrag(urljoin(listing, link)).url, folder / file)
    raise UnavailableError(f"the index has no {repository.archive}")


def _index() -> str:
    """The index that pip would use: its help shows it, whatever it was configured by."""
    output = _output(sys.executable, "-m", "pip", "download", "--help", COLUMNS="2000")
    found = re.search(r"--index-url <url>[^\n]*\(default (\S+)\)", output)
    if found is None or "****" in found[1]:
        raise UnavailableError("pip does not say which index it uses")
    return found[1]


def _json_links(page: bytes) -> list[tuple[str, str]]:
    return [(file["filename"], file["url"]) for file in json.loads(page)["files"]]


def _html_links(page: bytes) -> list[tuple[str, str]]:
    parser = _Links()
    parser.feed(page.decode("utf-8", "replace"))
    return parser.links


class _Links(HTMLParser):
    """What a page links to, by the last part of the path."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        link = dict(attrs).get("href") if tag == "a" else None
        if link:
            self.links.append((urlsplit(link).path.rpartition("/")[2], link))


def _from_npm(repository: Repository, folder: Path) -> Path:
    wanted = f"{repository.name}@{repository.version}"
    _output("npm", "pack", "--silent", "--ignore-scripts", f"--pack-destination={folder}", wanted)
    return next(folder.iterdir())


def _from_debian(repository: Repository, folder: Path) -> Path:
    """From the pools of apt's mirrors, where the sources of each release lie beside each other."""
    source = repository.name
    letter = source[:4] if source.startswith("lib") else source[0]
    errors = []
    for mirror in _mirrors():
        link = urljoin(mirror, f"pool/main/{letter}/{source}/{quote(repository.archive, '+~')}")
        try:
            return _downloaded(link, folder / repository.archive)
        except OSError as error:
            errors.append(str(error))
    raise UnavailableError("; ".join(errors) or "apt has no mirror")


def _mirrors() -> Iterator[str]:
    output = _output("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages")
    return (f"{line.rstrip('/')}/" for line in dict.fromkeys(output.split()))


_FROM: dict[str, Callable[[Repository, Path], Path]] = {
    "pypi": _from_pypi,
    "npm": _from_npm,
    "debian": _from_debian,
}


def _output(*command: str, **variables: str) -> str:
    program = shutil.which(command[0])
    if program is None:
        raise UnavailableError(f"there is no {command[0]}")
    done = subprocess.run(
        [program, *command[1:]],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=True,
    )
    return done.stdout


def _opened(link: str, accept: str = "*/*"):  # type: ignore[no-untyped-def]  # as `urlopen` is
    if urlsplit(link).scheme not in ("http", "https"):
        raise UnavailableError(f"not fetched: {link}")
    return urlopen(Request(link, headers={"Accept": accept}), timeout=_TIMEOUT_S)


def _downloaded(link: str, place: Path) -> Path:
    with _opened(link) as response, place.open("wb") as file:
        left = _MAX_BYTES
        while block := response.read(min(left, 1 << 20)):
            file.write(block)
            left -= len(block)
    return place
