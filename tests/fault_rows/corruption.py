"""Rows: what lies in an index is damaged, of another time, or of another version.

An index of two graphs and two matrices, with dead files, and of some more of the full text is made
once; in each case a copy of it is damaged, loaded and asked here: if that crashes, the frame says
so.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from segments import in_segments, indexed

from cidx_ref.daemon.service import CIDXDaemonService
from cidx_ref.errors import CidxError, IndexUnusableError, NoIndexError, UntrustedError
from cidx_ref.files import Directory
from cidx_ref.index import assembly, base, manifest, snapshot
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.generation import Generations
from cidx_ref.keys import Key
from cidx_ref.project import Project
from cidx_ref.testing.own.fixtures import SAMPLE, write
from fault_rows.disk import in_memory
from fault_rows.table import Place, Trial, mutant, row

#: Of each what an answer must hold, if it holds anything.
QUESTIONS = {
    ("query_hybrid", "retry when the peer disconnects"): "net/retry.py",
    ("query", "compare the password"): "auth/login.py",
    ("query_fts", "in_the_second_matrix"): "more/matrix0.py",
    ("query_literal", "def in_the_second_graph"): "more/graph.py",
}

Answers = dict[tuple[str, str], Any]


class Copies:
    """A project with an index, of which each case has a copy to damage."""

    def __init__(self, path: Path) -> None:
        self.whole, self.older = path / "whole", path / "older"
        for name, content in SAMPLE.items():
            write(path / "project", name, content)
        self.project = Project.at(path / "project")
        in_segments(self.project)
        shutil.copytree(self.project.directory, self.older, symlinks=True)
        write(self.project.root, "more/last.py", "def of_the_last_edit():\n    return 9\n")
        indexed(self.project)
        shutil.copytree(self.project.directory, self.whole, symlinks=True)
        self.live = Generations(self.project.generations).current()
        self.right = self.answers()
        assert all(self.right[asked] for asked in QUESTIONS)
        #: What full text and vectors answer to the question of both, each where it is alone.
        self.alone = [self._without(engine) for engine in ("fulltext/meta.json", "vectors.*")]
        #: Every file, link and folder, by its path below `.code-indexer/`.
        self.entries = sorted(
            os.fspath(each.relative_to(self.whole)) for each in self.whole.rglob("*")
        )
        self.files = [name for name in self.entries if self._is(Path.is_file, name)]
        self.folders = [name for name in self.entries if self._is(Path.is_dir, name)]

    def _is(self, kind: Callable[[Path], bool], name: str) -> bool:
        return kind(self.whole / name) and not (self.whole / name).is_symlink()

    def _without(self, name: str) -> Any:
        self.restore()
        for found in sorted((self.project.generations / self.live).rglob(name)):
            found.write_bytes(b"")
        return self.answers()[next(iter(QUESTIONS))][0]

    def restore(self) -> None:
        with Directory.open(self.project.root) as root:
            root.remove(self.project.directory.name)
        shutil.copytree(self.whole, self.project.directory, symlinks=True)

    def answers(self) -> Answers:
        """To each question the hits and the engines that were missing; or the error."""
        service = CIDXDaemonService(self.project.root)
        found: Answers = {}
        try:
            for method, text in QUESTIONS:
                try:
                    told = getattr(service, f"exposed_{method}")(str(self.project.root), text)
                except (IndexUnusableError, NoIndexError, UntrustedError) as error:
                    found[method, text] = str(error)
                else:
                    hits = [(hit["path"], hit["line_start"]) for hit in told["results"]]
                    found[method, text] = hits, sorted(told.get("unavailable", ()))
        finally:
            service.exposed_clear_cache()
        return found

    def check_answers(self, did: str, before: Answers | None) -> None:
        """Each is right, or the other engine's with a word, or one clear error."""
        for asked, told in self.answers().items():
            if isinstance(told, str):
                is_clear = "\n" not in told and 10 < len(told) < 600
                assert is_clear, f"{did}: {asked}: an error that is none: {told!r}"
                continue
            hits, missing = told
            is_right = told == self.right[asked] or (before is not None and told == before[asked])
            is_others = bool(missing) and hits in self.alone
            assert is_right or is_others, f"{did}: {asked}: a wrong answer: {told}"

    def check_repair(self, did: str) -> None:
        """An index run makes it as good as new, or says what is to be removed for that."""
        said = ""
        try:
            bring_up_to_date(self.project, HashingEmbedder())
        except UntrustedError as error:
            said = str(error)
        if said:
            path, _, told = said.partition(" is a ")
            assert told.endswith(": remove it"), f"{did}: {said}"
            with Directory.open(Path(path).parent) as above:
                above.remove(Path(path).name)
            bring_up_to_date(self.project, HashingEmbedder())
        for asked, told in self.answers().items():
            assert not isinstance(told, str), f"{did}: {asked}: not repaired: {told}"
            hits, missing = told
            assert not missing, f"{did}: {asked}: not repaired: without {missing}"
            first = QUESTIONS[asked]
            assert hits[0][0] == first, f"{did}: {asked}: repaired, and finds {hits[:1]} first"


Damage = Callable[[Copies, Random, Path], object]


def _flip(copies: Copies, random: Random, path: Path) -> None:
    data = bytearray(path.read_bytes() or b"\0")
    for _ in range(random.choice((1, 1, 1, 2, 8))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    path.write_bytes(data)


def _cut(copies: Copies, random: Random, path: Path) -> None:
    os.truncate(path, random.choice((0, random.randrange(path.stat().st_size + 1))))


def _grow(copies: Copies, random: Random, path: Path) -> None:
    path.write_bytes(path.read_bytes() + random.randbytes(random.choice((1, 16, 4096))))


def _zero(copies: Copies, random: Random, path: Path) -> None:
    data = bytearray(path.read_bytes())
    size = min(len(data), random.choice((16, 512, 4096)))
    at = random.randrange(max(1, len(data) - size + 1))
    data[at : at + size] = bytes(size)
    path.write_bytes(data)


def _garbage(copies: Copies, random: Random, path: Path) -> None:
    path.write_bytes(random.randbytes(path.stat().st_size))


def _sparse(copies: Copies, random: Random, path: Path) -> None:
    os.truncate(path, 1 << random.choice((20, 32, 40)))


def _vanish(copies: Copies, random: Random, path: Path) -> None:
    path.unlink()


def _swap(copies: Copies, random: Random, path: Path) -> None:
    other = copies.project.directory / random.choice(copies.files)
    data = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(data)


def _replace(copies: Copies, random: Random, path: Path) -> None:
    path.write_bytes((copies.whole / random.choice(copies.files)).read_bytes())


def _older(copies: Copies, random: Random, path: Path) -> None:
    """A file of the same name of the generation before, where there is one."""
    namesakes = sorted(copies.older.rglob(path.name))
    if namesakes:
        shutil.copyfile(random.choice(namesakes), path)
    else:
        path.write_bytes(b"")


def _become(copies: Copies, random: Random, path: Path) -> None:
    path.unlink()
    kind = random.choice(("directory", "link", "dangling", "loop", "fifo", "device"))
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        with suppress(PermissionError):
            os.mknod(path, 0o20600, os.makedev(1, 5))  # /dev/zero
    else:
        path.symlink_to({"link": copies.whole / path.name, "loop": path}.get(kind, "nowhere"))


OF_FILES: dict[str, Damage] = {
    "flipped": _flip, "cut off": _cut, "grown": _grow, "zeroed": _zero, "garbage": _garbage,
    "sparse": _sparse, "gone": _vanish, "swapped": _swap, "another file": _replace,
    "older": _older, "no file": _become,
}  # fmt: skip


def _of_a_folder(copies: Copies, random: Random) -> str:
    name = random.choice(copies.folders)
    path = copies.project.directory / name
    others = [each for each in copies.folders if each.count("/") == name.count("/")]
    other = copies.project.directory / random.choice(others)
    aside = path.with_name("aside")
    how = random.choice(("gone", "empty", "swapped", "a file", "a link", "older"))
    path.rename(aside)
    if how == "empty":
        path.mkdir()
    elif how == "swapped" and other != path:
        other.rename(path)
        aside.rename(other)
    elif how == "a file":
        path.write_bytes(b"file")
    elif how == "a link":
        path.symlink_to(aside)
    elif how == "older" and (copies.older / name).is_dir():
        shutil.copytree(copies.older / name, path, symlinks=True)
    if aside.exists() and how != "a link":
        shutil.rmtree(aside)
    return f"folder {name}: {how}"


def _of_the_link(copies: Copies, random: Random) -> str:
    link = copies.project.generations / "current"
    link.unlink()
    flipped = bytearray(copies.live.encode())
    flipped[random.randrange(len(flipped))] ^= 1 << random.randrange(7)
    target = random.choice(
        ("nowhere", "..", ".", "/", "000001-aaaaaa", f"./{copies.live}", f"{copies.live}/",
         copies.live.upper(), "x" * 4000, os.fsdecode(bytes(flipped).replace(b"\0", b"0")))
    )  # fmt: skip
    kind = random.choice(("link", "link", "link", "file", "gone", "directory"))
    if kind == "link":
        link.symlink_to(target)
    elif kind == "file":
        link.write_text(target)
    elif kind == "directory":
        link.mkdir()
    return f"current: a {kind}: {target[:40]!r}"


def _of_time(copies: Copies, random: Random) -> str:
    """The whole of an older index, as one restores it, or as it was made to look live again."""
    before = Generations(copies.older / "generations").current()
    target = copies.project.generations
    shutil.copytree(copies.older / "generations" / before, target / before, symlinks=True)
    how = random.choice(("beside", "live", "under the newer one's name"))
    if how == "live":
        (target / "current").unlink()
        (target / "current").symlink_to(before)
    elif how != "beside":
        shutil.rmtree(target / copies.live)
        (target / before).rename(target / copies.live)
    return f"an older generation: {how}"


def damaged(copies: Copies, number: int) -> str:
    """Damage the copy in the way of that number; in words, what was done."""
    random = Random(f"corruption {number}")
    others = {17: _of_a_folder, 18: _of_the_link, 19: _of_time}
    if (other := others.get(number % 20)) is not None:
        return other(copies, random)
    # Every file in turn, and for each every kind of damage in turn.
    name = copies.files[number % len(copies.files)]
    kind = [*OF_FILES][number // len(copies.files) % len(OF_FILES)]
    OF_FILES[kind](copies, random, copies.project.directory / name)
    return f"{name}: {kind}"


@row(
    "bytes of an index are flipped, cut off, zeroed; files and folders of it are swapped, missing, "
    "older, or something else",
    *("WRITE-3", "QRY-1", "QRY-2", "QRY-3"),
    cases=3000,
    sample=24,
)
@contextmanager
def corruption(place: Place) -> Iterator[Trial]:
    with in_memory() as path:
        copies = Copies(path)
        before = _older_answers(copies)

        def check(number: int) -> None:
            copies.restore()
            # The sample takes large steps, so that it meets each kind of damage.
            did = damaged(copies, number * 7919 % 3000)
            is_older = did in ("an older generation: live", "folder generations: older")
            copies.check_answers(did, before if is_older else None)
            copies.check_repair(did)

        yield Trial(check)


def _older_answers(copies: Copies) -> Answers:
    with ExitStack() as stack:
        stack.enter_context(patch.object(copies, "whole", copies.older))
        copies.restore()
        return copies.answers()


@mutant("corruption", "checksums are not verified")
@contextmanager
def _unverified() -> Iterator[None]:
    with (
        patch.object(manifest, "_what_is_wrong", lambda *_: None),
        patch.object(snapshot, "damaged_files", lambda *_: {}),
        patch.object(base, "damaged_files", lambda *_: {}),
    ):
        yield


@mutant("corruption", "a damaged index is told as one that holds nothing")
@contextmanager
def _silent() -> Iterator[None]:
    query = CIDXDaemonService._query

    def answer(self: CIDXDaemonService, *arguments: Any) -> Any:
        try:
            return query(self, *arguments)
        except IndexUnusableError:
            return {"results": []}

    with patch.object(CIDXDaemonService, "_query", answer):
        yield


@mutant("corruption", "an index run takes what is damaged for up to date")
@contextmanager
def _unrepaired() -> Iterator[None]:
    with patch.object(base, "damaged_files", lambda *_: {}):
        yield


# Versions.

FORMATS = (manifest.FORMAT - 1, manifest.FORMAT, manifest.FORMAT + 1)


@contextmanager
def _as_version(number: int) -> Iterator[None]:
    """This package, as it might be in an earlier or a later version."""
    with (
        patch.object(manifest, "FORMAT", number),
        patch.object(assembly, "FORMAT", number),
        patch("cidx_ref.index.recipe.__version__", str(number)),
    ):
        yield


@row(
    "versions of other formats, and another account, take turns at one index",
    *("WRITE-3", "FRESH-4", "TRUST-2"),
    cases=200,
    sample=6,
)
@contextmanager
def versions(place: Place) -> Iterator[Trial]:
    def check(path: Path, number: int) -> None:
        random = Random(f"versions {number}")
        root = path / f"p{number}"
        for name, content in SAMPLE.items():
            write(root, name, content)
        project = Project.at(root)
        holds: set[int] = set()
        for step in range(random.randint(4, 9)):
            by = random.choice(FORMATS)
            with _as_version(by):
                if random.random() < 0.5:
                    key = Key(b"another's" * 4) if random.random() < 0.2 else None
                    report = bring_up_to_date(project, HashingEmbedder(), key=key)
                    assert report["files"] == len(SAMPLE), report
                    holds = {by} if key is None else set()
                else:
                    _ask(project, is_ours=by in holds, said=f"case {number}, step {step}")
                if random.random() < 0.3:
                    Generations(project.generations).sweep()
        bring_up_to_date(project, HashingEmbedder())
        _ask(project, is_ours=True, said=f"case {number}, in the end")
        left = sorted(os.listdir(project.generations))
        assert left == [Generations(project.generations).current(), "current"], left
        shutil.rmtree(root)

    with in_memory() as path:
        yield Trial(partial(check, path))


def _ask(project: Project, *, is_ours: bool, said: str) -> None:
    service = CIDXDaemonService(project.root)
    text = "retry when the peer disconnects"
    try:
        found = service.exposed_query_hybrid(str(project.root), text)["results"][0]["path"]
    except CidxError as error:
        found = f"{type(error).__name__}: {error}"
    finally:
        service.exposed_clear_cache()
    if is_ours:
        assert found == "net/retry.py", f"{said}: {found}"
    else:
        is_named = found.startswith("NoIndexError: ") and "run `cidx-ref index`" in found
        is_foreign = "was not made by this account" in found
        assert is_named or is_foreign, f"{said}: {found}"


@mutant("versions", "whatever the format, an index is loaded")
@contextmanager
def _any_format() -> Iterator[None]:
    parse = manifest.parse_manifest

    def as_ours(directory: Directory) -> Any:
        for number in FORMATS:
            with suppress(NoIndexError), patch.object(manifest, "FORMAT", number):
                return parse(directory)
        return parse(directory)

    with patch.object(manifest, "parse_manifest", as_ours):
        yield
