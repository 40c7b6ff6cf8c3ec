"""From what an index says of a file to chunks as our searches have them: with texts, and with the
names of what they define.

A point says which lines it stands for, and of which version of the file; the text comes from the
working tree, if that still is this version, else from git.  A document of the full text has its own
text; where a point stands for the same lines, the two are one chunk.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b, sha256
from typing import NamedTuple

from cidx_ref.index import languages
from cidx_ref.index.chunk import MAX_CHARS, Chunk, chunk
from cidx_ref.index.cidx.blobs import blob_hash
from cidx_ref.index.cidx.points import Point
from cidx_ref.index.decode import decode
from cidx_ref.index.outlines import outline_of
from cidx_ref.index.structure import Outline, names_by_piece

__all__ = ["Document", "FileRows", "Version", "is_version", "rows_of"]

_MAX_LINES = 160  # of a document that is a chunk; one of more is cut
#: So many times what a file has may be in its points, which overlap a little, and so much more: a
#: few bytes each would else have all of it in memory, and on the disk, again and again.
_MOST_TIMES, _SURPLUS_CHARS = 16, 1 << 20
#: The lines that a text stands for may be so much longer than it, as parts of lines are cut off.
_MORE_CHARS = 2000
_NO_DIGEST = ""  # of a version that is nowhere as a whole: its file counts as changed


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

    @classmethod
    def of(cls, data: bytes | None) -> Version | None:
        """None where there is none, or it is no text."""
        decoded = decode(data) if data is not None else None
        if data is None or decoded is None:
            return None
        text = _plain(decoded[0])
        lines = text.removesuffix("\n").split("\n")
        return cls(text, blake2b(data, digest_size=16).hexdigest(), decoded[1], lines)

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


def is_version(point: Point, data: bytes | None) -> bool:
    """Whether `data` is the version of the file that `point` stands in."""
    if data is None:
        return False
    if point.blob:
        return blob_hash(data, like=point.blob) == point.blob
    return bool(point.sha256) and sha256(data).hexdigest() == point.sha256


def rows_of(
    path: str,
    points: Sequence[tuple[int, Point]],
    documents: Sequence[Document],
    working: bytes | None,
    blobs: Mapping[str, bytes],
) -> tuple[list[FileRows], int]:
    """The versions of a file that are known, and how many of its `points` are of none.

    Raises `ValueError` for lines that a version does not have.
    """
    now = Version.of(working)
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
    working: bytes | None,
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
    wanted, lines = _plain(text).strip(), "\n".join(version.lines[start - 1 : end])
    # Of many lines a word is no text: else each document of a word could stand for a whole file.
    return wanted in lines and len(lines) <= 2 * len(wanted) + _MORE_CHARS


def _of_points(path: str, version: Version, points: Sequence[tuple[int, Point]]) -> FileRows:
    language = languages.told_by(path, version.text)
    rows = FileRows(path, language, version)
    in_order = sorted(points, key=lambda one: (one[1].line_start, one[1].line_end, one[0]))
    left = _MOST_TIMES * len(version.text) + _SURPLUS_CHARS
    for label, point in in_order:
        rows.labels.append((label, len(rows.chunks)))
        rows.chunks.append(_chunk_of(point, version))
        left -= len(rows.chunks[-1].text)
        if version.lines and left < 0:
            raise ValueError(f"{path}: its points have its lines again and again")
    if version.lines:
        outline = outline_of(language, version.text, version.lines)
        if outline is not None:
            rows.chunks = _named(rows.chunks, outline)
    return rows


def _chunk_of(point: Point, version: Version) -> Chunk:
    if not version.lines:
        return _bounded(point.line_start, point.line_end, _plain(point.text or ""))
    end = version.last(point.line_end)
    if not point.line_start <= end <= len(version.lines):
        raise ValueError(f"{point.path}: lines that do not exist")
    return Chunk("", point.line_start, end, "\n".join(version.lines[point.line_start - 1 : end]))


def _bounded(start: int, end: int, text: str) -> Chunk:
    """A text without its file, as a chunk of as many lines as it has."""
    lines = text.split("\n")
    while len(lines) > end - start + 1 and lines[-1] == "":
        del lines[-1]
    return Chunk("", start, start + len(lines) - 1, "\n".join(lines))


def _named(chunks: list[Chunk], outline: Outline) -> list[Chunk]:
    """`chunks`, each called by the innermost definition that it is a part of, else by the first one
    that begins in it; and with the names of all that it defines."""
    spans = [(each.line_start - 1, each.line_end) for each in chunks]
    defines = names_by_piece(outline.names, spans)
    found = []
    for each, (start, end), names in zip(chunks, spans, defines, strict=True):
        around = [d for d in outline.definitions if d.start <= start and end <= d.end]
        begun = [d for d in outline.definitions if start <= d.start < end]
        best = min(around, key=lambda d: d.end - d.start) if around else next(iter(begun), None)
        name, kind = (best.name, best.kind) if best is not None else ("", "")
        found.append(replace(each, name=name, kind=kind, defines=names))
    return found


def _joined(rows: FileRows, document: Document) -> bool:
    """Whether a point's chunk has the document's lines and words: then the two are one."""
    text = _plain(document.text).strip()
    lines = document.line_start, rows.version.last(document.line_end)
    for _, number in rows.labels:
        one = rows.chunks[number]
        is_same = (one.line_start, one.line_end) == lines
        if is_same and text in one.text:
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
    whole = _bounded(first, last, text)
    if text.count("\n") < _MAX_LINES and len(text) <= MAX_CHARS:
        return [whole]
    shift = first - 1
    return [
        replace(each, line_start=each.line_start + shift, line_end=each.line_end + shift)
        for each in chunk(text, language)
    ] or [whole]


def _ordered(rows: FileRows) -> FileRows:
    """`rows`, in the order of their lines."""
    order = sorted(range(len(rows.chunks)), key=lambda n: (rows.chunks[n].line_start, n))
    place = {old: new for new, old in enumerate(order)}
    rows.chunks = [rows.chunks[n] for n in order]
    rows.labels = [(label, place[n]) for label, n in rows.labels]
    rows.documents = [(n, sorted(place[each] for each in own)) for n, own in rows.documents]
    return rows


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
