"""From what an index says of a file to chunks as our searches have them: with texts, and with the
names of what they define.

A point says which lines it stands for, and of which version of the file; the text comes from the
working tree, if that still is this version, else from git.  A document of the full text has its own
text; where a point stands for the same lines, the two are one chunk.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b, sha256
from itertools import accumulate
from typing import NamedTuple

from cidx_ref.index import languages
from cidx_ref.index.chunk import MAX_CHARS, Chunk, chunk
from cidx_ref.index.cidx.blobs import blob_hash
from cidx_ref.index.cidx.hollow import hollowed
from cidx_ref.index.cidx.points import Point
from cidx_ref.index.decode import decode
from cidx_ref.index.outlines import outline_of
from cidx_ref.index.structure import Definition, Outline, names_by_piece

__all__ = ["Document", "FileRows", "Version", "Working", "is_version", "rows_of"]

_MAX_LINES = 160  # of a document that is a chunk; one of more is cut
#: So many times what a file has may be in its points, which overlap a little, and so much more: a
#: few bytes each would else have all of it in memory, and on the disk, again and again.
_MOST_TIMES, _SURPLUS_CHARS = 16, 1 << 20
#: The lines that a text stands for may be so much longer than it, as parts of lines are cut off.
_MORE_CHARS = 2000
_SAME_LINES = 16  # chunks of the same lines that a document may be the same as
_NO_DIGEST = ""  # of a version that is nowhere as a whole: its file counts as changed


#: First and last line, and their text.
Piece = tuple[int, int, str]
#: Name and kind, and what else is defined.
Called = tuple[str, str, tuple[str, ...]]


class Document(NamedTuple):
    """A document of the full text: which one it is, and what is kept of it."""

    number: int
    path: str
    line_start: int
    line_end: int
    text: str


@dataclass(slots=True)
class Version:
    """One content of a file."""

    text: str
    digest: str
    guessed: bool = False
    lines: list[str] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, data: bytes | None) -> Version | None:
        """None where there is none, or it is no text."""
        decoded = decode(data) if data is not None else None
        if data is None or decoded is None:
            return None
        text = _plain(decoded[0])
        lines = text.removesuffix("\n").split("\n")
        return cls(text, blake2b(data, digest_size=16).hexdigest(), decoded[1], lines)

    def size_of(self, start: int, end: int) -> int:
        """How many characters the lines `start` to `end` have, with what is between them."""
        if not self._starts:
            self._starts = [0, *accumulate(len(line) + 1 for line in self.lines)]
        return self._starts[end] - self._starts[start - 1] - 1

    def last(self, line: int) -> int:
        """`line`, as the number of a line that exists: what is behind the last end of a line counts
        as one there."""
        return line - 1 if self.lines and line == len(self.lines) + 1 else line


@dataclass(slots=True)
class FileRows:
    """A version of a file as it is stored: its chunks, with the labels of their points, and the
    numbers of their documents."""

    path: str
    language: str
    version: Version
    chunks: list[Chunk] = field(default_factory=list)
    labels: list[tuple[int, int]] = field(default_factory=list)
    #: The number of a document, and its chunks.
    documents: list[tuple[int, list[int]]] = field(default_factory=list)
    #: Of the points' chunks, which have these lines.
    by_lines: dict[tuple[int, int], list[int]] = field(default_factory=dict)


class Working:
    """A file as it is now: its `data`, None where it cannot be read, hashed once for all points."""

    def __init__(self, data: bytes | None) -> None:
        self.data = data
        self._hashes: dict[int, str] = {}

    def blob_hash(self, like: str) -> str:
        """See `blobs.blob_hash`; "" where there is no file."""
        return self._hashed(len(like), lambda data: blob_hash(data, like=like))

    def sha256(self) -> str:
        """The hash of the file as it lies there; "" where there is none."""
        return self._hashed(0, lambda data: sha256(data).hexdigest())

    def _hashed(self, kind: int, hash_: Callable[[bytes], str]) -> str:
        if kind not in self._hashes:
            self._hashes[kind] = hash_(self.data) if self.data is not None else ""
        return self._hashes[kind]


def is_version(point: Point, working: Working) -> bool:
    """Whether the file as it is now is the version of it that `point` stands in."""
    if point.blob:
        return working.blob_hash(point.blob) == point.blob
    return bool(point.sha256) and working.sha256() == point.sha256


def rows_of(
    path: str,
    points: Sequence[tuple[int, Point]],
    documents: Sequence[Document],
    working: Working,
    blobs: Mapping[str, bytes],
) -> tuple[list[FileRows], int]:
    """The versions of a file that are known, and how many of its `points` are of none.

    Raises `ValueError` for lines that a version does not have.
    """
    now = Version.of(working.data)
    found: dict[str, FileRows] = {}
    left_out = 0
    versions = _versions(points, working, now, blobs)
    for digest, (version, own) in versions.items():
        if version is None:
            left_out += len(own)
            continue
        found[digest] = _of_points(path, version, own)
    for document in documents:
        if not any(_joined(rows, document) for rows in found.values()):
            _add_document(found, path, document, now)
    return [_ordered(rows) for rows in found.values()], left_out


def _versions(
    points: Iterable[tuple[int, Point]],
    working: Working,
    now: Version | None,
    blobs: Mapping[str, bytes],
) -> dict[str, tuple[Version | None, list[tuple[int, Point]]]]:
    """The points, by the version of the file that they are of."""
    kinds: dict[tuple[str, str], list[tuple[int, Point]]] = defaultdict(list)
    for label, point in points:
        if point.text is None:
            kinds[point.blob, point.sha256].append((label, point))
        else:
            kinds["", "text"].append((label, point))
    found: dict[str, tuple[Version | None, list[tuple[int, Point]]]] = {}
    for (blob, digest), own in kinds.items():
        version: Version | None
        if (blob, digest) == ("", "text"):
            version = _of_texts(own, now)
        elif is_version(own[0][1], working):
            version = now
        else:
            version = Version.of(blobs.get(blob))
        key = version.digest if version is not None else f"none of {blob}{digest}"
        others = found.get(key, (version, []))[1]
        found[key] = version, [*others, *own]
    return found


def _of_texts(points: Sequence[tuple[int, Point]], now: Version | None) -> Version:
    """The version whose lines the points have with them: that of the working tree, if all of them
    stand there."""
    is_now = now is not None and all(
        _holds(now, p.line_start, p.line_end, p.text or "") for _, p in points
    )
    return now if now is not None and is_now else Version("", _NO_DIGEST)


def _holds(version: Version, start: int, end: int, text: str) -> bool:
    end = version.last(end)
    if not start <= end <= len(version.lines):
        return False
    wanted = _plain(text).strip()
    # Of many lines a word is no text: else each document of a word could stand for a whole file,
    # which would be looked through for each of them.
    if version.size_of(start, end) > 2 * len(wanted) + _MORE_CHARS:
        return False
    return wanted in "\n".join(version.lines[start - 1 : end])


def _of_points(path: str, version: Version, points: Sequence[tuple[int, Point]]) -> FileRows:
    language = languages.told_by(path, version.text)
    rows = FileRows(path, language, version)
    in_order = sorted(points, key=lambda one: (one[1].line_start, one[1].line_end, one[0]))
    if version.lines:
        texts = _lines_of(path, version, [point for _, point in in_order])
    else:
        texts = [_bounded(p.line_start, p.line_end, _plain(p.text or "")) for _, p in in_order]
    names = _names(language, version, texts)
    for number, ((label, _), (start, end, text), called) in enumerate(
        zip(in_order, texts, names, strict=True)
    ):
        rows.labels.append((label, number))
        rows.chunks.append(Chunk(called[0], start, end, text, called[1], called[2]))
        rows.by_lines.setdefault((start, end), []).append(number)
    return rows


def _lines_of(path: str, version: Version, points: Sequence[Point]) -> list[Piece]:
    """The lines of each point.  Raises `ValueError` for what a version does not have."""
    lines, found = version.lines, []
    left = _MOST_TIMES * len(version.text) + _SURPLUS_CHARS
    for point in points:
        end = version.last(point.line_end)
        if not point.line_start <= end <= len(lines):
            raise ValueError(f"{path}: lines that do not exist")
        text = "\n".join(lines[point.line_start - 1 : end])
        found.append((point.line_start, end, text))
        left -= len(text)
        if left < 0:
            raise ValueError(f"{path}: its points have its lines again and again")
    return found


def _bounded(start: int, end: int, text: str) -> Piece:
    """A text without its file, with as many lines as it has."""
    lines = text.split("\n")
    while len(lines) > end - start + 1 and lines[-1] == "":
        del lines[-1]
    return start, start + len(lines) - 1, "\n".join(lines)


def _names(language: str, version: Version, pieces: Sequence[Piece]) -> list[Called]:
    """What each of `pieces`, which are in order, is called: as the innermost definition that it is
    a part of, else as the first one that begins in it; and the names of all that it defines."""
    outline = _outline(language, version) if version.lines else None
    if outline is None:
        return [("", "", ())] * len(pieces)
    spans = [(start - 1, end) for start, end, _ in pieces]
    around = _Around(outline.definitions)
    called = ((best.name, best.kind) if best else ("", "") for best in map(around.best, spans))
    defined = names_by_piece(outline.names, spans)
    return [(*one, names) for one, names in zip(called, defined, strict=True)]


def _outline(language: str, version: Version) -> Outline | None:
    if language == "python":
        found = outline_of(language, hollowed(version.text), version.lines)
        if found is not None:
            return found
    return outline_of(language, version.text, version.lines)


class _Around:
    """Definitions, to be looked for by lines; each is looked at by few of the pieces."""

    def __init__(self, definitions: Sequence[Definition]) -> None:
        self._definitions = definitions
        self._starts = [each.start for each in definitions]
        self._above: list[int] = []  # of each, the one that it stands in, or -1
        open_: list[int] = []
        for number, each in enumerate(definitions):
            while open_ and definitions[open_[-1]].end <= each.start:
                open_.pop()
            self._above.append(open_[-1] if open_ else -1)
            open_.append(number)

    def best(self, span: tuple[int, int]) -> Definition | None:
        """The innermost that `span` is a part of, else the first one that begins in it."""
        start, end = span
        following = bisect_left(self._starts, start)
        number = bisect_right(self._starts, start, following) - 1
        while number >= 0 and self._definitions[number].end < end:
            number = self._above[number]
        if number >= 0:
            return self._definitions[number]
        if following < len(self._starts) and self._starts[following] < end:
            return self._definitions[following]
        return None


def _joined(rows: FileRows, document: Document) -> bool:
    """Whether a point's chunk has the document's lines and words: then the two are one."""
    lines = document.line_start, rows.version.last(document.line_end)
    same = rows.by_lines.get(lines, ())
    text = _plain(document.text).strip() if same else ""
    for number in same[:_SAME_LINES]:
        if text in rows.chunks[number].text:
            rows.documents.append((document.number, [number]))
            return True
    return False


def _add_document(
    found: dict[str, FileRows], path: str, document: Document, now: Version | None
) -> None:
    """Make chunks of a document that no point is the same as."""
    is_now = now is not None and _holds(now, document.line_start, document.line_end, document.text)
    version = now if now is not None and is_now else Version("", _NO_DIGEST)
    rows = found.get(version.digest)
    if rows is None:
        language = languages.told_by(path, version.text or document.text)
        rows = found[version.digest] = FileRows(path, language, version)
    start = len(rows.chunks)
    rows.chunks += _chunks_of(document, version, rows.language)
    rows.documents.append((document.number, list(range(start, len(rows.chunks)))))


def _chunks_of(document: Document, version: Version, language: str) -> list[Chunk]:
    first, last = document.line_start, version.last(document.line_end)
    text = _plain(document.text)
    if version.lines:
        text = "\n".join(version.lines[first - 1 : last])
    start, end, bounded = _bounded(first, last, text)
    whole = Chunk("", start, end, bounded)
    if text.count("\n") < _MAX_LINES and len(text) <= MAX_CHARS:
        return [whole]
    shift = first - 1
    return [
        replace(each, line_start=each.line_start + shift, line_end=each.line_end + shift)
        for each in chunk(text, language)
    ] or [whole]


def _ordered(rows: FileRows) -> FileRows:
    """`rows`, in the order of their lines, as those are that have points' chunks only."""
    if len(rows.chunks) == len(rows.labels):
        return rows
    order = sorted(range(len(rows.chunks)), key=lambda n: (rows.chunks[n].line_start, n))
    place = {old: new for new, old in enumerate(order)}
    rows.chunks = [rows.chunks[n] for n in order]
    rows.labels = [(label, place[n]) for label, n in rows.labels]
    rows.documents = [(n, sorted(place[each] for each in own)) for n, own in rows.documents]
    return rows


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
